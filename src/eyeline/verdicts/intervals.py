"""How sure a figure is: exact binomial bounds, AUROC variance, and the bootstrap by image or by group.

Two-sided intervals put half of 1 - confidence into each tail. Which interval serves which figure is decided
in `judge.py` and explained in docs/verdicts.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from eyeline.errors import EyelineError
from eyeline.verdicts.metrics import Floats, checked_scores

Bounds = tuple[float, float]

# Numbers held at once while resampling: 4 million doubles are 32 MB.
CHUNK = 4_000_000


# --- binomial proportions -------------------------------------------------------------------------


def upper_bound(hits: ArrayLike, trials: ArrayLike, confidence: float = 0.95) -> Floats:
    """One-sided exact upper bound of a proportion (Clopper and Pearson 1934); vectorised.

    Counts may be fractions, which is how an effective sample size enters. 1 where there are no trials.
    """
    from scipy.special import betaincinv

    k, n = np.broadcast_arrays(np.asarray(hits, np.float64), np.asarray(trials, np.float64))
    bounded = n - k > 0
    value = betaincinv(np.where(bounded, k + 1, 1), np.where(bounded, n - k, 1), confidence)
    return np.asarray(np.where(bounded, value, 1.0), dtype=np.float64)


def lower_bound(hits: ArrayLike, trials: ArrayLike, confidence: float = 0.95) -> Floats:
    """One-sided exact lower bound of a proportion; the mirror of `upper_bound`."""
    k, n = np.asarray(hits, np.float64), np.asarray(trials, np.float64)
    return 1.0 - upper_bound(n - k, n, confidence)


def clopper_pearson(hits: float, trials: float, confidence: float = 0.95) -> Bounds:
    """Exact two-sided interval of a proportion: covers at least as often as it says. For promises."""
    one_sided = (1 + confidence) / 2
    return float(lower_bound(hits, trials, one_sided)), float(upper_bound(hits, trials, one_sided))


def wilson(hits: float, trials: float, confidence: float = 0.95) -> Bounds:
    """Wilson 1927 score interval: covers as often as it says on average. For display."""
    if trials <= 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    p, z2n = hits / trials, z * z / trials
    centre = (p + z2n / 2) / (1 + z2n)
    half = z / (1 + z2n) * math.sqrt(p * (1 - p) / trials + z2n / (4 * trials))
    return max(0.0, centre - half), min(1.0, centre + half)


# --- AUROC ----------------------------------------------------------------------------------------


def placements(scores: ArrayLike, is_defect: ArrayLike) -> tuple[Floats, Floats]:
    """Placement values (DeLong et al. 1988), ties one half: of each defect among the goods and the reverse.

    Returns the share of goods below each defect `(m,)` and the share of defects above each good `(n,)`; both
    average to the AUROC. Computed from ranks as in Sun and Xu 2014.
    """
    s, d = checked_scores(scores, is_defect)
    defects, goods = s[d], s[~d]
    return _share_below(defects, goods), 1.0 - _share_below(goods, defects)


def _share_below(values: Floats, among: Floats) -> Floats:
    among = np.sort(among)
    below = np.searchsorted(among, values, side="left") + np.searchsorted(among, values, side="right")
    return below / (2.0 * len(among))


def delong_variance(scores: ArrayLike, is_defect: ArrayLike) -> float:
    """DeLong variance of the AUROC: S10 / defects + S01 / goods. Needs two of each."""
    of_defects, of_goods = placements(scores, is_defect)
    if min(len(of_defects), len(of_goods)) < 2:
        raise EyelineError("the DeLong variance needs at least two defects and two good parts")
    return float(of_defects.var(ddof=1) / len(of_defects) + of_goods.var(ddof=1) / len(of_goods))


def delong(scores: ArrayLike, is_defect: ArrayLike, confidence: float = 0.95) -> Bounds:
    """AUROC interval from the DeLong variance on the logit scale, which keeps it inside (0, 1)."""
    area = float(placements(scores, is_defect)[0].mean())
    deviation = math.sqrt(delong_variance(scores, is_defect))
    if not 0 < area < 1 or deviation == 0:
        kind = "at a perfect AUROC" if area in (0.0, 1.0) else "where all scores are equal"
        raise EyelineError(f"the DeLong interval does not exist {kind}; bound it by pairs instead")
    return logit_interval(area, deviation, confidence)


def logit_interval(value: float, deviation: float, confidence: float, units: float = math.inf) -> Bounds:
    """Interval of a share strictly between 0 and 1 from its standard error, on the logit scale.

    With few `units` behind the standard error, Student's t with units - 1 degrees of freedom takes the place of the
    normal quantile.
    """
    level = (1 + confidence) / 2
    quantile = NormalDist().inv_cdf(level) if math.isinf(units) else t_quantile(level, max(1.0, units - 1))
    half = quantile * deviation / (value * (1 - value))
    logit = math.log(value / (1 - value))
    return 1 / (1 + math.exp(min(half - logit, 700.0))), 1 / (1 + math.exp(-half - logit))


def auroc_by_pairs(area: float, pairs: int, confidence: float = 0.95) -> Bounds:
    """Careful AUROC interval for few defects, or none misranked: Clopper-Pearson on disjoint pairs.

    A defect beats a good part with probability AUROC, so `pairs` disjoint pairs are that many coin throws;
    the variance of the full estimate never exceeds theirs, A (1 - A) / min(m, n) (Birnbaum and Klose 1957).
    """
    return clopper_pearson(area * pairs, pairs, confidence)


def average_precision_separated(defects: int, goods: int, rate: float, confidence: float = 0.95) -> Bounds:
    """Interval of the average precision when every defect outranks every good part (the estimate is 1).

    At the lowest defect score t, at least a share R of all defects and at most a share F of all goods score
    above t, by the exact bounds for no misses (half of the risk each). Above t the precision at recall r is
    at least p r / (p r + (1 - p) F); its integral from 0 to R bounds the area. `rate` is the defect rate p.
    """
    each = (1 + confidence) / 2
    recall, false = float(lower_bound(defects, defects, each)), float(upper_bound(0, goods, each))
    x = (1 - rate) * false / rate
    return max(0.0, recall - x * math.log1p(recall / x)), 1.0


# --- bootstrap ------------------------------------------------------------------------------------


def bootstrap(
    statistics: Callable[[Floats], dict[str, Floats]],
    *,
    units: int,
    images: int,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Floats]:
    """Draw whole units (groups, or single images) with replacement and recompute every figure.

    `statistics` receives how often each unit was drawn, `(r, units)`, for r resamples at once, and returns
    arrays that start with the axis r. Returns the same names with all resamples, `(resamples, ...)`. Chunks
    are sized by `images`, so that memory stays flat however many there are.
    """
    rng = np.random.default_rng(seed)
    rows = max(1, CHUNK // max(images, units))
    parts = []
    for start in range(0, resamples, rows):
        parts.append(statistics(draw_counts(rng, units, min(rows, resamples - start))))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def draw_counts(rng: np.random.Generator, units: int, resamples: int) -> Floats:
    """How often each unit is drawn in `units` draws with replacement, `(resamples, units)`."""
    draws = rng.integers(0, units, (resamples, units))
    draws += np.arange(resamples)[:, None] * units
    counts = np.bincount(draws.ravel(), minlength=resamples * units)
    return counts.reshape(resamples, units).astype(np.float64)


def percentile(samples: Floats, confidence: float = 0.95, units: float = math.inf) -> Bounds:
    """Percentile interval of bootstrap samples `(R,)`; samples where the figure is undefined are left out.

    With few units the plain percentiles are too narrow: a resample spreads by sqrt((n - 1) / n) too little,
    and the normal quantile ignores that the spread is itself estimated. The levels are widened for both
    ("expanded percentiles", Hesterberg 2015); with many units this changes nothing.
    """
    known = samples[~np.isnan(samples)]
    if len(known) == 0 or units <= 1:
        return math.nan, math.nan
    level = expanded_level((1 + confidence) / 2, units)
    low, high = np.quantile(known, [1 - level, level])
    return float(low), float(high)


def expanded_level(level: float, units: float) -> float:
    """The bootstrap quantile that stands for `level` when there are few units (more than 1)."""
    if math.isinf(units):
        return level
    return NormalDist().cdf(math.sqrt(units / (units - 1)) * t_quantile(level, units - 1))


def t_quantile(probability: float, degrees: float) -> float:
    """Quantile of Student's t; the degrees of freedom may be a fraction."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))
