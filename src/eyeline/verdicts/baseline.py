"""What a shift is compared with: verdicts of a time when all was well, weighted to the line."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from eyeline.errors import EyelineError
from eyeline.verdicts.clusters import effective_groups, effective_trials, group_numbers
from eyeline.verdicts.metrics import Bools, Floats, Ints

FEWEST = 20  # readable images of a baseline or of a shift
_ONE_SIDED = 0.95  # level at which the spread between groups is allowed for


@dataclass(frozen=True, eq=False)
class Baseline:
    """Verdicts of a time when all was well: the test part of a run, or a good shift.

    With `defect_rate` and the truth the images are weighted to the line: the test part may hold 30 % defects and the
    line 1 %, and its plain reject rate says nothing about the line.
    """

    scores: Floats  # (N,), of readable images
    stopped: Bools  # (N,): failed, or sent to review
    unreadable: int = 0
    unknown: int | None = None  # of the readable images; None where nothing tells
    is_defect: Bools | None = None
    groups: Ints | None = None
    defect_rate: float | None = None

    def __post_init__(self) -> None:
        if len(self.scores) < FEWEST:
            raise EyelineError(
                f"the baseline holds {len(self.scores)} readable images, at least {FEWEST} are needed",
                code="too_few",
            )
        if self.defect_rate is not None:
            if self.is_defect is None:
                raise EyelineError(
                    "a baseline without the truth cannot be weighted to a defect rate", code="bad_option"
                )
            if not 0 < self.defect_rate < 1:
                raise EyelineError(
                    f"the defect rate is {self.defect_rate:g}, allowed: between 0 and 1", code="bad_option"
                )
            if not 0 < int(self.is_defect.sum()) < len(self.scores):
                raise EyelineError(
                    "to weight the baseline it must hold both good parts and defects", code="one_class"
                )

    def __len__(self) -> int:
        return len(self.scores)

    @cached_property
    def units(self) -> tuple[Ints, int]:
        """Number of the group of each image (or of the image), and how many there are."""
        return group_numbers(np.arange(len(self)) if self.groups is None else self.groups)

    @property
    def weights(self) -> Floats:
        """`(N,)`, summing to 1."""
        return np.asarray(self.reweighted(np.ones((1, len(self))))[0], dtype=np.float64)

    def reweighted(self, counts: Floats) -> Floats:
        """Weights `(R, N)`, each row summing to 1, of images that are there `counts` `(R, N)` times.

        Weights of a kind that a row does not hold are NaN.
        """
        if self.defect_rate is None or self.is_defect is None:
            return np.asarray(counts / counts.sum(axis=1, keepdims=True), dtype=np.float64)
        d = self.is_defect
        defects, goods = (counts @ kind for kind in (d, ~d))
        defects, goods = (np.where(n > 0, n, np.nan)[:, None] for n in (defects, goods))
        share = np.where(d, self.defect_rate / defects, (1 - self.defect_rate) / goods)
        return np.asarray(counts * share, dtype=np.float64)

    @property
    def rate(self) -> float:
        """The reject rate, at the line's defect rate where that is known."""
        return float(self.weights @ self.stopped)

    @property
    def worth(self) -> float:
        """How many independent images stand behind `rate`."""
        if self.groups is None and self.defect_rate is None:
            return float(len(self))
        unit, units = self.units
        w = self.weights
        hits, trials = np.bincount(unit, weights=w * self.stopped), np.bincount(unit, weights=w)
        worth = float(effective_trials(hits, trials, _ONE_SIDED, float(len(self))))
        # Without any difference seen between groups each group counts as one image, by weight.
        return worth if math.isfinite(worth) else min(float(units), effective_groups(trials))

    def allowed(self, *, rising: bool) -> tuple[Floats, Floats]:
        """Reject rates `(J,)` that the line may have had, and their weights; on the careful side of `rising`.

        The careful posteriors of a proportion, Beta(k + 1, n - k) against rising and Beta(k, n - k + 1) against
        falling, whose quantiles are the bounds of Clopper and Pearson.
        """
        from scipy.stats import beta, norm

        hits, trials = self.rate * self.worth, self.worth
        a, b = (hits + 1, trials - hits) if rising else (hits, trials - hits + 1)
        z = np.arange(-4.5, 4.51, 0.3)  # the trapezoid rule on the normal scale converges at once
        rates = np.full(len(z), 1.0 if b <= 0 else 0.0) if min(a, b) <= 0 else beta.ppf(norm.cdf(z), a, b)
        weights = norm.pdf(z)
        return np.asarray(rates, dtype=np.float64), np.asarray(weights / weights.sum(), dtype=np.float64)
