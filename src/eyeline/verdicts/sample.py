"""The images being judged, in a form that recomputes every figure for a thousand resamples at once."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from eyeline.errors import EyelineError
from eyeline.verdicts import metrics
from eyeline.verdicts.clusters import group_numbers
from eyeline.verdicts.intervals import bootstrap
from eyeline.verdicts.metrics import Bools, Floats, Ints, Ranking

BINS = 10


class Sample:
    """Scores, truth and calls of N images in U units: the groups, or the images themselves without groups."""

    def __init__(
        self, scores: Floats, targets: Ints, predicted: Ints, *, classes: int, good: int, groups: Ints | None
    ) -> None:
        self.scores, self.targets, self.predicted = scores, targets, predicted
        self.classes, self.good, self.groups = classes, good, groups
        self.is_defect: Bools = targets != good
        if groups is None:
            self.unit, self.units = np.arange(len(targets)), len(targets)
        else:
            self.unit, self.units = group_numbers(groups)

    def __len__(self) -> int:
        return len(self.targets)

    def part(self, chosen: Bools) -> Sample:
        """The images of one slice."""
        return Sample(
            self.scores[chosen],
            self.targets[chosen],
            self.predicted[chosen],
            classes=self.classes,
            good=self.good,
            groups=None if self.groups is None else self.groups[chosen],
        )

    @cached_property
    def _ranking(self) -> Ranking:
        return Ranking.of(self.scores, self.is_defect)

    @cached_property
    def confusions(self) -> Floats:
        """Confusion matrix of each unit, `(U, K, K)`."""
        k = self.classes
        cells = (self.unit * k + self.targets) * k + self.predicted
        counts = np.bincount(cells, minlength=self.units * k * k)
        return counts.reshape(self.units, k, k).astype(np.float64)

    @cached_property
    def _sums(self) -> Floats:
        """Of each unit: images, sum of squared errors, calibration gap of each bin, `(U, 2 + BINS)`."""
        error = self.is_defect - self.scores
        bins = metrics.equal_mass_bins(self.scores, BINS)
        sums = np.zeros((self.units, 2 + BINS))
        np.add.at(sums[:, 0], self.unit, 1.0)
        np.add.at(sums[:, 1], self.unit, error**2)
        np.add.at(sums, (self.unit, 2 + bins), error)
        return sums

    def figures(self, counts: Floats) -> dict[str, Floats]:
        """Every figure for each row of `counts` `(R, U)`, how often each unit is in; NaN where undefined."""
        image_counts = counts[:, self.unit]
        totals = counts @ self._sums
        k = self.classes
        confusion = (counts @ self.confusions.reshape(self.units, k * k)).reshape(-1, k, k)
        decisions = metrics.pass_fail(confusion, self.good)
        return {
            "auroc": self._ranking.auroc(image_counts),
            "average_precision": self._ranking.average_precision(image_counts),
            "brier": totals[:, 1] / totals[:, 0],
            "ece": np.abs(totals[:, 2:]).sum(axis=1) / totals[:, 0],
            "accuracy": metrics.accuracy(confusion),
            "balanced_accuracy": metrics.balanced_accuracy(confusion),
            "f1": metrics.f1(decisions)[:, 1],
            "macro_f1": metrics.macro_f1(confusion),
            "escape_rate": 1.0 - metrics.recall(decisions)[:, 1],
            "overkill_rate": 1.0 - metrics.recall(decisions)[:, 0],
            "precision": metrics.precision(confusion),
            "recall": metrics.recall(confusion),
            "class_f1": metrics.f1(confusion),
        }

    def estimate(self) -> dict[str, Floats]:
        """The figures of the images as they are, with the leading axis R = 1 dropped."""
        return {name: value[0] for name, value in self.figures(np.ones((1, self.units))).items()}

    def resampled(self, resamples: int, seed: int) -> dict[str, Floats]:
        """The figures of `resamples` draws of whole units with replacement."""
        return bootstrap(self.figures, units=self.units, images=len(self), resamples=resamples, seed=seed)


def checked_sample(
    probabilities: ArrayLike,
    targets: ArrayLike,
    *,
    classes: int,
    good: int,
    threshold: float,
    groups: ArrayLike | None,
    unknown: ArrayLike | None = None,
) -> Sample:
    """The sample, after checking what callers hand in; EyelineError says what does not fit."""
    p, t = np.asarray(probabilities, dtype=np.float64), np.asarray(targets)
    if p.ndim != 2 or t.shape != p.shape[:1]:
        raise EyelineError(f"probabilities (N, K) and targets (N,) do not fit: {p.shape} and {t.shape}")
    if len(t) == 0:
        raise EyelineError("there are no images to evaluate")
    if p.shape[1] != classes:
        raise EyelineError(f"probabilities have {p.shape[1]} columns for {classes} classes")
    if not np.isfinite(p).all() or p.min() < 0 or np.abs(p.sum(axis=1) - 1).max() > 1e-3:
        raise EyelineError("every row of probabilities must be finite, not negative and sum to 1")
    if not np.issubdtype(t.dtype, np.integer) or t.min() < 0 or t.max() >= classes:
        raise EyelineError(f"targets must be whole numbers from 0 to {classes - 1}")
    if not np.isfinite(threshold):
        raise EyelineError(f"the threshold is {threshold}, it must be a finite number")
    g = None if groups is None else np.asarray(groups)
    if g is not None and g.shape != t.shape:
        raise EyelineError(f"groups name {g.shape[0] if g.ndim else 0} images, there are {len(t)}")
    return Sample(
        metrics.defect_scores(p, good),
        t.astype(np.int64),
        metrics.decide(p, threshold, good, unknown=unknown),
        classes=classes,
        good=good,
        groups=None if g is None else group_numbers(g)[0],
    )
