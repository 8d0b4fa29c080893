"""What grouped images are worth: images of one part, lot or module err together and count as fewer.

`hits` and `trials` are counts per group. `hits` may have leading axes `(..., G)`, such as one row for each
threshold tried; `trials` is `(G,)`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from eyeline.verdicts.intervals import (
    Bounds,
    bootstrap,
    clopper_pearson,
    expanded_level,
    t_quantile,
    upper_bound,
)
from eyeline.verdicts.metrics import Floats, Ints, ratio
from eyeline.verdicts.rates import Rate

BY_DESIGN_EFFECT = "Clopper-Pearson with the design effect of groups"


def group_numbers(groups: ArrayLike) -> tuple[Ints, int]:
    """Group names `(N,)` as numbers 0..G-1, and G."""
    names, numbers = np.unique(np.asarray(groups), return_inverse=True)
    return numbers.astype(np.int64), len(names)


def effective_groups(sizes: ArrayLike) -> float:
    """How many groups of equal size these are worth: (sum n)^2 / sum n^2 (Kish 1965). 0 without images."""
    n = np.asarray(sizes, dtype=np.float64)
    return float(n.sum() ** 2 / (n**2).sum()) if n.any() else 0.0


def intraclass_correlation(values: ArrayLike, groups: ArrayLike) -> float:
    """Share of the variance of `values` `(N,)` that lies between groups, by one-way analysis of variance.

    Donner 1986, unequal group sizes; kept within 0 and 1. One group alone cannot be told from its images: 1.
    """
    x = np.asarray(values, dtype=np.float64)
    unit, g = group_numbers(groups)
    n = np.bincount(unit).astype(np.float64)
    total = n.sum()
    if g < 2:
        return 1.0
    if total == g:  # one image each: independent by definition of a group
        return 0.0
    means = np.bincount(unit, weights=x) / n
    between = float((n * (means - x.mean()) ** 2).sum()) / (g - 1)
    within = float(((x - means[unit]) ** 2).sum()) / (total - g)
    size = (total - (n**2).sum() / total) / (g - 1)
    spread = between + (size - 1) * within
    return float(np.clip((between - within) / spread, 0.0, 1.0)) if spread > 0 else 0.0


def design_effect(sizes: ArrayLike, correlation: float) -> float:
    """1 + (m - 1) ICC, with m the group size that an average image sees (Kish 1965)."""
    n = np.asarray(sizes, dtype=np.float64)
    return 1.0 + (float((n**2).sum() / n.sum()) - 1.0) * correlation


def few_groups(sizes: ArrayLike, level: float, images: float | None = None) -> float:
    """The price of learning a spread from few groups: the squared ratio of t quantiles, images over groups.

    Korn and Graubard 1998, with the groups counted as Kish's equal ones; near 1 for many groups.
    """
    if level <= 0.5:  # at the median no spread enters
        return 1.0
    degrees = max(1.0, effective_groups(sizes) - 1)
    total = float(np.sum(sizes)) if images is None else images
    return min(1.0, (t_quantile(level, max(1.0, total - 1)) / t_quantile(level, degrees)) ** 2)


def group_deviation(hits: ArrayLike, trials: ArrayLike) -> Floats:
    """Standard error of sum(hits) / sum(trials) with whole groups as the units: the delete-one jackknife.

    Shape `(...)`; NaN below two groups with images.
    """
    k, n = _filled(hits, trials)
    groups = len(n)
    if groups < 2:
        return np.full(k.shape[:-1], np.nan)
    without = (k.sum(axis=-1, keepdims=True) - k) / (n.sum() - n)
    rate = k.sum(axis=-1, keepdims=True) / n.sum()
    variance = (groups - 1) / groups * ((without - rate) ** 2).sum(axis=-1)
    return np.asarray(np.sqrt(variance), dtype=np.float64)


def effective_trials(hits: ArrayLike, trials: ArrayLike, level: float, images: float | None = None) -> Floats:
    """How many independent images the grouped ones are worth for a bound at one-sided `level`, `(...)`.

    As in Korn and Graubard 1998: the variance of independent images over the variance seen between groups,
    times `few_groups`. Never more than the images (`images` where the trials are weights and do not count
    them); infinite where no spread between groups is seen, so that callers must cap it.
    """
    k, n = _filled(hits, trials)
    total = float(n.sum()) if images is None else images
    p, deviation = k.sum(axis=-1) / n.sum(), group_deviation(k, n)
    seen = np.nan_to_num(deviation) > 1e-12
    worth = ratio(p * (1 - p), np.where(seen, deviation**2, 0.0)) * few_groups(n, level, total)
    return np.where(seen, np.clip(worth, 1.0, total), np.inf)


def _filled(hits: ArrayLike, trials: ArrayLike) -> tuple[Floats, Floats]:
    k, n = np.asarray(hits, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    return k[..., n > 0], n[n > 0]


def clopper_pearson_grouped(hits: ArrayLike, trials: ArrayLike, confidence: float = 0.95) -> Bounds:
    """Clopper-Pearson with the effective number of images (Korn and Graubard 1998), counts `(G,)`.

    When every group agrees, nothing shows how groups differ, and each group counts as one image.
    """
    k, n = _filled(hits, trials)
    if len(n) == 0:
        return 0.0, 1.0
    effective = min(float(effective_trials(k, n, (1 + confidence) / 2)), float(n.sum()))
    if np.isin(k.sum() / n.sum(), (0.0, 1.0)) or np.isnan(group_deviation(k, n)):
        effective = float(len(n))
    return clopper_pearson(float(k.sum() / n.sum()) * effective, effective, confidence)


def share_rate(hits: ArrayLike, groups: ArrayLike | None, confidence: float = 0.95) -> Rate:
    """The share of `hits` `(N,)` that are true, with its exact interval; by group where groups `(N,)` are given."""
    h = np.asarray(hits, dtype=bool)
    count, n = int(h.sum()), len(h)
    if n == 0:
        return Rate.empty()
    if groups is None:
        (low, high), method = clopper_pearson(count, n, confidence), "Clopper-Pearson"
    else:
        unit, units = group_numbers(groups)
        seen, sizes = np.bincount(unit, weights=h, minlength=units), np.bincount(unit, minlength=units)
        (low, high), method = clopper_pearson_grouped(seen, sizes, confidence), BY_DESIGN_EFFECT
    return Rate(value=count / n, low=low, high=high, method=method, n=n, count=count)


def careful_upper_bounds(
    hits: Floats, trials: Floats, *, worth: float, confidence: float, resamples: int, seed: int
) -> Floats:
    """One-sided upper bounds of the rates in the rows of `hits` `(T, G)`: the most careful of three.

    1. Clopper-Pearson with the effective number of images of `effective_trials`;
    2. the same with every group weighing alike, which a few large groups cannot sway;
    3. the group bootstrap.
    `worth` is an outside cap on the effective number, for rows where no group differs from another yet.
    """
    k, n = _filled(hits, trials)
    bounds = []
    for weighted, of in ((k, n), (k / n, np.ones_like(n))):
        effective = np.minimum(effective_trials(weighted, of, confidence, float(n.sum())), worth)
        bounds.append(upper_bound(weighted.sum(axis=1) / of.sum() * effective, effective, confidence))
    groups = effective_groups(n)
    if groups > 1:
        draws = bootstrap(
            lambda counts: {"rate": (counts @ k.T) / (counts @ n)[:, None]},
            units=len(n),
            images=len(n),
            resamples=resamples,
            seed=seed,
        )["rate"]
        bounds.append(np.quantile(draws, expanded_level(confidence, groups), axis=0))
    return np.asarray(np.max(bounds, axis=0), dtype=np.float64)
