"""mixup and CutMix: a batch blended with itself in another order, images and labels alike.

A blend is no picture a camera could take, and a piece put over a defect hides it while the label still tells of it.
Both help when a network from scratch sees many images many times; for a few hundred photographs they are off.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from eyeline.training.objective import Labels
from eyeline.training.randomness import Purpose, stream
from eyeline.training.recipe import Recipe


def mix(x: Tensor, labels: Labels, recipe: Recipe, *, seed: int, step: int) -> tuple[Tensor, Labels]:
    """Blend images ``(N, C, H, W)`` and their labels; partners and shares depend on (seed, step) alone.

    With `recipe.mixup` and `recipe.cutmix` both on, each step takes one of them with equal chance.
    """
    if not recipe.mixup and not recipe.cutmix:
        return x, labels
    draw = stream(seed, Purpose.MIXING, step)
    order = torch.from_numpy(draw.permutation(len(x))).to(x.device)
    cut = bool(recipe.cutmix) and (not recipe.mixup or draw.random() < 0.5)
    alpha = recipe.cutmix if cut else recipe.mixup
    share = float(draw.beta(alpha, alpha))
    if cut:
        x, share = cutmix(x, order, cut_box(x.shape[2], x.shape[3], share, draw))
    else:
        x = mixup(x, order, share)
    return x, labels.blended(order, share)


def mixup(x: Tensor, order: Tensor, share: float) -> Tensor:
    """``share * x + (1 - share) * x[order]`` (Zhang et al. 2018, arXiv 1710.09412, §2)."""
    return x.mul(share).add_(x[order], alpha=1 - share)


def cutmix(x: Tensor, order: Tensor, box: tuple[int, int, int, int]) -> tuple[Tensor, float]:
    """The rectangle `box` (top, left, bottom, right) from the image at `order`, and the share of area that stays.

    Yun et al. 2019, arXiv 1905.04899, §3.1.
    """
    top, left, bottom, right = box
    mixed = x.clone()
    mixed[:, :, top:bottom, left:right] = x[order, :, top:bottom, left:right]
    return mixed, 1 - (bottom - top) * (right - left) / (x.shape[2] * x.shape[3])


def cut_box(height: int, width: int, share: float, draw: np.random.Generator) -> tuple[int, int, int, int]:
    """A rectangle of the picture's shape around a random centre, ``1 - share`` of the area before the edges cut it."""
    half = 0.5 * math.sqrt(1 - share)
    y, x = int(draw.integers(height)), int(draw.integers(width))
    rows, columns = int(half * height), int(half * width)
    return max(y - rows, 0), max(x - columns, 0), min(y + rows, height), min(x + columns, width)
