"""The artifact of a run: what goes into it beside the network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from eyeline.images import DecodeOptions, ImageTable, PixelCache
from eyeline.jobs.evaluate import figures_dict
from eyeline.jobs.inputs import display_names
from eyeline.jobs.judged import Judged, rows_of
from eyeline.networks import NetworkInfo
from eyeline.progress import Progress
from eyeline.runtime import Data, Licences
from eyeline.shipping import Reference, export_artifact
from eyeline.training import Fit, Normalization

if TYPE_CHECKING:
    from eyeline.runtime import Artifact


def ship_run(
    folder: Path,
    fitted: Fit,
    table: ImageTable,
    cache: PixelCache,
    splits: tuple[str, ...],
    decode: DecodeOptions,
    info: NetworkInfo,
    judged: Judged,
    record: dict[str, Any],
    progress: Progress,
) -> Artifact:
    """Export to ``model.onnx`` in `folder`, and prove it on the whole test part."""
    test = rows_of(splits, "test")
    names = display_names(table.paths)
    stats = Normalization(info.mean, info.std).for_channels(decode.channels)
    return export_artifact(
        fitted.network.cpu(),
        folder / "model.onnx",
        network=info.name,
        classes=table.classes,
        good=table.good,
        decode=decode,
        mean=stats.mean,
        std=stats.std,
        threshold=judged.threshold,
        reference=Reference(
            pixels=cache.pixels,
            rows=test,
            logits=judged.logits[test],
            probabilities=judged.probabilities[test],
            names=[names[row] for row in test],
            labels=[table.labels[row] for row in test],
            novelty=None if judged.distances is None else judged.distances[test],
        ),
        space=judged.space,
        novelty=judged.novelty,
        test=figures_dict(judged.evaluation, judged.promises),
        data=Data(
            name=table.name,
            fingerprint=record["fingerprint"],
            images={part: splits.count(part) for part in ("train", "val", "test")},
            groups=None if table.groups is None else len(set(table.groups)),
            group_source=table.group_source,
        ),
        calibration=judged.calibration,
        recipe=record["recipe"] | {"steps": fitted.plan.steps, "best_epoch": fitted.best_epoch},
        seeds={"run": record["options"]["seed"], "split": record["options"]["seed"]},
        licences=Licences(data=table.licence, weights=_weights_licence(record["weights"])),
        progress=progress,
    )


def _weights_licence(weights: str | None) -> str:
    if weights is None:
        return "trained from scratch"
    if weights == "imagenet":
        return "started from published ImageNet weights (Apache-2.0); ImageNet's own terms are non-commercial"
    return f"started from {Path(weights).name}"
