"""The effective receptive field: where inside the receptive field the influence really is.

Luo, Li, Urtasun, Zemel, "Understanding the Effective Receptive Field" (arXiv 1701.04128): set the gradient of
the centre unit to 1 (here with random signs over channels), propagate it to the image, and average its absolute
value. The result is close to a Gaussian that fills a small part of the theoretical field; training enlarges it.
With ReLU the gradient depends on the image and on the weights, so at least twenty images are asked for and
their spread is given.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from eyeline.anatomy.batchnorm import reestimate_batch_norm
from eyeline.anatomy.measure import describe
from eyeline.anatomy.modes import inference_mode_of
from eyeline.anatomy.probe import as_map, capture, find_layer
from eyeline.anatomy.table import positions
from eyeline.errors import EyelineError
from eyeline.progress import Progress, silent

SHARES = (50, 68, 95)  # per cent of the influence
FEWEST_IMAGES = 20


@dataclass(frozen=True, kw_only=True, eq=False)
class EffectiveField:
    """The influence of the image's pixels on the centre unit of a layer.

    Attributes
    ----------
    influence : (H, W), mean absolute gradient over images and channels, summing to 1.
    center : (row, column) of the unit's centre in pixels.
    radius : per cent of the influence to the radius in pixels of the disc around `center` that holds it.
    spread : standard deviation of these radii from image to image.
    sigma : of the isotropic Gaussian that fits best (maximum likelihood), in pixels.
    theoretical : (rows, columns) of the receptive field along the longest path; the image where global.
    """

    layer: str
    images: int
    influence: NDArray[np.float64]
    center: tuple[float, float]
    radius: dict[int, float]
    spread: dict[int, float]
    sigma: float
    theoretical: tuple[int, int]

    def to_dict(self) -> dict[str, Any]:
        """Plain values; the influence itself is left out."""
        return {key: value for key, value in vars(self).items() if key != "influence"}


def effective_field(
    net: nn.Module,
    images: Tensor,
    *,
    layer: str | None = None,
    batch: int = 8,
    progress: Progress = silent,
) -> EffectiveField:
    """Measure the effective field of the centre unit of `layer` (default: the last map) on `images`.

    Parameters
    ----------
    images : (N, C, H, W), prepared as the network wants them; N at least 20.

    Raises
    ------
    EyelineError : too few images, no such layer, or a unit without any gradient.
    """
    if images.ndim != 4 or len(images) < FEWEST_IMAGES:
        raise EyelineError(
            f"images of shape {tuple(images.shape)}: allowed are (N, C, H, W) with N at least {FEWEST_IMAGES}",
            code="too_few_images",
            hint="one image or one seed is not a measurement",
        )
    table = describe(net, images.shape[1:])
    row, module = find_layer(net, table, layer)
    field, sides = row.receptive_field, positions(row)
    assert field is not None
    assert sides is not None
    h, w = sides
    unit = (h // 2, w // 2)
    rows, columns = (c + u * s for c, u, s in zip(field.center, unit, field.stride, strict=True))

    maps: list[NDArray[np.float64]] = []
    with inference_mode_of(net):
        for start in range(0, len(images), batch):
            part = images[start : start + batch].detach().clone().requires_grad_()
            with torch.enable_grad():
                output = as_map(capture(net, [module], lambda part=part: net(part))[0], (h, w))  # type: ignore[misc]
                center = output[:, :, unit[0], unit[1]]
                gradient = torch.autograd.grad((center * _signs(center)).sum(), part)[0]
            maps += list(gradient.abs().mean(1).double().cpu().numpy())
            progress("effective field", min(start + batch, len(images)), len(images), row.name)
    alive = np.array([m / m.sum() for m in maps if m.sum() > 0])
    if len(alive) == 0:
        raise EyelineError(f"the centre unit of {row.name} has no gradient on any image", code="dead_unit")
    distance = np.hypot(
        np.arange(images.shape[2])[:, None] - rows, np.arange(images.shape[3])[None, :] - columns
    )
    influence = alive.mean(0)
    singles = {share: [_radius(m, distance, share) for m in alive] for share in SHARES}
    size = tuple(images.shape[2:]) if field.is_global else field.max
    return EffectiveField(
        layer=row.name,
        images=len(alive),
        influence=influence,
        center=(float(rows), float(columns)),
        radius={share: _radius(influence, distance, share) for share in SHARES},
        spread={share: float(np.std(radii)) for share, radii in singles.items()},
        sigma=float(np.sqrt((influence * distance**2).sum() / 2)),
        theoretical=(int(size[0]), int(size[1])),
    )


def against_untrained(
    net: nn.Module, images: Tensor, *, layer: str | None = None, seed: int = 0
) -> tuple[EffectiveField, EffectiveField]:
    """The effective field of `net` as it is, and of the same network freshly initialised."""
    fresh = untrained_copy(net, seed=seed, images=images)
    return effective_field(net, images, layer=layer), effective_field(fresh, images, layer=layer)


def untrained_copy(net: nn.Module, *, seed: int = 0, images: Tensor | None = None) -> nn.Module:
    """A copy of `net` with every layer initialised anew (its own rule, else PyTorch's).

    With `images`, batch norms get statistics of them, as the first steps of training would give. Parameters
    that no `reset_parameters` covers (class tokens, layer scales) keep their values.
    """
    fresh = copy.deepcopy(net)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in fresh.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
        initialise = getattr(fresh, "initialise", None)
        if callable(initialise):
            fresh.apply(initialise)
    if images is not None:
        reestimate_batch_norm(fresh, images)
    return fresh


def _signs(center: Tensor) -> Tensor:
    """+1 or -1 a channel, always the same: a plain sum over channels is constant after a layer norm."""
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(0, 2, (center.shape[1],), generator=generator) * 2 - 1
    return signs.to(center)


def _radius(influence: NDArray[np.float64], distance: NDArray[np.float64], share: int) -> float:
    order: NDArray[np.int64] = np.argsort(distance, axis=None)
    inside = np.cumsum(influence.ravel()[order]) / influence.sum()
    return float(distance.ravel()[order][np.searchsorted(inside, share / 100)])


def shares_text(field: EffectiveField, shares: Sequence[int] = SHARES) -> str:
    """``"50 % within 31 px, 95 % within 88 px"``."""
    return ", ".join(f"{share} % within {field.radius[share]:.0f} px" for share in shares)
