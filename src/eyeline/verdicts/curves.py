"""Curves for plots: ROC, precision-recall and reliability, as plain arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike

from eyeline.errors import EyelineError
from eyeline.verdicts.clusters import clopper_pearson_grouped, effective_groups, group_numbers
from eyeline.verdicts.intervals import bootstrap, lower_bound, percentile, upper_bound
from eyeline.verdicts.metrics import Bools, Floats, Ints, Ranking, checked_scores, equal_mass_bins, ratio


class Curve:
    """JSON form shared by the curves."""

    def to_dict(self) -> dict[str, list[float | None]]:
        """Every array as a list; what is infinite or undefined becomes None."""
        return {
            field.name: [x if math.isfinite(x) else None for x in getattr(self, field.name).tolist()]
            for field in fields(self)  # type: ignore[arg-type]
        }


@dataclass(frozen=True, eq=False)
class RocCurve(Curve):
    """One point for each distinct score, threshold falling from infinity (nothing fails)."""

    thresholds: Floats
    overkill_rate: Floats  # false positive rate
    detection_rate: Floats  # true positive rate, 1 - escape rate


@dataclass(frozen=True, eq=False)
class PrecisionRecallCurve(Curve):
    """One point for each distinct score, threshold falling; recall rises to 1."""

    thresholds: Floats
    precision: Floats
    recall: Floats


@dataclass(frozen=True, eq=False)
class ReliabilityCurve(Curve):
    """Equal-mass bins of the defect score with the share of defects found there and its exact interval."""

    mean_score: Floats
    defect_share: Floats
    low: Floats
    high: Floats
    images: Ints


def roc_curve(scores: ArrayLike, is_defect: ArrayLike) -> RocCurve:
    """Overkill against detection as the threshold falls. EyelineError when a class is missing."""
    ranking, defects, goods = _failed(scores, is_defect)
    if goods[-1] == 0:
        raise EyelineError("a ROC curve needs good parts as well as defects; there are none")
    return RocCurve(
        thresholds=np.append(np.inf, ranking.levels),
        overkill_rate=np.append(0.0, goods / goods[-1]),
        detection_rate=np.append(0.0, defects / defects[-1]),
    )


def precision_recall_curve(scores: ArrayLike, is_defect: ArrayLike) -> PrecisionRecallCurve:
    """Precision against recall as the threshold falls. EyelineError without defects."""
    ranking, defects, goods = _failed(scores, is_defect)
    return PrecisionRecallCurve(
        thresholds=ranking.levels, precision=defects / (defects + goods), recall=defects / defects[-1]
    )


def _failed(scores: ArrayLike, is_defect: ArrayLike) -> tuple[Ranking, Floats, Floats]:
    ranking = Ranking.of(scores, is_defect)
    defects, goods = (rows[0] for rows in ranking.failed())
    if defects[-1] == 0:
        raise EyelineError("this curve needs defects; there are none among the images")
    return ranking, defects, goods


def reliability_curve(
    scores: ArrayLike,
    is_defect: ArrayLike,
    *,
    bins: int = 10,
    confidence: float = 0.95,
    groups: ArrayLike | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> ReliabilityCurve:
    """Mean score against the share of defects in equal-mass bins; on the diagonal the score is a probability.

    The band is Clopper-Pearson a bin, which takes images as independent. With `groups` `(N,)` whole groups are drawn
    anew instead, and a bin in which all images are of one kind counts each group as one image.
    """
    s, d = checked_scores(scores, is_defect)
    bin_of = equal_mass_bins(s, bins)
    images = np.bincount(bin_of)
    filled = images > 0
    images, hits = images[filled].astype(np.int64), np.bincount(bin_of, weights=d)[filled]
    one_sided = (1 + confidence) / 2
    low, high = lower_bound(hits, images, one_sided), upper_bound(hits, images, one_sided)
    if groups is not None:
        low, high = _group_band(bin_of, d, groups, confidence, resamples, seed)
    return ReliabilityCurve(
        mean_score=np.bincount(bin_of, weights=s)[filled] / images,
        defect_share=ratio(hits, images),
        low=low,
        high=high,
        images=images,
    )


def _group_band(
    bin_of: Ints, defect: Bools, groups: ArrayLike, confidence: float, resamples: int, seed: int
) -> tuple[Floats, Floats]:
    """The band of each filled bin from draws of whole groups, `(B,)` and `(B,)`."""
    unit, units = group_numbers(groups)
    if len(unit) != len(bin_of):
        raise EyelineError(f"groups name {len(unit)} images, there are {len(bin_of)}")
    names, bin_of = np.unique(bin_of, return_inverse=True)
    hits, images = np.zeros((units, len(names))), np.zeros((units, len(names)))
    np.add.at(images, (unit, bin_of), 1.0)
    np.add.at(hits, (unit, bin_of), defect.astype(np.float64))
    draws = bootstrap(
        lambda counts: {"share": ratio(counts @ hits, counts @ images)},
        units=units,
        images=units * len(names),
        resamples=resamples,
        seed=seed,
    )["share"]
    bounds = []
    for k, n, shares in zip(hits.T, images.T, draws.T, strict=True):
        low, high = percentile(shares, confidence, effective_groups(n))
        if k.sum() in (0, n.sum()) or math.isnan(low):  # no difference between groups was seen
            low, high = clopper_pearson_grouped(k, n, confidence)
        share = k.sum() / n.sum()
        bounds.append((min(low, share), max(high, share)))
    band = np.array(bounds)
    return band[:, 0], band[:, 1]
