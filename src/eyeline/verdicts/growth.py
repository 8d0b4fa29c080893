"""The learning curve: what more parts would bring, as far as a curve through smaller training sets can say.

error(n) = a + b n^-c with a, b >= 0: a power law with a floor (Cortes et al. 1993, Hestness et al. 2017). n counts what
is new to the inspector: parts (groups) where they are known, since ten more pictures of a known part teach little.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from eyeline.errors import EyelineError
from eyeline.verdicts.intervals import percentile
from eyeline.verdicts.metrics import Floats, ratio
from eyeline.verdicts.rates import Verdict

EXPONENTS = np.linspace(0.05, 2.0, 40)
FEWEST_SIZES, FEWEST_DRAWS = 4, 5
FARTHEST = 4.0  # times the largest size that was tried
RESAMPLES = 1000


class Forecast(Verdict):
    """The error expected after so many more."""

    more: int
    size: int
    error: float
    low: float
    high: float
    text: str


class Growth(Verdict):
    """A fitted learning curve."""

    figure: str  # what the error is
    unit: str  # what is counted: part, image
    sizes: tuple[int, ...]
    errors: tuple[float, ...]  # mean over the draws at each size
    draws: int
    floor: float  # a
    scale: float  # b
    exponent: float  # c
    gain: float  # error at the smallest less error at the largest size
    gain_low: float
    gain_high: float
    confidence: float
    falls: bool  # surely, from the smallest to the largest size
    curve_sizes: tuple[float, ...]
    curve: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    text: str


class GrowthCurve:
    """The curve through errors of nested training sets, and its bootstrap over draws."""

    def __init__(
        self,
        sizes: ArrayLike,
        errors: ArrayLike,
        *,
        figure: str = "error",
        unit: str = "part",
        confidence: float = 0.95,
        held_out: float = 0.0,
        seed: int = 0,
    ) -> None:
        """Fit.

        Parameters
        ----------
        sizes : `(S,)`, rising.
        errors : `(D, S)`, one row a draw: held-out parts, and subsets of the others of each size, one within the next.
        held_out : share of the parts that each draw holds out, where all draws come from one collection of parts. Then
            they are no D independent looks: the spread of their mean is widened for what they have in common, by the
            correction of Nadeau and Bengio 2003 ("Inference for the generalization error", section 4). 0 says that
            every draw has parts of its own.

        Raises
        ------
        EyelineError : fewer than 4 sizes or 5 draws, or arrays that do not fit.
        """
        self.sizes, self.errors = np.asarray(sizes, dtype=np.float64), np.asarray(errors, dtype=np.float64)
        if (
            self.sizes.ndim != 1
            or self.errors.shape[1:] != self.sizes.shape
            or not (np.diff(self.sizes) > 0).all()
        ):
            raise EyelineError(f"sizes and errors do not fit: {self.sizes.shape} and {self.errors.shape}")
        if len(self.sizes) < FEWEST_SIZES or len(self.errors) < FEWEST_DRAWS:
            raise EyelineError(
                f"a learning curve needs {FEWEST_SIZES} sizes and {FEWEST_DRAWS} draws, not {len(self.sizes)} and "
                f"{len(self.errors)}",
                code="too_few",
            )
        if not 0 <= held_out < 1:
            raise EyelineError(f"held_out is {held_out}; allowed: 0 to below 1", code="bad_option")
        if not np.isfinite(self.errors).all():
            raise EyelineError("errors of a learning curve must be finite numbers")
        self.figure, self.unit, self.confidence = figure, unit, confidence
        draws = len(self.errors)
        rng = np.random.default_rng(seed)
        chosen = rng.integers(0, draws, (RESAMPLES, draws))
        mean = self.errors.mean(axis=0)
        self.fitted = fit_power_law(self.sizes, mean[None])[0]
        shared = np.sqrt(1 + draws * held_out / (1 - held_out))
        self.resampled = mean + shared * (self.errors[chosen].mean(axis=1) - mean)
        self.again = fit_power_law(self.sizes, self.resampled)

    @property
    def current(self) -> float:
        """Mean error at the largest size."""
        return float(self.errors[:, -1].mean())

    def at(self, sizes: ArrayLike) -> tuple[Floats, Floats, Floats]:
        """Expected error and its interval at each of `sizes` `(M,)`."""
        n = np.atleast_1d(np.asarray(sizes, dtype=np.float64))
        value = _power_law(self.fitted[None], n)[0]
        draws = _power_law(self.again, n)
        bounds = np.array([percentile(column, self.confidence, len(self.errors)) for column in draws.T])
        return (
            value,
            np.clip(np.minimum(bounds[:, 0], value), 0, 1),
            np.clip(np.maximum(bounds[:, 1], value), 0, 1),
        )

    @property
    def falls(self) -> bool:
        """Whether the error surely falls from the smallest to the largest size."""
        return self.gain[0] > 0

    @property
    def gain(self) -> tuple[float, float]:
        """Bounds of the fall of the error from the smallest to the largest size."""
        return percentile(self.resampled[:, 0] - self.resampled[:, -1], self.confidence, len(self.errors))

    def forecast(self, more: int) -> Forecast:
        """What `more` new parts (or images) would bring: an interval, and whether it leaves room for no gain at all.

        Raises
        ------
        EyelineError : `more` goes beyond four times the largest size.
        """
        size = int(self.sizes[-1]) + more
        if more < 1 or size > FARTHEST * self.sizes[-1]:
            raise EyelineError(
                f"{more} more than {self.sizes[-1]:.0f} {self.unit}s: a curve says nothing beyond "
                f"{FARTHEST:g} times what it was drawn from",
                code="bad_option",
            )
        value, low, high = (float(x[0]) for x in self.at(size))
        plural = "" if more == 1 else "s"
        doubt = "" if self.falls and high < self.current else ", so it may not fall"
        return Forecast(
            more=more,
            size=size,
            error=value,
            low=low,
            high=high,
            text=f"{more} more {self.unit}{plural} → {self.figure} in [{low:.3f}, {high:.3f}], "
            f"now {self.current:.3f}{doubt}",
        )

    def result(self) -> Growth:
        """All of it as plain values, with the curve drawn to twice the largest size."""
        low, high = self.gain
        xs = np.geomspace(self.sizes[0], 2 * self.sizes[-1], 60)
        value, below, above = self.at(xs)
        mean = self.errors.mean(axis=0)
        text = self.forecast(int(self.sizes[-1])).text + "."
        if not self.falls:
            text += (
                f" From {self.sizes[0]:.0f} to {self.sizes[-1]:.0f} {self.unit}s {self.figure} does not surely fall: "
                "more of the same kind may not help."
            )
        return Growth(
            figure=self.figure,
            unit=self.unit,
            sizes=tuple(int(n) for n in self.sizes),
            errors=tuple(mean.tolist()),
            draws=len(self.errors),
            floor=float(self.fitted[0]),
            scale=float(self.fitted[1]),
            exponent=float(self.fitted[2]),
            gain=float(mean[0] - mean[-1]),
            gain_low=low,
            gain_high=high,
            confidence=self.confidence,
            falls=self.falls,
            curve_sizes=tuple(xs.tolist()),
            curve=tuple(value.tolist()),
            low=tuple(below.tolist()),
            high=tuple(above.tolist()),
            text=text,
        )


def fit_power_law(sizes: ArrayLike, errors: ArrayLike) -> Floats:
    """Least squares of a + b n^-c with a, b >= 0 and c in `EXPONENTS`, for each row of `errors` `(R, S)`.

    Returns `(R, 3)`. For each exponent a and b are linear, so the best is found exactly; no start is needed.
    """
    n, e = np.asarray(sizes, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    x = (n / n[-1]) ** -EXPONENTS[:, None]  # (C, S)
    mean_x, mean_e = x.mean(axis=1), e.mean(axis=1)
    centred = x - mean_x[:, None]
    b = np.maximum((e - mean_e[:, None]) @ centred.T / (centred**2).sum(axis=1), 0.0)  # (R, C)
    a = mean_e[:, None] - b * mean_x
    through_zero = np.maximum(ratio(e @ x.T, (x**2).sum(axis=1)), 0.0)
    b = np.where(a < 0, through_zero, b)
    a = np.maximum(a, 0.0)
    left = ((e[:, None, :] - a[..., None] - b[..., None] * x) ** 2).sum(axis=-1)
    best = left.argmin(axis=1)
    rows = np.arange(len(e))
    exponent = EXPONENTS[best]
    return np.column_stack([a[rows, best], b[rows, best] * n[-1] ** exponent, exponent])


def _power_law(curves: Floats, sizes: Floats) -> Floats:
    """`(R, 3)` and `(M,)` -> `(R, M)`."""
    return np.asarray(curves[:, :1] + curves[:, 1:2] * sizes ** -curves[:, 2:], dtype=np.float64)
