"""RandAugment (Cubuk et al. 2020, arXiv 1909.13719) with the operations that leave a defect where and what it is.

Each image gets a few operations drawn from one list, all at one magnitude. Of the published list:

=====================  ==========================================================================================
identity               kept
brightness, contrast   kept: a factor of 1 ± 0.9 M / 30
color                  kept for three channels: a factor of 1 ± 0.9 M / 30; changes nothing on grey pictures
sharpness              kept upwards only, 1 + 0.9 M / 30: downwards it blurs thin cracks
auto contrast          kept: stretches the range, and no two grey levels become one
equalize               left out: rare grey levels, such as a small defect's, fall together with their neighbours
posterize, solarize    left out: faint defects are rounded away; no camera turns bright into dark
shear, rotate          left out: interpolation blurs thin cracks
translate              left out: a defect at the border leaves the picture; `Recipe.shift` moves a little instead
=====================  ==========================================================================================

What is kept gives the same bytes as ``torchvision.transforms.v2.functional`` on uint8.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from eyeline.training.randomness import Purpose, stream
from eyeline.training.recipe import Recipe

LARGEST = 30.0  # magnitude
RANGE = 0.9  # of every factor, at the largest magnitude
GREY = (0.2989, 0.587, 0.114)  # weights of red, green and blue


def rand_augment(
    images: NDArray[np.uint8],
    recipe: Recipe,
    *,
    seed: int,
    epoch: int,
    indices: Sequence[int] | NDArray[np.int64],
) -> NDArray[np.uint8]:
    """Images uint8 ``(N, H, W, C)`` after `recipe.rand_augment` operations each, by (seed, epoch, index) alone."""
    if not recipe.rand_augment:
        return images
    names = list(OPERATIONS)
    change = RANGE * recipe.magnitude / LARGEST
    changed = torch.from_numpy(np.array(images))
    for position, index in enumerate(indices):
        draws = stream(seed, Purpose.OPERATIONS, epoch, int(index)).random((recipe.rand_augment, 2))
        for which, sign in draws:
            name = names[int(which * len(names))]
            up = name == "sharpness" or sign < 0.5
            changed[position] = OPERATIONS[name](changed[position], 1 + change if up else 1 - change)
    return changed.numpy()


def brightness(image: Tensor, factor: float) -> Tensor:
    """``factor * image``, clipped, of uint8 ``(H, W, C)``."""
    return _bytes(image.float().mul_(factor))


def contrast(image: Tensor, factor: float) -> Tensor:
    """Every value moved away from (factor above 1) or towards the mean grey of the picture."""
    return _blend(image, _grey(image).mean(), factor)


def color(image: Tensor, factor: float) -> Tensor:
    """Every colour moved away from or towards its grey; grey pictures have none."""
    if image.shape[2] == 1:
        return image
    return _blend(image, _grey(image), factor)


def sharpness(image: Tensor, factor: float) -> Tensor:
    """Every value moved away from the mean of its 3x3 neighbourhood, the middle counting five times.

    The outermost pixels, which have no whole neighbourhood, stay.
    """
    if min(image.shape[:2]) < 3:
        return image
    values = image.float().permute(2, 0, 1)[:, None]
    kernel = torch.tensor([[1.0, 1.0, 1.0], [1.0, 5.0, 1.0], [1.0, 1.0, 1.0]]).div(13)
    smooth = F.conv2d(values, kernel[None, None]).round_()
    inner = values[:, :, 1:-1, 1:-1]
    inner.add_(smooth.sub_(inner), alpha=1 - factor)
    return _bytes(values[:, 0].permute(1, 2, 0))


def auto_contrast(image: Tensor, factor: float) -> Tensor:
    """Each channel stretched so that its darkest value becomes 0 and its brightest 255; there is no strength."""
    values = image.float()
    low, high = values.amin((0, 1)), values.amax((0, 1))
    flat = low == high
    scale = torch.where(flat, 1.0, (high - low) * (1 / 255))
    return _bytes(values.sub_(torch.where(flat, 0.0, low)).div_(scale))


def _identity(image: Tensor, factor: float) -> Tensor:
    return image


OPERATIONS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "identity": _identity,
    "brightness": brightness,
    "contrast": contrast,
    "color": color,
    "sharpness": sharpness,
    "auto_contrast": auto_contrast,
}


def _grey(image: Tensor) -> Tensor:
    """Grey values ``(H, W, 1)`` in whole levels."""
    if image.shape[2] == 1:
        return image.float()
    red, green, blue = image.float().unbind(2)
    return red.mul(GREY[0]).add_(green, alpha=GREY[1]).add_(blue, alpha=GREY[2]).floor_()[:, :, None]


def _blend(image: Tensor, other: Tensor, factor: float) -> Tensor:
    return _bytes(image.float().mul_(factor).add_(other, alpha=1 - factor))


def _bytes(values: Tensor) -> Tensor:
    return values.clamp_(0, 255).to(torch.uint8)
