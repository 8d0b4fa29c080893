"""The figures themselves: how well a defect score ranks, and what decisions at a threshold cost.

Words used throughout: the *defect score* of an image is 1 - p[good]; an image *fails* when its score is at
least the threshold, else it *passes*. An *escape* is a defect that passed, an *overkill* a good part that
failed.

Functions of a confusion matrix take any leading axes `(..., K, K)`, rows = truth, and give NaN where the
denominator is empty, so that one call serves the estimate and all its bootstrap resamples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eyeline.errors import EyelineError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Decision = Literal["pass", "review", "fail"]


# --- from probabilities to decisions --------------------------------------------------------------


def defect_scores(probabilities: ArrayLike, good: int = 0) -> Floats:
    """Defect score 1 - p[good] of each image: `(N, K)` -> `(N,)`."""
    return 1.0 - np.asarray(probabilities, dtype=np.float64)[:, good]


def decide(
    probabilities: ArrayLike, threshold: float, good: int = 0, *, unknown: ArrayLike | None = None
) -> Ints:
    """The class each image is called, `(N, K)` -> `(N,)`: `good` when it passes, else its likeliest defect.

    The label follows the decision, so that confusion, escapes and overkill count the same events. What is `unknown`
    `(N,)` never passes.
    """
    p = np.array(probabilities, dtype=np.float64)
    stopped = defect_scores(p, good) >= threshold
    if unknown is not None:
        stopped |= np.asarray(unknown, dtype=bool)
    p[:, good] = -np.inf
    return np.where(stopped, p.argmax(axis=1), good).astype(np.int64)


def decisions(
    scores: ArrayLike, low: float, high: float | None = None, *, unknown: ArrayLike | None = None
) -> list[Decision]:
    """``pass`` below `low`, ``fail`` from `high`, ``review`` between; without `high`, ``fail`` from `low`.

    Scores are `(N,)`. What is `unknown` `(N,)` goes to review, or fails where there is none. Passing agrees with
    `decide`: an image is called good exactly when it passes.
    """
    s = np.asarray(scores, dtype=np.float64)
    u = np.zeros(s.shape, dtype=bool) if unknown is None else np.asarray(unknown, dtype=bool)
    first: Decision = "fail" if high is None else "review"
    found: list[Decision] = np.select(
        [u, s < low, s < (low if high is None else high)], [first, "pass", "review"], "fail"
    ).tolist()
    return found


# --- ranking: figures that need no threshold ------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Ranking:
    """Images sorted once by falling score; resamples only change how often each image counts."""

    order: Ints  # (N,) image indices, highest score first
    ends: Ints  # (L,) last position of each run of equal scores
    levels: Floats  # (L,) the distinct scores, falling
    defect: Bools  # (N,) in sorted order

    @classmethod
    def of(cls, scores: ArrayLike, is_defect: ArrayLike) -> Ranking:
        s, d = checked_scores(scores, is_defect)
        order = np.argsort(-s, kind="stable").astype(np.int64)
        sorted_scores = s[order]
        ends = np.flatnonzero(np.append(sorted_scores[1:] != sorted_scores[:-1], True)).astype(np.int64)
        return cls(order=order, ends=ends, levels=sorted_scores[ends], defect=d[order])

    def failed(self, counts: Floats | None = None) -> tuple[Floats, Floats]:
        """Defects and goods that fail at each distinct score: counts `(R, N)` of the images -> two `(R, L)`.

        Equal scores fall together, so ties need no special case further on.
        """
        weights = np.ones((1, len(self.order))) if counts is None else counts[:, self.order]
        every = np.cumsum(weights, axis=1)[:, self.ends]
        defects = np.cumsum(weights * self.defect, axis=1)[:, self.ends]
        return defects, every - defects

    def auroc(self, counts: Floats | None = None) -> Floats:
        """Area under the ROC curve for each row of counts, `(R,)`; ties count one half. NaN for one class."""
        defects, goods = self.failed(counts)
        before = np.pad(defects[:, :-1], ((0, 0), (1, 0)))
        steps = np.diff(goods, axis=1, prepend=0.0)
        return ratio((steps * (defects + before)).sum(axis=1), 2 * defects[:, -1] * goods[:, -1])

    def average_precision(self, counts: Floats | None = None) -> Floats:
        """Precision averaged over the defects, `(R,)`: sum of (R_i - R_(i-1)) P_i, not interpolated."""
        defects, goods = self.failed(counts)
        precision = ratio(defects, defects + goods)
        found = np.diff(defects, axis=1, prepend=0.0)
        return ratio(np.where(found > 0, precision * found, 0.0).sum(axis=1), defects[:, -1])


def auroc(scores: ArrayLike, is_defect: ArrayLike) -> float:
    """Probability that a defect scores above a good part (ties one half); NaN when a class is missing."""
    return float(Ranking.of(scores, is_defect).auroc()[0])


def average_precision(scores: ArrayLike, is_defect: ArrayLike) -> float:
    """Area under the precision-recall curve by steps; NaN without defects."""
    return float(Ranking.of(scores, is_defect).average_precision()[0])


# --- figures of a confusion matrix ----------------------------------------------------------------


def confusion_matrix(targets: ArrayLike, predicted: ArrayLike, num_classes: int) -> Ints:
    """Counts `(K, K)`, rows = truth, columns = call."""
    cells = np.asarray(targets, dtype=np.int64) * num_classes + np.asarray(predicted, dtype=np.int64)
    counts = np.bincount(cells, minlength=num_classes**2).astype(np.int64)
    return counts.reshape(num_classes, num_classes)


def ratio(top: ArrayLike, bottom: ArrayLike) -> Floats:
    """top / bottom, NaN where bottom is zero."""
    over, under = np.asarray(top, dtype=np.float64), np.asarray(bottom, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(under == 0, np.nan, over / under), dtype=np.float64)


def accuracy(confusion: ArrayLike) -> Floats:
    """Share of right calls."""
    c = np.asarray(confusion)
    return ratio(np.trace(c, axis1=-2, axis2=-1), c.sum(axis=(-2, -1)))


def recall(confusion: ArrayLike) -> Floats:
    """Share of each true class that is called so, `(..., K)`."""
    c = np.asarray(confusion)
    return ratio(np.diagonal(c, axis1=-2, axis2=-1), c.sum(axis=-1))


def precision(confusion: ArrayLike) -> Floats:
    """Share of each called class that is truly so, `(..., K)`."""
    c = np.asarray(confusion)
    return ratio(np.diagonal(c, axis1=-2, axis2=-1), c.sum(axis=-2))


def f1(confusion: ArrayLike) -> Floats:
    """F1 of each class, `(..., K)`: 2 TP / (2 TP + FP + FN)."""
    c = np.asarray(confusion)
    return ratio(2 * np.diagonal(c, axis1=-2, axis2=-1), c.sum(axis=-1) + c.sum(axis=-2))


def balanced_accuracy(confusion: ArrayLike) -> Floats:
    """Mean recall over the classes that occur."""
    return _mean_of_known(recall(confusion))


def macro_f1(confusion: ArrayLike) -> Floats:
    """Mean F1 over the classes that occur or are called."""
    return _mean_of_known(f1(confusion))


def _mean_of_known(values: Floats) -> Floats:
    known = ~np.isnan(values)
    return ratio(np.where(known, values, 0.0).sum(axis=-1), known.sum(axis=-1))


def pass_fail(confusion: ArrayLike, good: int = 0) -> NDArray[Any]:
    """The confusion of decisions `(..., 2, 2)`: [[good passed, overkill], [escaped, caught]]."""
    c = np.asarray(confusion)
    passed_good = c[..., good, good]
    overkill = c[..., good, :].sum(axis=-1) - passed_good
    escaped = c[..., :, good].sum(axis=-1) - passed_good
    caught = c.sum(axis=(-2, -1)) - passed_good - overkill - escaped
    rows = [np.stack([passed_good, overkill], axis=-1), np.stack([escaped, caught], axis=-1)]
    return np.stack(rows, axis=-2)


def escape_rate(confusion: ArrayLike, good: int = 0) -> Floats:
    """Share of the defects that pass."""
    return 1.0 - recall(pass_fail(confusion, good))[..., 1]


def overkill_rate(confusion: ArrayLike, good: int = 0) -> Floats:
    """Share of the good parts that fail."""
    return 1.0 - recall(pass_fail(confusion, good))[..., 0]


# --- figures of the score as a probability --------------------------------------------------------


def brier(scores: ArrayLike, is_defect: ArrayLike) -> float:
    """Mean squared difference of defect score and truth (Brier 1950)."""
    s, d = checked_scores(scores, is_defect)
    return float(np.mean((s - d) ** 2))


def equal_mass_bins(scores: ArrayLike, bins: int = 10) -> Ints:
    """Bin number of each score: as many images a bin as ties allow (equal scores share a bin)."""
    s = np.asarray(scores, dtype=np.float64)
    edges = np.unique(np.quantile(s, np.arange(1, bins) / bins, method="higher"))
    return np.searchsorted(edges, s, side="right").astype(np.int64)


def expected_calibration_error(scores: ArrayLike, is_defect: ArrayLike, bins: int = 10) -> float:
    """ECE of the defect score over equal-mass bins: sum over bins of n_b/n |share of defects - mean score|.

    Naeini et al. 2015, with the bins of Nguyen and O'Connor 2015. It judges the score itself, not the
    confidence of the likeliest class, because folding both sides of 0.5 together hides a shifted defect rate.
    It is biased upward on small samples.
    """
    s, d = checked_scores(scores, is_defect)
    gaps = np.bincount(equal_mass_bins(s, bins), weights=d - s)
    return float(np.abs(gaps).sum() / len(s))


def checked_scores(scores: ArrayLike, is_defect: ArrayLike) -> tuple[Floats, Bools]:
    """Both as arrays of one length `(N,)`, N >= 1, scores finite; else EyelineError."""
    s, d = np.asarray(scores, dtype=np.float64), np.asarray(is_defect, dtype=bool)
    if s.ndim != 1 or s.shape != d.shape or len(s) == 0:
        raise EyelineError(
            f"scores and is_defect must be two arrays of one length, not {s.shape} and {d.shape}"
        )
    if not np.isfinite(s).all():
        raise EyelineError(f"{int((~np.isfinite(s)).sum())} of {len(s)} scores are not finite numbers")
    return s, d
