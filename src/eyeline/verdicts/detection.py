"""Probability of detection by defect size: the curve of MIL-HDBK-1823A and ASTM E2862 for hit and miss.

logit POD(a) = b0 + b1 ln a, by maximum likelihood; a90 is the size found with a probability of 90 %, and a90/95 its
upper bound at 95 % confidence. Bounds are by likelihood ratio, as in the handbook's software: unlike Wald's they follow
the skew of small samples. With groups the ratio is judged by its design effect (Rao and Scott 1984).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from eyeline.errors import EyelineError
from eyeline.verdicts.clusters import group_numbers
from eyeline.verdicts.intervals import t_quantile
from eyeline.verdicts.logistic import chance, logistic_fit
from eyeline.verdicts.metrics import Floats, Ints
from eyeline.verdicts.rates import Verdict

FEWEST = 5  # hits, and misses
# Chi-square is too short for the ratio of few hits or misses, by a factor of 1 + c / n (Bartlett 1937). With this c,
# found by simulation, a90/95 holds in 95 % of studies of 60 to 200 defects; without it in 92 to 93 %.
SMALL = 8.0
LEVELS = (0.02, 0.05, *(round(0.1 * i, 1) for i in range(1, 10)), 0.95, 0.98, 0.99)
_FARTHEST = 12.0  # in ln a beyond the data: e^12 times as large


class Detection(Verdict):
    """The curve that `fit_detection` found."""

    images: int
    caught: int
    groups: int | None
    intercept: float  # b0
    slope: float  # b1
    covariance: tuple[tuple[float, float], tuple[float, float]]  # of b0 and b1, images as independent
    design_effect: float
    smallest: float
    largest: float
    level: float  # 0.90
    confidence: float  # 0.95, one-sided
    size: float  # a90
    bound: float  # a90/95
    levels: tuple[float, ...]
    """Probabilities of detection at which the curve is written down,"""
    sizes: tuple[float, ...]
    """the sizes found so often,"""
    low: tuple[float, ...]
    """and their bounds, each one-sided at `confidence`: the band of the curve, read sideways."""
    high: tuple[float, ...]
    text: str

    @property
    def extrapolated(self) -> bool:
        """Whether a90/95 lies beyond the largest defect that was looked at."""
        return self.bound > self.largest


def fit_detection(
    sizes: ArrayLike,
    caught: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    level: float = 0.90,
    confidence: float = 0.95,
    unit: str = "",
    levels: Sequence[float] = LEVELS,
) -> Detection:
    """Fit the curve to defects of known size.

    Parameters
    ----------
    sizes : `(N,)`, positive, in any unit.
    caught : `(N,)`, whether each was found.
    groups : `(N,)` name of the part of each image; images of one part count as fewer.
    unit : for the text, such as " mm".
    levels : probabilities at which the curve and its band are written down.

    Raises
    ------
    EyelineError : fewer than 5 hits or 5 misses (``too_few``), all misses smaller than all hits (``separated``), or the
        chance of detection does not surely rise with the size (``flat``): then no size can be claimed.
    """
    a, y = np.asarray(sizes, dtype=np.float64), np.asarray(caught, dtype=np.float64)
    if a.ndim != 1 or a.shape != y.shape or not (np.isfinite(a).all() and (a > 0).all()):
        raise EyelineError("sizes must be positive numbers, one for each defect", code="bad_sizes")
    if not (0.5 <= level < 1 and 0.5 < confidence < 1):
        raise EyelineError(f"level {level:g} and confidence {confidence:g} must lie between 0.5 and 1")
    hits, misses = int(y.sum()), int(len(y) - y.sum())
    if min(hits, misses) < FEWEST:
        raise EyelineError(
            f"{hits} of {len(y)} defects were caught: a curve needs {FEWEST} hits and {FEWEST} misses at least",
            code="too_few",
            hint="show it smaller defects" if misses < FEWEST else "show it larger defects",
        )
    if a[y == 0].max() <= a[y == 1].min():
        raise EyelineError(
            f"every miss (up to {a[y == 0].max():.3g}) is smaller than every hit (from {a[y == 1].min():.3g}): the "
            "curve could be of any steepness",
            code="separated",
            hint="add defects between these sizes",
        )
    x = np.log(a)
    unit_of, units = group_numbers(np.arange(len(a)) if groups is None else groups)
    # The slope of the likeliest curve has the sign of this sum.
    fit = _Fit(x, y, unit_of, units, level, confidence) if (x - x.mean()) @ y > 0 else None
    if fit is None or fit.ratio_of_no_slope() <= fit.cut:
        raise EyelineError(
            "the chance of detection does not surely rise with the size: no size can be claimed",
            code="flat",
            hint="show it a wider range of sizes, and more defects",
        )
    bound = math.exp(fit.bound(level, upper=True))
    size = math.exp(fit.place(level))
    name = f"a{100 * level:g}/{100 * confidence:g}"
    beyond = (
        "" if bound <= a.max() else f"; beyond the largest defect seen ({a.max():.3g}), so do not rely on it"
    )
    where = "" if groups is None else f" in {units} groups"
    return Detection(
        images=len(a),
        caught=hits,
        groups=None if groups is None else units,
        intercept=fit.intercept,
        slope=fit.slope,
        covariance=fit.covariance(),
        design_effect=fit.design_effect,
        smallest=float(a.min()),
        largest=float(a.max()),
        level=level,
        confidence=confidence,
        size=size,
        bound=bound,
        levels=tuple(levels),
        sizes=tuple(math.exp(fit.place(p)) for p in levels),
        low=tuple(math.exp(fit.bound(p, upper=False)) for p in levels),
        high=tuple(math.exp(fit.bound(p, upper=True)) for p in levels),
        text=f"Of {len(a)} defects{where} {hits} were caught. Defects of {size:.3g}{unit} are caught in {level:.0%} of "
        f"cases; with {confidence:.0%} confidence this holds from {bound:.3g}{unit} on ({name}){beyond}.",
    )


class _Fit:
    """The fitted curve in x = ln a, and its likelihood-ratio bounds."""

    def __init__(self, x: Floats, y: Floats, unit: Ints, units: int, level: float, confidence: float) -> None:
        self.centre = float(x.mean())  # so that intercept and slope hardly depend on each other
        self.x, self.y = x - self.centre, y
        self.design = np.column_stack([np.ones(len(x)), self.x])
        self.beta, self.likelihood, self.information = logistic_fit(self.design, y)
        self.slope = float(self.beta[1])
        self.intercept = float(self.beta[0] - self.beta[1] * self.centre)
        self.design_effect = self._design_effect(unit, units, level)
        # Judged by chi-square with one degree of freedom: the square of a normal (or, by group, t) quantile.
        self.cut = self.design_effect * t_quantile(confidence, units - 1 if units < len(x) else math.inf) ** 2
        self.cut *= 1 + SMALL / min(float(y.sum()), float((1 - y).sum()))

    def place(self, level: float) -> float:
        """ln of the size found with this probability."""
        return (_logit(level) - float(self.beta[0])) / self.slope + self.centre

    def covariance(self) -> tuple[tuple[float, float], tuple[float, float]]:
        shift = np.array([[1.0, -self.centre], [0.0, 1.0]])
        v = shift @ np.linalg.inv(self.information) @ shift.T
        return (float(v[0, 0]), float(v[0, 1])), (float(v[1, 0]), float(v[1, 1]))

    def ratio_of_no_slope(self) -> float:
        """Likelihood ratio of the fit against one chance for all sizes."""
        return 2 * (self.likelihood - logistic_fit(self.design[:, :1], self.y)[1])

    def bound(self, level: float, *, upper: bool) -> float:
        """ln of the farthest size that the likelihood allows to be the one found with this probability."""
        from scipy.optimize import brentq

        start, sign = self.place(level) - self.centre, 1.0 if upper else -1.0
        near, step = 0.0, 0.1
        while self._ratio(level, start + sign * step) < self.cut:
            near, step = step, 2 * step
            if step > _FARTHEST:
                return start + sign * _FARTHEST + self.centre
        # The root of the ratio is nearly a straight line of the distance.
        found = brentq(
            lambda at: math.sqrt(max(0.0, self._ratio(level, start + sign * at))) - math.sqrt(self.cut),
            near,
            step,
            xtol=1e-6,
        )
        return start + sign * float(found) + self.centre

    def _ratio(self, level: float, place: float) -> float:
        """Likelihood ratio of the fit against curves that find `place` with probability `level`."""
        slope = (self.x - place)[:, None]
        start = np.array([max(self.slope, 1e-3)])
        return 2 * (self.likelihood - logistic_fit(slope, self.y, offset=_logit(level), start=start)[1])

    def _design_effect(self, unit: Ints, units: int, level: float) -> float:
        """Variance of the curve where it reaches `level`, by group over by image; at least 1."""
        if units == len(unit) or units < 2 or self.slope == 0:
            return 1.0
        at = np.array([1.0, (_logit(level) - self.beta[0]) / self.slope])
        bread = np.linalg.inv(self.information)
        scores = self.design * (self.y - chance(self.design @ self.beta))[:, None]
        sums = np.zeros((units, 2))
        np.add.at(sums, unit, scores)
        by_group = units / (units - 1) * bread @ (sums.T @ sums) @ bread
        return max(1.0, float(at @ by_group @ at) / float(at @ bread @ at))


def _logit(p: float) -> float:
    return math.log(p / (1 - p))
