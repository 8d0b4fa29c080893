"""Which cuts an inspector gets, from what its user asks for: a claim, a review band, costs, or nothing."""

from __future__ import annotations

from numpy.typing import ArrayLike

from eyeline.errors import EyelineError
from eyeline.verdicts.cost import Costs, cost_threshold, review_band
from eyeline.verdicts.guarantee import Demand, Guarantee, guaranteed_threshold
from eyeline.verdicts.metrics import checked_scores
from eyeline.verdicts.rates import Verdict
from eyeline.verdicts.review import ReviewBand, cost_band, guaranteed_band
from eyeline.verdicts.threshold import choose_threshold

USUAL = "balanced_accuracy"


class Wishes(Verdict):
    """What is asked of the decisions; with nothing asked, the threshold of the largest balanced accuracy."""

    claim: Demand | None = None
    review: Demand | None = None
    costs: Costs | None = None
    unknown: float | None = None  # share of false alarms at which unknown objects are told

    @classmethod
    def parse(
        cls,
        claim: str | None = None,
        review: str | None = None,
        cost: str | None = None,
        unknown: float | None = None,
    ) -> Wishes:
        """From texts such as ``escape<=0.05@0.95``, ``overkill<=0.05@0.95`` and ``escape=500,overkill=4,line=0.01``.

        Raises
        ------
        EyelineError : ``bad_option``, naming what cannot be read.
        """
        if unknown is not None and not 0 < unknown <= 0.5:
            raise EyelineError(
                f"unknown is {unknown}; allowed: above 0 to 0.5, such as 0.01", code="bad_option"
            )
        return cls(
            claim=None if claim is None else Demand.parse(claim),
            review=None if review is None else Demand.parse(review, "overkill"),
            costs=None if cost is None else Costs.parse(cost),
            unknown=unknown,
        )


class Choice(Verdict):
    """The cuts, and the promises they were chosen by. An image does not pass from `low`; it fails from `high`."""

    low: float
    high: float | None  # None without a review band: then images fail from `low`
    rule: str  # what set `low`: balanced_accuracy, claim, cost, or cost within the claim
    claim: Guarantee | None
    review: ReviewBand | None
    costs: Costs | None

    @property
    def refused(self) -> bool:
        """Was a promise asked for that the calibration images do not support?"""
        return any(part is not None and not part.granted for part in (self.claim, self.review))


def choose_cuts(
    scores: ArrayLike, is_defect: ArrayLike, wishes: Wishes, *, groups: ArrayLike | None = None
) -> Choice:
    """Choose on calibration images: never on those that the choice is then judged by.

    1. A granted claim sets the lower cut; a refused one leaves it where it would be without.
    2. Costs set it instead where no claim is made, and may lower it below that of a claim, never raise it: what holds
       at a threshold holds at every lower one.
    3. The upper cut comes from the promise about overkill, else from the cost of a review, else there is none.

    Parameters
    ----------
    scores : `(N,)` defect scores; calibrated, when there are costs.
    is_defect : `(N,)` truth.
    groups : `(N,)` names; the promises then hold for new groups like these.
    """
    s, d = checked_scores(scores, is_defect)
    low, rule = choose_threshold(s, d, rule=USUAL), USUAL
    if wishes.costs is not None:
        low, rule = _cheapest(wishes.costs, float(d.mean())), "cost"
    claim = None
    if wishes.claim is not None:
        claim = guaranteed_threshold(s, d, wishes.claim, groups=groups)
        if claim.threshold is not None and (rule == USUAL or claim.threshold < low):
            low, rule = claim.threshold, "claim"
        elif claim.granted:
            rule = "cost within the claim"
    band = None
    if wishes.review is not None:
        band = guaranteed_band(s, d, wishes.review, low, groups=groups)
    elif wishes.costs is not None:
        band = cost_band(s, d, wishes.costs, low, groups=groups)
    return Choice(
        low=low,
        high=None if band is None else band.high,
        rule=rule,
        claim=claim,
        review=band,
        costs=wishes.costs,
    )


def _cheapest(costs: Costs, data_rate: float) -> float:
    """From which score on it is dear to let an image pass: the lower end of the band, where a review pays."""
    band = None if costs.review is None else review_band(costs, data_rate)
    return cost_threshold(costs, data_rate) if band is None else band[0]
