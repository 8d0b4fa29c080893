"""Random erasing (Zhong et al. 2020, arXiv 1708.04896): a rectangle of some images is painted over.

It makes a network look at more than one place. It also hides defects: an image whose only defect was erased is wrongly
labelled from then on. Off unless the recipe asks for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eyeline.training.randomness import Purpose, stream
from eyeline.training.recipe import Recipe

AREA = (0.02, 1 / 3)  # of the picture
ASPECT = (0.3, 1 / 0.3)  # height over width
ATTEMPTS = 10


def erase(
    images: NDArray[np.uint8],
    recipe: Recipe,
    *,
    seed: int,
    epoch: int,
    indices: Sequence[int] | NDArray[np.int64],
) -> NDArray[np.uint8]:
    """Images uint8 ``(N, H, W, C)``, each erased or not by (seed, epoch, index) alone.

    The rectangle gets the image's mean colour, as a patch of tape would: the colour furthest from saying anything.
    """
    if not recipe.erasing:
        return images
    erased = images.copy()
    for picture, index in zip(erased, indices, strict=True):
        draw = stream(seed, Purpose.ERASING, epoch, int(index))
        if draw.random() < recipe.erasing:
            top, left, bottom, right = erased_box(picture.shape[0], picture.shape[1], draw)
            picture[top:bottom, left:right] = picture.mean((0, 1)).round()
    return erased


def erased_box(height: int, width: int, draw: np.random.Generator) -> tuple[int, int, int, int]:
    """Top, left, bottom and right of a rectangle with area and aspect in range; empty if none fits."""
    for _ in range(ATTEMPTS):
        area = height * width * draw.uniform(*AREA)
        aspect = math.exp(draw.uniform(math.log(ASPECT[0]), math.log(ASPECT[1])))
        rows, columns = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < rows < height and 0 < columns < width:
            top = int(draw.integers(height - rows + 1))
            left = int(draw.integers(width - columns + 1))
            return top, left, top + rows, left + columns
    return 0, 0, 0, 0
