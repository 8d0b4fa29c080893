"""Which images to label next: those the inspector is unsure of, and which differ from what is labelled already."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from eyeline.errors import EyelineError
from eyeline.verdicts.metrics import Floats, Ints


def uncertainty(probabilities: ArrayLike) -> Floats:
    """Entropy of each row of `(N, K)`, 0 for sure and 1 for all classes alike."""
    p = np.asarray(probabilities, dtype=np.float64)
    terms = np.where(p > 0, p * np.log(np.where(p > 0, p, 1.0)), 0.0)
    return np.asarray(-terms.sum(axis=1) / np.log(p.shape[1]), dtype=np.float64)


def choose_next(features: ArrayLike, unsure: ArrayLike, labelled: ArrayLike, *, count: int = 20) -> Ints:
    """Rows of `features` `(M, C)` to label next, the most useful first.

    Greedy k-centre (Sener and Savarese 2018): each time the image that is farthest from all that is labelled or chosen,
    its distance multiplied by how `unsure` `(M,)` the inspector is. Of a burst of like pictures one is chosen, not all.

    Parameters
    ----------
    labelled : features `(N, C)` of the labelled images; both are scaled by their spread.
    """
    x, known = np.asarray(features, dtype=np.float64), np.asarray(labelled, dtype=np.float64)
    weight = np.asarray(unsure, dtype=np.float64)
    if x.ndim != 2 or x.shape[1:] != known.shape[1:] or weight.shape != x.shape[:1]:
        raise EyelineError(f"features {x.shape}, labelled {known.shape} and unsure {weight.shape} do not fit")
    if count < 1:
        raise EyelineError(f"{count} images to choose", code="bad_option")
    scale = known.std(axis=0) + 1e-6 * max(1e-12, float(np.abs(known).max()))
    x, known = x / scale, known / scale
    nearest = np.sqrt(np.maximum(_squared(x, known).min(axis=1), 0.0))
    chosen: list[int] = []
    left = np.ones(len(x), dtype=bool)
    for _ in range(min(count, len(x))):
        # Sure images come last, by distance alone.
        value = np.where(left, nearest * (weight + 1e-9), -1.0)
        best = int(value.argmax())
        chosen.append(best)
        left[best] = False
        nearest = np.minimum(nearest, np.sqrt(np.maximum(_squared(x, x[best : best + 1])[:, 0], 0.0)))
    return np.array(chosen, dtype=np.int64)


def _squared(a: Floats, b: Floats) -> Floats:
    return np.asarray((a**2).sum(axis=1)[:, None] - 2 * a @ b.T + (b**2).sum(axis=1)[None], dtype=np.float64)
