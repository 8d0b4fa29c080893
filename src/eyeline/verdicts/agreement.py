"""Agreement beyond chance: Cohen's and Fleiss' kappa, with intervals over whole parts.

Calls are class numbers. Calls on one part are no independent witnesses, so an interval leaves out whole parts in turn
(jackknife) and is made on Fisher's z scale, which keeps it within -1 and 1.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from eyeline.errors import EyelineError
from eyeline.verdicts.clusters import group_numbers
from eyeline.verdicts.intervals import lower_bound, t_quantile
from eyeline.verdicts.metrics import Floats, ratio
from eyeline.verdicts.rates import Verdict


class Agreement(Verdict):
    """A kappa: 1 is full agreement, 0 what chance alone would give."""

    value: float | None  # None where it does not exist, such as when every call is the same
    low: float | None
    high: float | None
    method: str
    n: int  # decisions compared
    parts: int


def cohen_kappa(
    a: ArrayLike, b: ArrayLike, parts: ArrayLike | None = None, *, confidence: float = 0.95
) -> Agreement:
    """Kappa of two appraisers (Cohen 1960) over calls `(N,)` on the same things.

    `parts` `(N,)` names the part of each call; None takes every call as a part of its own.
    """
    x, y = np.asarray(a, dtype=np.int64), np.asarray(b, dtype=np.int64)
    if x.ndim != 1 or x.shape != y.shape:
        raise EyelineError(f"the two must judge the same things, not {x.shape} and {y.shape}")
    if len(x) == 0:
        return _unknown("nothing to compare")
    names, numbers = np.unique(np.concatenate([x, y]), return_inverse=True)
    k = len(names)
    x, y = numbers[: len(x)], numbers[len(x) :]
    unit, units = group_numbers(np.arange(len(x)) if parts is None else parts)
    cells = np.bincount((unit * k + x) * k + y, minlength=units * k * k)
    tables = cells.reshape(units, k, k).astype(np.float64)
    total = tables.sum(axis=0)
    return _agreement(_cohen(total), _cohen(total - tables), len(x), units, confidence)


def fleiss_kappa(calls: ArrayLike, parts: ArrayLike | None = None, *, confidence: float = 0.95) -> Agreement:
    """Kappa of R appraisers (Fleiss 1971): `calls` `(S, R)`, a row a thing judged, a column an appraiser.

    With the trials of one appraiser as columns it tells how well that appraiser agrees with itself.
    """
    c = np.asarray(calls, dtype=np.int64)
    if c.ndim != 2 or c.shape[1] < 2:
        raise EyelineError(f"calls must be a table of two or more appraisers, not {c.shape}")
    subjects, raters = c.shape
    if subjects == 0:
        return _unknown("nothing to compare")
    names, numbers = np.unique(c, return_inverse=True)
    votes = (numbers.reshape(c.shape)[:, :, None] == np.arange(len(names))).sum(axis=1).astype(np.float64)
    alike = ((votes**2).sum(axis=1) - raters) / (raters * (raters - 1))
    unit, units = group_numbers(np.arange(subjects) if parts is None else parts)
    sums = np.zeros((units, 2 + len(names)))  # of each part: things judged, agreement, votes
    np.add.at(sums, unit, np.column_stack([np.ones(subjects), alike, votes / raters]))
    total = sums.sum(axis=0)
    return _agreement(_fleiss(total), _fleiss(total - sums), subjects, units, confidence)


Observed = tuple[Floats, Floats]  # the share of agreement seen, and the share that chance would give


def _cohen(tables: Floats) -> Observed:
    """From tables `(..., K, K)` of calls."""
    n = tables.sum(axis=(-2, -1))
    by_chance = (tables.sum(axis=-1) * tables.sum(axis=-2)).sum(axis=-1)
    return ratio(np.trace(tables, axis1=-2, axis2=-1), n), ratio(by_chance, n**2)


def _fleiss(sums: Floats) -> Observed:
    n = sums[..., 0]
    return ratio(sums[..., 1], n), ratio((sums[..., 2:] ** 2).sum(axis=-1), n**2)


def _kappa(observed: Observed) -> Floats:
    seen, chance = observed
    return ratio(seen - chance, np.where(chance > 1 - 1e-12, 0.0, 1 - chance))


def _agreement(whole: Observed, without: Observed, n: int, parts: int, confidence: float) -> Agreement:
    value = float(_kappa(whole))
    if math.isnan(value):
        return _unknown("every call is the same: chance alone would agree", n, parts)
    level = (1 + confidence) / 2
    low: float | None = None
    high: float | None = None
    method = "too few parts for an interval"
    if value > 1 - 1e-12:
        # No disagreement was seen; so many parts still allow some.
        share, chance = float(lower_bound(parts, parts, level)), float(whole[1])
        low, high, method = (
            max(-1.0, (share - chance) / (1 - chance)),
            1.0,
            "exact bound on the parts that agree",
        )
    elif parts > 2:
        left = _kappa(without)
        left = left[~np.isnan(left)]
        deviation = math.sqrt((parts - 1) / parts * float(((left - left.mean()) ** 2).sum()))
        if deviation > 0 and value > -1 + 1e-12:
            z = math.atanh(value)
            half = t_quantile(level, parts - 1) * deviation / (1 - value**2)
            low, high, method = math.tanh(z - half), math.tanh(z + half), "jackknife over parts"
    return Agreement(value=value, low=low, high=high, method=method, n=n, parts=parts)


def _unknown(reason: str, n: int = 0, parts: int = 0) -> Agreement:
    return Agreement(value=None, low=None, high=None, method=reason, n=n, parts=parts)
