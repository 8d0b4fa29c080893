"""Progressive learning (Tan and Le 2021, "EfficientNetV2", arXiv 2104.00298, §4.2): small images and little
regularisation first, full size and all of it last. Early steps cost less, and the last quarter learns what is thin.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from eyeline.networks import Network
from eyeline.training.recipe import Recipe

STAGES = 4
# Where dropout and RandAugment begin, as a share of their setting; mixup and CutMix begin at nothing (table 6).
START = 1 / 3
MULTIPLE = 16  # sizes are multiples of this many pixels


def stages(recipe: Recipe) -> tuple[Recipe, ...]:
    """The recipe of each stage; its `progressive` is the share of the side in that stage.

    Sizes and strengths rise in equal steps (algorithm 1 of the paper).
    """
    if recipe.progressive == 1:
        return (recipe,) * STAGES
    found = []
    for number in range(STAGES):
        done = number / (STAGES - 1)
        strength = START + (1 - START) * done
        found.append(
            recipe.replace(
                progressive=recipe.progressive + (1 - recipe.progressive) * done,
                dropout=recipe.dropout * strength,
                magnitude=recipe.magnitude * strength,
                mixup=recipe.mixup * done,
                cutmix=recipe.cutmix * done,
            )
        )
    return tuple(found)


def stage_of(step: int, steps: int) -> int:
    """The number of the stage that `step` of `steps` belongs to: quarters of the run."""
    return min(STAGES - 1, STAGES * step // max(1, steps))


def staged_size(side: int, share: float, smallest: int) -> int:
    """`share` of a side in pixels, a multiple of `MULTIPLE` between `smallest` and the side itself."""
    if share == 1:
        return side
    return min(side, max(smallest, MULTIPLE, MULTIPLE * round(share * side / MULTIPLE)))


def shrink(x: Tensor, share: float, smallest: int) -> Tensor:
    """Images ``(N, C, H, W)`` at `share` of their sides: bilinear, with the support widened against aliasing."""
    size = [staged_size(side, share, smallest) for side in x.shape[2:]]
    if size == list(x.shape[2:]):
        return x
    return F.interpolate(x, size, mode="bilinear", antialias=True, align_corners=False)


def check_sizes(net: Network, recipe: Recipe, height: int, width: int) -> None:
    """Raise EyelineError when the network does not take one of the sizes that training will use."""
    for stage in stages(recipe):
        sides = (staged_size(side, stage.progressive, net.minimum_size) for side in (height, width))
        net.check_size(*sides)
