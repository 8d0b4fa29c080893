"""The sections about numbers: headline, key figures, threshold explorer, protocols, curves, classes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from eyeline.reports import charts
from eyeline.reports.data import Protocol, ReportData
from eyeline.reports.text import counted, decimal, decimal_interval, percent, percent_interval
from eyeline.verdicts import Rate, defect_scores

Context = dict[str, Any]

# name, title, what it means in plain words
_HIGHER = (
    ("auroc", "AUROC", "how often a defect scores above a good part"),
    ("average_precision", "Average precision", "precision averaged over the defects found"),
    ("accuracy", "Accuracy", "share of right calls"),
    ("balanced_accuracy", "Balanced accuracy", "share of right calls, every class counting the same"),
    ("f1", "F1 of the defects", "harmonic mean of precision and recall"),
)
_LOWER = (
    ("brier", "Brier score", "mean squared error of the probability"),
    ("ece", "Calibration error", "mean gap between said and found (ECE)"),
)
_SHARES = {"accuracy", "balanced_accuracy"}
MOST_CELLS = 16  # a larger confusion matrix is told by its worst entries
_CURVE_POINTS = 600


class Judged:
    """The judged images of a report as plain arrays, computed once."""

    def __init__(self, data: ReportData) -> None:
        e = data.evaluation
        self.good = e.classes.index(e.good)
        self.targets: NDArray[np.int64] = data.table.targets[data.rows]
        self.is_defect: NDArray[np.bool_] = self.targets != self.good
        self.scores = defect_scores(data.probabilities, self.good)
        # With a review band: does not pass.
        self.unknown = np.zeros(len(self.scores), dtype=bool) if data.unknown is None else data.unknown
        self.fails: NDArray[np.bool_] = (self.scores >= e.threshold) | self.unknown
        self.verb = "failed" if data.high is None else "failed or went to review"
        self.groups = None if data.table.groups is None else np.asarray(data.table.groups)[data.rows]
        self.escapes = int((self.is_defect & ~self.fails).sum())
        self.overkills = int((~self.is_defect & self.fails).sum())
        self.defects, self.goods = int(self.is_defect.sum()), int((~self.is_defect).sum())

    def behind(self, noun: str, chosen: NDArray[np.bool_] | None = None) -> str:
        """``123 defects in 9 groups``: what stands behind a figure."""
        n = len(self.targets) if chosen is None else int(chosen.sum())
        if self.groups is None:
            return counted(n, noun)
        groups = len(np.unique(self.groups if chosen is None else self.groups[chosen]))
        return f"{counted(n, noun)} in {counted(groups, 'group')}"

    def behind_groups(self, chosen: NDArray[np.bool_]) -> str:
        """``from 9 groups · ``, empty without groups: the images are told beside it."""
        if self.groups is None or not chosen.any():
            return ""
        return f"from {counted(len(np.unique(self.groups[chosen])), 'group')} · "


def headline(data: ReportData, judged: Judged) -> Context:
    """What is claimed or else what happened, in one sentence, and the figures behind it."""
    caught = judged.defects - judged.escapes
    parts = []
    if judged.defects:
        parts.append(f"{caught:,} of {counted(judged.defects, 'defect')} caught")
    if judged.goods:
        parts.append(f"{judged.overkills:,} of {counted(judged.goods, 'good part')} {judged.verb}")
    seen, claim = ", ".join(parts) + ".", data.evaluation.claim
    if data.promises is None or not data.promises.text:
        return {"sentence": seen, "claim": claim}
    return {
        "sentence": data.promises.text,
        "claim": f"{seen} {claim.removeprefix(data.promises.text).lstrip()}",
    }


def key_figures(data: ReportData, judged: Judged) -> Context:
    """Escape and overkill first, then the rest on shared axes."""
    e = data.evaluation
    both = (
        ("escape", "Escape rate", e.escape_rate, judged.is_defect, "defect", "passed"),
        ("overkill", "Overkill rate", e.overkill_rate, ~judged.is_defect, "good part", judged.verb),
    )
    top = _ceiling(rate.high if rate.high is not None else rate.value for _, _, rate, *_ in both)
    heroes = [
        {
            "key": key,
            "title": title,
            "value": percent(rate.value),
            "interval": percent_interval(rate),
            "seen": f"{rate.count:,} of {counted(rate.n, noun)} {verb}"
            if rate.n
            else f"no {noun} was judged",
            "behind": judged.behind_groups(chosen),
            "method": rate.method,
            "bar": charts.interval_bar(rate, (0.0, top), key, f"{title} {percent(rate.value)}"),
            "axis": charts.axis_labels((0.0, top), shares=True),
        }
        for key, title, rate, chosen, noun, verb in both
    ]
    lows = [r.low if r.low is not None else r.value for r in (getattr(e, name) for name, *_ in _HIGHER)]
    floor = min([0.5, *(math.floor(10 * low) / 10 for low in lows if low is not None)])
    ceiling = _ceiling(
        r.high if r.high is not None else r.value for r in (getattr(e, name) for name, *_ in _LOWER)
    )
    return {
        "heroes": heroes,
        "higher": _rows(data, judged, _HIGHER, (floor, 1.0)),
        "lower": _rows(data, judged, _LOWER, (0.0, ceiling)),
        "higher_axis": charts.axis_labels((floor, 1.0), shares=False),
        "lower_axis": charts.axis_labels((0.0, ceiling), shares=False),
        "confidence": f"{100 * e.confidence:g}",
        "threshold": decimal(e.threshold),
        "high": None if data.high is None else decimal(data.high),
        "threshold_note": data.threshold_note,
        "calibration_note": data.calibration_note,
    }


def _rows(
    data: ReportData, judged: Judged, names: Iterable[tuple[str, str, str]], axis: tuple[float, float]
) -> list[Context]:
    rows = []
    for name, title, meaning in names:
        rate: Rate = getattr(data.evaluation, name)
        share = name in _SHARES
        value = percent(rate.value) if share else decimal(rate.value)
        rows.append(
            {
                "title": title,
                "meaning": meaning,
                "value": value,
                "interval": percent_interval(rate) if share else decimal_interval(rate),
                "behind": judged.behind("image"),
                "method": rate.method,
                "bar": charts.interval_bar(rate, axis, "plain", f"{title} {value}"),
            }
        )
    return rows


def _ceiling(values: Iterable[float | None]) -> float:
    """A round end for an axis that starts at 0."""
    top = max([0.01, *(v for v in values if v is not None)])
    return next(end for end in (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0) if end >= min(top, 1.0))


def explorer(data: ReportData, judged: Judged) -> Context:
    """Escapes and overkills at every threshold, computed here so that the page only has to look them up."""
    threshold = data.evaluation.threshold
    levels = np.unique(judged.scores)
    middles = (levels[:-1] + levels[1:]) / 2
    if len(middles) > _CURVE_POINTS:
        middles = middles[np.linspace(0, len(middles) - 1, _CURVE_POINTS).round().astype(int)]
    cuts = np.unique(np.concatenate([[0.0], middles, [threshold], [1.0]]))
    # What is unknown passes at no threshold.
    scores = np.where(judged.unknown, np.inf, judged.scores)
    defects, goods = np.sort(scores[judged.is_defect]), np.sort(scores[~judged.is_defect])
    escapes = np.searchsorted(defects, cuts, side="left")
    overkills = len(goods) - np.searchsorted(goods, cuts, side="left")
    good = data.evaluation.good
    others = [name for name in data.evaluation.classes if name != good]
    return {
        "curve": {
            "threshold": [round(float(t), 6) for t in cuts],
            "escapes": escapes.tolist(),
            "overkills": overkills.tolist(),
            "defects": judged.defects,
            "goods": judged.goods,
            "chosen": int(np.flatnonzero(cuts == threshold)[0]),
        },
        "histogram": charts.score_histogram(
            judged.scores,
            judged.is_defect,
            threshold,
            (good, others[0] if len(others) == 1 else "defects"),
            high=data.high,
        ),
        "threshold": decimal(threshold),
        "value": f"{threshold:.6f}",
        "escapes": judged.escapes,
        "overkills": judged.overkills,
        "defects": counted(judged.defects, "defect"),
        "goods": counted(judged.goods, "good part"),
        "escape_rate": percent(judged.escapes / judged.defects if judged.defects else None),
        "overkill_rate": percent(judged.overkills / judged.goods if judged.goods else None),
    }


def protocols(data: ReportData) -> Context | None:
    """Grouped against random, on one axis, and what the difference means."""
    if not data.protocols:
        return None
    values = [v for p in data.protocols for v in p.auroc]
    low = math.floor(20 * (min(values) - 0.01)) / 20
    axis = (max(0.0, low), 1.0)
    rows = [
        {
            "name": p.name,
            "by": p.by,
            "mean": decimal(float(np.mean(p.auroc))),
            "sd": decimal(float(np.std(p.auroc, ddof=1))) if len(p.auroc) > 1 else None,
            "folds": len(p.auroc),
            "images": f"{p.images:,}",
            "groups": "–" if p.groups is None else f"{p.groups:,}",
            "dots": charts.fold_dots(
                p.auroc, axis, p.by, f"{p.name}: AUROC {decimal(float(np.mean(p.auroc)))}"
            ),
        }
        for p in data.protocols
    ]
    return {
        "rows": rows,
        "axis": charts.axis_labels(axis, shares=False),
        "sentence": inflation(data.protocols),
    }


def inflation(found: tuple[Protocol, ...]) -> str:
    """What the random split adds to the figure, in one sentence; empty when there is nothing to compare."""
    for method in dict.fromkeys(p.method for p in found):
        grouped, random = (
            [p for p in found if p.method == method and p.by == by] for by in ("group", "image")
        )
        if not (grouped and random):
            continue
        g, r = float(np.mean(grouped[0].auroc)), float(np.mean(random[0].auroc))
        if r - g >= 0.005:
            return (
                f"A random split puts images of one group on both sides and reads AUROC {r:.3f}; on groups never "
                f"seen before the same method reads {g:.3f}. The random split flatters by {r - g:.3f}: expect "
                "the grouped figure on new parts."
            )
        return (
            f"Random splits read {r:.3f}, splits by group {g:.3f}: images of one group on both sides do not "
            "raise the figure here."
        )
    return ""


def curves(data: ReportData, judged: Judged) -> list[Context]:
    """ROC, precision-recall, reliability and both error rates; what cannot be drawn says why."""
    e = data.evaluation
    failed = int(judged.fails.sum())
    caught = judged.defects - judged.escapes
    detection = caught / max(1, judged.defects)
    overkill = judged.overkills / max(1, judged.goods)
    s, d = judged.scores, judged.is_defect
    band = "exact, by image" if judged.groups is None else "from draws of whole groups"
    missing = (
        ""
        if judged.defects and judged.goods
        else (f"The judged images hold no {'defects' if judged.goods else 'good parts'}.")
    )

    def entry(title: str, text: str, draw: Callable[[], Markup], lack: str = "") -> Context:
        return {"title": title, "text": lack or text, "plot": None if lack else draw()}

    return [
        entry(
            "ROC",
            f"Area {decimal(e.auroc.value)}, interval {decimal_interval(e.auroc)}. The diagonal is guessing.",
            lambda: charts.roc_plot(s, d, (overkill, detection)),
            missing,
        ),
        entry(
            "Precision and recall",
            f"Average precision {decimal(e.average_precision.value)}. The dashed line is the share of defects, "
            "which guessing reaches.",
            lambda: charts.precision_recall_plot(s, d, (detection, caught / failed) if failed else None),
            "" if judged.defects else missing,
        ),
        entry(
            "Reliability",
            f"On the diagonal the score is a probability. Ten bins of as many images each; calibration error over "
            f"them (ECE) {decimal(e.ece.value)}, interval {decimal_interval(e.ece)}. The band is "
            f"{100 * e.confidence:g} % a bin, {band}.",
            lambda: charts.reliability_plot(s, d, e.confidence, judged.groups),
        ),
        entry(
            "Both errors by threshold",
            "Escape rises with the threshold, overkill falls. The line is the threshold in the artifact.",
            lambda: charts.errors_plot(s, d, e.threshold),
        ),
    ]


def classes(data: ReportData) -> Context:
    """Confusion, figures of each class and of each slice."""
    e = data.evaluation
    k = len(e.classes)
    matrix = np.array(e.confusion)
    rows = matrix.sum(axis=1)
    cells = [
        [
            {"n": int(matrix[i, j]), "share": float(matrix[i, j] / max(1, rows[i])), "right": i == j}
            for j in range(k)
        ]
        for i in range(k)
    ]
    off = [(int(matrix[i, j]), i, j) for i in range(k) for j in range(k) if i != j and matrix[i, j]]
    return {
        "names": e.classes,
        "cells": cells if k <= MOST_CELLS else None,
        "dense": k > 5,
        "worst": [
            {"n": n, "truth": e.classes[i], "call": e.classes[j]}
            for n, i, j in sorted(off, reverse=True)[:10]
        ]
        if k > MOST_CELLS
        else [],
        "per_class": [
            {
                "name": name,
                "images": f"{rates.images:,}",
                "rates": [
                    _share("Precision", rates.precision, "plain"),
                    _share("Recall", rates.recall, "plain"),
                    _share("F1", rates.f1, "plain"),
                ],
            }
            for name, rates in e.per_class.items()
        ],
        "slices": [
            {
                "name": name,
                "rows": [
                    {
                        "name": value,
                        "images": f"{r.images:,}",
                        "groups": "–" if r.groups is None else f"{r.groups:,}",
                        "defects": f"{r.defects:,}",
                        "rates": [
                            _share("AUROC", r.auroc, "plain", decimal_figures=True),
                            _share("Escape", r.escape_rate, "escape"),
                            _share("Overkill", r.overkill_rate, "overkill"),
                        ],
                    }
                    for value, r in rates.items()
                ],
            }
            for name, rates in e.slices.items()
        ],
    }


def _share(title: str, rate: Rate, css: str, *, decimal_figures: bool = False) -> Mapping[str, Any]:
    value = decimal(rate.value) if decimal_figures else percent(rate.value)
    return {
        "title": title,
        "value": value,
        "interval": decimal_interval(rate) if decimal_figures else percent_interval(rate),
        "bar": charts.interval_bar(rate, (0.0, 1.0), css, f"{title} {value}"),
    }
