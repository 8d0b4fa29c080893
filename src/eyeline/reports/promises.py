"""The part of the report about what was asked of the decisions: the claim, the review band, the line."""

from __future__ import annotations

import numpy as np

from eyeline.reports.data import ReportData
from eyeline.reports.figures import Context, Judged
from eyeline.reports.text import sentence
from eyeline.verdicts import ClaimCheck, Guarantee, LineCosts, Rate, ReviewBand, UnknownRule, decisions

_WORDS = ("pass", "review", "fail")


def promises(data: ReportData, judged: Judged) -> Context | None:
    """Sentences in the order of the work: promised on validation, seen on test, expected at the line."""
    found = data.promises
    if found is None:
        return None
    told = [
        ("Claim", "" if found.claim is None else found.claim.text, _state(found.claim)),
        ("On the judged images", "" if found.check is None else found.check.text, _outcome(found.check)),
        ("Review", "" if found.review is None else found.review.text, _state(found.review)),
        ("Review of the judged images", "" if found.reviewed is None else found.reviewed.text, ""),
        ("Unknown objects", "" if found.unknown is None else found.unknown.text, _state(found.unknown)),
        ("Unknown among the judged images", "" if found.alarms is None else found.alarms.text, ""),
        ("At the line", "" if found.line is None else found.line.text, ""),
    ]
    return {
        "told": [{"title": t, "text": sentence(text), "state": s} for t, text, s in told if text],
        "band": None if data.high is None else _band(data, judged, data.high),
        "line": None if found.line is None else _line(found.line),
        "kept": found.kept,
    }


def _state(part: Guarantee | ReviewBand | UnknownRule | None) -> str:
    return "" if part is None else "granted" if part.granted else "refused"


def _outcome(check: ClaimCheck | None) -> str:
    return "" if check is None else check.outcome


def _band(data: ReportData, judged: Judged, high: float) -> list[Context]:
    """How many of each kind are decided in each of the three ways."""
    word = np.array(decisions(judged.scores, data.evaluation.threshold, high, unknown=judged.unknown))
    return [
        {"name": name, "counts": [f"{int(((word == w) & chosen).sum()):,}" for w in _WORDS]}
        for name, chosen in (("defects", judged.is_defect), ("good parts", ~judged.is_defect))
    ]


def _line(line: LineCosts) -> list[Context]:
    rows: list[tuple[str, Rate | None]] = [
        ("Defects per million parts that ship", line.outgoing_ppm),
        ("Reviews per 1,000 parts", line.reviews),
        ("Cost of 1,000 parts", line.cost),
    ]
    return [
        {"name": name, "value": _number(rate.value), "interval": _ends(rate), "method": rate.method}
        for name, rate in rows
        if rate is not None
    ]


def _number(value: float | None) -> str:
    if value is None:
        return "unknown"
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _ends(rate: Rate) -> str:
    if rate.low is None or rate.high is None:
        return "no interval"
    return f"{_number(rate.low)} to {_number(rate.high)}"
