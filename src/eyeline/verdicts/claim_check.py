"""Does other data bear out a claim? A claim is made on calibration images and checked on images it never saw."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from eyeline.errors import EyelineError
from eyeline.verdicts.clusters import clopper_pearson_grouped
from eyeline.verdicts.guarantee import INTERVAL, MIN_GROUPS, Defects, Demand
from eyeline.verdicts.intervals import Bounds, lower_bound
from eyeline.verdicts.metrics import Bools, checked_scores
from eyeline.verdicts.rates import Rate, Verdict

Outcome = Literal["supported", "open", "contradicted"]


class ClaimCheck(Verdict):
    """What images that had no part in choosing a threshold say about a claim at that threshold."""

    demand: str
    threshold: float
    outcome: Outcome  # "open": too few defects to tell
    escape_rate: Rate  # two-sided interval at 95 %
    lower: float | None  # one-sided bounds at the confidence of the claim
    upper: float | None
    defects: int
    groups: int | None  # groups that hold defects
    text: str


def check_claim(
    scores: ArrayLike,
    is_defect: ArrayLike,
    demand: str | Demand,
    threshold: float,
    *,
    groups: ArrayLike | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> ClaimCheck:
    """Hold a claim against images that were used neither for training nor for choosing the threshold.

    *Supported* when the upper bound of their escape rate is within the claim (exact binomial; with groups the most
    careful of the bounds of `guaranteed_threshold`, from at least ten groups), *contradicted* when the lower bound is
    beyond it, else *open*. A claim on average is held against bounds at 95 %.

    Parameters
    ----------
    scores, is_defect : `(N,)` defect scores and truth.
    threshold : an image escapes when it is a defect and its score lies below.
    groups : `(N,)` names.
    """
    asked = Demand.parse(demand) if isinstance(demand, str) else demand
    confidence = INTERVAL if asked.confidence is None else asked.confidence
    held = asked.model_copy(update={"confidence": confidence})
    s, d = checked_scores(scores, is_defect)
    g = None if groups is None else np.asarray(groups)
    if g is not None and g.shape != s.shape:
        raise EyelineError(f"groups name {g.size} images, there are {len(s)}")
    judged = Defects(s[d], None if g is None else g[d], held)
    missed = s[d] < threshold
    rate, lower, upper = Rate.empty("no defects"), None, None
    outcome: Outcome = "open"
    if len(judged):
        lower, upper = _bounds(judged, missed, confidence, resamples, seed)
        low, high = _bounds(judged, missed, (1 + INTERVAL) / 2, resamples, seed)
        rate = Rate(
            value=float(missed.mean()),
            low=low,
            high=high,
            method=judged.method(held),
            n=len(judged),
            count=int(missed.sum()),
        )
        enough = not judged.grouped or judged.units >= MIN_GROUPS
        if upper <= asked.escape and enough:
            outcome = "supported"
        elif lower > asked.escape:
            outcome = "contradicted"
    return ClaimCheck(
        demand=str(asked),
        threshold=threshold,
        outcome=outcome,
        escape_rate=rate,
        lower=lower,
        upper=upper,
        defects=len(judged),
        groups=judged.groups,
        text=_words(asked, judged, rate, outcome, lower, upper, confidence),
    )


def _bounds(judged: Defects, missed: Bools, confidence: float, resamples: int, seed: int) -> Bounds:
    """Lower and upper bound of the escape rate, each one-sided at `confidence`."""
    count = int(missed.sum())
    upper = float(judged.upper_bounds(np.array([count]), confidence, resamples, seed)[0])
    if not judged.grouped:
        return float(lower_bound(count, len(missed), confidence)), upper
    hits = np.bincount(judged.unit, weights=missed, minlength=judged.units)
    return clopper_pearson_grouped(hits, judged.sizes, 2 * confidence - 1)[0], upper


def _words(
    asked: Demand,
    judged: Defects,
    rate: Rate,
    outcome: str,
    lower: float | None,
    upper: float | None,
    confidence: float,
) -> str:
    if lower is None or upper is None:
        return f"There are no defects to hold {asked} against."
    seen = f"{rate.count} of {judged} escaped, {rate.interval_text(INTERVAL)}. "
    sure = f"with {100 * confidence:g} % confidence"
    if outcome == "supported":
        return f"{seen}That supports {asked}: {sure} at most {100 * upper:.2g} % escape."
    if outcome == "contradicted":
        return f"{seen}That contradicts {asked}: {sure} more than {100 * lower:.2g} % escape."
    few = judged.grouped and judged.units < MIN_GROUPS and upper <= asked.escape
    why = (
        f"{MIN_GROUPS} groups with defects are needed"
        if few
        else f"{sure} it may be up to {100 * upper:.2g} %"
    )
    return f"{seen}That neither supports nor contradicts {asked}: {why}."
