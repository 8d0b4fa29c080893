"""Do the pixels confirm a grouping? How much more alike two images of one group are than two of different groups."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

_TRIPLETS = 20_000
_RESAMPLES = 200
_SHUFFLES = 20


class Evidence(NamedTuple):
    """What the pixels say about a grouping."""

    alike: float
    low: float
    chance: float

    @property
    def confidence(self) -> float:
        if np.isnan(self.low) or self.chance >= 1:
            return 0.0
        return float(max(0.0, (self.low - self.chance) / (1 - self.chance)))


def group_evidence(descriptors: Floats, groups: ArrayLike, targets: ArrayLike, *, seed: int = 0) -> Evidence:
    """How much more alike images of one group are than images of two, within a class.

    From triplets: an image, another one of its group and class, and one of its class from another group. NaN when
    there are none.
    """
    rng = np.random.default_rng(seed)
    unit = np.unique(np.asarray(groups), return_inverse=True)[1]
    y = np.asarray(targets, dtype=np.int64)
    anchors, wins = _triplets(descriptors, unit, y, rng)
    if not len(anchors):
        return Evidence(np.nan, np.nan, np.nan)
    shuffled = []
    for _ in range(_SHUFFLES):
        of = unit.copy()
        for value in np.unique(y):
            rows = np.flatnonzero(y == value)
            of[rows] = rng.permutation(unit[rows])
        shuffled.append(mean_or_nan(_triplets(descriptors, of, y, rng)[1]))
    low = lowest(unit[anchors], wins, rng)
    return Evidence(mean_or_nan(wins), low, float(np.nanquantile(shuffled, 0.95)))


def mean_or_nan(wins: Doubles) -> float:
    """Mean of `wins`; NaN without any."""
    return float(wins.mean()) if len(wins) else float("nan")


def lowest(unit: Ints, wins: Doubles, rng: np.random.Generator) -> float:
    """Lower end of the 95 % interval of the mean of `wins` `(T,)`, drawing whole units; NaN below three units."""
    names, number = np.unique(unit, return_inverse=True)
    if len(names) < 3:
        return float("nan")  # nothing shows how they differ
    total, count = np.bincount(number, weights=wins), np.bincount(number)
    drawn = rng.integers(0, len(names), (_RESAMPLES, len(names)))
    return float(np.quantile(total[drawn].sum(axis=1) / count[drawn].sum(axis=1), 0.025))


def _triplets(x: Floats, unit: Ints, y: Ints, rng: np.random.Generator) -> tuple[Ints, Doubles]:
    """Anchors, and 1 where the one of the same group is more alike than the other (ties one half)."""
    cell = np.unique(np.stack([y, unit]), axis=1, return_inverse=True)[1].ravel()
    rows = np.argsort(cell, kind="stable")  # sorted by class, then group: classes and cells are spans
    position = np.empty_like(rows)
    position[rows] = np.arange(len(rows))
    size = np.bincount(cell)
    first = np.cumsum(size) - size
    images = np.bincount(y)
    before = np.cumsum(images) - images

    possible = np.flatnonzero((size[cell] > 1) & (size[cell] < images[y]))
    if not len(possible):
        return possible, np.empty(0)
    anchors = np.resize(rng.permutation(possible), max(min(_TRIPLETS, 4 * len(possible)), 1))
    of = cell[anchors]
    step = rng.integers(1, size[of])
    same = rows[first[of] + (position[anchors] - first[of] + step) % size[of]]
    outside = rng.integers(0, images[y[anchors]] - size[of])  # counted from behind the cell, around its class
    start = before[y[anchors]]
    other = rows[start + (first[of] + size[of] - start + outside) % images[y[anchors]]]
    near = np.einsum("nd,nd->n", x[anchors], x[same])
    far = np.einsum("nd,nd->n", x[anchors], x[other])
    return anchors, (near > far) + 0.5 * (near == far)
