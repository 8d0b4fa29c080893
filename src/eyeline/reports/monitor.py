"""`monitor.html`: a shift against its baseline, and whether the promise still stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from eyeline.reports.page import write_page
from eyeline.reports.svg import Plot, ticks
from eyeline.reports.text import DASH, counted, decimal, percent
from eyeline.verdicts import Batch, Cusum, Drift

_POINTS = 1200  # of a CUSUM that are drawn; of those between, the highest
_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class MonitorData:
    """What the page is made from."""

    drift: Drift
    model: str
    log: str
    baseline: str
    void: bool
    promise: str
    text: str
    threshold: float
    shift_scores: NDArray[np.float64]
    baseline_scores: NDArray[np.float64]
    baseline_weights: NDArray[np.float64]


def write_monitor(path: str | Path, data: MonitorData) -> Path:
    """Write the page as one file that opens anywhere, offline. Returns its path.

    Raises
    ------
    EyelineError : the file cannot be written (``code="write_failed"``); nothing half-written is left.
    """
    drift = data.drift
    groups = "" if drift.baseline_groups is None else f" in {counted(drift.baseline_groups, 'group')}"
    at_line = "" if drift.defect_rate is None else f", weighted to {percent(drift.defect_rate)} defects"
    context = {
        "title": data.model,
        "log": data.log,
        "void": data.void,
        "headline": "The promise is void." if data.void else "The promise stands.",
        "lead": data.text,
        "promise": data.promise,
        "facts": [
            ("Shift", f"{counted(drift.images, 'verdict')}, {drift.unreadable:,} unreadable"),
            (
                "Did not pass",
                f"{percent(drift.stopped / drift.images)}, baseline {percent(drift.baseline_rate)}",
            ),
            ("Baseline", f"{data.baseline}: {counted(drift.baseline_images, 'image')}{groups}{at_line}"),
            ("It is worth", f"{drift.baseline_worth:,.0f} independent images"),
        ],
        "tests": [
            {
                "name": test.name,
                "rings": test.rings,
                "p": DASH if test.p_value is None else _p(test.p_value),
                "text": test.text,
            }
            for test in drift.tests
        ],
        "level": percent(drift.false_alarm / len(drift.tests), 2),
        "false_alarm": percent(drift.false_alarm),
        "p_chart": p_chart(drift.batches, drift.baseline_rate),
        "cusum": cusum_chart(drift.cusums) if drift.cusums else None,
        "runs": [_run(chart) for chart in drift.cusums],
        "scores": score_chart(data),
    }
    return write_page(path, "monitor.html", context, sheet="sheet.css")


def _p(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else decimal(value, 4)


def _run(chart: Cusum) -> str:
    what = "rising" if chart.rising else "falling"
    hit, miss = (f"{step:+d}".replace("-", "−") for step in (chart.hit, chart.miss))
    text = (
        f"For a {what} rate: {hit} for each part that does not pass, {miss} for each that does; "
        f"rings at {chart.limit:,}"
    )
    if chart.average_run_length is None:
        return text + "."
    run = float(f"{chart.average_run_length:.2g}")
    return text + f", on average once in {run:,.0f} verdicts while the rate is the baseline’s."


def p_chart(batches: Sequence[Batch], rate: float) -> Markup:
    """The share of each batch that did not pass, between its exact limits."""
    shares = [batch.stopped / batch.images for batch in batches]
    top = max(*shares, *(batch.high / batch.images for batch in batches), rate)
    top = min(1.0, 1.12 * top) or 1.0
    plot = Plot(x=(0.5, len(batches) + 0.5), y=(0.0, top), width=860, height=270)
    marks = [t for t in ticks(1, max(2, len(batches)), most=10) if t == int(t) and t <= len(batches)]
    plot.axes(
        "Batch, in the order of the log",
        "Did not pass, %",
        x_ticks=marks,
        y_ticks=ticks(0, top),
        y_text=lambda y: f"{100 * y:g}",
    )
    edges = np.arange(len(batches) + 1) + 0.5
    for values in ([b.low / b.images for b in batches], [b.high / b.images for b in batches]):
        plot.line(edges, [*values, values[-1]], "bounds", steps=True)
    plot.segment((edges[0], rate), (edges[-1], rate), "centre")
    if len(batches) <= 400:
        plot.line(np.arange(len(batches)) + 1, shares, "thread")
    for i, (batch, share) in enumerate(zip(batches, shares, strict=True), start=1):
        out = " out" if batch.rings else ""
        title = f"{batch.name}: {batch.stopped} of {batch.images}, allowed {batch.low} to {batch.high}"
        plot.dot(i, share, f"dot{out}", radius=4.5 if batch.rings else 3, title=title)
    outside = sum(batch.rings for batch in batches)
    return plot.render("p-chart", f"{outside} of {len(batches)} batches lie outside their limits.")


def cusum_chart(charts: Sequence[Cusum]) -> Markup:
    """Both CUSUMs, each in units of its own limit."""
    length = len(charts[0].path)
    top = 1.15 * max(1.0, *(chart.largest / chart.limit for chart in charts))
    plot = Plot(x=(0, length), y=(0.0, top), width=860, height=230)
    plot.axes(
        "Verdict", "Share of the limit", x_ticks=ticks(0, length, most=8), y_ticks=ticks(0, top, most=4)
    )
    plot.segment((0, 1), (length, 1), "bounds")
    for chart in charts:
        step = max(1, length // _POINTS)
        values = np.array(chart.path, dtype=float) / chart.limit
        starts = np.arange(0, length, step)
        plot.line(
            starts + 1, np.maximum.reduceat(values, starts), f"curve {'' if chart.rising else 'second'}"
        )
        if chart.first is not None:
            plot.dot(
                chart.first + 1,
                values[chart.first],
                "dot out",
                radius=5,
                title=f"rang at verdict {chart.first + 1:,}",
            )
    ringing = sum(chart.rings for chart in charts)
    return plot.render("CUSUM", f"{ringing} of {len(charts)} charts reached the limit.")


def score_chart(data: MonitorData) -> Markup:
    """The two distribution functions of the defect score."""
    plot = Plot(x=(0.0, 1.0), y=(0.0, 1.0), width=860, height=270)
    plot.axes(
        "Defect score, %",
        "Images below, %",
        x_ticks=_SHARES,
        y_ticks=_SHARES,
        x_text=lambda x: f"{100 * x:g}",
        y_text=lambda y: f"{100 * y:g}",
    )
    order = np.argsort(data.baseline_scores)
    shift = np.sort(data.shift_scores)
    for xs, ys, css in (
        (data.baseline_scores[order], np.cumsum(data.baseline_weights[order]), "curve baseline"),
        (shift, np.arange(1, len(shift) + 1) / len(shift), "curve"),
    ):
        plot.line(np.concatenate([[0.0], xs, [1.0]]), np.concatenate([[0.0], ys, [1.0]]), css, steps=True)
    plot.segment((data.threshold, 0), (data.threshold, 1), "cut")
    found = data.drift.scores
    low, high = sorted(
        (
            float(data.baseline_weights[data.baseline_scores <= found.at].sum()),
            float((data.shift_scores <= found.at).mean()),
        )
    )
    plot.segment((found.at, low), (found.at, high), "missed")
    return plot.render(
        "Scores of the shift and of the baseline",
        f"They differ by at most {percent(found.ks)}, at {decimal(found.at)}.",
    )
