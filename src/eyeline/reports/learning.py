"""`learn.html`: how the error falls with the number of parts, and what more of them would bring."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from eyeline.reports.page import write_page
from eyeline.reports.svg import Plot, ticks
from eyeline.reports.text import DASH, counted, decimal, signed
from eyeline.verdicts import Forecast, Growth


@dataclass(frozen=True, kw_only=True, eq=False)
class LearningData:
    """What the page is made from."""

    title: str
    network: str
    images: int
    groups: int | None
    curves: Mapping[str, Growth]
    images_only: Mapping[str, Growth]
    forecasts: Sequence[Forecast]
    points: Mapping[str, NDArray[np.float64]]
    """Errors of every draw ``(D, S)`` of each curve."""
    text: str


def write_learning(path: str | Path, data: LearningData) -> Path:
    """Write the page as one file that opens anywhere, offline. Returns its path.

    Raises
    ------
    EyelineError : the file cannot be written (``code="write_failed"``); nothing half-written is left.
    """
    first = next(iter(data.curves.values()))
    context = {
        "title": data.title,
        "headline": _headline(first, data.forecasts),
        "lead": data.text,
        "facts": [
            ("Images", f"{data.images:,}"),
            ("Parts", DASH if data.groups is None else f"{data.groups:,}"),
            ("Inspector", f"linear head on features of {data.network}"),
            ("Draws", f"{first.draws}, each with other parts held out"),
        ],
        "plots": [
            _figure(name, data.curves[name], data.points.get(name)) | {"what": f"by {first.unit}s"}
            for name in data.curves
        ],
        "image_plots": [
            _figure(name, curve, None) | {"what": "by images of all the parts"}
            for name, curve in data.images_only.items()
        ],
        "rows": [
            {
                "figure": curve.figure,
                "what": f"{curve.unit}s",
                "now": decimal(curve.errors[-1]),
                "gain": f"{signed(curve.gain, 3)} ({signed(curve.gain_low, 3)} to {signed(curve.gain_high, 3)})",
                "law": f"{curve.floor:.3f} + {curve.scale:.3g} n^−{curve.exponent:.2f}",
            }
            for curve in (*data.curves.values(), *data.images_only.values())
        ],
        "forecasts": [forecast.text for forecast in data.forecasts],
        "confidence": f"{100 * first.confidence:g} %",
        "unit": first.unit,
    }
    return write_page(path, "learn.html", context, sheet="sheet.css")


def _headline(curve: Growth, forecasts: Sequence[Forecast]) -> str:
    if not curve.falls:
        return f"It is not sure that more {curve.unit}s help."
    forecast = max((f for f in forecasts if curve.figure in f.text), key=lambda f: f.more)
    return f"{counted(forecast.more, f'more {curve.unit}')}: {curve.figure} {forecast.low:.3f} to {forecast.high:.3f}."


def _figure(name: str, curve: Growth, points: NDArray[np.float64] | None) -> dict[str, Any]:
    return {"name": name, "plot": growth_plot(curve, points), "falls": curve.falls}


def growth_plot(curve: Growth, points: NDArray[np.float64] | None = None) -> Markup:
    """Error against size, logarithmic; the fitted curve with its band goes on to twice the largest size."""
    xs = np.log(np.array(curve.curve_sizes))
    tops = [max(curve.errors), curve.curve[0]] + (
        [float(np.quantile(points, 0.95))] if points is not None else []
    )
    top = min(1.0, 1.12 * max(tops)) or 1.0
    plot = Plot(x=(float(xs[0]), float(xs[-1])), y=(0.0, top), width=420, height=300, left=58)
    sizes = sorted({*curve.sizes, round(2 * curve.sizes[-1])})
    labels: dict[float, str] = {}
    for size in reversed(sizes):  # labels that would touch are left out
        if all(abs(math.log(size) - other) > 0.12 * (xs[-1] - xs[0]) for other in labels):
            labels[math.log(size)] = f"{size:,}"
    plot.axes(
        f"{curve.unit.capitalize()}s trained on, logarithmic",
        curve.figure,
        x_ticks=list(labels),
        y_ticks=ticks(0, top),
        x_text=lambda x: labels[x],
    )
    plot.band(xs, np.minimum(curve.low, top), np.minimum(curve.high, top), "spread")
    known = xs <= math.log(curve.sizes[-1]) + 1e-9
    plot.line(xs[known], np.minimum(np.array(curve.curve)[known], top), "curve")
    plot.line(xs[~known], np.minimum(np.array(curve.curve)[~known], top), "chance")
    if points is not None:
        for row in points:
            for size, error in zip(curve.sizes, row, strict=True):
                if error <= top:
                    plot.dot(math.log(size), error, "fold", radius=2.6)
    for size, error in zip(curve.sizes, curve.errors, strict=True):
        plot.dot(math.log(size), error, "dot", radius=4.5, title=f"{size:,} {curve.unit}s: {error:.3f}")
    return plot.render(f"{curve.figure} by {curve.unit}s", curve.text)
