"""The plots of the report. Each says in words what it shows, for those who cannot see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from eyeline.reports.svg import Plot, picture, ticks
from eyeline.reports.text import decimal, percent, shown
from eyeline.verdicts import Rate, auroc, precision_recall_curve, reliability_curve, roc_curve

Scores = NDArray[np.float64]
Truth = NDArray[np.bool_]

_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


def _whole(value: float) -> str:
    return f"{100 * value:g}"


# --- curves: fixed shape, scaled as a picture -----------------------------------------------------


def roc_plot(scores: Scores, is_defect: Truth, point: tuple[float, float]) -> Markup:
    """Detection against overkill, with the operating point (overkill rate, detection rate)."""
    curve = roc_curve(scores, is_defect)
    plot = _square("Overkill rate, % of good parts", "Detection rate, % of defects")
    plot.segment((0, 0), (1, 1), "chance")
    plot.band(curve.overkill_rate, np.zeros(len(curve.overkill_rate)), curve.detection_rate, "under")
    plot.line(curve.overkill_rate, curve.detection_rate, "curve")
    plot.dot(
        *point, "point", radius=5.5, title=f"overkill {percent(point[0])}, detection {percent(point[1])}"
    )
    _below(plot, point, f"{percent(point[1])} caught", f"{percent(point[0])} overkill", left=point[0] > 0.6)
    return plot.render(
        "ROC curve",
        f"Area {decimal(auroc(scores, is_defect))}. At the threshold {percent(point[1])} of the defects are "
        f"caught and {percent(point[0])} of the good parts fail.",
    )


def precision_recall_plot(scores: Scores, is_defect: Truth, point: tuple[float, float] | None) -> Markup:
    """Precision against recall, with the operating point (recall, precision) unless nothing failed."""
    curve = precision_recall_curve(scores, is_defect)
    plot = _square("Detection rate (recall), %", "Defects among the failed (precision), %")
    base = float(is_defect.mean())
    plot.segment((0, base), (1, base), "chance")
    recall = np.append(curve.recall[::-1], 0.0)
    precision = np.append(curve.precision[::-1], curve.precision[0])
    plot.line(recall, precision, "curve", steps=True)
    at = "No image failed."
    if point is not None:
        plot.dot(
            *point, "point", radius=5.5, title=f"recall {percent(point[0])}, precision {percent(point[1])}"
        )
        _below(
            plot, point, f"recall {percent(point[0])}", f"precision {percent(point[1])}", left=point[0] > 0.4
        )
        at = f"At the threshold recall is {percent(point[0])}, precision {percent(point[1])}."
    return plot.render("Precision-recall curve", f"Share of defects {percent(base)}. {at}")


def reliability_plot(
    scores: Scores, is_defect: Truth, confidence: float, groups: NDArray[np.generic] | None = None
) -> Markup:
    """Said against found: the defect score in ten equal-mass bins and the share of defects in each, in its band."""
    curve = reliability_curve(scores, is_defect, confidence=confidence, groups=groups)
    plot = _square("Defect score, %: what the inspector said", "Share of defects, %: what was found")
    plot.band(curve.mean_score, curve.low, curve.high, "under")
    plot.segment((0, 0), (1, 1), "chance")
    for x, y, low, high, n in zip(
        curve.mean_score, curve.defect_share, curve.low, curve.high, curve.images, strict=True
    ):
        plot.segment((x, low), (x, high), "whisker")
        plot.dot(x, y, "dot", title=f"said {percent(x)}, found {percent(y)} of {n} images")
    plot.line(curve.mean_score, curve.defect_share, "thread")
    gap = float(np.abs(curve.mean_score - curve.defect_share).max())
    inside = int(((curve.low <= curve.mean_score) & (curve.mean_score <= curve.high)).sum())
    return plot.render(
        "Reliability diagram",
        f"The largest gap between said and found is {percent(gap)}; the band of {inside} of {len(curve.images)} bins "
        "holds the diagonal.",
    )


def errors_plot(scores: Scores, is_defect: Truth, threshold: float) -> Markup:
    """Escape and overkill rate at every threshold; each rises as the other falls."""
    plot = _square("Threshold on the defect score, %", "Rate, %")
    defects, goods = np.sort(scores[is_defect]), np.sort(scores[~is_defect])
    plot.segment((threshold, 0), (threshold, 1), "cut")
    for values, css, rising in ((defects, "escape", True), (goods, "overkill", False)):
        if len(values) == 0:
            continue
        share = np.arange(len(values) + 1) / len(values)
        plot.line(
            np.concatenate([[0.0], values, [1.0]]),
            np.append(share, 1.0) if rising else np.append(1 - share, 0.0),
            f"curve {css}",
            steps=True,
        )
    at_end = threshold > 0.78
    plot.note(
        threshold,
        1,
        f"threshold {decimal(threshold)}",
        f"tick {'end' if at_end else ''}",
        dx=-6 if at_end else 6,
        dy=10,
    )
    return plot.render(
        "Escape and overkill rate by threshold",
        f"The threshold of the inspector is {decimal(threshold)}. Escape rises with it, overkill falls.",
    )


def history_plot(epochs: Sequence[float], values: Mapping[str, Sequence[float | None]], title: str) -> Markup:
    """One line for each named series over the epochs; its name is also the style class that colours it."""
    known = [v for series in values.values() for v in series if v is not None]
    low, high = min(known), max(known)
    pad = 0.08 * (high - low) or max(abs(high), 1e-6) * 0.08
    first, last = min(epochs), max(epochs)
    plot = Plot(
        x=(first, last) if last > first else (first - 1, last + 1), y=(low - pad, high + pad), height=240
    )
    whole = [t for t in ticks(*plot.x, most=8) if t == int(t)]
    plot.axes("Epoch", "", x_ticks=whole, y_ticks=ticks(*plot.y, most=5))
    said = []
    for name, series in values.items():
        points = [(e, v) for e, v in zip(epochs, series, strict=True) if v is not None]
        if not points:
            continue
        plot.line([e for e, _ in points], [v for _, v in points], f"curve {name}")
        for e, v in points if len(points) <= 40 else points[-1:]:
            plot.dot(e, v, f"dot {name}", radius=3, title=f"epoch {e:g}: {name} {v:.4g}")
        said.append(f"{name} ends at {points[-1][1]:.4g}")
    return plot.render(f"{title} by epoch", ", ".join(said) + ".")


def _square(x_label: str, y_label: str) -> Plot:
    plot = Plot(x=(0.0, 1.0), y=(0.0, 1.0), height=330)
    plot.axes(x_label, y_label, x_ticks=_SHARES, y_ticks=_SHARES, x_text=_whole, y_text=_whole)
    return plot


def _below(plot: Plot, point: tuple[float, float], first: str, second: str, *, left: bool) -> None:
    """Two lines under a point, where no curve runs; above it near the floor."""
    dx, css = (-11, "tick strong end") if left else (11, "tick strong")
    dy = 18.0 if point[1] > 0.2 else -26.0
    plot.note(*point, first, css, dx=dx, dy=dy)
    plot.note(*point, second, css, dx=dx, dy=dy + 15)


# --- rows: as wide as the page gives them, in percent ---------------------------------------------


def interval_bar(rate: Rate, axis: tuple[float, float], css: str, label: str) -> Markup:
    """A figure as a point on its interval, on an axis shared by all bars beside it."""
    parts = [_bar('class="rail"', "0%", "100%")]
    if rate.low is not None and rate.high is not None:
        parts.append(_bar('class="span"', _at(rate.low, axis), _at(rate.high, axis)))
    if rate.value is not None:
        parts.append(f'<circle class="mark" cx="{_at(rate.value, axis)}" cy="50%" r="5.5"/>')
    return picture(parts, 'width="100%" height="22"', label, "", f"bar {css}")


def fold_dots(values: Sequence[float], axis: tuple[float, float], css: str, label: str) -> Markup:
    """One dot a fold, the mean as a tick, one standard deviation to either side as a bar."""
    mean, sd = float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    parts = [_bar('class="rail"', "0%", "100%")]
    if sd:
        parts.append(_bar('class="span"', _at(mean - sd, axis), _at(mean + sd, axis)))
    parts += [
        f'<circle class="fold" cx="{_at(value, axis)}" cy="50%" r="4.5"><title>{decimal(value)}</title></circle>'
        for value in values
    ]
    x = _at(mean, axis)
    parts.append(f'<line class="mean" x1="{x}" x2="{x}" y1="15%" y2="85%"/>')
    return picture(parts, 'width="100%" height="30"', label, "", f"bar {css}")


def axis_labels(axis: tuple[float, float], *, shares: bool) -> Markup:
    """The tick labels below a column of bars."""
    marks = ticks(*axis, most=4)
    parts = []
    for mark in marks:
        anchor = "start" if mark == axis[0] else "end" if mark == axis[1] else "middle"
        text = f"{100 * mark:g}%" if shares else f"{mark:g}"
        parts.append(f'<text class="tick" x="{_at(mark, axis)}" y="13" text-anchor="{anchor}">{text}</text>')
    return Markup(f'<svg class="ticks" width="100%" height="18" aria-hidden="true">{"".join(parts)}</svg>')


def score_histogram(
    scores: Scores,
    is_defect: Truth,
    threshold: float,
    names: tuple[str, str],
    *,
    high: float | None = None,
) -> Markup:
    """Defects upwards, good parts downwards; what is decided wrongly at the threshold stands out.

    The review band from the threshold to `high` is shaded.

    The bars are there twice, pale and strong; the strong ones are cut at the threshold, which is all that has to
    move with the slider.
    """
    bins, half = 50, 50.0
    edges = np.linspace(0, 1, bins + 1)
    up, down = (np.histogram(scores[chosen], edges)[0] for chosen in (is_defect, ~is_defect))
    top = max(1.0, float(np.sqrt(max(up.max(), down.max()))))
    bars: dict[str, list[str]] = {"d": [], "g": []}
    for i in range(bins):
        for key, count in (("d", up[i]), ("g", down[i])):
            if count:
                tall = (half - 3) * float(np.sqrt(count)) / top
                y = half - tall if key == "d" else half
                bars[key].append(
                    f'<rect x="{100 * i / bins:.4g}%" y="{y:.2f}%" width="{92 / bins:.3g}%" height="{tall:.2f}%"/>'
                )
    cut = f"{100 * min(max(threshold, 0), 1):.3f}%"
    shade, told = "", ""
    if high is not None:
        wide = 100 * (min(high, 1) - max(threshold, 0))
        shade = f'<rect class="doubt" x="{cut}" y="0" width="{max(wide, 0):.3f}%" height="100%"/>'
        told = f"; from there to {decimal(high)} a human looks"
    parts = [
        shade,
        f'<defs><clipPath id="passed"><rect id="passed-box" x="0" y="0" width="{cut}" height="100%"/></clipPath>'
        f'<clipPath id="failed"><rect id="failed-box" x="{cut}" y="0" width="100%" height="100%"/></clipPath></defs>',
        f'<g class="d pale">{"".join(bars["d"])}</g><g class="g pale">{"".join(bars["g"])}</g>',
        f'<g class="d" clip-path="url(#passed)">{"".join(bars["d"])}</g>',
        f'<g class="g" clip-path="url(#failed)">{"".join(bars["g"])}</g>',
        '<line class="axis" x1="0" x2="100%" y1="50%" y2="50%"/>',
        f'<line class="cut" id="cut" x1="{cut}" x2="{cut}" y1="0" y2="100%"/>',
        f'<text class="label d" x="2" y="14">{escape(shown(names[1]))}</text>',
        f'<text class="label g end" x="100%" y="97%">{escape(shown(names[0]))}</text>',
    ]
    return picture(
        parts,
        'width="100%" height="240"',
        "Defect scores by class",
        f"{names[1]} above the line, {names[0]} below it; the threshold is {decimal(threshold)}{told}.",
        "histogram",
    )


def group_bars(shares: Sequence[tuple[str, float, int, str]]) -> Markup:
    """The share of defects in each group (name, share, images, part), sorted, coloured by part of the split."""
    width = 100 / len(shares)
    parts = [f'<line class="grid" x1="0" x2="100%" y1="{y}%" y2="{y}%"/>' for y in (2, 50)]
    for i, (name, share, images, part) in enumerate(shares):
        tall = max(96 * share, 0.8)
        title = escape(shown(f"{name}: {percent(share, 0)} of {images} images, {part or 'not used'}"))
        parts.append(
            f'<rect class="{part or "none"}" x="{i * width:.4g}%" y="{98 - tall:.2f}%" '
            f'width="{width * 0.86:.4g}%" height="{tall:.2f}%"><title>{title}</title></rect>'
        )
    parts.append('<line class="axis" x1="0" x2="100%" y1="98%" y2="98%"/>')
    low, high = (percent(f(share for _, share, _, _ in shares), 0) for f in (min, max))
    return picture(
        parts,
        'width="100%" height="120"',
        "Share of defects in each group",
        f"From {low} to {high}.",
        "groups",
    )


def _at(value: float, axis: tuple[float, float]) -> str:
    share = (value - axis[0]) / (axis[1] - axis[0])
    return f"{100 * min(max(share, 0), 1):.2f}%"


def _bar(css: str, x1: str, x2: str) -> str:
    return f'<line {css} x1="{x1}" x2="{x2}" y1="50%" y2="50%"/>'
