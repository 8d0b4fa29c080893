"""The few parts that families share, and the contract that every network keeps."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eyeline.errors import EyelineError

if TYPE_CHECKING:
    from eyeline.networks.weights import LoadReport

Activation = Callable[[], nn.Module]
Norm = Callable[[int], nn.Module]

# In place: the batch norm before them keeps its own input for the gradient, so no copy is needed.
relu = functools.partial(nn.ReLU, inplace=True)
relu6 = functools.partial(nn.ReLU6, inplace=True)
silu = functools.partial(nn.SiLU, inplace=True)
hardswish = functools.partial(nn.Hardswish, inplace=True)


class Network(nn.Module):
    """A chain of named stages, a pooling, and one last linear layer called `head`.

    A family defines the stages as child modules and lists their names in `stage_names`; the logits are always
    ``head(dropout(embed(x)))``. Where `gap_head` is true, `embed` is the global average of `forward_features`
    and nothing else, so the weight of `head` applied at each position is an exact evidence map: its mean over
    positions plus the bias is the logit.
    """

    name: str = ""  # as in `network_names()`
    stage_names: tuple[str, ...]  # in the order the image runs through them
    gap_head: bool = True
    middle: tuple[str, ...] = ()  # stages that the head reads beside the last one; see `read_middle`
    head: nn.Linear
    dropout: nn.Module
    in_channels: int
    minimum_size: int  # smallest height and width (pixels) that leaves one cell of the last stage
    load_report: LoadReport | None = None  # set when published or local weights were loaded

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """Every stage's output by name, for images `x` of shape ``(N, C, H, W)``."""
        self.check_input(x)
        maps: dict[str, Tensor] = {}
        for name in self.stage_names:
            x = maps[name] = getattr(self, name)(x)
        return maps

    def forward_features(self, x: Tensor) -> Tensor:
        """The last stage's map ``(N, C, h, w)`` (tokens ``(N, L, C)`` for vision transformers).

        After `read_middle` the channels of the middle stages follow, brought to the same grid.
        """
        self.check_input(x)
        beside: list[Tensor] = []
        for name in self.stage_names:
            x = getattr(self, name)(x)
            if name in self.middle:
                beside.append(x)
        if not beside:
            return x
        grid = (x.shape[2], x.shape[3])
        return torch.cat([x, *(coarser(m, grid, pool) for m in beside for pool in (_mean, _maximum))], 1)

    def pool(self, x: Tensor) -> Tensor:
        """From the last stage's map to the vector ``(N, C)`` that `head` reads."""
        return x.mean((2, 3))

    def embed(self, x: Tensor) -> Tensor:
        """One vector an image, ``(N, C)``: what the last linear layer sees."""
        return self.pool(self.forward_features(x))

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(N, K)`` of images ``(N, C, H, W)``."""
        logits: Tensor = self.head(self.dropout(self.embed(x)))
        return logits

    def reset_head(self, num_classes: int) -> None:
        """A new, freshly initialised last layer for `num_classes` classes."""
        if num_classes < 1:
            raise EyelineError(f"num_classes is {num_classes}; allowed: 1 or more", code="bad_option")
        old = self.head.weight
        self.head = nn.Linear(self.head.in_features, num_classes, device=old.device, dtype=old.dtype)
        self.initialise(self.head)

    def read_middle(self) -> None:
        """Let the head read two middle stages beside the last one: a thin crack is gone from the last map.

        They are the last stages of the two grids before the last, 8 and 16 pixels a cell in most networks. Each is
        brought to the last grid twice, by means and by maxima of overlapping windows, as further channels of
        `forward_features`; so evidence stays exact. The head is new and reads more numbers.

        Raises
        ------
        EyelineError : the head does not read averages of a map, or the grids do not halve.
        """
        if not self.gap_head:
            raise EyelineError(
                f"{self.name} has no middle stages to read: its last layer does not read averages of a map",
                code="bad_option",
            )
        side = 2 * self.minimum_size
        training = self.training
        with torch.no_grad():
            maps = self.eval().features(self.head.weight.new_zeros(1, self.in_channels, side, side))
        self.train(training)
        last = {m.shape[2:]: name for name, m in maps.items()}  # of each grid the last stage
        self.middle = tuple(list(last.values())[-3:-1])
        grid = next(reversed(last))
        beside = [coarser(maps[name], (grid[0], grid[1]), _mean) for name in self.middle]
        old = self.head
        wide = old.in_features + 2 * sum(m.shape[1] for m in beside)
        self.head = nn.Linear(wide, old.out_features, device=old.weight.device, dtype=old.weight.dtype)
        self.initialise(self.head)

    def initialise(self, module: nn.Module) -> None:
        """Initialise one layer as published. PyTorch's own way unless the family says otherwise."""

    def resize_parameter(self, key: str, value: Tensor) -> Tensor | None:
        """A loaded parameter made for another image size, fitted to this network's; None: `key` has none."""
        return None

    def check_input(self, x: Tensor) -> None:
        """Raise EyelineError when `x` is not ``(N, C, H, W)`` of channels and size this network takes."""
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise EyelineError(
                f"input of shape {tuple(x.shape)}; allowed: (N, {self.in_channels}, H, W)",
                code="bad_input_shape",
            )
        self.check_size(x.shape[2], x.shape[3])

    def check_size(self, height: int, width: int) -> None:
        """Raise EyelineError when an image is smaller than the strides allow."""
        if height < self.minimum_size or width < self.minimum_size:
            raise EyelineError(
                f"image of {height}x{width} pixels; this network needs at least "
                f"{self.minimum_size}x{self.minimum_size}",
                code="image_too_small",
                hint="enlarge the images, or build the network with small_stem=True",
            )


def coarser(x: Tensor, grid: tuple[int, int], pool: Callable[[Tensor], Tensor]) -> Tensor:
    """A map ``(N, C, H, W)`` halved by `pool` until it has the cells of `grid` (h, w)."""
    while x.shape[2:] != grid:
        if x.shape[2] <= grid[0] and x.shape[3] <= grid[1]:
            raise EyelineError(
                f"a middle stage of {x.shape[2]}x{x.shape[3]} cells does not halve to {grid[0]}x{grid[1]}",
                code="bad_option",
            )
        x = pool(x)
    return x


# Windows of 3x3 cells, two apart, as the strided convolutions of the stages that follow: the same cells result.
_mean = functools.partial(F.avg_pool2d, kernel_size=3, stride=2, padding=1, count_include_pad=False)
_maximum = functools.partial(F.max_pool2d, kernel_size=3, stride=2, padding=1)


class SameConv2d(nn.Conv2d):
    """A strided convolution with TensorFlow's SAME padding: the odd pixel goes to the bottom and the right.

    At an even size a 3x3 kernel of stride 2 is padded by (0, 1), not (1, 1). Instead of copying the image
    into a padded one, the kernel gets one leading row and column of zeros and the padding becomes symmetric:
    the same products, none of the copy.
    """

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        padding, extra = [], []
        for size in x.shape[2:]:
            # Asked as a question, so that a compiled graph gets a plain number: formulas of an unknown size,
            # nested in each other layer by layer, would take minutes to simplify.
            remainder = next(r for r in range(1, stride + 1) if (size - r) % stride == 0)
            total = max(kernel - remainder, 0)  # the last window starts `remainder` before the image's end
            extra.append(total % 2)
            padding.append(total // 2 + total % 2)
        weight = F.pad(self.weight, (extra[1], 0, extra[0], 0)) if any(extra) else self.weight
        return F.conv2d(x, weight, self.bias, self.stride, padding, self.dilation, self.groups)


class ConvNormAct(nn.Module):
    """Convolution without bias, batch norm, activation: ``(N, C, H, W)`` to ``(N, C', H/stride, W/stride)``.

    `padding` is "symmetric" (PyTorch: kernel // 2 on every side) or "same" (TensorFlow: see `SameConv2d`).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        stride: int = 1,
        *,
        groups: int = 1,
        act: Activation | None = relu,
        norm: Norm = nn.BatchNorm2d,
        padding: str = "symmetric",
    ) -> None:
        super().__init__()
        conv = SameConv2d if padding == "same" and stride > 1 else nn.Conv2d
        self.conv = conv(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.norm = norm(out_channels)
        self.act = act() if act is not None else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x))
        return x if self.act is None else self.act(x)


Conv = functools.partial[ConvNormAct]


class SqueezeExcite(nn.Module):
    """Scale each channel by a gate computed from the global average (arXiv 1709.01507, §3)."""

    def __init__(
        self, channels: int, squeezed: int, *, act: Activation = relu, gate: Activation = nn.Sigmoid
    ):
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.act = act()
        self.expand = nn.Conv2d(squeezed, channels, 1)
        self.gate = gate()

    def forward(self, x: Tensor) -> Tensor:
        scale: Tensor = self.gate(self.expand(self.act(self.reduce(x.mean((2, 3), keepdim=True)))))
        return x * scale if x.requires_grad else x.mul_(scale)


class MBConv(nn.Module):
    """Inverted bottleneck (arXiv 1801.04381): 1x1 expand, depthwise, squeeze-and-excite or not, 1x1 project.

    The result is added to the input where shapes agree. `conv` builds a ConvNormAct with the family's
    activation, normalisation and padding.
    """

    def __init__(
        self,
        channels: int,
        expanded: int,
        out_channels: int,
        kernel: int,
        stride: int,
        *,
        conv: Conv,
        squeeze: SqueezeExcite | None,
        drop_path: float,
    ) -> None:
        super().__init__()
        self.expand = conv(channels, expanded, 1) if expanded != channels else None
        self.depthwise = conv(expanded, expanded, kernel, stride, groups=expanded)
        self.squeeze = squeeze
        self.project = conv(expanded, out_channels, 1, act=None)
        self.drop_path = DropPath(drop_path)
        self.skip = stride == 1 and channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x if self.expand is None else self.expand(x)
        y = self.depthwise(y)
        y = y if self.squeeze is None else self.squeeze(y)
        y = self.project(y)
        if self.skip:
            y = self.drop_path(y).add_(x)
        return y


class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels of ``(N, C, H, W)``; on channels-last memory both permutes are free."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class GELU(nn.GELU):
    """The exact GELU. Without gradients it overwrites its input, the largest tensor of a transformer's block."""

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = super().forward(x) if x.requires_grad else torch.ops.aten.gelu_(x)
        return out


class DropPath(nn.Module):
    """Stochastic depth (Huang et al. 2016, arXiv 1603.09382).

    In training each image loses the residual branch with probability `rate`; kept ones are scaled by
    1 / (1 - rate), so that the expectation stays.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return x
        keep = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(1 - self.rate)
        return x * keep.div_(1 - self.rate)

    def extra_repr(self) -> str:
        return f"rate={self.rate:g}"


def zero_bias(module: nn.Conv2d | nn.Linear) -> None:
    """Set the bias to 0, if there is one."""
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def round_channels(channels: float, *, guard: bool = True) -> int:
    """To the nearest multiple of 8; with `guard`, one step up when that would take away more than a tenth."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if guard and rounded < 0.9 * channels else rounded


def require(condition: bool, message: str) -> None:
    """Raise EyelineError(code="bad_option") unless `condition` holds."""
    if not condition:
        raise EyelineError(message, code="bad_option")
