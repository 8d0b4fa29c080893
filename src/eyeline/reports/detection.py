"""`pod.html`: the probability of detection by defect size, with its band and every hit and miss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from eyeline.reports.page import write_page
from eyeline.reports.svg import Plot
from eyeline.reports.text import DASH, counted, decimal, percent, percent_interval
from eyeline.verdicts import Detection, Rate

_SHARES = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class DetectionData:
    """What the page is made from."""

    detection: Detection
    sizes: NDArray[np.float64]
    caught: NDArray[np.bool_]
    model: str
    source: str
    part: str
    size: str
    """What the size is, with its unit."""
    unit: str
    false_calls: Rate
    left_out: int
    threshold: float


def write_detection(path: str | Path, data: DetectionData) -> Path:
    """Write the page as one file that opens and prints anywhere. Returns its path.

    Raises
    ------
    EyelineError : the file cannot be written (``code="write_failed"``); nothing half-written is left.
    """
    found = data.detection
    groups = "" if found.groups is None else f" in {counted(found.groups, 'group')}"
    name = f"a{100 * found.level:g}"
    calls = data.false_calls
    context = {
        "title": data.model,
        "source": data.source,
        "headline": _headline(data),
        "lead": found.text,
        "facts": [
            ("Defects", f"{found.images}{groups}, {found.caught} caught ({data.part} images)"),
            (name, f"{found.size:.3g}{data.unit}"),
            (f"{name}/{100 * found.confidence:g}", f"{found.bound:.3g}{data.unit}"),
            (
                "False calls",
                DASH
                if calls.value is None
                else f"{percent(calls.value)} ({percent_interval(calls)}) of {calls.n} good",
            ),
        ],
        "plot": detection_plot(data),
        "rows": [
            (percent(p, 0), f"{a:.3g}", f"{low:.3g} – {high:.3g}")
            for p, a, low, high in zip(found.levels, found.sizes, found.low, found.high, strict=True)
            if p in (0.1, 0.5, 0.8, 0.9, 0.95)
        ],
        "size": data.size,
        "unit": data.unit,
        "confidence": f"{100 * found.confidence:g} %",
        "settings": [
            ("logit POD(a)", f"{found.intercept:.4g} {found.slope:+.4g} ln a".replace("-", "−")),
            (
                "standard errors",
                f"{math.sqrt(found.covariance[0][0]):.3g}, {math.sqrt(found.covariance[1][1]):.3g}",
            ),
            ("design effect of groups", f"{found.design_effect:.2f}"),
            ("threshold of the model", decimal(data.threshold)),
        ],
        "left_out": data.left_out,
        "image_plural": "defect" if data.left_out == 1 else "defects",
    }
    return write_page(path, "pod.html", context, sheet="sheet.css")


def _headline(data: DetectionData) -> str:
    found, calls = data.detection, data.false_calls.value
    if found.extrapolated:
        return "No size to rely on yet."
    at = "" if calls is None else f", at {percent(calls)} false calls"
    return f"Found from {found.bound:.3g}{data.unit} on{at}."


def detection_plot(data: DetectionData) -> Markup:
    """The curve over ln size with its band; hits are ticks along the top, misses along the bottom."""
    found = data.detection
    low, high = (
        math.log(min(found.smallest, found.size) / 1.15),
        math.log(max(found.largest, found.size) * 1.15),
    )
    if not found.extrapolated:
        high = max(high, math.log(found.bound * 1.05))
    plot = Plot(x=(low, high), y=(-0.08, 1.08), width=860, height=400)
    marks = _round_sizes(math.exp(low), math.exp(high))
    labels = {math.log(mark): f"{mark:g}" for mark in marks}
    plot.axes(
        f"Size ({data.size}), logarithmic",
        "Probability of detection, %",
        x_ticks=list(labels),
        y_ticks=_SHARES,
        x_text=lambda x: labels[x],
        y_text=lambda y: f"{100 * y:g}",
    )

    def clipped(values: tuple[float, ...]) -> NDArray[np.float64]:
        return np.asarray(np.clip(np.log(np.array(values)), low, high), dtype=np.float64)

    levels = np.array(found.levels)
    xs = np.linspace(low, high, 160)
    # The band is known sideways, as sizes at each probability: the smaller sizes bound the curve from above.
    # Between the levels it runs straight on the logit scale, as the curve does.
    logits = np.log(levels / (1 - levels))
    over, under = (
        1 / (1 + np.exp(-np.interp(xs, np.log(np.array(v)), logits))) for v in (found.low, found.high)
    )
    inside = (xs >= clipped(found.low)[0]) & (xs <= clipped(found.high)[-1])
    plot.band(xs[inside], under[inside], over[inside], "spread")
    plot.line(xs, 1 / (1 + np.exp(-(found.intercept + found.slope * xs))), "curve")
    for size, hit in zip(data.sizes, data.caught, strict=True):
        x = math.log(size)
        y = (1.02, 1.06) if hit else (-0.06, -0.02)
        plot.segment((x, y[0]), (x, y[1]), "hit" if hit else "missed")
    plot.segment((low, found.level), (min(math.log(found.bound), high), found.level), "chance")
    name = f"a{100 * found.level:g}"
    x = math.log(found.size)
    plot.segment((x, 0), (x, found.level), "chance")
    plot.dot(x, found.level, "point", radius=5, title=f"{name} = {found.size:.3g}")
    plot.note(x, 0.0, f"{name} {found.size:.3g}", "tick strong end", dx=-6, dy=-8)
    if math.log(found.bound) <= high:
        x = math.log(found.bound)
        plot.segment((x, 0), (x, found.level), "cut")
        plot.dot(
            x, found.level, "point", radius=5, title=f"{name}/{100 * found.confidence:g} = {found.bound:.3g}"
        )
        plot.note(x, 0.0, f"{name}/{100 * found.confidence:g} {found.bound:.3g}", "tick strong", dx=6, dy=-26)
    return plot.render("Probability of detection by size", found.text)


def _round_sizes(low: float, high: float) -> list[float]:
    """1, 2, 5 times powers of ten within the range; 1.5, 3 and 7 too when that leaves few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)

    def within(steps: tuple[float, ...]) -> list[float]:
        return [m * 10.0**p for p in powers for m in steps if low <= m * 10.0**p <= high]

    marks = within((1, 2, 5))
    return marks if len(marks) >= 4 else within((1, 1.5, 2, 3, 4, 5, 7))
