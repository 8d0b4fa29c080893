"""How many defects a claim needs, and what a number of defects proves: success run and its kin."""

from __future__ import annotations

from collections.abc import Sequence

from eyeline.errors import EyelineError
from eyeline.verdicts.intervals import lower_bound


def success_run(detection: float, confidence: float = 0.95, misses: int = 0) -> int:
    """Defects needed to claim a detection rate of at least `detection` when `misses` of them escape.

    With no miss this is the success-run theorem, n = ln(1 - confidence) / ln(detection): 29 for 0.90, 59 for
    0.95 at 95 %; with misses its exact binomial extension.
    """
    from scipy.stats import binom

    if not (0 < detection < 1 and 0 < confidence < 1 and misses >= 0):
        raise EyelineError(
            f"no sample size for detection {detection}, confidence {confidence}, misses {misses}: the first "
            "two lie between 0 and 1, the third is not negative"
        )
    enough = misses + 1
    while binom.cdf(misses, enough, 1 - detection) > 1 - confidence:
        enough *= 2
    too_few = enough // 2 if enough > misses + 1 else misses
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        if binom.cdf(misses, middle, 1 - detection) > 1 - confidence:
            too_few = middle
        else:
            enough = middle
    return enough


def success_run_table(
    detections: Sequence[float] = (0.9, 0.95, 0.98, 0.99),
    misses: Sequence[int] = (0, 1, 2, 5),
    confidence: float = 0.95,
) -> dict[float, tuple[int, ...]]:
    """Defects needed for each claimed detection rate (row) and number of misses (column)."""
    return {r: tuple(success_run(r, confidence, k) for k in misses) for r in detections}


def provable_detection(defects: int, misses: int = 0, confidence: float = 0.95) -> float:
    """The detection rate that so many independent defects prove: the exact lower bound. 10 caught: 0.74."""
    return float(lower_bound(defects - misses, defects, confidence))
