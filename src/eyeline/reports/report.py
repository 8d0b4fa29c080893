"""`report.html`: what was learned, how far it can be trusted, and how it was made, on one page."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from eyeline.reports import charts, figures, pictures
from eyeline.reports.data import ReportData
from eyeline.reports.page import write_page
from eyeline.reports.promises import promises
from eyeline.reports.text import counted, duration, file_size, flattened, power_of_ten


def write_report(path: str | Path, data: ReportData) -> Path:
    """Write the report of a run as one file that opens anywhere, offline. Returns its path.

    Raises
    ------
    EyelineError : the file cannot be written (``code="write_failed"``); nothing half-written is left.
    """
    judged = figures.Judged(data)
    context = {
        "title": data.title,
        "headline": figures.headline(data, judged),
        "facts": _facts(data),
        "figures": figures.key_figures(data, judged),
        "explorer": figures.explorer(data, judged),
        "promises": promises(data, judged),
        "data": pictures.data_section(data),
        "findings": data.findings,
        "protocols": figures.protocols(data),
        "curves": figures.curves(data, judged),
        "classes": figures.classes(data),
        "mistakes": pictures.mistakes(data, judged),
        "training": _training(data),
        "making": _making(data),
    }
    return write_page(path, "report.html", context)


def _facts(data: ReportData) -> list[tuple[str, str]]:
    height, width = data.image_size
    facts = [
        ("Data", f"{counted(len(data.table), 'image')}, {counted(len(data.table.classes), 'class')}"),
        ("Network", f"{data.network}, {height}×{width} px"),
        ("Split", "by group" if data.table.groups is not None else "by image"),
    ]
    if data.model is not None:
        facts.append(
            (
                "Proof",
                f"{data.model.changed_decisions:,} of {data.model.images:,} decisions changed by export",
            )
        )
    return facts


def _training(data: ReportData) -> dict[str, Any] | None:
    if not data.history and data.seconds is None:
        return None
    epochs = [_known(row.get("epoch", i + 1)) or 0.0 for i, row in enumerate(data.history)]
    plots = []
    several = len(data.table.classes) > 2 and any("val_balanced_accuracy" in row for row in data.history)
    where = "left-out images" if data.choice else "validation"
    chosen_by = (
        (f"Balanced accuracy on {where}", {where: "val_balanced_accuracy"})
        if several
        else (f"AUROC on {where}", {where: "val_auroc"})
    )
    for label, names in (
        ("Loss", {"training": "loss", where: "val_loss"}),
        chosen_by,
    ):
        series = {name: [_known(row.get(key)) for row in data.history] for name, key in names.items()}
        series = {name: values for name, values in series.items() if any(v is not None for v in values)}
        if series:
            plots.append(
                {
                    "title": label,
                    "names": list(series),
                    "plot": charts.history_plot(epochs, series, label),
                }
            )
    return {
        "plots": plots,
        "choice": data.choice,
        "epochs": counted(int(max(epochs, default=0)), "epoch"),
        "time": "" if data.seconds is None else duration(data.seconds),
    }


def _known(value: float | None) -> float | None:
    """None for what was not measured, such as the training loss before the first epoch."""
    return None if value is None or not math.isfinite(value) else float(value)


def _making(data: ReportData) -> dict[str, Any]:
    model = data.model
    return {
        "recipe": list(flattened(data.recipe)),
        "environment": list(flattened(data.environment)),
        "fingerprint": data.fingerprint,
        "model": None
        if model is None
        else {
            "name": model.name,
            "size": file_size(model.bytes),
            "sha256": model.sha256,
            "images": f"{model.images:,}",
            "changed": f"{model.changed_decisions:,}",
            "holds": model.changed_decisions == 0,
            "difference": power_of_ten(model.max_difference),
            "engine": model.engine,
        },
        "commands": data.commands,
    }
