"""Where to cut the defect score: chosen on validation images only, and placed where nothing sits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from eyeline.errors import EyelineError, nearest
from eyeline.verdicts.metrics import Floats, Ints, Ranking, checked_scores, ratio

RULES = ("balanced_accuracy", "f1", "escape", "cost")

# Scores closer than this are taken as equal: no threshold is put between them, so that the rounding of
# another engine or batch size cannot change a decision.
RESOLUTION = 1e-6


@dataclass(frozen=True, eq=False)
class Cuts:
    """Every threshold worth trying on a set of scores, and what it does there."""

    thresholds: Floats  # (L,) falling: from "all pass" to "all fail"
    margin: Floats  # (L,) distance to the nearest score
    caught: Floats  # (L,) defects that fail
    overkill: Floats  # (L,) goods that fail
    defects: int
    goods: int

    @property
    def misses(self) -> Ints:
        """Defects below each threshold."""
        return np.round(self.defects - self.caught).astype(np.int64)

    @property
    def escape_rate(self) -> Floats:
        """Share of the defects below each threshold, NaN without defects."""
        return 1.0 - ratio(self.caught, self.defects)

    @property
    def overkill_rate(self) -> Floats:
        """Share of the goods at or above each threshold, NaN without goods."""
        return ratio(self.overkill, self.goods)

    def best(self, value: Floats) -> float:
        """The threshold of the largest value; of several, the one in the widest gap."""
        top = np.flatnonzero(value >= value.max() - 1e-12)
        return float(self.thresholds[top[np.argmax(self.margin[top])]])


def cuts(scores: ArrayLike, is_defect: ArrayLike) -> Cuts:
    """Midpoints between neighbouring distinct scores, and one threshold beyond either end."""
    s, d = checked_scores(scores, is_defect)
    ranking = Ranking.of(s, d)
    caught, overkill = (np.append(0.0, rows[0]) for rows in ranking.failed())
    levels = ranking.levels
    # Beyond the ends: half way to 0 and to 1 where the scores leave room for it.
    above = (levels[0] + 1) / 2 if levels[0] < 1 - RESOLUTION else levels[0] + RESOLUTION
    below = levels[-1] / 2 if levels[-1] > RESOLUTION else levels[-1] - RESOLUTION
    edges = np.concatenate([[2 * above - levels[0]], levels, [2 * below - levels[-1]]])
    thresholds, margin = (edges[:-1] + edges[1:]) / 2, (edges[:-1] - edges[1:]) / 2
    wide = 2 * margin > RESOLUTION
    wide[[0, -1]] = True
    return Cuts(
        thresholds=thresholds[wide],
        margin=margin[wide],
        caught=caught[wide],
        overkill=overkill[wide],
        defects=int(d.sum()),
        goods=int((~d).sum()),
    )


def require_both(c: Cuts) -> None:
    """EyelineError unless both goods and defects are there."""
    if c.defects == 0 or c.goods == 0:
        missing = "good parts" if c.goods == 0 else "defects"
        raise EyelineError(
            f"no threshold can be chosen: the {c.defects + c.goods} validation images hold no {missing}",
            code="one_class",
            hint="give the validation part images of both kinds",
        )


def choose_threshold(
    scores: ArrayLike,
    is_defect: ArrayLike,
    *,
    rule: str = "balanced_accuracy",
    max_escape: float | None = None,
    cost_escape: float | None = None,
    cost_overkill: float | None = None,
    defect_rate: float | None = None,
) -> float:
    """The threshold on the defect score that serves best on these validation images.

    Parameters
    ----------
    scores : `(N,)` defect scores, 1 - p[good].
    is_defect : `(N,)` truth.
    rule :
        ``"balanced_accuracy"`` mean of detection rate and 1 - overkill rate is largest;
        ``"f1"`` F1 of the defects is largest;
        ``"escape"`` least overkill while at most `max_escape` of *these* defects pass (no guarantee for other
        parts: that is `guarantee.guaranteed_threshold`);
        ``"cost"`` least expected cost a part, from `cost_escape`, `cost_overkill` (any currency) and
        `defect_rate`, the share of defects at the line (by default that of these images).

    Returns
    -------
    float : an image fails when its score is at least this. It lies midway between two distinct scores; of
    equally good places, in the widest gap.
    """
    c = cuts(scores, is_defect)
    require_both(c)
    if rule == "balanced_accuracy":
        return c.best(1 - (c.escape_rate + c.overkill_rate) / 2)
    if rule == "f1":
        return c.best(np.nan_to_num(ratio(2 * c.caught, c.defects + c.caught + c.overkill)))
    if rule == "escape":
        limit = _required("max_escape", max_escape, rule)
        if not 0 <= limit < 1:
            raise EyelineError(f"max_escape is {limit}, allowed: 0 to below 1")
        return c.best(np.where(c.escape_rate <= limit + 1e-12, -c.overkill_rate, -np.inf))
    if rule == "cost":
        escape, overkill = (
            _required("cost_escape", cost_escape, rule),
            _required("cost_overkill", cost_overkill, rule),
        )
        p = c.defects / (c.defects + c.goods) if defect_rate is None else defect_rate
        if min(escape, overkill) < 0 or not 0 <= p <= 1:
            raise EyelineError(
                f"costs {escape} and {overkill} must not be negative, defect_rate {p} from 0 to 1"
            )
        cost = p * escape * c.escape_rate + (1 - p) * overkill * c.overkill_rate
        return c.best(-cost / max(escape, overkill, 1e-300))
    raise EyelineError(f"unknown threshold rule {rule!r}", hint=nearest(rule, RULES))


def _required(name: str, value: float | None, rule: str) -> float:
    if value is None:
        raise EyelineError(f"the threshold rule {rule!r} needs {name}")
    return value
