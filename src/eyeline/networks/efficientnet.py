"""EfficientNet (2019), EfficientNet-Lite (2020) and EfficientNetV2 (2021).

Tan and Le, arXiv 1905.11946: a small network found by search, then depth, width and image size grown together
by one coefficient. Lite (TensorFlow blog, March 2020): no squeeze-and-excitation, and ReLU6, to run in
integers. Tan and Le, arXiv 2104.00298 (V2): full 3x3 convolutions in the early stages, where depthwise ones
are slow.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from eyeline.networks.blocks import (
    Conv,
    ConvNormAct,
    DropPath,
    MBConv,
    Network,
    SqueezeExcite,
    relu6,
    require,
    round_channels,
    silu,
    zero_bias,
)


@dataclass(frozen=True)
class Stage:
    """Blocks of one shape; the first of them has the stride."""

    kind: str  # "conv" 3x3; "fused" 3x3 expand, 1x1 project; "mbconv" 1x1 expand, depthwise, 1x1 project
    repeats: int
    kernel: int
    stride: int
    expand: int
    channels: int
    squeeze: bool = True  # squeeze-and-excitation with a quarter of the block's input channels


# B0: arXiv 1905.11946, table 1.
B0 = (
    Stage("mbconv", 1, 3, 1, 1, 16),
    Stage("mbconv", 2, 3, 2, 6, 24),
    Stage("mbconv", 2, 5, 2, 6, 40),
    Stage("mbconv", 3, 3, 2, 6, 80),
    Stage("mbconv", 3, 5, 1, 6, 112),
    Stage("mbconv", 4, 5, 2, 6, 192),
    Stage("mbconv", 1, 3, 1, 6, 320),
)
LITE0 = tuple(replace(stage, squeeze=False) for stage in B0)

# V2: arXiv 2104.00298, table 4, and google/automl effnetv2_configs.py.
V2_B0 = (
    Stage("conv", 1, 3, 1, 1, 16),
    Stage("fused", 2, 3, 2, 4, 32),
    Stage("fused", 2, 3, 2, 4, 48),
    Stage("mbconv", 3, 3, 2, 4, 96),
    Stage("mbconv", 5, 3, 1, 6, 112),
    Stage("mbconv", 8, 3, 2, 6, 192),
)
V2_S = (
    Stage("conv", 2, 3, 1, 1, 24),
    Stage("fused", 4, 3, 2, 4, 48),
    Stage("fused", 4, 3, 2, 4, 64),
    Stage("mbconv", 6, 3, 2, 4, 128),
    Stage("mbconv", 9, 3, 1, 6, 160),
    Stage("mbconv", 15, 3, 2, 6, 256),
)
V2_M = (
    Stage("conv", 3, 3, 1, 1, 24),
    Stage("fused", 5, 3, 2, 4, 48),
    Stage("fused", 5, 3, 2, 4, 80),
    Stage("mbconv", 7, 3, 2, 4, 160),
    Stage("mbconv", 14, 3, 1, 6, 176),
    Stage("mbconv", 18, 3, 2, 6, 304),
    Stage("mbconv", 5, 3, 1, 6, 512),
)
V2_L = (
    Stage("conv", 4, 3, 1, 1, 32),
    Stage("fused", 7, 3, 2, 4, 64),
    Stage("fused", 7, 3, 2, 4, 96),
    Stage("mbconv", 10, 3, 2, 4, 192),
    Stage("mbconv", 19, 3, 1, 6, 224),
    Stage("mbconv", 25, 3, 2, 6, 384),
    Stage("mbconv", 7, 3, 1, 6, 640),
)
V2_XL = (
    Stage("conv", 4, 3, 1, 1, 32),
    Stage("fused", 8, 3, 2, 4, 64),
    Stage("fused", 8, 3, 2, 4, 96),
    Stage("mbconv", 16, 3, 2, 4, 192),
    Stage("mbconv", 24, 3, 1, 6, 256),
    Stage("mbconv", 32, 3, 2, 6, 512),
    Stage("mbconv", 8, 3, 1, 6, 640),
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One network of the family."""

    stages: tuple[Stage, ...]
    width: float = 1.0  # multiplies channels
    depth: float = 1.0  # multiplies repeats
    size: int  # published image size (pixels)
    dropout: float = 0.2
    stem: int = 32
    top: int = 1280  # channels of the last 1x1 convolution
    lite: bool = False  # ReLU6; stem, top and the depth of the first and last stage are not scaled
    guard: bool = True  # rounding channels never takes away more than a tenth
    eps: float = 1e-3  # of the batch norms: the published weights were trained with it
    momentum: float = 0.1
    padding: str = "symmetric"  # or "same": TensorFlow's, for weights trained there
    year: int = 2019


# The published Lite weights come from TensorFlow: SAME padding, eps 1e-3, momentum 0.99 (0.01 in PyTorch).
LITE: dict[str, Any] = {"lite": True, "padding": "same", "momentum": 0.01, "year": 2020}
V2_B: dict[str, Any] = {"guard": False, "padding": "same", "year": 2021}

ROWS = {
    # eps as in torchvision, whose B0 to B4 were trained in PyTorch and whose B5 to B7 in TensorFlow.
    "efficientnet_b0": Row(stages=B0, width=1.0, depth=1.0, size=224, dropout=0.2, eps=1e-5),
    "efficientnet_b1": Row(stages=B0, width=1.0, depth=1.1, size=240, dropout=0.2, eps=1e-5),
    "efficientnet_b2": Row(stages=B0, width=1.1, depth=1.2, size=260, dropout=0.3, eps=1e-5),
    "efficientnet_b3": Row(stages=B0, width=1.2, depth=1.4, size=300, dropout=0.3, eps=1e-5),
    "efficientnet_b4": Row(stages=B0, width=1.4, depth=1.8, size=380, dropout=0.4, eps=1e-5),
    "efficientnet_b5": Row(stages=B0, width=1.6, depth=2.2, size=456, dropout=0.4, momentum=0.01),
    "efficientnet_b6": Row(stages=B0, width=1.8, depth=2.6, size=528, dropout=0.5, momentum=0.01),
    "efficientnet_b7": Row(stages=B0, width=2.0, depth=3.1, size=600, dropout=0.5, momentum=0.01),
    "efficientnet_lite0": Row(stages=LITE0, width=1.0, depth=1.0, size=224, dropout=0.2, **LITE),
    "efficientnet_lite1": Row(stages=LITE0, width=1.0, depth=1.1, size=240, dropout=0.2, **LITE),
    "efficientnet_lite2": Row(stages=LITE0, width=1.1, depth=1.2, size=260, dropout=0.3, **LITE),
    "efficientnet_lite3": Row(stages=LITE0, width=1.2, depth=1.4, size=280, dropout=0.3, **LITE),
    "efficientnet_lite4": Row(stages=LITE0, width=1.4, depth=1.8, size=300, dropout=0.3, **LITE),
    "efficientnet_v2_s": Row(stages=V2_S, stem=24, size=384, dropout=0.2, year=2021),
    "efficientnet_v2_m": Row(stages=V2_M, stem=24, size=480, dropout=0.3, year=2021),
    "efficientnet_v2_l": Row(stages=V2_L, size=480, dropout=0.4, year=2021),
    "efficientnet_v2_xl": Row(stages=V2_XL, size=512, dropout=0.4, year=2021),
    "efficientnet_v2_b0": Row(stages=V2_B0, width=1.0, depth=1.0, size=224, dropout=0.2, **V2_B),
    "efficientnet_v2_b1": Row(stages=V2_B0, width=1.0, depth=1.1, size=240, dropout=0.2, **V2_B),
    "efficientnet_v2_b2": Row(stages=V2_B0, width=1.1, depth=1.2, size=260, dropout=0.3, **V2_B),
    "efficientnet_v2_b3": Row(stages=V2_B0, width=1.2, depth=1.4, size=300, dropout=0.3, **V2_B),
}


class EfficientNet(Network):
    """Stem, stages of inverted bottlenecks, 1x1 to the top channels, global average pooling, linear.

    Parameters
    ----------
    row : the network, from `ROWS`.
    dropout : before the last layer, None for the published rate; drop_path : growing with the block's number.
    padding, eps, momentum : None for the row's own; weights of other origin may need theirs (`create_network`
        sets them for names such as ``timm/tf_efficientnet_b0.in1k``).
    phi : scale B0's width and depth by `scale(phi)` instead of the row's own.
    small_stem : for images of 28 to 64 pixels: the stem and the first strided stage keep the size.
    """

    def __init__(
        self,
        row: Row,
        *,
        num_classes: int,
        in_channels: int,
        dropout: float | None = None,
        drop_path: float = 0.0,
        padding: str | None = None,
        eps: float | None = None,
        momentum: float | None = None,
        phi: float | None = None,
        small_stem: bool = False,
    ) -> None:
        super().__init__()
        padding = row.padding if padding is None else padding
        require(padding in ("symmetric", "same"), f"padding is {padding!r}; allowed: symmetric, same")
        if phi is not None:
            scaling = scale(phi)
            row = replace(row, width=scaling.width, depth=scaling.depth)
        self.in_channels = in_channels
        self.minimum_size = 8 if small_stem else 32
        conv = functools.partial(
            ConvNormAct,
            act=relu6 if row.lite else silu,
            padding=padding,
            norm=functools.partial(
                nn.BatchNorm2d,
                eps=row.eps if eps is None else eps,
                momentum=row.momentum if momentum is None else momentum,
            ),
        )

        stages = scaled_stages(row)
        channels = row.stem if row.lite else round_channels(row.stem * row.width, guard=row.guard)
        self.stem = conv(in_channels, channels, 3, 1 if small_stem else 2)
        total, number = sum(stage.repeats for stage in stages), 0
        strided = [index for index, stage in enumerate(stages) if stage.stride == 2]
        for index, stage in enumerate(stages):
            blocks = nn.Sequential()
            for position in range(stage.repeats):
                stride = stage.stride if position == 0 and not (small_stem and index == strided[0]) else 1
                blocks.append(build_block(channels, stage, stride, conv, drop_path * number / total))
                channels, number = stage.channels, number + 1
            self.add_module(f"stage{index + 1}", blocks)
        top = row.top if row.lite else round_channels(row.top * row.width, guard=row.guard)
        self.top = conv(channels, top, 1)
        self.stage_names = ("stem", *(f"stage{index + 1}" for index in range(len(stages))), "top")
        self.dropout = nn.Dropout(row.dropout if dropout is None else dropout)
        self.head = nn.Linear(top, num_classes)
        self.apply(self.initialise)

    def initialise(self, module: nn.Module) -> None:
        """Convolutions N(0, 2 / fan_out), fan_out per group; linear uniform within 1 / sqrt(classes), bias 0.

        As in the authors' code (tensorflow/tpu, efficientnet_model.py).
        """
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels // module.groups * module.kernel_size[0] * module.kernel_size[1]
            nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan_out))
            zero_bias(module)
        elif isinstance(module, nn.Linear):
            bound = 1.0 / math.sqrt(module.out_features)
            nn.init.uniform_(module.weight, -bound, bound)
            zero_bias(module)


def build_block(channels: int, stage: Stage, stride: int, conv: Conv, drop_path: float) -> nn.Module:
    """One block of a stage, for an input of `channels`."""
    if stage.kind in ("conv", "fused"):
        return FusedConv(channels, stage, stride, conv, drop_path)
    expanded = channels * stage.expand
    # The squeezed width is a quarter of the block's input, not of its expanded channels.
    squeeze = SqueezeExcite(expanded, channels // 4, act=silu) if stage.squeeze else None
    return MBConv(
        channels,
        expanded,
        stage.channels,
        stage.kernel,
        stride,
        conv=conv,
        squeeze=squeeze,
        drop_path=drop_path,
    )


class FusedConv(nn.Module):
    """3x3 expand and 1x1 project, or only one 3x3; added to the input where shapes agree."""

    def __init__(self, channels: int, stage: Stage, stride: int, conv: Conv, drop_path: float) -> None:
        super().__init__()
        inner = stage.channels if stage.expand == 1 else channels * stage.expand
        self.expand = conv(channels, inner, stage.kernel, stride)
        self.project = conv(inner, stage.channels, 1, act=None) if stage.expand != 1 else None
        self.drop_path = DropPath(drop_path)
        self.skip = stride == 1 and channels == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.expand(x)
        y = y if self.project is None else self.project(y)
        if self.skip:
            y = self.drop_path(y).add_(x)
        return y


def scaled_stages(row: Row) -> tuple[Stage, ...]:
    """The row's stages with channels and repeats multiplied by its width and depth."""
    scaled = []
    for index, stage in enumerate(row.stages):
        fixed = row.lite and index in (0, len(row.stages) - 1)
        repeats = stage.repeats if fixed else math.ceil(row.depth * stage.repeats)
        channels = round_channels(row.width * stage.channels, guard=row.guard)
        scaled.append(replace(stage, repeats=repeats, channels=channels))
    return tuple(scaled)


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """How B0 grows with the compound coefficient φ (arXiv 1905.11946, §3.3)."""

    phi: float
    depth: float  # multiplies the repeats of every stage; repeats are rounded up
    width: float  # multiplies channels; rounded to multiples of 8, never losing more than a tenth
    resolution: int  # image size (pixels)
    rule: tuple[float, float, float]  # depth, width, resolution by 1.2^φ, 1.1^φ, 224 · 1.15^φ
    published: str | None  # the network whose authors chose these numbers
    stages: tuple[Stage, ...]  # B0's stages, scaled and rounded

    def explain(self) -> str:
        """The scaling in a few lines: the rule, the numbers taken, and what rounding made of each stage."""
        depth, width, size = self.rule
        taken = f"the authors of {self.published} took" if self.published else "taken:"
        lines = [
            f"φ = {self.phi:g}: depth 1.2^φ = {depth:.3f}, width 1.1^φ = {width:.3f}, "
            f"size 224 · 1.15^φ = {size:.1f}",
            f"{taken} depth {self.depth:.4g}, width {self.width:.4g}, size {self.resolution}",
        ]
        for before, after in zip(B0, self.stages, strict=True):
            blocks, channels = before.repeats * self.depth, before.channels * self.width
            lines.append(
                f"  {before.repeats} x {self.depth:.4g} = {blocks:.1f} -> {after.repeats} blocks, "
                f"{before.channels} x {self.width:.4g} = {channels:.1f} -> {after.channels} channels"
            )
        return "\n".join(lines)


def scale(phi: float) -> Scaling:
    """B0 scaled by φ. Since 1.2 · 1.1² · 1.15² ≈ 2, every step of φ doubles the multiply-accumulates.

    For φ = 0 to 7 these are the published B0 to B7, whose authors chose their numbers by hand, mostly below
    the rule (`Scaling.rule` shows it). Any other φ follows the rule, with the image size rounded to a
    multiple of 4.
    """
    require(0 <= phi <= 12, f"phi is {phi:g}; allowed: 0 to 12")
    rule = (1.2**phi, 1.1**phi, 224 * 1.15**phi)
    published = f"efficientnet_b{phi:g}" if f"efficientnet_b{phi:g}" in ROWS else None
    if published:
        row = ROWS[published]
    else:
        row = Row(stages=B0, depth=rule[0], width=rule[1], size=round(rule[2] / 4) * 4)
    return Scaling(
        phi=phi,
        depth=row.depth,
        width=row.width,
        resolution=row.size,
        rule=rule,
        published=published,
        stages=scaled_stages(row),
    )
