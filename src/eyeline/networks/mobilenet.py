"""MobileNet V1 (2017), V2 (2018) and V3 (2019): networks for a phone's processor.

Howard et al., arXiv 1704.04861 (V1): a 3x3 convolution split into a depthwise 3x3 and a 1x1 costs an eighth.
Sandler et al., arXiv 1801.04381 (V2): skips between thin layers, depthwise convolution in the wide ones
between. Howard et al., arXiv 1905.02244 (V3): found by search, with squeeze-and-excitation and hard swish.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from eyeline.networks.blocks import (
    Activation,
    Conv,
    ConvNormAct,
    MBConv,
    Network,
    SqueezeExcite,
    hardswish,
    relu,
    relu6,
    require,
    round_channels,
    zero_bias,
)


@dataclass(frozen=True)
class Block:
    """One block. Its depthwise convolution has `expanded` channels (V3), or `ratio` times the input's (V2)."""

    channels: int
    stride: int = 1
    kernel: int = 3
    expanded: int = 0
    ratio: int = 0  # neither: no expansion, the depthwise-separable block of V1
    squeeze: bool = False
    act: str = "relu6"
    full: bool = False  # one full 3x3 convolution instead: the twin of table 4 of the V1 paper


def v1_stages(*, full: bool = False) -> tuple[tuple[Block, ...], ...]:
    """Table 1 of arXiv 1704.04861: (channels, repeats, stride)."""
    table = ((64, 1, 1), (128, 2, 2), (256, 2, 2), (512, 6, 2), (1024, 2, 2))
    return tuple(
        tuple(Block(channels, stride if i == 0 else 1, full=full) for i in range(repeats))
        for channels, repeats, stride in table
    )


def v2_stages() -> tuple[tuple[Block, ...], ...]:
    """Table 2 of arXiv 1801.04381: (expansion, channels, repeats, stride)."""
    table = (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )
    return tuple(
        tuple(Block(channels, stride if i == 0 else 1, ratio=ratio) for i in range(repeats))
        for ratio, channels, repeats, stride in table
    )


def _v3(channels: int, expanded: int, kernel: int, squeeze: bool, act: str, stride: int) -> Block:
    name = {"RE": "relu", "HS": "hardswish"}[act]
    return Block(channels, stride, kernel, expanded, squeeze=squeeze, act=name)


# Tables 1 and 2 of arXiv 1905.02244: output channels, expanded channels, kernel, squeeze, activation, stride.
V3_LARGE = (
    (_v3(16, 16, 3, False, "RE", 1),),
    (_v3(24, 64, 3, False, "RE", 2), _v3(24, 72, 3, False, "RE", 1)),
    (_v3(40, 72, 5, True, "RE", 2), _v3(40, 120, 5, True, "RE", 1), _v3(40, 120, 5, True, "RE", 1)),
    (
        _v3(80, 240, 3, False, "HS", 2),
        _v3(80, 200, 3, False, "HS", 1),
        _v3(80, 184, 3, False, "HS", 1),
        _v3(80, 184, 3, False, "HS", 1),
    ),
    (_v3(112, 480, 3, True, "HS", 1), _v3(112, 672, 3, True, "HS", 1)),
    (_v3(160, 672, 5, True, "HS", 2), _v3(160, 960, 5, True, "HS", 1), _v3(160, 960, 5, True, "HS", 1)),
)
V3_SMALL = (
    (_v3(16, 16, 3, True, "RE", 2),),
    (_v3(24, 72, 3, False, "RE", 2), _v3(24, 88, 3, False, "RE", 1)),
    (_v3(40, 96, 5, True, "HS", 2), _v3(40, 240, 5, True, "HS", 1), _v3(40, 240, 5, True, "HS", 1)),
    (_v3(48, 120, 5, True, "HS", 1), _v3(48, 144, 5, True, "HS", 1)),
    (_v3(96, 288, 5, True, "HS", 2), _v3(96, 576, 5, True, "HS", 1), _v3(96, 576, 5, True, "HS", 1)),
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One network of the family."""

    stages: tuple[tuple[Block, ...], ...]
    year: int
    alpha: float = 1.0  # width multiplier
    stem: int = 32
    top: int = 0  # channels of the last 1x1 convolution; 0: none; -1: as wide as the last block's expansion
    hidden: int = 0  # of the linear layer between pooling and head (V3)
    act: str = "relu6"  # of stem and top
    eps: float = 1e-5  # of the batch norms
    momentum: float = 0.1
    dropout: float = 0.0
    size: int = 224  # published image size (pixels)


V3: dict[str, Any] = {
    "year": 2019,
    "stem": 16,
    "top": -1,
    "act": "hardswish",
    "eps": 1e-3,
    "momentum": 0.01,
    "dropout": 0.2,
}

ROWS = {
    "mobilenet_v1": Row(stages=v1_stages(), year=2017),
    "mobilenet_v1_075": Row(stages=v1_stages(), year=2017, alpha=0.75),
    "mobilenet_v1_050": Row(stages=v1_stages(), year=2017, alpha=0.5),
    "mobilenet_v1_025": Row(stages=v1_stages(), year=2017, alpha=0.25),
    "mobilenet_v1_full": Row(stages=v1_stages(full=True), year=2017),
    "mobilenet_v2": Row(stages=v2_stages(), year=2018, top=1280, dropout=0.2),
    "mobilenet_v3_small": Row(stages=V3_SMALL, hidden=1024, **V3),
    "mobilenet_v3_large": Row(stages=V3_LARGE, hidden=1280, **V3),
}

ACTIVATIONS: dict[str, Activation] = {"relu": relu, "relu6": relu6, "hardswish": hardswish}


class MobileNet(Network):
    """Stem, stages of blocks, for V2 and V3 a last 1x1 convolution, global average pooling, linear.

    Parameters
    ----------
    row : the network, from `ROWS`.
    alpha : width multiplier: channels times alpha, costs about times alpha². None: the row's.
    rho : resolution multiplier: `image_size` becomes 224 · rho, rounded to a multiple of 32; costs about
        times rho². It changes no layer, only the images that the network is meant for.
    dropout : before the last layer, None for the published rate; drop_path : growing with the block's number.
    padding, eps, momentum : None for the row's own; weights of other origin may need theirs.
    small_stem : for images of 28 to 64 pixels: the stem and the first strided stage keep the size.
    """

    def __init__(
        self,
        row: Row,
        *,
        num_classes: int,
        in_channels: int,
        alpha: float | None = None,
        rho: float = 1.0,
        dropout: float | None = None,
        drop_path: float = 0.0,
        padding: str = "symmetric",
        eps: float | None = None,
        momentum: float | None = None,
        small_stem: bool = False,
    ) -> None:
        super().__init__()
        alpha = row.alpha if alpha is None else alpha
        require(alpha > 0, f"alpha is {alpha:g}; allowed: above 0")
        require(rho > 0, f"rho is {rho:g}; allowed: above 0")
        require(padding in ("symmetric", "same"), f"padding is {padding!r}; allowed: symmetric, same")
        self.in_channels = in_channels
        self.image_size = max(32, round(row.size * rho / 32) * 32)
        self.minimum_size = 8 if small_stem else 32
        norm = functools.partial(
            nn.BatchNorm2d,
            eps=row.eps if eps is None else eps,
            momentum=row.momentum if momentum is None else momentum,
        )
        conv = functools.partial(ConvNormAct, padding=padding, norm=norm)

        channels = round_channels(row.stem * alpha)
        self.stem = conv(in_channels, channels, 3, 1 if small_stem else 2, act=ACTIVATIONS[row.act])
        total, number, shrink = sum(map(len, row.stages)), 0, small_stem
        for index, blocks in enumerate(row.stages):
            stage = nn.Sequential()
            for block in blocks:
                stride = block.stride
                if shrink and stride > 1:
                    stride, shrink = 1, False
                stage.append(build_block(channels, block, stride, alpha, conv, drop_path * number / total))
                channels, number = round_channels(block.channels * alpha), number + 1
            self.add_module(f"stage{index + 1}", stage)
        self.stage_names = ("stem", *(f"stage{index + 1}" for index in range(len(row.stages))))
        if row.top:
            top = 6 * channels if row.top < 0 else round_channels(row.top * max(1.0, alpha))
            self.top = conv(channels, top, 1, act=ACTIVATIONS[row.act])
            self.stage_names += ("top",)
            channels = top
        self.hidden: nn.Module | None = None
        if row.hidden:
            self.hidden = nn.Sequential(nn.Linear(channels, row.hidden), hardswish())
            channels = row.hidden
        self.gap_head = self.hidden is None
        self.dropout = nn.Dropout(row.dropout if dropout is None else dropout)
        self.head = nn.Linear(channels, num_classes)
        self.apply(self.initialise)

    def pool(self, x: Tensor) -> Tensor:
        x = x.mean((2, 3))
        return x if self.hidden is None else self.hidden(x)

    def initialise(self, module: nn.Module) -> None:
        """Convolutions N(0, 2 / fan_out), linear N(0, 0.01²), biases 0: as torchvision trained them."""
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
            zero_bias(module)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.01)
            zero_bias(module)


def build_block(
    channels: int, block: Block, stride: int, alpha: float, conv: Conv, drop_path: float
) -> nn.Module:
    """One block of a stage, for an input of `channels`."""
    act = ACTIVATIONS[block.act]
    out_channels = round_channels(block.channels * alpha)
    if block.full:
        return conv(channels, out_channels, 3, stride, act=act)
    if not (block.expanded or block.ratio):
        return Separable(channels, out_channels, stride, functools.partial(conv, act=act))
    expanded = block.ratio * channels or round_channels(block.expanded * alpha)
    squeeze = None
    if block.squeeze:
        squeeze = SqueezeExcite(expanded, round_channels(expanded / 4), gate=nn.Hardsigmoid)
    return MBConv(
        channels,
        expanded,
        out_channels,
        block.kernel,
        stride,
        conv=functools.partial(conv, act=act),
        squeeze=squeeze,
        drop_path=drop_path,
    )


class Separable(nn.Module):
    """Depthwise 3x3, then 1x1, each with batch norm and ReLU6 (figure 3 of the V1 paper)."""

    def __init__(self, channels: int, out_channels: int, stride: int, conv: Conv) -> None:
        super().__init__()
        self.depthwise = conv(channels, channels, 3, stride, groups=channels)
        self.project = conv(channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.project(self.depthwise(x))
        return out
