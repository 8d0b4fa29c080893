"""Receptive fields through operators that published networks use seldom, each against the gradient."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anatomy.gradient import check, positive, support
from eyeline.anatomy import describe
from eyeline.anatomy.layout import Factor, axis, broadcast, joined, opaque, reshaped, sliced
from eyeline.anatomy.probe import find_layer


class Between(nn.Module):
    """A function between two convolutions."""

    def __init__(self, function: Callable[[Tensor], Tensor], channels: int = 4, kernel: int = 3) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.function = function
        self.last = nn.Conv2d(channels, 4, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.function(self.first(x)))


def unfold_windows(x: Tensor) -> Tensor:
    """Tensor.unfold: 3x3 windows, summed."""
    return x.unfold(2, 3, 2).unfold(3, 3, 2).sum((-1, -2))


def unfold_patches(x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    return F.unfold(x, 3, padding=1, stride=2).reshape(n, 9 * c, h // 2, w // 2)


def fold_patches(x: Tensor) -> Tensor:
    patches = torch.ones(36, 36).to(x) @ F.unfold(x, 3, padding=1)
    return F.fold(patches, x.shape[2:], 3, padding=1)


def halves(x: Tensor) -> Tensor:
    """split, unbind and stack along the channels."""
    a, b = x.split(2, 1)
    return torch.stack([*a.unbind(1), *b.unbind(1)], 1)


def shuffled(x: Tensor) -> Tensor:
    return x[:, torch.tensor([2, 0, 3, 1])] + torch.index_select(x, 1, torch.tensor([0, 0, 1, 1]))


def written(x: Tensor) -> Tensor:
    """A fresh buffer, filled through views of its channels."""
    out = torch.zeros_like(x)
    out[:, :2] = x[:, 2:]
    out[:, 2:].copy_(x[:, :2])
    return out


def by_row(x: Tensor) -> Tensor:
    """Rows and columns swapped and back, through einsum and a view."""
    return torch.einsum("nchw->nwch", x).permute(0, 2, 3, 1)


def mixed_channels(x: Tensor) -> Tensor:
    return (torch.ones(5, 4).to(x) @ x.flatten(2)).view(1, 5, *x.shape[2:])


EXACT = {
    "Tensor.unfold": (Between(unfold_windows), 33),
    "F.unfold": (Between(unfold_patches, 36), 32),
    "pixel unshuffle": (Between(nn.PixelUnshuffle(2), 16), 32),
    "split, unbind, stack": (Between(halves), 24),
    "channels by index": (Between(shuffled), 24),
    "a buffer written in parts": (Between(written), 24),
    "einsum": (Between(by_row), 24),
    "repeat of channels": (Between(lambda x: x.repeat(1, 2, 1, 1), 8), 24),
    "roll of channels": (Between(lambda x: x.roll(1, 1)), 24),
    "flip of channels": (Between(lambda x: x.flip(1)), 24),
    "a norm of the channels": (Between(lambda x: F.layer_norm(x.movedim(1, -1), (4,)).movedim(-1, 1) + x), 24),
    "softmax over channels": (Between(lambda x: x + x.softmax(1)), 24),
    "strided slices": (Between(lambda x: x[:, :, 1::3, 2:-3:2], kernel=1), 30),
    "max over channels": (Between(lambda x: x.amax(1, keepdim=True), 1), 24),
    "channels mixed by a matrix": (Between(mixed_channels, 5), 24),
}  # fmt: skip
OUTER = {
    "fold": (Between(fold_patches), 24, 0),
    "nearest exact": (Between(lambda x: F.interpolate(x, 9, mode="nearest-exact")), 24, 4),
    "nearest down": (Between(lambda x: F.interpolate(x, 8)), 24, 3),
    "bicubic": (Between(lambda x: F.interpolate(x, scale_factor=2, mode="bicubic")), 16, 3),
    "bilinear, corners": (
        Between(lambda x: F.interpolate(x, 12, mode="bilinear", align_corners=True)),
        24,
        4,
    ),
    "bilinear down, antialiased": (
        Between(lambda x: F.interpolate(x, 8, mode="bilinear", antialias=True)),
        32,
        8,
    ),
    "adaptive maximum": (Between(nn.AdaptiveMaxPool2d(6)), 24, 24),
}


@pytest.mark.parametrize("name", EXACT)
def test_exactly_the_gradient(name: str) -> None:
    net, size = EXACT[name]
    torch.manual_seed(0)
    check(net, size)


@pytest.mark.parametrize("padding", [nn.ReflectionPad2d(2), nn.ReplicationPad2d((1, 0, 2, 1))])
def test_mirrored_borders_are_exact_away_from_them(padding: nn.Module) -> None:
    check(Between(padding), 24, borders=False)


@pytest.mark.parametrize("name", OUTER)
def test_an_outer_bound_of_the_gradient(name: str) -> None:
    net, size, slack = OUTER[name]
    torch.manual_seed(0)
    check(net, size, slack=slack)


def global_and_known(net: nn.Module, size: int) -> None:
    net = positive(net)
    field = find_layer(net, describe(net, (3, size, size)), None)[0].receptive_field
    assert field is not None
    assert field.known
    assert field.is_global


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.flip(2),
        lambda x: F.layer_norm(x, x.shape[1:]),
        lambda x: torch.fft.irfft2(torch.fft.rfft2(x), s=x.shape[2:]),
        lambda x: x + x.flatten(2).softmax(-1).view_as(x),
        lambda x: x.cumsum(2),
        lambda x: x * x.mean((2, 3), keepdim=True).sigmoid(),
        lambda x: x + x.amax(2, keepdim=True),
        lambda x: x + F.linear(x.flatten(2), torch.ones(400, 400).to(x)).view_as(x),
        lambda x: (x.flatten(2) @ (x.flatten(2).transpose(1, 2) @ x.flatten(2)).softmax(-1)).view_as(x),
        lambda x: F.grid_sample(x, torch.zeros(1, 20, 20, 2).to(x), align_corners=False),
        lambda x: x[:, :, torch.randperm(20)],
        lambda x: x.gather(2, torch.zeros_like(x, dtype=torch.int64)),
    ],
)
def test_what_mixes_positions_is_global(function: Callable[[Tensor], Tensor]) -> None:
    global_and_known(Between(function, kernel=1), 20)


def test_pooled_coordinates_keep_one_axis() -> None:
    """Coordinate attention: averages over columns keep their rows."""
    net = positive(Between(lambda x: x * x.mean(3, keepdim=True), kernel=1))
    row, _ = find_layer(net, describe(net, (3, 20, 20)), None)
    assert row.receptive_field is not None
    assert [axis.is_global for axis in row.receptive_field.axes] == [False, True]


def test_one_position_of_a_map_keeps_its_field() -> None:
    class Corner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, stride=2)
            self.head = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.conv(x)[:, :, 3, -1])

    net = positive(Corner())
    field = describe(net, (3, 21, 21)).layers[-1].receptive_field
    assert field is not None
    assert not field.is_global
    assert [(axis.start, axis.reach.end) for axis in field.axes] == [(6, 8), (18, 20)]
    image = torch.rand(1, 3, 21, 21, dtype=torch.float64, requires_grad=True)
    seen = torch.autograd.grad(net(image).sum(), image)[0].abs().sum((0, 1)) > 0
    rows, columns = seen.any(1).nonzero().ravel(), seen.any(0).nonzero().ravel()
    assert (int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])) == (6, 8, 18, 20)


def test_a_rolled_map_is_shifted() -> None:
    net = positive(Between(lambda x: x.roll(-3, 2), kernel=1))
    row, module = find_layer(net, describe(net, (3, 20, 20)), None)
    assert row.receptive_field is not None
    spans = [axis.at(10) for axis in row.receptive_field.axes]
    assert (
        support(net, module, (20, 20), 20, (10, 10))
        == [(s.start, s.end) for s in spans]
        == [(12, 14), (9, 11)]
    )


def test_a_class_token_before_the_patches_and_away_again() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patch = nn.Conv2d(3, 4, 4, 4, bias=False)
            self.token = nn.Parameter(torch.ones(1, 1, 4))
            self.last = nn.Conv2d(4, 4, 3, padding=1, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            x = self.patch(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.token, x], 1)
            return self.last(x[:, 1:].transpose(1, 2).unflatten(2, (8, 8)))

    check(Tokens(), 32)


def test_window_means_are_windows_with_a_stride() -> None:
    def means(x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        return x.view(n, c, h // 4, 4, w // 4, 4).mean((3, 5))

    check(Between(means), 32)


def test_a_reshape_that_cuts_unevenly_loses_the_order() -> None:
    net = positive(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(2), nn.Unflatten(2, (6, 24))))
    field = describe(net, (3, 12, 12)).layers[-1].receptive_field
    assert field is not None
    layout = (opaque(1), opaque(4), (Factor((0,), 12, 1), Factor((1,), 12, 1)))
    assert reshaped(layout, (1, 4, 9, 16))[2][0].axes == (0, 1)
    assert not reshaped(layout, (1, 4, 9, 16))[2][0].regular


def test_layouts() -> None:
    rows, columns = axis(0, 56), axis(1, 56)
    image = (opaque(1), opaque(64), rows, columns)
    windows = reshaped(image, (1, 64, 8, 7, 8, 7))
    assert windows[2:] == (
        (Factor((0,), 8, 7),),
        (Factor((0,), 7, 1),),
        (Factor((1,), 8, 7),),
        (Factor((1,), 7, 1),),
    )
    assert reshaped(windows, (1, 64, 56, 56)) == image
    tokens = reshaped(image, (64, 3136))
    assert tokens[1] == rows + columns
    with_class = joined([opaque(1), tokens[1]], [1, 3136])
    assert with_class[0].size == 3137
    assert sliced(with_class, 1, 3136) == tokens[1]
    assert sliced(with_class, 0, 3137) == with_class
    assert not sliced(with_class, 5, 9)[0].regular
    assert broadcast([image, (columns,)], (1, 64, 56, 56)) == image
    assert broadcast([(rows,), (columns,)], (56,)) is None
