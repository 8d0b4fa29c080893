"""The report of a run: evidence from the artifact itself, figures, and how to go on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eyeline.images import ImageTable, PixelCache
from eyeline.jobs.inputs import display_names
from eyeline.jobs.protocols import ProtocolResult
from eyeline.progress import Progress
from eyeline.reports import EvidenceMaps, Placement, Protocol, ReportData, ShippedModel, write_report
from eyeline.runtime import Inspector
from eyeline.training import Fit

if TYPE_CHECKING:
    from eyeline.jobs.judged import Judged
    from eyeline.runtime import Artifact

BATCH = 8
_RULES = {
    "balanced_accuracy": "largest balanced accuracy",
    "claim": "the highest that keeps the claim",
    "cost": "least expected cost at the line",
    "cost within the claim": "least expected cost at the line, within the claim",
}


def report_run(
    folder: Path,
    artifact: Artifact,
    table: ImageTable,
    cache: PixelCache,
    splits: tuple[str, ...],
    judged: Judged,
    fitted: Fit,
    protocols: tuple[ProtocolResult, ...],
    record: dict[str, Any],
    seconds: float,
    progress: Progress,
) -> Path:
    """Write ``report.html`` of a finished run and return its path."""
    rows = np.flatnonzero(np.array(splits) == "test").astype(np.int64)
    contract = artifact.contract
    named = replace(table, paths=display_names(table.paths))
    names = dict(zip(table.paths, named.paths, strict=True))
    held_out = (
        "validation images" if judged.threshold.part == "validation" else "training images, each left out"
    )
    data = ReportData(
        title=table.name,
        network=contract.network,
        image_size=contract.decode.image_size,
        evaluation=judged.evaluation,
        table=named,
        splits=splits,
        rows=rows,
        probabilities=judged.probabilities[rows],
        pixels=lambda row: np.asarray(cache.pixels[row]),
        evidence=_evidence(artifact, cache, rows, progress) if contract.evidence.exact else None,
        promises=judged.promises,
        unknown=None if judged.unknown is None else judged.unknown[rows],
        threshold_note=f"{_RULES[judged.threshold.rule]}, on {judged.threshold.images:,} {held_out}",
        calibration_note=judged.calibration.reason,
        findings=tuple(record.get("findings", ())),
        protocols=tuple(
            Protocol(
                name=result.name,
                by="group" if result.by == "group" else "image",
                auroc=result.auroc,
                images=result.images,
                groups=result.groups,
                method=result.method,
            )
            for result in protocols
        ),
        history=fitted.history,
        choice=(record.get("choice") or {}).get("text", ""),
        seconds=seconds,
        model=ShippedModel(
            name="model.onnx",
            sha256=artifact.sha256,
            bytes=len(artifact.data),
            images=contract.proof.images,
            changed_decisions=contract.proof.changed_decisions,
            max_difference=contract.proof.max_difference,
            engine=contract.proof.engine,
        ),
        recipe={
            "weights": record["weights"] or "none",
            "steps": fitted.plan.steps,
            **({"folds": record["folds"]} if record.get("folds") else {}),
            "chosen epoch": f"{fitted.best_epoch}, by {fitted.metric}",
            **record["recipe"],
            "head penalty": fitted.penalty,
            "seed": record["options"]["seed"],
            "decode": record["decode"],
        },
        environment=record["environment"],
        fingerprint=record["fingerprint"],
        unusable={names[path]: reason for path, reason in record["unusable"].items()},
        commands=(
            ("Judge new images", f"eyeline predict {folder / 'model.onnx'} photos/ -o verdicts.csv"),
            ("See where it looked", f"eyeline explain {folder / 'model.onnx'} photos/ --out explained/"),
            ("Check the artifact on another machine", f"eyeline verify {folder / 'model.onnx'}"),
            ("Measure it on other labelled images", f"eyeline evaluate {folder / 'model.onnx'} labelled/"),
        ),
    )
    progress("writing the report", 0, 1, "")
    return write_report(folder / "report.html", data)


def _evidence(
    artifact: Artifact,
    cache: PixelCache,
    rows: np.ndarray[Any, np.dtype[np.int64]],
    progress: Progress,
) -> EvidenceMaps:
    inspector = Inspector(artifact)
    maps = []
    for start in range(0, len(rows), BATCH):
        outputs = inspector.run(np.asarray(cache.pixels[rows[start : start + BATCH]]))
        assert outputs.evidence is not None
        maps.append(outputs.evidence)
        progress("reading evidence", min(start + BATCH, len(rows)), len(rows), "")
    contract = artifact.contract.evidence
    placement = (
        None
        if contract.stride is None or contract.offset is None
        else Placement(stride=contract.stride, offset=contract.offset)
    )
    return EvidenceMaps(maps=np.concatenate(maps), placement=placement)
