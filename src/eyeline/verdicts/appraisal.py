"""Attribute agreement analysis: people and a model as appraisers of the same parts, against the AIAG limits.

The terms are those of the reference manual (AIAG, Measurement Systems Analysis, attribute study): *effectiveness* is
the share of parts that an appraiser calls right every time, *miss rate* the share of calls that pass a defective part,
*false-alarm rate* the share of calls that fail a good one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eyeline.errors import EyelineError
from eyeline.verdicts.agreement import Agreement, cohen_kappa, fleiss_kappa
from eyeline.verdicts.clusters import BY_DESIGN_EFFECT, clopper_pearson_grouped, group_numbers
from eyeline.verdicts.intervals import clopper_pearson
from eyeline.verdicts.metrics import Bools, Ints
from eyeline.verdicts.rates import Rate, Verdict
from eyeline.verdicts.samplesize import success_run

# Acceptable to the first limit, marginal to the second, unacceptable beyond.
AIAG_LIMITS = {
    "effectiveness": (0.90, 0.80),
    "miss_rate": (0.02, 0.05),
    "false_alarm_rate": (0.05, 0.10),
}
GRADES = ("acceptable", "marginal", "unacceptable")
INCONCLUSIVE = "inconclusive"
NO_CALL = -1


class Grade(Verdict):
    """A rate against its limits: by its value, as a sheet has it, and by its interval, as the data allow."""

    by_value: str  # acceptable, marginal, unacceptable; or inconclusive where there is no value
    verdict: str  # the grade that the whole interval shares, else inconclusive
    text: str


class Appraiser(Verdict):
    """One appraiser against the reference and against itself."""

    name: str
    human: bool
    parts: int
    decisions: int
    effectiveness: Rate
    miss_rate: Rate
    false_alarm_rate: Rate
    grades: dict[str, Grade]
    by_value: str
    verdict: str
    kappa: Agreement  # with the reference
    within: Rate  # parts seen more than once on which all own calls agree
    within_kappa: Agreement
    wrong_parts: tuple[str, ...]


class Pair(Verdict):
    """Two appraisers, call by call."""

    a: str
    b: str
    kappa: Agreement


class Appraisal(Verdict):
    """What `appraise` found."""

    confidence: float
    images: int
    parts: int
    defective_parts: int
    trials: int  # most calls on one part
    appraisers: tuple[Appraiser, ...]  # the model first
    pairs: tuple[Pair, ...]
    between: Rate  # parts on which all appraisers agree, every time
    between_kappa: Agreement
    between_humans: Rate
    between_humans_kappa: Agreement
    all_right: Rate  # parts that everyone calls right, every time
    text: str


def appraise(
    calls: Mapping[str, ArrayLike],
    reference: ArrayLike,
    parts: Sequence[str],
    *,
    model: str = "model",
    confidence: float = 0.95,
) -> Appraisal:
    """Judge appraisers by their calls on parts whose truth is known.

    Parameters
    ----------
    calls : for each appraiser `(N,)`: 1 for a defect, 0 for good, -1 where no call was made. A row is one look at one
        part; rows of the same part are its trials.
    reference : `(N,)`, 1 where the part is defective; the same for all rows of a part.
    parts : `(N,)` names.
    model : which of the appraisers is the model; the others are people.

    Raises
    ------
    EyelineError : shapes do not fit, or a part has two references.
    """
    truth = np.asarray(reference, dtype=np.int64)
    unit, count = group_numbers(parts)
    names = np.unique(np.asarray(parts))
    table = {name: np.asarray(values, dtype=np.int64) for name, values in calls.items()}
    if model not in table:
        raise EyelineError(f"no appraiser is called {model!r}")
    for name, values in table.items():
        if values.shape != truth.shape or len(truth) != len(unit) or len(truth) == 0:
            raise EyelineError(f"{name} has {len(values)} calls, there are {len(unit)} images")
        if not np.isin(values, (NO_CALL, 0, 1)).all():
            raise EyelineError(f"calls of {name} must be 1, 0 or -1")
    defective = np.bincount(unit, weights=truth, minlength=count)
    sizes = np.bincount(unit, minlength=count)
    torn = (defective > 0) & (defective < sizes)
    if torn.any():
        raise EyelineError(f"the part {names[torn][0]} has two references")
    order = [model, *(name for name in table if name != model)]
    humans = order[1:]
    appraisers = tuple(
        _appraiser(name, name != model, table[name], truth, unit, names, confidence) for name in order
    )
    pairs = tuple(
        Pair(a=a, b=b, kappa=_both(table[a], table[b], unit, confidence))
        for i, a in enumerate(order)
        for b in order[i + 1 :]
    )
    between, between_kappa = _between([table[name] for name in order], unit, confidence)
    of_humans, of_humans_kappa = _between([table[name] for name in humans], unit, confidence)
    right = _always([np.where(v == NO_CALL, NO_CALL, v == truth) for v in table.values()], unit, need=1)
    return Appraisal(
        confidence=confidence,
        images=len(truth),
        parts=count,
        defective_parts=int((defective > 0).sum()),
        trials=int(sizes.max()),
        appraisers=appraisers,
        pairs=pairs,
        between=between,
        between_kappa=between_kappa,
        between_humans=of_humans,
        between_humans_kappa=of_humans_kappa,
        all_right=_exact(right, confidence),
        text=_sentence(appraisers, confidence),
    )


def grade(name: str, rate: Rate, confidence: float = 0.95) -> Grade:
    """A rate against the limits of `AIAG_LIMITS[name]`, by its value and by its whole interval."""
    limits = AIAG_LIMITS[name]
    if rate.value is None or rate.low is None or rate.high is None:
        return Grade(by_value=INCONCLUSIVE, verdict=INCONCLUSIVE, text="the study holds no such part")
    by_value = _place(name, rate.value)
    ends = sorted({_place(name, rate.low), _place(name, rate.high)}, key=GRADES.index)
    if len(ends) == 1:
        return Grade(by_value=by_value, verdict=ends[0], text=f"{ends[0]} all over the interval")
    text = f"{by_value} by its value, but the interval reaches from {ends[0]} to {ends[-1]}"
    if name != "effectiveness" and rate.count == 0:
        kind, what = ("defective", "a miss") if name == "miss_rate" else ("good", "a false alarm")
        needed = success_run(1 - limits[0], (1 + confidence) / 2)
        text += f"; {needed} {kind} parts without {what} would show it"
    return Grade(by_value=by_value, verdict=INCONCLUSIVE, text=text)


def _place(name: str, value: float) -> str:
    first, second = AIAG_LIMITS[name]
    if name == "effectiveness":
        return GRADES[0] if value >= first else GRADES[1] if value >= second else GRADES[2]
    return GRADES[0] if value <= first else GRADES[1] if value <= second else GRADES[2]


def _appraiser(
    name: str,
    human: bool,
    calls: Ints,
    truth: Ints,
    unit: Ints,
    names: NDArray[np.str_],
    confidence: float,
) -> Appraiser:
    made = calls != NO_CALL
    right = np.where(made, calls == truth, NO_CALL)
    always = _always([right], unit, need=1)
    rates = {
        "effectiveness": _exact(always, confidence),
        "miss_rate": _share(calls == 0, made & (truth == 1), unit, confidence),
        "false_alarm_rate": _share(calls == 1, made & (truth == 0), unit, confidence),
    }
    grades = {key: grade(key, rate, confidence) for key, rate in rates.items()}
    return Appraiser(
        name=name,
        human=human,
        parts=len(np.unique(unit[made])),
        decisions=int(made.sum()),
        **rates,
        grades=grades,
        by_value=_worst([g.by_value for g in grades.values()]),
        verdict=_worst([g.verdict for g in grades.values()]),
        kappa=_both(calls, truth, unit, confidence),
        within=_exact(_agreeing(calls, unit), confidence),
        within_kappa=_repeats(calls, unit, confidence),
        wrong_parts=tuple(str(part) for part in names[np.unique(unit[made & (calls != truth)])]),
    )


def _worst(grades: Sequence[str]) -> str:
    """Unacceptable in one is unacceptable; else one that is open leaves all open."""
    if GRADES[2] in grades:
        return GRADES[2]
    return INCONCLUSIVE if INCONCLUSIVE in grades else max(grades, key=GRADES.index)


def _share(hits: Bools, of: Bools, unit: Ints, confidence: float) -> Rate:
    """A share of calls; several calls on one part are worth fewer."""
    n = np.bincount(unit, weights=of)
    k = np.bincount(unit, weights=hits & of)
    count, total = int(k.sum()), int(n.sum())
    if total == 0:
        return Rate.empty("the study holds no such part")
    if n.max() == 1:
        (low, high), method = clopper_pearson(count, total, confidence), "Clopper-Pearson"
    else:
        low, high = clopper_pearson_grouped(k, n, confidence)
        method = "Clopper-Pearson on parts" if count in (0, total) else BY_DESIGN_EFFECT
    return Rate(value=count / total, low=low, high=high, method=method, n=total, count=count)


def _exact(each: Bools, confidence: float) -> Rate:
    """A share of parts."""
    if len(each) == 0:
        return Rate.empty("no part was judged so")
    low, high = clopper_pearson(int(each.sum()), len(each), confidence)
    return Rate(
        value=float(each.mean()),
        low=low,
        high=high,
        method="Clopper-Pearson",
        n=len(each),
        count=int(each.sum()),
    )


def _always(columns: Sequence[Ints], unit: Ints, *, need: int) -> Bools:
    """For each part that every column has `need` calls on: whether all of them are 1."""
    count = int(unit.max()) + 1
    made = [np.bincount(unit, weights=c != NO_CALL, minlength=count) for c in columns]
    ones = [np.bincount(unit, weights=c == 1, minlength=count) for c in columns]
    there = np.all([m >= need for m in made], axis=0)
    return np.asarray(
        np.all([o == m for o, m in zip(ones, made, strict=True)], axis=0)[there], dtype=np.bool_
    )


def _agreeing(calls: Ints, unit: Ints) -> Bools:
    """For each part with two calls or more: whether they agree."""
    made, ones = (np.bincount(unit, weights=w) for w in (calls != NO_CALL, calls == 1))
    return np.asarray(((ones == 0) | (ones == made))[made >= 2], dtype=np.bool_)


def _both(a: Ints, b: Ints, unit: Ints, confidence: float) -> Agreement:
    made = (a != NO_CALL) & (b != NO_CALL)
    return cohen_kappa(a[made], b[made], unit[made], confidence=confidence)


def _repeats(calls: Ints, unit: Ints, confidence: float) -> Agreement:
    """Fleiss' kappa of the trials, over the parts that were seen equally often (the commonest number above one)."""
    rows: dict[int, list[list[int]]] = {}
    for part in np.unique(unit).tolist():
        own = calls[(unit == part) & (calls != NO_CALL)].tolist()
        if len(own) > 1:
            rows.setdefault(len(own), []).append(own)
    if not rows:
        return fleiss_kappa(np.empty((0, 2)), confidence=confidence)
    return fleiss_kappa(max(rows.values(), key=len), confidence=confidence)


def _between(columns: Sequence[Ints], unit: Ints, confidence: float) -> tuple[Rate, Agreement]:
    """Parts on which everyone agrees every time, and Fleiss' kappa over the looks that everyone judged."""
    if len(columns) < 2:
        return Rate.empty("one appraiser alone"), fleiss_kappa(np.empty((0, 2)))
    calls = np.stack(columns, axis=1)
    full = (calls != NO_CALL).all(axis=1)
    flipped = [np.where(c == NO_CALL, NO_CALL, 1 - c) for c in columns]
    every, none = _always(columns, unit, need=1), _always(flipped, unit, need=1)
    return _exact(every | none, confidence), fleiss_kappa(calls[full], unit[full], confidence=confidence)


def _short(rate: Rate) -> str:
    if rate.value is None or rate.low is None or rate.high is None:
        return "unknown"
    return f"{100 * rate.value:.1f} % ({100 * rate.low:.1f} to {100 * rate.high:.1f} %)"


def _sentence(appraisers: Sequence[Appraiser], confidence: float) -> str:
    of = appraisers[0]
    rates: list[tuple[str, Rate]] = [
        ("effectiveness", of.effectiveness),
        ("miss rate", of.miss_rate),
        ("false alarms", of.false_alarm_rate),
    ]
    said = ", ".join(f"{name} {_short(rate)}" for name, rate in rates)
    text = (
        f"On {of.parts} parts the {of.name} is {of.by_value} by its values; what the intervals support: {of.verdict}. "
        f"{said[:1].upper()}{said[1:]}; intervals at {100 * confidence:g} %."
    )
    known = [h.kappa.value for h in appraisers[1:] if h.kappa.value is not None]
    if known and of.kappa.value is not None:
        people = f"{min(known):.2f} to {max(known):.2f}" if len(known) > 1 else f"{known[0]:.2f}"
        text += f" Kappa with the reference: {of.name} {of.kappa.value:.2f}, people {people}."
    return text
