"""Money and the line: thresholds from costs, another defect rate than the data set's, and what is shipped.

Figures of a data set are never those of the line: defects are rare at the line and common in a data set.
Everything here takes the line's defect rate.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from eyeline.errors import EyelineError
from eyeline.verdicts.curves import Curve
from eyeline.verdicts.evaluation import Evaluation
from eyeline.verdicts.metrics import Floats, ratio
from eyeline.verdicts.rates import Rate, Verdict
from eyeline.verdicts.threshold import Cuts, cuts, require_both

_WRITE = 'write "escape=500,overkill=4,review=1,line=0.01"; line is the share of defects at the line'


class Costs(Verdict):
    """What a wrong decision costs, in any one currency, and how often the line makes defects."""

    escape: float
    overkill: float
    defect_rate: float  # share of defects among the parts that reach inspection at the line
    review: float | None = None  # a human looks at the part and always decides right

    @classmethod
    def parse(cls, text: str) -> Costs:
        """``escape=500,overkill=4,review=1,line=0.01``; `line` is the defect rate, `review` may be left out."""
        values: dict[str, float] = {}
        for part in text.split(","):
            found = re.fullmatch(r"\s*(escape|overkill|review|line)\s*=\s*(\d*\.?\d+)\s*(%?)\s*", part)
            if not found or found[1] in values or (found[3] and found[1] != "line"):
                raise EyelineError(
                    f"cannot read {part.strip()!r} in the costs {text!r}", code="bad_option", hint=_WRITE
                )
            values[found[1]] = float(found[2]) / (100 if found[3] else 1)
        missing = [name for name in ("escape", "overkill", "line") if name not in values]
        if missing:
            raise EyelineError(f"the costs {text!r} lack {missing[0]}", code="bad_option", hint=_WRITE)
        rate = values.pop("line")
        _odds(rate)
        return cls(defect_rate=rate, **values)

    def model_post_init(self, context: object, /) -> None:
        if min(self.escape, self.overkill, self.review or 0) < 0 or self.escape + self.overkill == 0:
            raise EyelineError(f"costs must not be negative nor all zero: {self}", code="bad_option")
        _checked_rate(self.defect_rate)


def shift_prior(probabilities: ArrayLike, from_rate: float, to_rate: float) -> Floats:
    """P(defect) calibrated at one defect rate, restated for another (Saerens et al. 2002).

    The odds are multiplied by the ratio of the prior odds; holds when good parts and defects look the same in
    both places and only their mix differs. Rates lie strictly between 0 and 1.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    factor = _odds(to_rate) / _odds(from_rate)
    return np.asarray(p * factor / (p * factor + (1 - p)), dtype=np.float64)


def cost_threshold(costs: Costs, data_rate: float | None = None) -> float:
    """Fail when P(defect) >= C_overkill / (C_overkill + C_escape) (Elkan 2001).

    With `data_rate`, the defect rate of the data on which P was calibrated, the threshold is restated on that
    scale, so that unshifted scores can be compared with it. Needs calibrated probabilities;
    `choose_threshold` with rule "cost" needs none, but enough images.
    """
    at_line = costs.overkill / (costs.overkill + costs.escape)
    return at_line if data_rate is None else float(shift_prior(at_line, costs.defect_rate, data_rate))


def review_band(costs: Costs, data_rate: float | None = None) -> tuple[float, float] | None:
    """Scores from the first to below the second go to review: there a look is cheaper than either decision.

    None when a review never pays (C_review > C_escape C_overkill / (C_escape + C_overkill)).
    """
    if costs.review is None:
        raise EyelineError("a review band needs the cost of a review")
    if costs.review * (costs.escape + costs.overkill) >= costs.escape * costs.overkill:
        return None
    band = np.array([costs.review / costs.escape, 1 - costs.review / costs.overkill])
    if data_rate is not None:
        band = shift_prior(band, costs.defect_rate, data_rate)
    return float(band[0]), float(band[1])


def outgoing_defect_rate(escape: ArrayLike, overkill: ArrayLike, defect_rate: float) -> Floats:
    """Share of defects among the parts that pass: p m / (p m + (1 - p)(1 - f)); NaN when nothing passes."""
    m, f = np.asarray(escape, dtype=np.float64), np.asarray(overkill, dtype=np.float64)
    p = _checked_rate(defect_rate)
    return ratio(p * m, p * m + (1 - p) * (1 - f))


def failed_share(escape: ArrayLike, overkill: ArrayLike, defect_rate: float) -> Floats:
    """Share of all parts that fail: p (1 - m) + (1 - p) f."""
    m, f = np.asarray(escape, dtype=np.float64), np.asarray(overkill, dtype=np.float64)
    p = _checked_rate(defect_rate)
    return np.asarray(p * (1 - m) + (1 - p) * f, dtype=np.float64)


class LineFigures(Verdict):
    """An evaluation restated at the line's defect rate."""

    defect_rate: float
    outgoing_ppm: Rate  # defects per million parts that pass
    failed_share: Rate  # 1 - first-pass yield
    precision: Rate  # share of the failed parts that are defects
    text: str


def line_figures(evaluation: Evaluation, defect_rate: float) -> LineFigures:
    """What ships and what is scrapped at the line's defect rate, by the escape and overkill of an evaluation.

    Each figure rises or falls with both rates, so its interval takes both interval ends together; it holds
    with at least 1 - 2 (1 - confidence).
    """
    _checked_rate(defect_rate)
    m, f = evaluation.escape_rate, evaluation.overkill_rate
    joint = 100 * (1 - 2 * (1 - evaluation.confidence))
    method = f"escape and overkill intervals combined, at least {joint:.3g} %"
    if (
        m.value is None
        or f.value is None
        or m.low is None
        or m.high is None
        or f.low is None
        or f.high is None
    ):
        unknown = Rate.empty("escape or overkill rate is unknown")
        return LineFigures(
            defect_rate=defect_rate,
            outgoing_ppm=unknown,
            failed_share=unknown,
            precision=unknown,
            text="Nothing can be said about the line: the escape or the overkill rate is unknown.",
        )

    def rate(value: Floats, ends: Floats) -> Rate:
        known = [None if np.isnan(x) else float(x) for x in (value, ends.min(), ends.max())]
        return Rate(value=known[0], low=known[1], high=known[2], method=method, n=evaluation.images)

    escapes, overkills = np.array([m.low, m.high]), np.array([f.low, f.high])
    ppm = rate(
        1e6 * outgoing_defect_rate(m.value, f.value, defect_rate),
        1e6 * outgoing_defect_rate(escapes, overkills, defect_rate),
    )
    failed = rate(
        failed_share(m.value, f.value, defect_rate), failed_share(escapes[::-1], overkills, defect_rate)
    )
    right = rate(
        _precision(np.asarray(m.value), np.asarray(f.value), defect_rate),
        _precision(escapes, overkills, defect_rate),
    )
    return LineFigures(
        defect_rate=defect_rate,
        outgoing_ppm=ppm,
        failed_share=failed,
        precision=right,
        text=_line_text(defect_rate, ppm, failed),
    )


def _precision(escape: Floats, overkill: Floats, defect_rate: float) -> Floats:
    caught = defect_rate * (1 - escape)
    return ratio(caught, caught + (1 - defect_rate) * overkill)


def _line_text(defect_rate: float, ppm: Rate, failed: Rate) -> str:
    shipped = "nothing passes" if ppm.value is None else f"{ppm.value:,.0f} ppm of what passes are defects"
    if ppm.low is not None and ppm.high is not None:
        shipped += f" ({ppm.low:,.0f} to {ppm.high:,.0f})"
    stopped = "" if failed.value is None else f", and {100 * failed.value:.1f} % of all parts fail"
    return f"At a line that makes {1e6 * defect_rate:,.0f} ppm defects, {shipped}{stopped}."


@dataclass(frozen=True, eq=False)
class CostCurve(Curve):
    """Expected cost a part and what ships, for every threshold worth trying (rising)."""

    thresholds: Floats
    cost: Floats
    escape_rate: Floats
    overkill_rate: Floats
    outgoing_ppm: Floats


def cost_curve(scores: ArrayLike, is_defect: ArrayLike, costs: Costs) -> CostCurve:
    """The cost of each threshold on these images, restated at the line's defect rate."""
    c: Cuts = cuts(scores, is_defect)
    require_both(c)
    escape, overkill, p = c.escape_rate[::-1], c.overkill_rate[::-1], costs.defect_rate
    return CostCurve(
        thresholds=c.thresholds[::-1],
        cost=p * costs.escape * escape + (1 - p) * costs.overkill * overkill,
        escape_rate=escape,
        overkill_rate=overkill,
        outgoing_ppm=1e6 * outgoing_defect_rate(escape, overkill, p),
    )


def _odds(rate: float) -> float:
    if not 0 < rate < 1:
        raise EyelineError(
            f"a defect rate of {rate} cannot be shifted; it must lie between 0 and 1", code="bad_option"
        )
    return rate / (1 - rate)


def _checked_rate(rate: float) -> float:
    if not 0 <= rate <= 1:
        raise EyelineError(f"a defect rate is a share from 0 to 1, not {rate}")
    return rate
