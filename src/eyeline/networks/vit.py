"""Vision Transformer (2020): an image is worth 16x16 words.

Dosovitskiy et al., arXiv 2010.11929: patches become tokens, and every token attends to every other from the
first layer on. Sizes Ti and S: Touvron et al., arXiv 2012.12877, and Steiner et al., arXiv 2106.10270.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eyeline.errors import EyelineError
from eyeline.networks.blocks import GELU, DropPath, Network, zero_bias


@dataclass(frozen=True, kw_only=True)
class Row:
    """One network of the family."""

    width: int  # of a token
    depth: int  # blocks
    mlp: int  # hidden width of the block's two linear layers
    heads: int
    patch: int  # pixels
    size: int = 224  # published image size (pixels)
    year: int = 2020


_TI = {"width": 192, "depth": 12, "mlp": 768, "heads": 3}
_S = {"width": 384, "depth": 12, "mlp": 1536, "heads": 6}
_B = {"width": 768, "depth": 12, "mlp": 3072, "heads": 12}
_L = {"width": 1024, "depth": 24, "mlp": 4096, "heads": 16}
_H = {"width": 1280, "depth": 32, "mlp": 5120, "heads": 16}

ROWS = {
    "vit_ti_16": Row(**_TI, patch=16),
    "vit_s_16": Row(**_S, patch=16),
    "vit_s_32": Row(**_S, patch=32),
    "vit_b_16": Row(**_B, patch=16),
    "vit_b_32": Row(**_B, patch=32),
    "vit_l_16": Row(**_L, patch=16),
    "vit_l_32": Row(**_L, patch=32),
    "vit_h_14": Row(**_H, patch=14),
}


class VisionTransformer(Network):
    """Patches to tokens, class token, learned positions, pre-norm blocks, layer norm, linear.

    `forward_features` gives tokens ``(N, 1 + h·w, C)``, the class token first.

    Parameters
    ----------
    row : the network, from `ROWS`.
    image_size : (height, width) that the position embedding is made for; other multiples of the patch get
        interpolated positions. None: the published size.
    dropout : before the last layer; drop_path : of the last block, growing linearly from 0 at the first.
    small_stem : for images of 28 to 64 pixels: patches of a quarter of the side.
    """

    gap_head = False

    def __init__(
        self,
        row: Row,
        *,
        num_classes: int,
        in_channels: int,
        image_size: tuple[int, int] | None = None,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        small_stem: bool = False,
    ) -> None:
        super().__init__()
        patch = round(row.patch / 4) if small_stem else row.patch
        self.in_channels = in_channels
        self.minimum_size = self.patch = patch
        height, width = image_size or (row.size // row.patch * patch,) * 2
        self.check_size(height, width)
        self.stem = Patches(in_channels, row.width, patch, (height // patch, width // patch))
        for index in range(row.depth):
            rate = drop_path * index / max(1, row.depth - 1)
            self.add_module(f"block{index + 1}", Block(row.width, row.mlp, row.heads, rate))
        self.norm = nn.LayerNorm(row.width, eps=1e-6)
        self.stage_names = ("stem", *(f"block{index + 1}" for index in range(row.depth)), "norm")
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(row.width, num_classes)

        self.apply(self.initialise)
        nn.init.zeros_(self.head.weight)
        # Both hidden layers of the authors' MLP start with small random biases.
        for module in self.modules():
            if isinstance(module, Block):
                nn.init.normal_(module.mlp[0].get_parameter("bias"), std=1e-6)
                nn.init.normal_(module.mlp[2].get_parameter("bias"), std=1e-6)

    def pool(self, x: Tensor) -> Tensor:
        return x[:, 0]

    def check_size(self, height: int, width: int) -> None:
        super().check_size(height, width)
        if height % self.patch or width % self.patch:
            raise EyelineError(
                f"image of {height}x{width} pixels; this network takes multiples of {self.patch}",
                code="bad_image_size",
                hint=f"nearest: {math.ceil(height / self.patch) * self.patch}x"
                f"{math.ceil(width / self.patch) * self.patch}",
            )

    def resize_parameter(self, key: str, value: Tensor) -> Tensor | None:
        if key != "stem.position":
            return None
        side = math.isqrt(value.shape[1] - 1)  # published grids are square
        return resize_position(value, (side, side), self.stem.grid)

    def initialise(self, module: nn.Module) -> None:
        """As google-research/vision_transformer: linear Xavier uniform, positions N(0, 0.02²), the head 0."""
        if isinstance(module, nn.Linear):
            if module is getattr(self, "head", None):
                nn.init.zeros_(module.weight)
            else:
                nn.init.xavier_uniform_(module.weight)
            zero_bias(module)
        elif isinstance(module, nn.Conv2d):
            fan_in = module.weight[0].numel()
            nn.init.trunc_normal_(module.weight, std=math.sqrt(1 / fan_in))
            zero_bias(module)
        elif isinstance(module, Patches):
            nn.init.normal_(module.position, std=0.02)
            nn.init.zeros_(module.class_token)


class Patches(nn.Module):
    """One linear map of each patch to a token, the class token in front, learned positions added."""

    def __init__(self, in_channels: int, width: int, patch: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.grid = grid
        self.project = nn.Conv2d(in_channels, width, patch, patch)
        self.class_token = nn.Parameter(torch.empty(1, 1, width))
        self.position = nn.Parameter(torch.empty(1, 1 + grid[0] * grid[1], width))

    def forward(self, x: Tensor) -> Tensor:
        x = self.project(x)
        grid = (x.shape[2], x.shape[3])
        tokens = x.flatten(2).transpose(1, 2)
        position: Tensor = self.position
        if grid != self.grid:
            position = resize_position(position, self.grid, grid)
        return torch.cat((self.class_token.expand(x.shape[0], -1, -1), tokens), 1).add_(position)


class Block(nn.Module):
    """``x + attention(norm(x))``, then ``x + mlp(norm(x))``."""

    def __init__(self, width: int, mlp: int, heads: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(width, mlp), GELU(), nn.Linear(mlp, width))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = add(self.drop_path(self.attention(self.norm1(x))), x)
        return add(self.drop_path(self.mlp(self.norm2(x))), x)


def add(residual: Tensor, x: Tensor) -> Tensor:
    """The sum, into the memory of `residual` when no gradient is wanted; it may be a view, costly to track."""
    return residual + x if residual.requires_grad else residual.add_(x)


class Attention(nn.Module):
    """Multi-head self-attention; PyTorch picks its fused kernel, which never stores the L x L matrix."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, length, width = x.shape
        qkv = self.qkv(x).view(n, length, 3, self.heads, width // self.heads)
        q_nhld, k_nhld, v_nhld = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(q_nhld, k_nhld, v_nhld)
        out: Tensor = self.project(mixed.transpose(1, 2).reshape(n, length, width))
        return out


def resize_position(position: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """Positions ``(1, 1 + h·w, C)`` on another grid, by bicubic interpolation; the class token stays."""
    grid = position[:, 1:].reshape(1, *old, -1).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, size=new, mode="bicubic", antialias=True)
    return torch.cat((position[:, :1], grid.flatten(2).transpose(1, 2)), 1)
