"""`claims.html`: each claim as a story: the claim, the experiment, the picture, the verdict, what would change it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from eyeline.claims import ENOUGH, Chart, ClaimResult, Contrast
from eyeline.reports.page import write_page
from eyeline.reports.svg import Plot, picture, ticks
from eyeline.reports.text import DASH, MINUS, counted, decimal, duration, power_of_ten, signed

SHADES = 7  # colours of series, then they begin again
WORDS = {"holds": "holds", "fails": "fails", "inconclusive": "is inconclusive"}
PLURAL = {"holds": "hold", "fails": "fail", "inconclusive": "are inconclusive"}


def write_claims(
    path: str | Path, claims: Sequence[ClaimResult], not_run: Mapping[str, str] | None = None
) -> Path:
    """Write the page as one file that opens anywhere, offline. Returns its path.

    Raises
    ------
    EyelineError : the file cannot be written (``code="write_failed"``); nothing half-written is left.
    """
    first = claims[0].settings
    context = {
        "headline": headline(claims),
        "facts": [
            ("Pictures", first.data),
            ("Seeds", f"{first.seeds}, paired"),
            ("Budget a claim", DASH if first.budget is None else duration(first.budget)),
            ("Time", duration(sum(claim.seconds for claim in claims))),
            ("Protocol", "full" if first.full else "default"),
        ],
        "rows": [_row(claim) for claim in claims],
        "claims": [_story(claim) for claim in claims],
        "not_run": list((not_run or {}).items()),
    }
    return write_page(path, "claims.html", context, sheet="claims.css")


def headline(claims: Sequence[ClaimResult]) -> str:
    """``8 of 11 claims hold, 1 fails, 2 are inconclusive.``"""
    counts = Counter(claim.verdict for claim in claims)
    first = (
        f"{counts['holds']} of {counted(len(claims), 'claim')} {'holds' if counts['holds'] == 1 else 'hold'}"
    )
    rest = [
        f"{counts[word]} {WORDS[word] if counts[word] == 1 else PLURAL[word]}"
        for word in ("fails", "inconclusive")
        if counts[word]
    ]
    return ", ".join([first, *rest]) + "."


def _row(claim: ClaimResult) -> dict[str, Any]:
    exact = claim.p_value is None
    return {
        "name": claim.name,
        "title": claim.title,
        "verdict": claim.verdict,
        "effect": "exact" if exact else _amount(claim.effect, claim.unit),
        "interval": "" if exact else _interval(claim.low, claim.high, claim.unit),
        "margin": DASH if claim.margin is None else _margin(claim.margin, claim.unit),
        "p": DASH if claim.adjusted_p is None else _p(claim.adjusted_p),
    }


def _story(claim: ClaimResult) -> dict[str, Any]:
    found = claim.findings
    return {
        "name": claim.name,
        "title": claim.title,
        "verdict": claim.verdict,
        "statement": claim.statement,
        "experiment": claim.experiment,
        "change": claim.change,
        "source": claim.source,
        "why": _why(claim),
        "charts": [
            {"title": chart.title, "plot": draw(chart), "legend": _legend(chart), "what": _what(chart)}
            for chart in found.charts
        ],
        "contrasts": [_contrast(contrast, found.contrasts) for contrast in found.contrasts],
        "checks": [check.to_dict() for check in found.checks],
        "arms": [
            {
                "name": arm.name,
                "parameters": f"{arm.parameters:,}",
                "macs": f"{arm.macs:,}",
                "rates": ", ".join(f"{rate:g}" for rate in dict.fromkeys(arm.rates)) or DASH,
            }
            for arm in found.arms
        ],
        "notes": [*found.notes, *_budget_note(claim)],
    }


def _why(claim: ClaimResult) -> str:
    """The verdict in a sentence: what decided it."""
    wrong = [check for check in claim.findings.checks if not check.holds]
    if wrong:
        return f"An exact part is not as calculated: {wrong[0].text}, {wrong[0].found} instead of {wrong[0].expected}."
    if claim.p_value is None or claim.margin is None or claim.adjusted_p is None:
        return "All of it is exact, and all of it came out as calculated."
    effect = f"{_amount(claim.effect, claim.unit)} ({_interval(claim.low, claim.high, claim.unit)})"
    unit = "" if claim.unit == "accuracy" else f" of {claim.unit}"
    decides = f"The effect that decides is {effect}; claimed is more than {_margin(claim.margin, claim.unit)}{unit}."
    if claim.share < ENOUGH:
        return f"{decides} Below a quarter of the planned steps no verdict is given: take a larger budget."
    if claim.verdict == "holds":
        return f"{decides} Every part that is required lies above its margin."
    if claim.verdict == "fails":
        return f"{decides} A required part lies below its margin."
    if claim.p_value <= 0.05:
        return (
            f"{decides} By itself it would count; corrected for all claims on this page it does not "
            f"(p {_p(claim.adjusted_p)})."
        )
    return f"{decides} The interval holds the margin, so the experiment cannot say."


def _budget_note(claim: ClaimResult) -> list[str]:
    lines = []
    if claim.share < 0.995:
        lines.append(
            f"The budget allowed {100 * claim.share:.2g} % of the planned steps; the verdict is about networks "
            "trained that short."
        )
    lines.append(f"Measured in {duration(claim.seconds)}.")
    return lines


def _contrast(contrast: Contrast, others: Sequence[Contrast]) -> dict[str, Any]:
    alike = [c for c in others if c.unit == contrast.unit]
    low = min(0.0, *(min(c.low, c.margin) for c in alike))
    high = max(0.0, *(max(c.high, c.margin) for c in alike))
    spare = 0.06 * (high - low) or 1.0
    return {
        "text": contrast.text,
        "required": contrast.required,
        "verdict": contrast.verdict,
        "effect": _amount(contrast.effect, contrast.unit),
        "interval": _interval(contrast.low, contrast.high, contrast.unit),
        "margin": _margin(contrast.margin, contrast.unit),
        "bar": effect_bar(contrast, (low - spare, high + spare)),
    }


def effect_bar(contrast: Contrast, axis: tuple[float, float]) -> Markup:
    """The interval of an effect, its seeds as dots, zero as a hairline, and the margin as a line it has to clear."""

    def at(value: float) -> str:
        share = (value - axis[0]) / (axis[1] - axis[0])
        return f"{100 * min(max(share, 0.0), 1.0):.2f}%"

    parts = [
        '<line class="rail" x1="0%" x2="100%" y1="50%" y2="50%"/>',
        f'<line class="zero" x1="{at(0)}" x2="{at(0)}" y1="10%" y2="90%"/>',
        f'<line class="margin" x1="{at(contrast.margin)}" x2="{at(contrast.margin)}" y1="0%" y2="100%"/>',
        f'<line class="span" x1="{at(contrast.low)}" x2="{at(contrast.high)}" y1="50%" y2="50%"/>',
        *(f'<circle class="seed" cx="{at(value)}" cy="50%" r="2.5"/>' for value in contrast.values),
        f'<circle class="mark" cx="{at(contrast.effect)}" cy="50%" r="5.5"/>',
    ]
    text = (
        f"{_amount(contrast.effect, contrast.unit)}, interval {_interval(contrast.low, contrast.high, contrast.unit)}, "
        f"margin {_margin(contrast.margin, contrast.unit)}"
    )
    return picture(parts, 'width="100%" height="26"', contrast.name, text, f"bar effect {contrast.verdict}")


# --- charts -----------------------------------------------------------------------------------------


def draw(chart: Chart) -> Markup:
    """The chart as a plot: curves of means with a band from the least to the largest seed, or a dot a seed."""
    return _curves(chart) if chart.kind == "curves" else _dots(chart)


def _curves(chart: Chart) -> Markup:
    def place(x: float) -> float:
        return math.log(x) if chart.log_x else x

    every = sorted({x for series in chart.series for x in series.x})
    plot = Plot(x=_wide(place(every[0]), place(every[-1])), y=_reach(chart), width=470, height=320, left=64)
    _axes(plot, chart, {place(x): _short(x) for x in every})
    for number, series in enumerate(chart.series):
        xs = np.array([place(x) for x in series.x])
        means = np.array([np.mean(values) for values in series.values])
        css = f"s{number % SHADES}"
        if max(len(values) for values in series.values) > 1:
            low = np.array([min(values) for values in series.values])
            plot.band(xs, low, np.array([max(values) for values in series.values]), f"reach-of {css}")
        plot.line(xs, means, f"curve {css}")
        for x, mean, raw in zip(xs, means, series.x, strict=True):
            plot.dot(float(x), float(mean), f"dot {css}", title=f"{series.name}, {raw:g}: {mean:.4g}")
    return plot.render(chart.title, _told(chart))


def _dots(chart: Chart) -> Markup:
    count = len(chart.series)
    plot = Plot(x=(-0.6, count - 0.4), y=_reach(chart), width=470, height=320, left=64)
    _axes(plot, chart, {})
    for number, series in enumerate(chart.series):
        css = f"s{number % SHADES}"
        values = series.values[0]
        for seed, value in enumerate(values):
            beside = 0.22 * ((seed + 0.5) / len(values) - 0.5)
            plot.dot(number + beside, value, f"seed {css}", radius=3.5, title=f"seed {seed}: {value:.4g}")
        mean = float(np.mean(values))
        plot.segment((number - 0.26, mean), (number + 0.26, mean), f"mean-of {css}")
    return plot.render(chart.title, _told(chart))


def _axes(plot: Plot, chart: Chart, labels: Mapping[float, str]) -> None:
    kept: list[float] = []
    for x in labels:  # labels that would touch are left out
        if not kept or plot.px(x) - plot.px(kept[-1]) > 34:
            kept.append(x)
    plot.axes(
        chart.x_label,
        chart.y_label,
        x_ticks=kept,
        y_ticks=ticks(*plot.y),
        x_text=lambda x: labels[x],
        y_text=_short,
    )


def _reach(chart: Chart) -> tuple[float, float]:
    values = [value for series in chart.series for column in series.values for value in column]
    low, high = min(values), max(values)
    spare = 0.07 * (high - low) or max(abs(high) * 0.1, 1e-12)
    return (0.0 if low >= 0 and low - spare < 0 else low - spare), high + spare


def _wide(low: float, high: float) -> tuple[float, float]:
    spare = 0.03 * (high - low)
    return low - spare, high + spare


def _legend(chart: Chart) -> list[tuple[str, str]]:
    return [(f"s{number % SHADES}", series.name) for number, series in enumerate(chart.series)]


def _what(chart: Chart) -> str:
    if max(len(values) for series in chart.series for values in series.values) == 1:
        return ""
    return "mean and reach of the seeds" if chart.kind == "curves" else "a dot a seed, the mean as a line"


def _told(chart: Chart) -> str:
    """What the chart shows, in words."""
    return "; ".join(
        f"{series.name}: " + ", ".join(f"{float(np.mean(values)):.4g}" for values in series.values)
        for series in chart.series
    )


# --- amounts ----------------------------------------------------------------------------------------


def _amount(value: float, unit: str) -> str:
    """Accuracies in points, everything else as it is."""
    return f"{signed(100 * value, 2)} pp" if unit == "accuracy" else signed(value, 3)


def _margin(value: float, unit: str) -> str:
    """Margins are round numbers."""
    text = f"{100 * value:g} pp" if unit == "accuracy" else f"{value:g}"
    return text.replace("-", MINUS)


def _interval(low: float, high: float, unit: str) -> str:
    if unit == "accuracy":
        return f"{signed(100 * low, 2)} to {signed(100 * high, 2)} pp"
    return f"{signed(low, 3)} to {signed(high, 3)}"


def _p(p: float) -> str:
    return decimal(p, 3) if p >= 0.001 else power_of_ten(p)


def _short(value: float) -> str:
    """``12M``, ``3k``, ``0.85``."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
