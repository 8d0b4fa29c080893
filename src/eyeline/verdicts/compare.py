"""Is one model better than another on the same images? Paired tests, by whole groups where known."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from eyeline.errors import EyelineError
from eyeline.verdicts.clusters import effective_groups, group_numbers
from eyeline.verdicts.intervals import bootstrap, clopper_pearson, percentile, placements
from eyeline.verdicts.metrics import Bools, Floats, Ranking, checked_scores
from eyeline.verdicts.rates import Verdict


class Comparison(Verdict):
    """The difference a - b of one figure on the same images, with a two-sided p-value for "no difference"."""

    a: str
    b: str
    figure: str
    difference: float
    low: float
    high: float
    p_value: float
    adjusted_p: float  # after correction for all comparisons made together
    method: str
    images: int
    groups: int | None

    def conclusive(self, level: float = 0.05) -> bool:
        """Whether the corrected p-value tells the two apart."""
        return self.adjusted_p <= level


def delong_test(
    scores_a: ArrayLike, scores_b: ArrayLike, is_defect: ArrayLike, confidence: float = 0.95
) -> Comparison:
    """Difference of two AUROCs on the same independent images (DeLong et al. 1988).

    Raises EyelineError with fewer than two defects or two good parts.
    """
    pairs = [placements(s, is_defect) for s in (scores_a, scores_b)]
    (defects_a, goods_a), (defects_b, goods_b) = pairs
    if min(len(defects_a), len(goods_a)) < 2 or len(defects_a) != len(defects_b):
        raise EyelineError("the DeLong test needs the same images for both, two defects and two good parts")
    difference = float(defects_a.mean() - defects_b.mean())
    variance = (defects_a - defects_b).var(ddof=1) / len(defects_a)
    variance += (goods_a - goods_b).var(ddof=1) / len(goods_a)
    deviation = math.sqrt(float(variance))
    half = NormalDist().inv_cdf((1 + confidence) / 2) * deviation
    # Without variance the placements differ by one constant everywhere: equal, or sure to differ.
    z = abs(difference) / deviation if deviation > 0 else (0.0 if difference == 0 else math.inf)
    p = math.erfc(z / math.sqrt(2))
    images = len(defects_a) + len(goods_a)
    return _comparison("auroc", difference, difference - half, difference + half, p, "DeLong", images, None)


def mcnemar_test(correct_a: ArrayLike, correct_b: ArrayLike, confidence: float = 0.95) -> Comparison:
    """Difference of two accuracies on the same independent images: the exact test of McNemar 1947.

    Only the images on which the two differ count; the interval is Clopper-Pearson on those.
    """
    from scipy.stats import binomtest

    a, b = np.asarray(correct_a, dtype=bool), np.asarray(correct_b, dtype=bool)
    if a.shape != b.shape or a.ndim != 1 or len(a) == 0:
        raise EyelineError(f"the two must judge the same images, not {a.shape} and {b.shape}")
    only_a, only_b, n = int((a & ~b).sum()), int((b & ~a).sum()), len(a)
    differing = only_a + only_b
    p = float(binomtest(only_a, differing).pvalue) if differing else 1.0
    share = clopper_pearson(only_a, differing, confidence) if differing else (0.5, 0.5)
    low, high = ((2 * s - 1) * differing / n for s in share)
    return _comparison("accuracy", (only_a - only_b) / n, low, high, p, "exact McNemar", n, None)


def group_permutation_test(
    values_a: ArrayLike,
    values_b: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    figure: str = "mean",
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Difference of two means over the same images: swap the two models in whole groups (Fisher 1935).

    `values` `(N,)` are anything that averages: 1 for a right call, a squared error, a cost. All 2^G swaps are
    tried when there are no more of them than `resamples`. The interval is the bootstrap over the same groups.
    """
    a, b = np.asarray(values_a, dtype=np.float64), np.asarray(values_b, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1 or len(a) == 0:
        raise EyelineError(f"the two must judge the same images, not {a.shape} and {b.shape}")
    unit, units = group_numbers(np.arange(len(a)) if groups is None else groups)
    sums = np.bincount(unit, weights=a - b, minlength=units)
    sizes = np.bincount(unit, minlength=units).astype(np.float64)
    difference = float((a - b).mean())
    signs = _swaps(units, resamples, seed)
    p = _permutation_p(np.abs(signs @ sums), abs(float(sums.sum())), exact=len(signs) == 2**units)
    draws = bootstrap(
        lambda counts: {"difference": (counts @ sums) / (counts @ sizes)},
        units=units,
        images=units,
        resamples=min(resamples, 2000),
        seed=seed,
    )["difference"]
    low, high = _bounds(draws, sizes, confidence, difference)
    method = f"permutation by {'image' if groups is None else 'group'}"
    return _comparison(figure, difference, low, high, p, method, len(a), None if groups is None else units)


def auroc_permutation_test(
    scores_a: ArrayLike,
    scores_b: ArrayLike,
    is_defect: ArrayLike,
    groups: ArrayLike,
    *,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Comparison:
    """Difference of two AUROCs on the same grouped images: swap the two models in whole groups.

    Scores are compared by rank, so that models of different scale can be swapped (Venkatraman and Begg 1996,
    here by group). The interval is the group bootstrap of the difference.
    """
    rank_a, d = _ranks(scores_a, is_defect)
    rank_b, _ = _ranks(scores_b, is_defect)
    unit, units = group_numbers(groups)
    if len(rank_a) != len(rank_b) or len(unit) != len(rank_a):
        raise EyelineError("both models and the groups must name the same images")
    a, b = Ranking.of(rank_a, d), Ranking.of(rank_b, d)
    difference = float(a.auroc()[0] - b.auroc()[0])
    signs = _swaps(units, resamples, seed)
    swapped = np.empty(len(signs))
    for row, sign in enumerate(signs):
        stay = sign[unit] > 0
        one, two = np.where(stay, rank_a, rank_b), np.where(stay, rank_b, rank_a)
        swapped[row] = Ranking.of(one, d).auroc()[0] - Ranking.of(two, d).auroc()[0]
    p = _permutation_p(np.abs(swapped), abs(difference), exact=len(signs) == 2**units)
    draws = bootstrap(
        lambda counts: {"difference": a.auroc(counts[:, unit]) - b.auroc(counts[:, unit])},
        units=units,
        images=len(unit),
        resamples=resamples,
        seed=seed,
    )["difference"]
    low, high = _bounds(draws, np.bincount(unit), confidence, difference)
    return _comparison("auroc", difference, low, high, p, "permutation by group", len(unit), units)


def compare_models(
    scores: Mapping[str, ArrayLike],
    is_defect: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> list[Comparison]:
    """AUROC of every pair of models on the same images, p-values corrected for all pairs (Holm).

    DeLong without groups, permutation of whole groups with them.
    """
    found = []
    for a, b in itertools.combinations(scores, 2):
        if groups is None:
            one = delong_test(scores[a], scores[b], is_defect, confidence)
        else:
            one = auroc_permutation_test(
                scores[a],
                scores[b],
                is_defect,
                groups,
                confidence=confidence,
                resamples=resamples,
                seed=seed,
            )
        found.append(one.model_copy(update={"a": a, "b": b}))
    adjusted = holm([c.p_value for c in found])
    return [c.model_copy(update={"adjusted_p": p}) for c, p in zip(found, adjusted, strict=True)]


def holm(p_values: ArrayLike) -> list[float]:
    """p-values corrected for being several, step down (Holm 1979)."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(x) for x in adjusted]


def _swaps(units: int, resamples: int, seed: int) -> Floats:
    """+1 (stay) or -1 (swap) for each unit: all combinations, or a random choice of them, `(R, units)`."""
    if units < 30 and 2**units <= resamples:
        return np.array(list(itertools.product((1.0, -1.0), repeat=units)))
    return np.random.default_rng(seed).choice(np.array([1.0, -1.0]), (resamples, units))


def _permutation_p(permuted: Floats, observed: float, *, exact: bool) -> float:
    """Share of swaps at least as extreme; a random choice of them counts the observed one too."""
    extreme = int((permuted >= observed * (1 - 1e-12) - 1e-15).sum())
    return extreme / len(permuted) if exact else (extreme + 1) / (len(permuted) + 1)


def _ranks(scores: ArrayLike, is_defect: ArrayLike) -> tuple[Floats, Bools]:
    from scipy.stats import rankdata

    s, d = checked_scores(scores, is_defect)
    if d.all() or not d.any():
        raise EyelineError("an AUROC needs defects and good parts; only one kind is there")
    return np.asarray(rankdata(s), dtype=np.float64), d


def _bounds(draws: Floats, sizes: ArrayLike, confidence: float, value: float) -> tuple[float, float]:
    low, high = percentile(draws, confidence, effective_groups(sizes))
    return (-1.0, 1.0) if math.isnan(low) else (min(low, value), max(high, value))


def _comparison(
    figure: str,
    difference: float,
    low: float,
    high: float,
    p: float,
    method: str,
    images: int,
    groups: int | None,
) -> Comparison:
    return Comparison(
        a="a",
        b="b",
        figure=figure,
        difference=difference,
        low=low,
        high=high,
        p_value=p,
        adjusted_p=p,
        method=method,
        images=images,
        groups=groups,
    )
