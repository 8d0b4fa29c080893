"""A figure with what is known about it: its interval, how that was made, how much stands behind it."""

from __future__ import annotations

import math
from typing import Any

from pydantic import BaseModel, ConfigDict


class Verdict(BaseModel):
    """Base of the results: frozen, with `to_dict()` in plain JSON types."""

    # Validators are built when first used, not at every start.
    model_config = ConfigDict(frozen=True, defer_build=True)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; what cannot be known is None, never NaN."""
        return self.model_dump(mode="json")


class Rate(Verdict):
    """A figure and its two-sided interval at the confidence of the evaluation."""

    value: float | None  # None when nothing was there to count
    low: float | None
    high: float | None
    method: str  # how the interval was made
    n: int  # the images it is a share or a mean of
    count: int | None = None  # how many of the n it counts, for shares

    @classmethod
    def empty(cls, method: str = "nothing to count") -> Rate:
        return cls(value=None, low=None, high=None, method=method, n=0)

    def interval_text(self, confidence: float) -> str:
        """``7.3 % (95 % interval 2.1 to 15.0 %, by group bootstrap)``."""
        if self.value is None:
            return "unknown"
        if self.low is None or self.high is None:
            return f"{100 * self.value:.1f} % (no interval: {self.method})"
        return (
            f"{100 * self.value:.1f} % ({100 * confidence:g} % interval {100 * self.low:.1f} to "
            f"{100 * self.high:.1f} %, by {self.method})"
        )


def known(value: float) -> float | None:
    """A plain float, None for NaN."""
    return None if math.isnan(value) else float(value)
