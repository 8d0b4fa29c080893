"""ConvNeXt (2022): a ResNet rebuilt with everything learned from transformers, and as good.

Liu et al., arXiv 2201.03545: patchify stem, 7x7 depthwise convolutions, inverted bottlenecks, layer norm,
GELU, and few of the last two. The sizes below Tiny are timm's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from eyeline.networks.blocks import GELU, DropPath, LayerNorm2d, Network, zero_bias


@dataclass(frozen=True, kw_only=True)
class Row:
    """One network of the family."""

    depths: tuple[int, ...]  # blocks in each stage
    widths: tuple[int, ...]  # channels of each stage
    size: int = 224  # published image size (pixels)
    year: int = 2022


ROWS = {
    "convnext_atto": Row(depths=(2, 2, 6, 2), widths=(40, 80, 160, 320)),
    "convnext_femto": Row(depths=(2, 2, 6, 2), widths=(48, 96, 192, 384)),
    "convnext_pico": Row(depths=(2, 2, 6, 2), widths=(64, 128, 256, 512)),
    "convnext_nano": Row(depths=(2, 2, 8, 2), widths=(80, 160, 320, 640)),
    "convnext_tiny": Row(depths=(3, 3, 9, 3), widths=(96, 192, 384, 768)),
    "convnext_small": Row(depths=(3, 3, 27, 3), widths=(96, 192, 384, 768)),
    "convnext_base": Row(depths=(3, 3, 27, 3), widths=(128, 256, 512, 1024)),
    "convnext_large": Row(depths=(3, 3, 27, 3), widths=(192, 384, 768, 1536)),
    "convnext_xlarge": Row(depths=(3, 3, 27, 3), widths=(256, 512, 1024, 2048)),
}


class ConvNeXt(Network):
    """4x4 / 4 stem, four stages with 2x2 / 2 between them, global average pooling, layer norm, linear.

    Parameters
    ----------
    row : the network, from `ROWS`.
    dropout : before the last layer; drop_path : of the last block, growing linearly from 0 at the first.
    layer_scale : initial scale of each block's residual.
    small_stem : for images of 28 to 64 pixels: a 3x3 of stride 1 as stem.
    """

    gap_head = False  # a layer norm stands between the pooling and the linear layer

    def __init__(
        self,
        row: Row,
        *,
        num_classes: int,
        in_channels: int,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        layer_scale: float = 1e-6,
        small_stem: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.minimum_size = 8 if small_stem else 32
        first = row.widths[0]
        kernel, stride, padding = (3, 1, 1) if small_stem else (4, 4, 0)
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, first, kernel, stride, padding), LayerNorm2d(first, eps=1e-6)
        )
        channels, number, last = first, 0, max(1, sum(row.depths) - 1)
        for index, (depth, width) in enumerate(zip(row.depths, row.widths, strict=True)):
            stage = nn.Sequential()
            if index > 0:
                stage.append(LayerNorm2d(channels, eps=1e-6))
                stage.append(nn.Conv2d(channels, width, 2, 2))
            for _ in range(depth):
                stage.append(Block(width, layer_scale, drop_path * number / last))
                number += 1
            self.add_module(f"stage{index + 1}", stage)
            channels = width
        self.stage_names = ("stem", *(f"stage{index + 1}" for index in range(len(row.depths))))
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels, num_classes)
        self.apply(self.initialise)

    def pool(self, x: Tensor) -> Tensor:
        normed: Tensor = self.norm(x.mean((2, 3)))
        return normed

    def initialise(self, module: nn.Module) -> None:
        """Truncated N(0, 0.02²), biases 0 (appendix A and facebookresearch/ConvNeXt)."""
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            zero_bias(module)


class Block(nn.Module):
    """Depthwise 7x7, layer norm, 1x1 to 4 times the channels, GELU, 1x1 back, scale; plus the input.

    The paper's linear layers are 1x1 convolutions here: the same sums, in faster kernels on a processor.
    """

    def __init__(self, channels: int, layer_scale: float, drop_path: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = LayerNorm2d(channels, eps=1e-6)
        self.expand = nn.Conv2d(channels, 4 * channels, 1)
        self.act = GELU()
        self.project = nn.Conv2d(4 * channels, channels, 1)
        self.scale = nn.Parameter(torch.full((channels,), layer_scale))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.act(self.expand(self.norm(self.depthwise(x)))))
        scale = self.scale[:, None, None]
        y = self.drop_path(y * scale if y.requires_grad else y.mul_(scale))
        y += x
        return y
