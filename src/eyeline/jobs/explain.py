"""Pictures of where an artifact looked: exact evidence on one scale, an overlay an image and a page of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeline.errors import EyelineError
from eyeline.files import write_atomically
from eyeline.images import DecodeOptions, decode_region, prepare_image
from eyeline.jobs.predict import find_images
from eyeline.jobs.run_folder import create_folder
from eyeline.progress import Progress, silent
from eyeline.reports import (
    ExplainData,
    ExplainItem,
    Placement,
    draw_overlay,
    explain_scale,
    png_bytes,
    signed_evidence,
    write_explain,
)
from eyeline.runtime import load


@dataclass(frozen=True, kw_only=True)
class Explained:
    """One explained image; the keys of ``eyeline explain --json``."""

    path: str
    label: str | None
    overlay: str | None
    evidence_sum: float | None  # of the defect's evidence less the good class's
    logit: float | None  # the same difference of logits, bias taken off
    error: str | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return dict(self.__dict__)


def explain_images(
    model: str | Path, paths: Sequence[str | Path], out: str | Path, *, progress: Progress = silent
) -> tuple[Path, list[Explained]]:
    """Draw where an artifact looked: an overlay an image and one page of all, in a new folder `out`.

    Raises
    ------
    EyelineError : the artifact has no exact evidence, or `out` exists.
    """
    inspector = load(model)
    contract = inspector.contract
    if not contract.evidence.exact:
        raise EyelineError(
            f"{contract.network} has no exact evidence: its logits cannot be taken apart by position",
            code="no_evidence",
            path=model,
        )
    files = find_images(paths)
    folder = create_folder(Path(out))
    good = contract.good_index
    items: list[ExplainItem] = []
    for path, verdict in zip(files, inspector.predict(files), strict=True):
        items.append(
            ExplainItem(
                path=path,
                picture=None if verdict.error else _picture(path, contract.decode),
                label=verdict.label or "",
                decision=verdict.decision or "",
                score=verdict.score or 0.0,
                probabilities=verdict.probabilities,
                evidence=verdict.evidence,
                logits=verdict.logits,
                error=verdict.error or "",
            )
        )
        progress("explaining", len(items), len(files), "")
    scale = explain_scale(items, good=good)
    size = contract.decode.image_size
    placement = (
        None
        if contract.evidence.stride is None or contract.evidence.offset is None
        else Placement(stride=contract.evidence.stride, offset=contract.evidence.offset)
    )
    results: list[Explained] = []
    for number, item in enumerate(items):
        if item.error or item.picture is None or item.evidence is None or item.logits is None:
            results.append(
                Explained(
                    path=item.path, label=None, overlay=None, evidence_sum=None, logit=None, error=item.error
                )
            )
            continue
        signed = signed_evidence(item.evidence, item.logits, good=good)
        picture = draw_overlay(item.picture, signed.values, scale=scale, placement=placement, input_size=size)
        overlay = folder / f"{number:05d}-{Path(item.path).stem[:80]}.png"
        write_atomically(overlay, png_bytes(picture))
        defect = signed.defect
        results.append(
            Explained(
                path=item.path,
                label=item.label,
                overlay=str(overlay),
                evidence_sum=float(np.sum(signed.values)),
                logit=float(
                    item.logits[defect]
                    - item.logits[good]
                    - contract.evidence.bias[defect]
                    + contract.evidence.bias[good]
                ),
                error=None,
            )
        )
    page = write_explain(
        folder / "explain.html",
        ExplainData(
            model=Path(model).name,
            classes=contract.classes,
            good=contract.good,
            threshold=contract.threshold.value,
            high=contract.threshold.high,
            items=tuple(items),
            bias=contract.evidence.bias,
            placement=placement,
            input_size=size,
            scale=scale,
        ),
    )
    return page, results


def _picture(path: str, decode: DecodeOptions) -> NDArray[np.uint8]:
    """What is shown below the evidence: the region at its own size, or where that has another shape, the input."""
    if decode.resize == "squash":
        return decode_region(path, decode)
    return prepare_image(path, decode)
