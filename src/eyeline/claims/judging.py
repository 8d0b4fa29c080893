"""From paired differences to a verdict: intervals, margins, and a correction for being several.

A claim says that an effect is larger than a margin. Both kinds of error are wrong verdicts, so the test is
two-sided around the margin: with an effect exactly there, "holds" and "fails" together come out in 5 % of all
experiments at most.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from eyeline.claims.claim import ClaimResult, Contrast, Findings, Word
from eyeline.errors import EyelineError
from eyeline.verdicts import holm

LEVEL = 0.05
ENOUGH = 0.25  # of the planned steps; networks trained shorter than that are another experiment


def contrast(
    name: str,
    text: str,
    differences: ArrayLike,
    *,
    margin: float,
    unit: str = "accuracy",
    required: bool = True,
    overlap: float = 0.0,
) -> Contrast:
    """Student's t of one difference a seed, with its two-sided 95 % interval.

    Parameters
    ----------
    differences : ``(S,)``, at least two, each from its own training and test pictures.
    overlap : test size over training size where the seeds only divide the same images anew. Such differences
        are not independent, and the variance of their mean is ``s² (1/S + overlap)`` instead of ``s²/S``
        (Nadeau and Bengio, Machine Learning 52, 2003, section 3).

    Raises
    ------
    EyelineError : fewer than two differences, or one that is not finite.
    """
    from scipy.stats import t as student

    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
        raise EyelineError(
            f"the contrast {name!r} needs two finite differences or more, not {values}", code="bad_option"
        )
    mean, seeds = float(values.mean()), len(values)
    error = float(values.std(ddof=1)) * math.sqrt(1 / seeds + overlap)
    half = float(student.ppf(1 - LEVEL / 2, seeds - 1)) * error
    if error > 0:
        p = float(2 * student.sf(abs(mean - margin) / error, seeds - 1))
    else:  # all seeds agree to the last bit
        p = 1.0 if mean == margin else 0.0
    return Contrast(
        name=name,
        text=text,
        unit=unit,
        margin=margin,
        values=tuple(values.tolist()),
        effect=mean,
        low=mean - half,
        high=mean + half,
        p_value=p,
        required=required,
    )


def deciding(findings: Findings) -> Contrast | None:
    """The required contrast that stands worst against its margin; None where all is exact."""
    required = [c for c in findings.contrasts if c.required]
    return max(required, key=lambda c: (_p_against(c), -(c.effect - c.margin)), default=None)


def p_of(findings: Findings) -> float | None:
    """The p-value of the claim, two-sided like those of its contrasts; None where all is exact.

    It holds when every required contrast holds, so the largest p counts (intersection-union test, Berger
    1982); it fails when any of k fails, so k times the smallest p counts (Bonferroni).
    """
    required = [c for c in findings.contrasts if c.required]
    if not required:
        return None
    below = [c.p_value for c in required if c.effect < c.margin]
    if below:
        return min(1.0, len(required) * min(below))
    return max(c.p_value for c in required)


def word(findings: Findings, p: float | None, share: float = 1.0) -> Word:
    """The verdict at a p-value, corrected or not. An exact check that is wrong settles it.

    Below a quarter of the planned steps (`share`) nothing but the exact part is judged.
    """
    if not all(check.holds for check in findings.checks):
        return "fails"
    if p is None:
        return "holds"
    if p > LEVEL or share < ENOUGH:
        return "inconclusive"
    return "fails" if any(c.required and c.effect < c.margin for c in findings.contrasts) else "holds"


def judge_together(results: Sequence[ClaimResult]) -> list[ClaimResult]:
    """The same results with p-values corrected for all of them (Holm 1979), and verdicts at those."""
    measured = [r.p_value for r in results if r.p_value is not None]
    adjusted = iter(holm(measured))
    judged = []
    for result in results:
        p = None if result.p_value is None else next(adjusted)
        judged.append(
            result.model_copy(update={"adjusted_p": p, "verdict": word(result.findings, p, result.share)})
        )
    return judged


def _p_against(c: Contrast) -> float:
    """How little speaks for a contrast: its p-value above the margin, more than 1 below it."""
    return c.p_value if c.effect >= c.margin else 2 - c.p_value
