"""Three ways to decide: pass, review, fail. The lower cut guards against escapes, the upper one against overkill.

Below `low` an image passes, from `high` it fails, and between them a human looks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eyeline.verdicts.clusters import share_rate
from eyeline.verdicts.cost import Costs, review_band
from eyeline.verdicts.guarantee import INTERVAL, Demand, Guarantee, guaranteed_threshold
from eyeline.verdicts.metrics import checked_scores, decisions
from eyeline.verdicts.rates import Rate, Verdict


class ReviewBand(Verdict):
    """Where a human looks, and what is promised about the good parts that fail without a look."""

    demand: str  # such as "overkill<=0.05@0.95", or "cost" when the band comes from costs
    granted: bool
    low: float
    high: float | None  # None when refused, or when nothing needs a review
    overkill_bound: float | None  # upper bound of the share of good parts at or above `high`
    failed: int | None  # calibration goods at or above `high`
    goods: int
    needed: int | None  # further good parts before the promise can be made, when refused
    load: Rate  # share of the calibration images in the band
    text: str


class ReviewFigures(Verdict):
    """What a band does on images that had no part in choosing it."""

    low: float
    high: float
    load: Rate  # share of all images that go to review
    of_defects: Rate  # share of the defects that do
    of_goods: Rate  # share of the good parts that do
    overkill: Rate  # share of the good parts that fail without a look
    text: str


def guaranteed_band(
    scores: ArrayLike,
    is_defect: ArrayLike,
    demand: str | Demand,
    low: float,
    *,
    groups: ArrayLike | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> ReviewBand:
    """The narrowest band above `low` that keeps the demanded overkill among the images that fail unseen.

    The upper cut is the threshold of `guaranteed_threshold` with good parts and defects, and up and down,
    exchanged: the lowest cut that keeps the promise. Where that is not above `low`, one cut keeps both promises and
    nothing needs a review.

    Parameters
    ----------
    scores, is_defect : `(N,)` defect scores and truth of images the network was not trained on.
    demand : such as ``"overkill<=0.05@0.95"``.
    low : where images stop passing, by whatever rule.
    groups : `(N,)` names; the promise then holds for good parts of new groups like these.
    """
    asked = Demand.parse(demand, "overkill") if isinstance(demand, str) else demand
    s, d = checked_scores(scores, is_defect)
    g = None if groups is None else np.asarray(groups)
    found = guaranteed_threshold(1 - s, ~d, asked, groups=groups, resamples=resamples, seed=seed)
    high = None if found.threshold is None else 1 - found.threshold
    between = np.zeros(len(s), dtype=bool) if high is None else (s >= low) & (s < high)
    # Where no calibration image lies between, cutting at `low` fails the same good parts: no band is needed.
    needed = bool(between.any())
    load = share_rate(between, g, INTERVAL)
    return ReviewBand(
        demand=_of_goods(str(asked)),
        granted=found.granted,
        low=low,
        high=high if needed else None,
        overkill_bound=found.escape_bound,
        failed=found.escaped,
        goods=found.defects,
        needed=found.needed,
        load=load,
        text=_band_text(asked, found, low, high if needed or high is None else low, load),
    )


def cost_band(
    scores: ArrayLike,
    is_defect: ArrayLike,
    costs: Costs,
    low: float,
    *,
    groups: ArrayLike | None = None,
) -> ReviewBand | None:
    """The band in which a review is cheaper than either decision, from `low` up; None where it never pays.

    Scores must be calibrated; costs hold at the line's defect rate and are restated for that of these images.
    """
    s, d = checked_scores(scores, is_defect)
    band = None if costs.review is None else review_band(costs, float(d.mean()))
    if band is None or band[1] <= low:
        return None
    high = band[1]
    load = share_rate((s >= low) & (s < high), None if groups is None else np.asarray(groups), INTERVAL)
    return ReviewBand(
        demand="cost",
        granted=True,
        low=low,
        high=high,
        overkill_bound=None,
        failed=int((s[~d] >= high).sum()),
        goods=int((~d).sum()),
        needed=None,
        load=load,
        text=f"From a score of {low:.4g} to below {high:.4g} a look costs less than a wrong decision: "
        f"{_load_text(load)} of the calibration images.",
    )


def review_figures(
    scores: ArrayLike,
    is_defect: ArrayLike,
    low: float,
    high: float,
    *,
    groups: ArrayLike | None = None,
    unknown: ArrayLike | None = None,
) -> ReviewFigures:
    """How many images, defects and good parts go to review, and how many good parts fail unseen.

    All inputs are `(N,)`; what is `unknown` goes to review.
    """
    s, d = checked_scores(scores, is_defect)
    g = None if groups is None else np.asarray(groups)
    word = np.array(decisions(s, low, high, unknown=unknown))
    between, fails = word == "review", word == "fail"

    def share(hits: NDArray[np.bool_], among: NDArray[np.bool_]) -> Rate:
        return share_rate(hits[among], None if g is None else g[among], INTERVAL)

    load, of_defects, of_goods = share(between, np.ones(len(s), bool)), share(between, d), share(between, ~d)
    overkill = share(fails, ~d)
    return ReviewFigures(
        low=low,
        high=high,
        load=load,
        of_defects=of_defects,
        of_goods=of_goods,
        overkill=overkill,
        text=f"{load.count or 0} of {load.n} images go to review, {_load_text(load)}: {of_defects.count or 0} of "
        f"{of_defects.n} defects and {of_goods.count or 0} of {of_goods.n} good parts. {overkill.count or 0} good "
        f"parts fail without a look, {_load_text(overkill)}.",
    )


def _load_text(rate: Rate) -> str:
    return rate.interval_text(INTERVAL)


def _of_goods(text: str) -> str:
    """The words of a promise about defects that pass, said of good parts that fail."""
    return (
        text.replace("caught defect", "good part")
        .replace("defect", "good part")
        .replace("escape", "overkill")
    )


def _band_text(asked: Demand, found: Guarantee, low: float, high: float | None, load: Rate) -> str:
    if high is None or found.escape_bound is None:
        return _of_goods(found.text)
    if high <= low:
        return (
            f"Nothing needs a review: at one threshold of {low:.4g} the promise {_of_goods(str(asked))} is kept too, "
            f"by {found.method}."
        )
    scope = (
        "On average over such calibrations"
        if asked.confidence is None
        else f"With {100 * asked.confidence:g} % confidence"
    )
    among = f" in {found.groups} groups" if found.groups is not None else ""
    return (
        f"{scope} at most {100 * asked.escape:g} % of good parts fail without a look when images fail from a score of "
        f"{high:.4g}: {found.escaped} of {found.defects} good parts{among} did in calibration "
        f"(bound {100 * found.escape_bound:.2g} %, {found.method}). Scores from {low:.4g} to below that go to review: "
        f"{_load_text(load)} of the calibration images."
    )
