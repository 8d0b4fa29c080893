"""Augmentation for inspection: every view is one that the camera could have taken, and none loses the defect.

No random crop, no erasing, no rotation by odd angles: a scratch at the border must stay in the picture, and
thin cracks must not be blurred by interpolation. What remains is exact on pixels: mirror images, right-angle
turns, small shifts with repeated edges; then brightness and contrast.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eyeline.training.randomness import Purpose, stream
from eyeline.training.recipe import Recipe


def augment(
    images: NDArray[np.uint8],
    recipe: Recipe,
    *,
    seed: int,
    epoch: int,
    indices: Sequence[int] | NDArray[np.int64],
) -> tuple[NDArray[np.uint8], Tensor, Tensor]:
    """Random views of a batch.

    Parameters
    ----------
    images : uint8 ``(N, H, W, C)``.
    indices : the number of each image in its table. The view depends on (seed, epoch, index) alone.

    Returns
    -------
    The moved images, uint8 ``(N, H, W, C)``, and a gain and an offset for each, float32 ``(N, 1, 1, 1)``: the
    view's values are ``gain * image + offset`` in grey levels. They are applied after the conversion to float,
    so that nothing is rounded or clipped twice.
    """
    count, height, width, _ = images.shape
    moved = np.empty_like(images)
    gains, offsets = np.ones(count, np.float32), np.zeros(count, np.float32)
    for position, index in enumerate(indices):
        draw = stream(seed, Purpose.AUGMENTATION, epoch, int(index)).random(7)
        view = images[position]
        if recipe.turns and not recipe.upright and height == width and draw[0] < 0.5:
            view = view.swapaxes(0, 1)
        rows = _moved(height, recipe.shift, draw[1], recipe.half_turn and draw[2] < 0.5)
        columns = _moved(width, recipe.shift, draw[3], recipe.flips and draw[4] < 0.5)
        moved[position] = view[rows[:, None], columns[None, :]]
        gain = 1 + recipe.contrast * (2 * draw[5] - 1)
        mean = float(view[::4, ::4].mean())  # contrast turns around the picture's own mean
        gains[position] = gain
        offsets[position] = mean * (1 - gain) + 255 * recipe.brightness * (2 * draw[6] - 1)
    shape = (count, 1, 1, 1)
    return moved, torch.from_numpy(gains).view(shape), torch.from_numpy(offsets).view(shape)


def _moved(side: int, shift: float, draw: float, flip: bool) -> NDArray[np.intp]:
    """Where each row (or column) of the view comes from: shifted, edges repeated, perhaps mirrored."""
    limit = round(shift * side)
    offset = int((2 * limit + 1) * draw) - limit
    index = np.clip(np.arange(side) - offset, 0, side - 1)
    return index[::-1] if flip else index
