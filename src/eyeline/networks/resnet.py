"""ResNet (2015), its plain twins, ResNeXt (2016) and Wide ResNet (2016).

He, Zhang, Ren and Sun, arXiv 1512.03385: a block learns what to add to its input, so that a deeper network is
never worse off than a shallower one: the identity is always at hand.
Xie et al., arXiv 1611.05431 (groups); Zagoruyko and Komodakis, arXiv 1605.07146 (width).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from eyeline.networks.blocks import ConvNormAct, DropPath, Network, relu, require


@dataclass(frozen=True, kw_only=True)
class Row:
    """One network of the family."""

    block: str  # "basic": two 3x3; "bottleneck": 1x1, 3x3, 1x1 with four times the channels at its end
    depths: tuple[int, ...]  # blocks in each stage; every stage after the first halves the size
    groups: int = 1  # of the 3x3 in a bottleneck (ResNeXt's cardinality)
    group_width: int = 64  # channels of each group at the first stage (Wide ResNet doubles it)
    deep_stem: tuple[int, ...] = ()  # channels of three 3x3 instead of one 7x7 (arXiv 1812.01187)
    average_down: bool = False  # shortcuts average-pool before their 1x1 (ResNet-D, arXiv 1812.01187)
    skip: bool = True  # False: the plain network of the paper, the same layers without shortcuts
    size: int = 224  # published image size (pixels)
    cifar: bool = False  # §4.2 of the paper: 3x3 stem, 16-32-64 channels, parameter-free shortcuts
    year: int = 2015


TWEAKED: dict[str, Any] = {"average_down": True, "year": 2018}  # of "Bag of Tricks", arXiv 1812.01187

ROWS = {
    "resnet18": Row(block="basic", depths=(2, 2, 2, 2)),
    "resnet34": Row(block="basic", depths=(3, 4, 6, 3)),
    "resnet50": Row(block="bottleneck", depths=(3, 4, 6, 3)),
    "resnet101": Row(block="bottleneck", depths=(3, 4, 23, 3)),
    "resnet152": Row(block="bottleneck", depths=(3, 8, 36, 3)),
    "plain18": Row(block="basic", depths=(2, 2, 2, 2), skip=False),
    "plain34": Row(block="basic", depths=(3, 4, 6, 3), skip=False),
    "plain50": Row(block="bottleneck", depths=(3, 4, 6, 3), skip=False),
    "plain101": Row(block="bottleneck", depths=(3, 4, 23, 3), skip=False),
    "plain152": Row(block="bottleneck", depths=(3, 8, 36, 3), skip=False),
    "resnet20": Row(block="basic", depths=(3, 3, 3), size=32, cifar=True),
    "resnet32": Row(block="basic", depths=(5, 5, 5), size=32, cifar=True),
    "resnet44": Row(block="basic", depths=(7, 7, 7), size=32, cifar=True),
    "resnet56": Row(block="basic", depths=(9, 9, 9), size=32, cifar=True),
    "resnet110": Row(block="basic", depths=(18, 18, 18), size=32, cifar=True),
    "plain20": Row(block="basic", depths=(3, 3, 3), size=32, cifar=True, skip=False),
    "plain32": Row(block="basic", depths=(5, 5, 5), size=32, cifar=True, skip=False),
    "plain44": Row(block="basic", depths=(7, 7, 7), size=32, cifar=True, skip=False),
    "plain56": Row(block="basic", depths=(9, 9, 9), size=32, cifar=True, skip=False),
    "plain110": Row(block="basic", depths=(18, 18, 18), size=32, cifar=True, skip=False),
    "resnext50_32x4d": Row(block="bottleneck", depths=(3, 4, 6, 3), groups=32, group_width=4, year=2016),
    "resnext101_32x8d": Row(block="bottleneck", depths=(3, 4, 23, 3), groups=32, group_width=8, year=2016),
    "resnext101_64x4d": Row(block="bottleneck", depths=(3, 4, 23, 3), groups=64, group_width=4, year=2016),
    "wide_resnet50_2": Row(block="bottleneck", depths=(3, 4, 6, 3), group_width=128, year=2016),
    "wide_resnet101_2": Row(block="bottleneck", depths=(3, 4, 23, 3), group_width=128, year=2016),
    "resnet10t": Row(block="basic", depths=(1, 1, 1, 1), deep_stem=(24, 32, 64), size=176, **TWEAKED),
    "resnet14t": Row(block="bottleneck", depths=(1, 1, 1, 1), deep_stem=(24, 32, 64), size=176, **TWEAKED),
    "resnet18d": Row(block="basic", depths=(2, 2, 2, 2), deep_stem=(32, 32, 64), **TWEAKED),
    "resnet50d": Row(block="bottleneck", depths=(3, 4, 6, 3), deep_stem=(32, 32, 64), **TWEAKED),
}


class ResNet(Network):
    """Stem, stages of residual blocks, global average pooling, linear (arXiv 1512.03385, table 1).

    Parameters
    ----------
    row : the network, from `ROWS`.
    dropout : before the last layer; drop_path : of the last block, growing linearly from 0 at the first.
    shortcut : "projection" (1x1 convolution where shapes change: option B of the paper) or "zero_pad" (stride
        and zero channels: option A, without parameters, so that the plain twin has exactly as many).
        None: projection, and zero_pad for the CIFAR networks.
    stride_first : bottlenecks stride on their first 1x1, as in the paper. Torchvision, timm and this class
        unless asked stride on the 3x3 ("v1.5"), which throws no pixel away.
    zero_init_residual : start with every block as the identity (arXiv 1706.02677, §5.1).
    small_stem : for images of 28 to 64 pixels: 3x3 of stride 1 and no max pooling.
    """

    def __init__(
        self,
        row: Row,
        *,
        num_classes: int,
        in_channels: int,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        shortcut: str | None = None,
        stride_first: bool = False,
        zero_init_residual: bool = False,
        small_stem: bool = False,
    ) -> None:
        super().__init__()
        shortcut = ("zero_pad" if row.cifar else "projection") if shortcut is None else shortcut
        require(
            shortcut in ("projection", "zero_pad"), f"shortcut is {shortcut!r}; allowed: projection, zero_pad"
        )
        require(row.skip or drop_path == 0, "drop_path: a plain network has no path that could be dropped")
        if not row.skip:
            shortcut = "none"
        elif shortcut == "projection" and row.average_down:
            shortcut = "average"
        self.in_channels = in_channels
        self.minimum_size = 4 if row.cifar else 8 if small_stem else 32

        width = 16 if row.cifar else 64
        if row.cifar or small_stem:
            self.stem = nn.Sequential(ConvNormAct(in_channels, width, 3))
        elif row.deep_stem:
            first, second, third = row.deep_stem
            self.stem = nn.Sequential(
                ConvNormAct(in_channels, first, 3, 2),
                ConvNormAct(first, second, 3),
                ConvNormAct(second, third, 3),
                nn.MaxPool2d(3, 2, 1),
            )
        else:
            self.stem = nn.Sequential(ConvNormAct(in_channels, width, 7, 2), nn.MaxPool2d(3, 2, 1))

        channels, number, last = width, 0, max(1, sum(row.depths) - 1)
        for index, depth in enumerate(row.depths):
            out_channels = width * 2**index * (4 if row.block == "bottleneck" else 1)
            blocks = []
            for position in range(depth):
                stride = 2 if index > 0 and position == 0 else 1
                inner = int(width * 2**index * row.group_width / 64) * row.groups
                drop = DropPath(drop_path * number / last)
                blocks.append(
                    Residual(channels, inner, out_channels, stride, row, shortcut, stride_first, drop)
                )
                channels, number = out_channels, number + 1
            self.add_module(f"stage{index + 1}", nn.Sequential(*blocks))
        self.stage_names = ("stem", *(f"stage{index + 1}" for index in range(len(row.depths))))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels, num_classes)

        self.apply(self.initialise)
        if zero_init_residual:
            for block in self.modules():
                if isinstance(block, Residual):
                    last_norm = block.convs[-1].get_submodule("norm")
                    nn.init.zeros_(last_norm.get_parameter("weight"))

    def initialise(self, module: nn.Module) -> None:
        """Convolutions N(0, 2 / fan_out) (arXiv 1502.01852); the linear layer as PyTorch does."""
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class Residual(nn.Module):
    """``relu(x + convs(x))``, `convs` being 3x3, 3x3 or 1x1, 3x3, 1x1; plain: ``relu(convs(x))``."""

    def __init__(
        self,
        channels: int,
        inner: int,
        out_channels: int,
        stride: int,
        row: Row,
        shortcut: str,
        stride_first: bool,
        drop_path: DropPath,
    ) -> None:
        super().__init__()
        if row.block == "basic":
            self.convs = nn.Sequential(
                ConvNormAct(channels, out_channels, 3, stride),
                ConvNormAct(out_channels, out_channels, 3, act=None),
            )
        else:
            first, second = (stride, 1) if stride_first else (1, stride)
            self.convs = nn.Sequential(
                ConvNormAct(channels, inner, 1, first),
                ConvNormAct(inner, inner, 3, second, groups=row.groups),
                ConvNormAct(inner, out_channels, 1, act=None),
            )
        self.shortcut: nn.Module | None = None
        self.skip = shortcut != "none"
        if self.skip and (stride != 1 or channels != out_channels):
            if shortcut == "zero_pad":
                self.shortcut = ZeroPadShortcut(stride, out_channels - channels)
            elif shortcut == "average":
                pool = nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False)
                self.shortcut = nn.Sequential(
                    pool if stride > 1 else nn.Identity(),
                    ConvNormAct(channels, out_channels, 1, act=None),
                )
            else:
                self.shortcut = nn.Sequential(ConvNormAct(channels, out_channels, 1, stride, act=None))
        self.drop_path = drop_path
        self.act = relu()

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.drop_path(self.convs(x))
        if self.skip:
            residual += x if self.shortcut is None else self.shortcut(x)
        out: Tensor = self.act(residual)
        return out


class ZeroPadShortcut(nn.Module):
    """Every `stride`-th pixel, and zeros in the channels that are new (option A of the paper)."""

    def __init__(self, stride: int, new_channels: int) -> None:
        super().__init__()
        self.stride, self.new_channels = stride, new_channels

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new_channels))
