"""A threshold with a promise: at most so many escapes, with a stated confidence or on average; or a refusal.

Two kinds of promise, which the words keep apart:

* ``escape<=0.05@0.95``: *with confidence*. In 95 of 100 plants that calibrate like this, at most 5 % of all
  future defects pass. A nonparametric tolerance bound (Wilks 1941) for independent defects.
* ``escape<=0.05``: *on average*. Over all such calibrations the expected escape rate is at most 5 %; a single
  plant may be worse. Conformal prediction (Vovk et al. 2005; by group, Lee, Barber and Willett 2023).

Both hold for defects that are exchangeable with the calibration ones, by group when groups are given.
"""

from __future__ import annotations

import math
import re

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eyeline.errors import EyelineError, GateError
from eyeline.verdicts.clusters import (
    careful_upper_bounds,
    design_effect,
    few_groups,
    group_numbers,
    intraclass_correlation,
    share_rate,
)
from eyeline.verdicts.intervals import upper_bound
from eyeline.verdicts.metrics import Bools, Floats, Ints, checked_scores
from eyeline.verdicts.rates import Rate, Verdict
from eyeline.verdicts.samplesize import success_run
from eyeline.verdicts.threshold import Cuts, cuts

# Fewer groups than this say too little about how groups differ to promise anything about new ones.
MIN_GROUPS = 10
MOST_TRIED = 200  # thresholds tried with groups; skipping some only makes the promise more careful
INTERVAL = 0.95  # confidence of the overkill interval


class Demand(Verdict):
    """What is asked for: an escape rate of at most this, with a confidence or (None) on average."""

    escape: float
    confidence: float | None

    @classmethod
    def parse(cls, text: str, rate: str = "escape") -> Demand:
        """``escape<=0.05@0.95`` is with confidence, ``escape<=0.05`` on average; ``5%`` is understood.

        `rate` is the word that the text must begin with: ``overkill`` for a promise about good parts.
        """
        number = r"\s*(\d*\.?\d+)\s*(%?)\s*"
        found = re.fullmatch(rf"\s*{rate}\s*<={number}(?:@{number})?", text)
        if not found:
            raise EyelineError(
                f"cannot read the claim {text!r}",
                code="bad_option",
                hint=f'write "{rate}<=0.05@0.95" or "{rate}<=0.05"',
            )
        escape = float(found[1]) / (100 if found[2] else 1)
        confidence = None if found[3] is None else float(found[3]) / (100 if found[4] else 1)
        if not 0 < escape < 1 or (confidence is not None and not 0.5 <= confidence < 1):
            raise EyelineError(
                f"the claim {text!r} needs 0 < {rate} < 1 and 0.5 <= confidence < 1", code="bad_option"
            )
        return cls(escape=escape, confidence=confidence)

    @property
    def kind(self) -> str:
        return "on average" if self.confidence is None else "with confidence"

    def __str__(self) -> str:
        return f"escape<={self.escape:g}" + ("" if self.confidence is None else f"@{self.confidence:g}")


class Guarantee(Verdict):
    """The promise that the calibration images support, or why they support none."""

    demand: str
    kind: str  # "with confidence" | "on average"
    granted: bool
    threshold: float | None  # None when refused
    escape_bound: float | None  # upper bound of the escape rate at the threshold
    escaped: int | None  # calibration defects below the threshold
    defects: int
    groups: int | None  # groups that hold defects
    effective_defects: float  # independent defects that the grouped ones are worth
    overkill: Rate  # what it costs, on the calibration goods
    needed: int | None  # further caught defects before the claim can be made, when refused
    method: str
    text: str

    def require(self) -> Guarantee:
        """Itself when granted, else GateError with the refusal."""
        if not self.granted:
            raise GateError(self.text, code="claim_refused")
        return self


def guaranteed_threshold(
    scores: ArrayLike,
    is_defect: ArrayLike,
    demand: str | Demand,
    *,
    groups: ArrayLike | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Guarantee:
    """The highest threshold on the defect score that keeps the demanded escape rate, and its overkill.

    Thresholds are tried from the lowest up and the first that fails ends the search, so that trying many of
    them needs no correction (fixed-sequence testing; Angelopoulos et al. 2021, Learn then Test).

    Parameters
    ----------
    scores : `(N,)` defect scores of images the network was not trained on (validation or out-of-fold).
    is_defect : `(N,)` truth.
    demand : such as ``"escape<=0.05@0.95"``.
    groups : `(N,)` names; the promise then holds for defects of new groups like these.

    Returns
    -------
    Guarantee : refused (`granted` False, with the missing defects) when the data cannot support the demand.
    """
    asked = Demand.parse(demand) if isinstance(demand, str) else demand
    s, d = checked_scores(scores, is_defect)
    g = None if groups is None else np.asarray(groups)
    if g is not None and g.shape != s.shape:
        raise EyelineError(f"groups name {g.size} images, there are {len(s)}")
    defects = Defects(s[d], None if g is None else g[d], asked)
    tried = cuts(s, d)
    allowed, bounds = defects.allowed_misses(tried, asked, resamples, seed)
    if allowed < 0:
        return _refusal(asked, defects)
    misses = tried.misses
    threshold = tried.best(np.where(misses <= allowed, -tried.overkill, -np.inf))
    escaped = int((s[d] < threshold).sum())
    overkill = _overkill(s[~d] >= threshold, None if g is None else g[~d])
    bound = bounds.get(escaped, asked.escape)
    return Guarantee(
        demand=str(asked),
        kind=asked.kind,
        granted=True,
        threshold=threshold,
        escape_bound=bound,
        escaped=escaped,
        defects=len(defects),
        groups=defects.groups,
        effective_defects=defects.worth,
        overkill=overkill,
        needed=None,
        method=defects.method(asked),
        text=_promise(asked, defects, threshold, escaped, bound, overkill),
    )


class Defects:
    """Judged defects: how many misses among them are compatible with a demand."""

    def __init__(self, scores: Floats, groups: NDArray[np.generic] | None, asked: Demand) -> None:
        self.grouped = groups is not None
        self.unit, self.units = group_numbers(np.arange(len(scores)) if groups is None else groups)
        self.order = np.argsort(scores, kind="stable")
        self.sizes = np.bincount(self.unit, minlength=self.units).astype(np.float64)
        self.worth = self.worth_at(asked.escape, asked.confidence)

    def worth_at(self, escape: float, confidence: float | None) -> float:
        """How many independent defects these are worth when `escape` is to be promised."""
        n = len(self)
        if not self.grouped or confidence is None or n == 0:
            return float(n)
        # At a low threshold there are too few misses to see how they cluster. What would be missed if the rate
        # to be promised were just reached shows it.
        missed = np.zeros(n)
        missed[self.order[: math.ceil(escape * n)]] = 1.0
        effect = design_effect(self.sizes, intraclass_correlation(missed, self.unit))
        return max(1.0, n / effect * few_groups(self.sizes, confidence))

    def least_escape(self, confidence: float) -> float | None:
        """The least escape rate, in steps of 0.001, that can be promised when none of these is missed."""
        if len(self) == 0 or (self.grouped and self.units < MIN_GROUPS):
            return None
        for step in range(1, 1000):
            if upper_bound(0, self.worth_at(step / 1000, confidence), confidence) <= step / 1000:
                return step / 1000
        return None

    def __len__(self) -> int:
        return len(self.unit)

    def __str__(self) -> str:
        """``12 defects in 4 groups``."""
        among = f" in {self.units} group{'' if self.units == 1 else 's'}" if self.grouped else ""
        return f"{len(self)} defect{'' if len(self) == 1 else 's'}{among}"

    @property
    def groups(self) -> int | None:
        return self.units if self.grouped else None

    def method(self, asked: Demand) -> str:
        if asked.confidence is None:
            return "conformal by group" if self.grouped else "conformal"
        return "design effect and group bootstrap, the more careful" if self.grouped else "exact binomial"

    def allowed_misses(
        self, tried: Cuts, asked: Demand, resamples: int, seed: int
    ) -> tuple[int, dict[int, float]]:
        """The most misses that keep the demand, -1 for none at all; and the bound at each number tried."""
        if asked.confidence is None:
            # A new defect stands for one group more; inside a group every defect shares its group's weight.
            weight = 1.0 / ((self.units + 1) * self.sizes[self.unit[self.order]])
            below = np.append(0.0, np.cumsum(weight)) + 1.0 / (self.units + 1)
            return int((below <= asked.escape + 1e-12).sum()) - 1, {}
        misses = np.unique(tried.misses)
        misses = misses[misses <= asked.escape * len(self)]
        if len(self) == 0 or (self.grouped and self.units < MIN_GROUPS):
            return -1, {}
        if self.grouped and len(misses) > MOST_TRIED:
            misses = misses[np.linspace(0, len(misses) - 1, MOST_TRIED).astype(np.int64)]
        bounds = self.upper_bounds(misses, asked.confidence, resamples, seed)
        held = int(np.cumprod(bounds <= asked.escape).sum())
        return (int(misses[held - 1]) if held else -1), dict(
            zip(misses.tolist(), bounds.tolist(), strict=True)
        )

    def upper_bounds(self, misses: Ints, confidence: float, resamples: int, seed: int) -> Floats:
        """Upper bounds of the escape rate when the lowest `misses` `(T,)` defects pass."""
        if not self.grouped:
            return upper_bound(misses, len(self), confidence)
        missed = [np.bincount(self.unit[self.order[:m]], minlength=self.units) for m in misses]
        return careful_upper_bounds(
            np.array(missed, dtype=np.float64),
            self.sizes,
            worth=self.worth,
            confidence=confidence,
            resamples=resamples,
            seed=seed,
        )


def _overkill(fails: Bools, groups: NDArray[np.generic] | None) -> Rate:
    """The share of the calibration goods that fail, with its interval."""
    if len(fails) == 0:
        return Rate.empty("no good parts to calibrate on")
    return share_rate(fails, groups, INTERVAL)


def _promise(
    asked: Demand, defects: Defects, threshold: float, escaped: int, bound: float, overkill: Rate
) -> str:
    if asked.confidence is None:
        scope = "On average over such calibrations, though not in each of them,"
    else:
        scope = f"With {100 * asked.confidence:g} % confidence"
    text = (
        f"{scope} at most {100 * asked.escape:g} % of defects escape when an image fails at a score of "
        f"{threshold:.4g} or more: {escaped} of {defects} passed in calibration "
        f"(bound {100 * bound:.2g} %, {defects.method(asked)}). "
    )
    if overkill.value is None:
        text += "What it costs in overkill is unknown: there are no good parts to calibrate on."
    else:
        text += f"It costs an overkill rate of {overkill.interval_text(INTERVAL)}."
    if defects.grouped and asked.confidence is not None:
        unseen = 1 - (1 - asked.confidence) ** (1 / defects.units)
        text += (
            f" It holds for new groups like these; a kind of group rarer than {100 * unseen:.2g} % "
            f"may not have been seen."
        )
    return text


def _refusal(asked: Demand, defects: Defects) -> Guarantee:
    """What is missing, and what the same defects would support."""
    best = ""
    if asked.confidence is None:
        needed = math.ceil(1 / asked.escape - 1 - 1e-9) - defects.units
    else:
        needed = math.ceil(success_run(1 - asked.escape, asked.confidence) - defects.worth - 1e-9)
        if defects.grouped:
            needed = max(needed, MIN_GROUPS - defects.units)
        least = defects.least_escape(asked.confidence)
        if least is not None:
            best = f"; these support at best escape<={least:g}@{asked.confidence:g}"
    needed = max(needed, 1)
    each = ", each from a new group" if defects.grouped else ""
    fewer = asked.confidence is not None and 0 < defects.worth < len(defects)
    worth = f" (worth {defects.worth:.3g} independent ones)" if fewer else ""
    return Guarantee(
        demand=str(asked),
        kind=asked.kind,
        granted=False,
        threshold=None,
        escape_bound=None,
        escaped=None,
        defects=len(defects),
        groups=defects.groups,
        effective_defects=defects.worth,
        overkill=Rate.empty("the claim is refused"),
        needed=needed,
        method=defects.method(asked),
        text=(
            f"{asked} cannot be claimed from {defects}{worth}; {needed} more caught "
            f"defect{'' if needed == 1 else 's'} needed{each}{best}."
        ),
    )
