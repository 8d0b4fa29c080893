"""What the trained network says about every image: calibrated and cut on validation, measured on test."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeline.files import atomic_file
from eyeline.images import ImageTable, PixelCache
from eyeline.networks import Network
from eyeline.progress import Progress
from eyeline.runtime import Calibration, Threshold
from eyeline.training import Normalization, predict_logits
from eyeline.verdicts import Evaluation, choose_threshold, decide, defect_scores, evaluate, fit_temperature

RULE = "balanced_accuracy"


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """What the trained network says about every usable image, and what was made of it."""

    logits: NDArray[np.float32]  # (N, K)
    probabilities: NDArray[np.float64]  # (N, K), calibrated
    calibration: Calibration
    threshold: Threshold
    evaluation: Evaluation  # of the test part


def judge_images(
    net: Network,
    table: ImageTable,
    cache: PixelCache,
    splits: tuple[str, ...],
    normalize: Normalization,
    progress: Progress,
) -> Judged:
    """Calibrate and choose the threshold on the validation part; measure on the test part."""
    usable, val, test = (
        np.flatnonzero(cache.usable).astype(np.int64),
        rows_of(splits, "val"),
        rows_of(splits, "test"),
    )
    logits = np.zeros((len(table), len(table.classes)), np.float32)
    logits[usable] = predict_logits(net, cache.pixels, usable, normalize, progress=progress)
    groups = None if table.groups is None else np.array(table.groups, dtype=object)
    temperature = fit_temperature(
        logits[val], table.targets[val], groups=None if groups is None else groups[val]
    )
    probabilities = temperature.apply(logits)
    cut = choose_threshold(defect_scores(probabilities[val], 0), table.is_defect[val], rule=RULE)
    progress("evaluating", 0, 1, "")
    evaluation = evaluate(
        probabilities[test],
        table.targets[test],
        classes=table.classes,
        good=table.good,
        threshold=cut,
        groups=None if groups is None else groups[test],
        slices={name: [values[row] for row in test] for name, values in table.slices.items()},
    )
    return Judged(
        logits=logits,
        probabilities=probabilities,
        calibration=Calibration(
            temperature=temperature.value,
            reason=temperature.reason,
            images=temperature.images,
            nll_before=temperature.nll_before,
            nll_after=temperature.nll_after,
            ece_before=temperature.ece_before,
            ece_after=temperature.ece_after,
        ),
        threshold=Threshold(value=cut, rule=RULE, part="validation", images=len(val)),
        evaluation=evaluation,
    )


def write_predictions(
    path: Path, table: ImageTable, cache: PixelCache, splits: tuple[str, ...], judged: Judged
) -> None:
    """Every image: part, group, truth, probabilities and verdict."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    called = decide(judged.probabilities, judged.threshold.value, 0)
    usable = cache.usable

    def text(values: tuple[str, ...]) -> list[str]:
        return [value.encode("utf-8", "backslashreplace").decode() for value in values]

    columns: dict[str, Any] = {
        "path": text(table.paths),
        "split": list(splits),
        "group": [None] * len(table) if table.groups is None else text(table.groups),
        "truth": list(table.labels),
        "label": [table.classes[k] if ok else None for k, ok in zip(called, usable, strict=True)],
        "decision": [
            ("pass" if k == 0 else "fail") if ok else None for k, ok in zip(called, usable, strict=True)
        ],
        "score": [
            float(s) if ok else None for s, ok in zip(1 - judged.probabilities[:, 0], usable, strict=True)
        ],
        "error": [cache.errors[row].code if row in cache.errors else None for row in range(len(table))],
    }
    for number, name in enumerate(table.classes):
        columns[f"p_{name}"] = [
            float(p) if ok else None for p, ok in zip(judged.probabilities[:, number], usable, strict=True)
        ]
    with atomic_file(path) as file:
        pq.write_table(pa.table(columns), file)


def rows_of(splits: tuple[str, ...], part: str) -> NDArray[np.int64]:
    """Numbers of the images of one part."""
    return np.flatnonzero(np.array(splits) == part).astype(np.int64)
