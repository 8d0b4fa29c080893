"""What was promised on calibration images, and whether images that had no part in it bear it out."""

from __future__ import annotations

from numpy.typing import ArrayLike

from eyeline.verdicts.choice import Choice
from eyeline.verdicts.claim_check import ClaimCheck, check_claim
from eyeline.verdicts.cost import Costs, line_figures
from eyeline.verdicts.evaluation import Evaluation
from eyeline.verdicts.guarantee import Demand, Guarantee
from eyeline.verdicts.novelty import UnknownFigures, UnknownRule, unknown_figures
from eyeline.verdicts.rates import Rate, Verdict
from eyeline.verdicts.review import ReviewBand, ReviewFigures, review_figures


class LineCosts(Verdict):
    """The test figures at the line's defect rate, in parts and in money."""

    costs: Costs
    outgoing_ppm: Rate  # defects per million parts that ship; good parts under review ship in the end
    reviews: Rate | None  # of 1,000 parts, how many a human looks at; None without a review band
    cost: Rate  # expected, of 1,000 parts, in the currency of the costs
    text: str


class Promises(Verdict):
    """Made on calibration images (`claim`, `review`), seen on the test images (`check`, `reviewed`, `line`).

    `unknown` is the rule by which unknown objects are told, `alarms` how often it takes a known image for one.
    """

    claim: Guarantee | None = None
    check: ClaimCheck | None = None
    review: ReviewBand | None = None
    reviewed: ReviewFigures | None = None
    line: LineCosts | None = None
    unknown: UnknownRule | None = None
    alarms: UnknownFigures | None = None
    kept: bool = True  # False: a promise was refused, or the test images contradict the claim
    text: str = ""  # the claim, kept or refused, in one sentence; empty when none was asked for


def judge_promises(
    choice: Choice,
    evaluation: Evaluation,
    scores: ArrayLike,
    is_defect: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    rule: UnknownRule | None = None,
    unknown: ArrayLike | None = None,
) -> Promises:
    """Hold a choice of cuts against test images.

    Parameters
    ----------
    evaluation : of these images at ``choice.low``.
    scores, is_defect, groups : `(N,)` of the test images.
    rule, unknown : how unknown objects are told, and which of the test images it takes for one, `(N,)`.
    """
    claim, check = choice.claim, None
    if claim is not None and claim.granted:
        check = check_claim(scores, is_defect, Demand.parse(claim.demand), choice.low, groups=groups)
    reviewed = None
    if choice.high is not None:
        reviewed = review_figures(scores, is_defect, choice.low, choice.high, groups=groups, unknown=unknown)
    contradicted = check is not None and check.outcome == "contradicted"
    return Promises(
        claim=claim,
        check=check,
        review=choice.review,
        reviewed=reviewed,
        line=None if choice.costs is None else line_costs(evaluation, choice.costs, reviewed),
        unknown=rule,
        alarms=None if unknown is None else unknown_figures(unknown, is_defect, groups=groups),
        kept=not choice.refused and not contradicted and (rule is None or rule.granted),
        text="" if claim is None else _sentence(claim, check),
    )


def line_costs(evaluation: Evaluation, costs: Costs, reviewed: ReviewFigures | None) -> LineCosts:
    """What ships, what is looked at and what it costs at the line.

    Expected cost of a part: p m C_escape + (1 - p) f C_overkill + r C_review, with defect rate p, escape rate m,
    overkill of the parts that fail unseen f, and review load r = p r_defects + (1 - p) r_goods. It rises with each
    rate, so its interval takes all lower and all upper ends together.
    """
    p, m = costs.defect_rate, evaluation.escape_rate
    f = evaluation.overkill_rate if reviewed is None else reviewed.overkill
    ppm = line_figures(evaluation.model_copy(update={"overkill_rate": f}), p).outgoing_ppm
    terms = [(p * costs.escape, m), ((1 - p) * costs.overkill, f)]
    reviews = None
    if reviewed is not None:
        load = [(p, reviewed.of_defects), (1 - p, reviewed.of_goods)]
        reviews = _sum([(1000 * share, rate) for share, rate in load], evaluation.confidence)
        terms += [((costs.review or 0.0) * share, rate) for share, rate in load]
    cost = _sum([(1000 * weight, rate) for weight, rate in terms], evaluation.confidence)
    text = f"At a line that makes {1e6 * p:,.0f} ppm defects, {_told(ppm)} ppm of what ships are defects"
    if reviews is not None:
        text += f", {_told(reviews)} of 1,000 parts go to review"
    text += f", and 1,000 parts cost {_told(cost)}."
    return LineCosts(costs=costs, outgoing_ppm=ppm, reviews=reviews, cost=cost, text=text)


def _sum(terms: list[tuple[float, Rate]], confidence: float) -> Rate:
    """A sum of weighted rates; unknown when one of them is."""
    if any(weight > 0 and None in (r.value, r.low, r.high) for weight, r in terms):
        return Rate.empty("a rate is unknown")

    def total(end: str) -> float:
        return sum(weight * float(getattr(r, end) or 0.0) for weight, r in terms)

    joint = max(0.0, 100 * (1 - len(terms) * (1 - confidence)))
    return Rate(
        value=total("value"),
        low=total("low"),
        high=total("high"),
        method=f"intervals of {len(terms)} rates combined, at least {joint:.3g} %",
        n=max(r.n for _, r in terms),
    )


def _told(rate: Rate) -> str:
    if rate.value is None:
        return "an unknown number"
    digits = 0 if rate.value >= 10 else 1
    ends = (
        ""
        if rate.low is None or rate.high is None
        else f" ({rate.low:,.{digits}f} to {rate.high:,.{digits}f})"
    )
    return f"{rate.value:,.{digits}f}{ends}"


def _sentence(claim: Guarantee, check: ClaimCheck | None) -> str:
    if check is None:
        return claim.text
    asked = Demand.parse(claim.demand)
    sure = "on average" if asked.confidence is None else f"with {100 * asked.confidence:g} % confidence"
    seen = f"{check.escape_rate.count or 0} of {check.defects} defects escaped"
    found = {
        "supported": f"the test part supports it ({seen})",
        "contradicted": f"but the test part contradicts it ({seen})",
        "open": f"the test part is too small to tell ({seen})",
    }[check.outcome]
    return f"At most {100 * asked.escape:g} % of defects escape, {sure}; {found}."
