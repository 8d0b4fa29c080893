"""`appraise.html`: the sheet of an attribute agreement study, one page of paper."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup

from eyeline.reports.page import write_page
from eyeline.reports.svg import picture
from eyeline.reports.text import DASH, counted, decimal, percent, percent_interval
from eyeline.verdicts import AIAG_LIMITS, Agreement, Appraisal, Appraiser, Rate

_AXES = {"effectiveness": (0.5, 1.0), "miss_rate": (0.0, 0.25), "false_alarm_rate": (0.0, 0.25)}
_TITLES = {"effectiveness": "Effectiveness", "miss_rate": "Miss rate", "false_alarm_rate": "False-alarm rate"}
_WRONG = 12  # parts named on the sheet


@dataclass(frozen=True, kw_only=True)
class AppraisalData:
    """What the sheet is made from."""

    appraisal: Appraisal
    model: str
    sha256: str
    study: str
    network: str
    threshold: float
    errors: Mapping[str, str] = field(default_factory=dict)


def write_appraisal(path: str | Path, data: AppraisalData) -> Path:
    """Write the sheet as one file that opens and prints anywhere. Returns its path.

    Raises
    ------
    EyelineError : the file cannot be written (``code="write_failed"``); nothing half-written is left.
    """
    found = data.appraisal
    machine = found.appraisers[0]
    people = [each for each in found.appraisers if each.human]
    kappa = {(pair.a, pair.b): pair.kappa for pair in found.pairs}
    names = [each.name for each in found.appraisers]
    context = {
        "title": data.model,
        "study": data.study,
        "headline": _headline(machine),
        "lead": found.text,
        "facts": [
            ("Parts", f"{found.parts}, of them {found.defective_parts} defective"),
            ("Pictures", f"{found.images}, at most {counted(found.trials, 'trial')} of a part"),
            ("Appraisers", f"the model and {len(people)} {'person' if len(people) == 1 else 'people'}"),
            ("Model", f"{data.network}, threshold {decimal(data.threshold)}"),
        ],
        "titles": [(title, _limits(key)) for key, title in _TITLES.items()],
        "rows": [_row(each) for each in found.appraisers],
        "grades": [(title, machine.grades[key].text) for key, title in _TITLES.items()],
        "names": names,
        "matrix": [
            {
                "name": a,
                "reference": _kappa(found.appraisers[i].kappa),
                "cells": [_kappa(kappa[b, a]) if j < i else None for j, b in enumerate(names)],
            }
            for i, a in enumerate(names)
        ],
        "between": [
            ("All appraisers, every time", _rate(found.between), _kappa(found.between_kappa)),
            ("People among themselves", _rate(found.between_humans), _kappa(found.between_humans_kappa)),
            ("All appraisers right, every time", _rate(found.all_right), None),
        ],
        "wrong": machine.wrong_parts[:_WRONG],
        "more_wrong": max(0, len(machine.wrong_parts) - _WRONG),
        "errors": len(data.errors),
        "confidence": f"{100 * found.confidence:g} %",
        "sha256": data.sha256,
    }
    return write_page(path, "appraise.html", context, sheet="sheet.css")


def _headline(model: Appraiser) -> str:
    if model.verdict == "inconclusive":
        return f"Inconclusive; {model.by_value} by its values."
    return f"{model.verdict.capitalize()} as an appraiser."


def _limits(name: str) -> str:
    first, second = AIAG_LIMITS[name]
    sign = "≥" if name == "effectiveness" else "≤"
    return f"{sign} {100 * first:g} %, marginal {sign} {100 * second:g} %"


def _row(of: Appraiser) -> dict[str, Any]:
    return {
        "name": of.name,
        "human": of.human,
        "rates": [
            _rate(getattr(of, key))
            | {"bar": limit_bar(key, getattr(of, key)), "grade": of.grades[key].by_value}
            for key in _TITLES
        ],
        "within": _rate(of.within),
        "by_value": of.by_value,
        "verdict": of.verdict,
    }


def _rate(rate: Rate) -> dict[str, Any]:
    if rate.value is None:
        return {"value": DASH, "interval": "", "count": rate.method}
    return {
        "value": percent(rate.value),
        "interval": percent_interval(rate),
        "count": f"{rate.count} of {rate.n}",
    }


def _kappa(kappa: Agreement) -> dict[str, str]:
    if kappa.value is None:
        return {"value": DASH, "interval": ""}
    interval = "" if kappa.low is None else f"{decimal(kappa.low, 2)} – {decimal(kappa.high, 2)}"
    return {"value": decimal(kappa.value, 2), "interval": interval}


def limit_bar(name: str, rate: Rate) -> Markup:
    """A rate and its interval over the three zones of its limits."""
    low, high = _AXES[name]
    first, second = AIAG_LIMITS[name]

    def at(value: float) -> str:
        return f"{100 * min(max((value - low) / (high - low), 0), 1):.2f}%"

    edges = (low, second, first, high) if name == "effectiveness" else (low, first, second, high)
    zones = ("unacceptable", "marginal", "acceptable")
    parts = [
        f'<line class="zone {zone}" x1="{at(start)}" x2="{at(stop)}" y1="50%" y2="50%"/>'
        for zone, start, stop in zip(
            zones if name == "effectiveness" else zones[::-1], edges, edges[1:], strict=False
        )
    ]
    said = "unknown"
    if rate.value is not None and rate.low is not None and rate.high is not None:
        said = f"{percent(rate.value)}, {percent_interval(rate)}"
        parts.append(f'<line class="reach" x1="{at(rate.low)}" x2="{at(rate.high)}" y1="50%" y2="50%"/>')
        parts.append(f'<circle class="mark" cx="{at(rate.value)}" cy="50%" r="4.5"/>')
    return picture(parts, 'width="100%" height="18"', f"{_TITLES[name]} {said}", "", "bar limits")
