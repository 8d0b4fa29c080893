"""Receptive fields against numbers: where the gradient of one output is not zero, in float64.

Positive weights, average instead of max pooling and batch norms that do nothing make every path add up,
so no influence cancels: the rows and columns of the image with any gradient must be exactly those that the table
gives, clipped to the image. For upsampling, adaptive pooling and windows of a split axis the table's interval is
an outer bound, and it must contain the gradient without being much larger.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anatomy.gradient import check, positive, support
from eyeline.anatomy import describe
from eyeline.anatomy.probe import find_layer
from eyeline.anatomy.table import positions
from networks import peers


class Residual(nn.Module):
    def __init__(self, inside: nn.Module, skip: nn.Module | None = None) -> None:
        super().__init__()
        self.inside, self.skip = inside, skip or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.inside(x) + self.skip(x)


class Dense(nn.Module):
    """Each layer reads the concatenation of all before it."""

    def __init__(self, channels: int, layers: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList(
            nn.Conv2d(channels + 4 * i, 4, 3, padding=1, bias=False) for i in range(layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        for step in self.steps:
            x = torch.cat([x, step(x)], 1)
        return x


class Inception(nn.Module):
    """Branches of kernels 1, 3 and 5 and a pooling, concatenated."""

    def __init__(self) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Conv2d(3, 4, k, padding=k // 2, bias=False) for k in (1, 3, 5))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([*(branch(x) for branch in self.branches), F.avg_pool2d(x, 3, 1, 1)], 1)


class UNet(nn.Module):
    """Down, up by a transposed convolution, and the skip."""

    def __init__(self) -> None:
        super().__init__()
        self.down = conv(3, 4, 4, stride=2, padding=1)
        self.middle = conv(4, 4, 3, padding=1)
        self.up = nn.ConvTranspose2d(4, 4, 2, stride=2, bias=False)
        self.out = conv(7, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.cat([x, self.up(self.middle(self.down(x)))], 1))


class ChannelsLast(nn.Module):
    """A ConvNeXt block with its permutes and a linear layer at each position."""

    def __init__(self) -> None:
        super().__init__()
        self.depthwise = conv(3, 3, 7, padding=3, groups=3)
        self.expand, self.project = nn.Linear(3, 12, bias=False), nn.Linear(12, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.depthwise(x).permute(0, 2, 3, 1)
        return x + self.project(F.relu(self.expand(y))).permute(0, 3, 1, 2)


class SpaceToDepth(nn.Module):
    """Every second pixel into its own channel, by a view and by slices, then a convolution."""

    def __init__(self, slices: bool) -> None:
        super().__init__()
        self.slices, self.mix = slices, conv(12, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        if self.slices:
            x = torch.cat([x[..., i::2, j::2] for i in (0, 1) for j in (0, 1)], 1)
        else:
            n, c, h, w = x.shape
            x = x.view(n, c, h // 2, 2, w // 2, 2).permute(0, 1, 3, 5, 2, 4).reshape(n, 4 * c, h // 2, w // 2)
        return self.mix(x)


class Cropped(nn.Module):
    """A valid convolution added to the cropped input, after an odd padding by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = conv(3, 3, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (1, 2, 3, 0))
        return self.conv(x) + x[:, :, 2:-2, 2:-2]


class InPlace(nn.Module):
    """A reused in-place activation and half of the channels overwritten."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.act = conv(3, 4, 3, padding=1), conv(4, 4, 3, padding=1), nn.ReLU(True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.first(x))
        y = x.clone()
        y[:, :2] = self.act(self.second(x))[:, :2]
        return y


def chain(*modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(*modules)


def conv(*args: int, **options: int) -> nn.Conv2d:
    return nn.Conv2d(*args, bias=False, **options)  # type: ignore[arg-type]


EXACT: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "chain": (lambda: chain(conv(3, 4, 3, stride=2, padding=1), nn.ReLU(), conv(4, 4, 5)), 33),
    "even kernels": (lambda: chain(conv(3, 4, 2, stride=2), conv(4, 4, 4, padding=1)), 32),
    "rectangles": (
        lambda: chain(
            nn.Conv2d(3, 4, (1, 7), (2, 1), (0, 3), bias=False), nn.Conv2d(4, 4, (5, 1), (1, 3), bias=False)
        ),
        40,
    ),
    "ceil mode": (lambda: chain(conv(3, 4, 3), nn.MaxPool2d(3, 2, ceil_mode=True), conv(4, 4, 3)), 30),
    "residual": (
        lambda: chain(
            Residual(chain(conv(3, 4, 3, padding=1), nn.ReLU(True), conv(4, 3, 3, padding=1))),
            conv(3, 4, 3, stride=2),
            Residual(conv(4, 8, 3, stride=2, padding=1), conv(4, 8, 1, stride=2)),
        ),
        33,
    ),
    "dense concatenation": (lambda: chain(Dense(3, 4), conv(19, 4, 3, stride=2)), 31),
    "inception": (lambda: chain(Inception(), nn.MaxPool2d(2), conv(15, 4, 3)), 30),
    "separable": (
        lambda: chain(conv(3, 3, 5, padding=2, groups=3), conv(3, 8, 1), conv(8, 8, 3, stride=2, groups=8)),
        33,
    ),
    "channels last": (lambda: chain(conv(3, 3, 4, stride=4), ChannelsLast(), ChannelsLast()), 48),
    "space to depth by view": (lambda: SpaceToDepth(slices=False), 24),
    "space to depth by slices": (lambda: SpaceToDepth(slices=True), 24),
    "crop and pad": (lambda: chain(Cropped(), conv(3, 3, 3, stride=2)), 29),
    "in place": (lambda: chain(InPlace(), conv(4, 4, 3)), 24),
}
DILATED: dict[str, tuple[Callable[[], nn.Module], int]] = {
    # The extent counts, holes or not; with padding the first taps of a border unit may lie outside.
    "dilated": (lambda: chain(conv(3, 4, 3, dilation=2), conv(4, 4, 3, dilation=3)), 40),
}
OUTER: dict[str, tuple[Callable[[], nn.Module], int, int]] = {
    "transposed": (UNet, 32, 1),
    "nearest upsampling": (
        lambda: chain(
            conv(3, 4, 3, stride=2, padding=1), nn.Upsample(scale_factor=2), conv(4, 4, 3, padding=1)
        ),
        32,
        2,
    ),
    "bilinear upsampling": (
        lambda: chain(
            conv(3, 4, 3, stride=2, padding=1),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            conv(4, 4, 3, padding=1),
        ),
        32,
        3,
    ),
    "adaptive pooling that divides": (
        lambda: chain(conv(3, 4, 3, padding=1), nn.AdaptiveAvgPool2d(8), conv(4, 4, 3, padding=1)),
        32,
        0,
    ),
    "adaptive pooling that does not": (
        lambda: chain(conv(3, 4, 3, padding=1), nn.AdaptiveAvgPool2d(7), conv(4, 4, 3, padding=1)),
        30,
        4,
    ),
    "pixel shuffle": (
        lambda: chain(conv(3, 16, 3, stride=2, padding=1), nn.PixelShuffle(2), conv(4, 4, 3, padding=1)),
        32,
        2,
    ),
}


@pytest.mark.parametrize("name", EXACT)
def test_the_field_is_where_the_gradient_is(name: str) -> None:
    make, size = EXACT[name]
    torch.manual_seed(0)
    check(make(), size)


@pytest.mark.parametrize("name", DILATED)
def test_a_dilated_field_has_holes_and_its_extent_counts(name: str) -> None:
    make, size = DILATED[name]
    torch.manual_seed(0)
    check(make(), size)


@pytest.mark.parametrize("name", OUTER)
def test_the_field_is_an_outer_bound(name: str) -> None:
    make, size, slack = OUTER[name]
    torch.manual_seed(0)
    check(make(), size, slack=slack)


@pytest.mark.parametrize(
    ("library", "name", "layer", "size"),
    [
        ("torchvision", "resnet18", "layer2", 160),
        ("torchvision", "squeezenet1_1", "features.7", 160),
        ("torchvision", "shufflenet_v2_x0_5", "stage2", 160),
        ("torchvision", "mobilenet_v2", "features.6", 160),
        ("torchvision", "densenet121", "features.transition1", 160),
        ("torchvision", "googlenet", "inception3b", 160),
        ("timm", "test_convnext", "stages.1", 192),
        ("timm", "repvgg_a0", "stages.1", 160),
    ],
)
def test_published_networks(library: str, name: str, layer: str, size: int) -> None:
    options = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    torch.manual_seed(0)
    check(peers.create(library, name, **options), size, layer)


def test_a_gate_is_global_and_its_spatial_path_is_exact() -> None:
    """Squeeze-and-excite: with the gate, every pixel has a gradient; without, those of the table."""

    class Gated(nn.Module):
        gradient_through_gate = True

        def __init__(self) -> None:
            super().__init__()
            self.conv, self.gate = conv(3, 4, 3, padding=1), conv(4, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x)
            gate = torch.sigmoid(self.gate(y.mean((2, 3), keepdim=True)))
            return y * (gate if self.gradient_through_gate else gate.detach())

    net = positive(chain(conv(3, 3, 3, stride=2), Gated(), conv(4, 4, 3)))
    row, module = find_layer(net, describe(net, (3, 31, 31)), None)
    field, sides = row.receptive_field, positions(row)
    assert field is not None
    assert sides is not None
    assert field.is_global
    assert field.known
    full = support(net, module, (sides[0], sides[1]), 31, (5, 5))
    assert full == [(0, 30), (0, 30)]
    net[1].gradient_through_gate = False
    spans = [axis.at(5) for axis in field.axes]
    assert support(net, module, (sides[0], sides[1]), 31, (5, 5)) == [(s.start, s.end) for s in spans]


def test_window_attention_stays_in_reach() -> None:
    """Swin's first stage: the gradient lies inside the table's interval and reaches to the end of the window."""
    torch.manual_seed(0)
    net = peers.create("timm", "swin_tiny_patch4_window7_224", img_size=112).double().eval()
    table = describe(net, (3, 112, 112))
    row, module = find_layer(net, table, "layers.0.blocks.0")
    field = row.receptive_field
    assert field is not None
    assert field.known
    assert not field.is_global
    found = support(net, module, (28, 28), 112, (10, 16))  # windows of rows 7..13 and columns 14..20
    assert found == [(7 * 4, 14 * 4 - 1), (14 * 4, 21 * 4 - 1)]
    for axis, (first, last), position in zip(field.axes, found, (10, 16), strict=True):
        assert axis.at(position).start <= first <= last <= axis.at(position).end


@pytest.mark.parametrize("norm", [nn.InstanceNorm2d(4), nn.GroupNorm(2, 4)])
def test_norms_over_space_are_global(norm: nn.Module) -> None:
    net = chain(conv(3, 4, 3), norm, nn.ReLU()).double().eval()
    row, module = find_layer(net, describe(net, (3, 20, 20)), None)
    assert row.receptive_field is not None
    assert row.receptive_field.is_global
    assert row.receptive_field.max == (3, 3)
    assert support(net, module, (18, 18), 20, (9, 9)) == [(0, 19), (0, 19)]
