"""What the trained network says about every image: calibrated and cut on left-out images, measured on test."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeline.files import atomic_file
from eyeline.images import ImageTable, PixelCache
from eyeline.jobs.evaluate import STOPPED
from eyeline.networks import Network
from eyeline.progress import Progress
from eyeline.runtime import Calibration, Novelty, Threshold
from eyeline.training import Normalization, embed_pixels, head_logits, predict_logits
from eyeline.verdicts import (
    BetaCalibration,
    Choice,
    Evaluation,
    FeatureSpace,
    Promises,
    Temperature,
    UnknownRule,
    Wishes,
    choose_calibration,
    choose_cuts,
    decide,
    decisions,
    defect_scores,
    evaluate,
    fit_space,
    judge_promises,
    unknown_rule,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class LeftOut:
    """Training images as networks judge them that never saw their groups: what the cuts are chosen on."""

    rows: NDArray[np.int64]  # (M,)
    logits: NDArray[np.float32]  # (M, K)
    folds: NDArray[np.int64]  # (M,)


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """What the trained network says about every usable image, and what was made of it."""

    logits: NDArray[np.float32]  # (N, K)
    probabilities: NDArray[np.float64]  # (N, K), calibrated
    calibration: Calibration
    threshold: Threshold
    left_out: NDArray[
        np.float64
    ]  # (N,) calibrated defect scores of networks that did not see the image; NaN elsewhere
    evaluation: Evaluation  # of the test part
    promises: Promises | None  # None when nothing was asked for
    space: FeatureSpace | None = None  # of the pooled features, where unknown objects are told
    novelty: Novelty | None = None
    distances: NDArray[np.float64] | None = None  # (N,)

    @property
    def unknown(self) -> NDArray[np.bool_] | None:
        """Which images are of something unknown, ``(N,)``."""
        if self.novelty is None or self.distances is None:
            return None
        return np.asarray(self.distances > self.novelty.threshold)


def judge_images(
    net: Network,
    table: ImageTable,
    cache: PixelCache,
    splits: tuple[str, ...],
    normalize: Normalization,
    wishes: Wishes,
    progress: Progress,
    *,
    left_out: LeftOut | None = None,
    features: NDArray[np.float32] | None = None,
) -> Judged:
    """Calibrate and choose the cuts on left-out images; measure, and check what was promised, on the test part.

    The left-out images are those of cross-validation, if there was one, else the validation part. `features` ``(N, C)``
    are what the last layer of `net` sees, where they are known already: then no image is run again.
    """
    usable, test = np.flatnonzero(cache.usable).astype(np.int64), rows_of(splits, "test")
    logits = np.zeros((len(table), len(table.classes)), np.float32)
    if features is None:
        logits[usable] = predict_logits(net, cache.pixels, usable, normalize, progress=progress)
    else:
        logits[usable] = head_logits(net, features[usable])
    if left_out is None:
        val = rows_of(splits, "val")
        left_out = LeftOut(rows=val, logits=logits[val], folds=np.zeros(len(val), np.int64))
    held = left_out.rows
    groups = None if table.groups is None else np.array(table.groups, dtype=object)
    held_groups = None if groups is None else groups[held]
    temperature, beta = choose_calibration(left_out.logits, table.targets[held], groups=held_groups)
    calibrate = temperature.apply if beta is None else beta.apply_logits
    probabilities = calibrate(logits)
    scores = defect_scores(probabilities, 0)
    held_scores = defect_scores(calibrate(left_out.logits), 0)
    choice = choose_cuts(held_scores, table.is_defect[held], wishes, groups=held_groups)
    space, distances, told = None, None, None
    unknown: NDArray[np.bool_] | None = None
    if wishes.unknown is not None:
        space, distances, held_distances = _measure_distances(
            net, table, cache, splits, normalize, left_out, features, progress
        )
        told = unknown_rule(held_distances, wishes.unknown, groups=held_groups)
        unknown = None if told.threshold is None else np.asarray(distances > told.threshold)
    progress("evaluating", 0, 1, "")
    evaluation = evaluate(
        probabilities[test],
        table.targets[test],
        classes=table.classes,
        good=table.good,
        threshold=choice.low,
        groups=None if groups is None else groups[test],
        slices={name: [values[row] for row in test] for name, values in table.slices.items()},
        unknown=None if unknown is None else unknown[test],
        stopped="failed" if choice.high is None else STOPPED,
    )
    promises = None
    if wishes != Wishes():
        promises = judge_promises(
            choice,
            evaluation,
            scores[test],
            table.is_defect[test],
            groups=None if groups is None else groups[test],
            rule=told,
            unknown=None if unknown is None else unknown[test],
        )
        if promises.text:
            evaluation = evaluation.model_copy(update={"claim": f"{promises.text} {evaluation.claim}"})
    unseen = np.full(len(table), np.nan)
    unseen[held] = held_scores
    return Judged(
        logits=logits,
        probabilities=probabilities,
        left_out=unseen,
        calibration=_calibration(temperature, beta),
        threshold=threshold_of(
            choice, len(held), part="cross-validation" if left_out.folds.any() else "validation"
        ),
        evaluation=evaluation,
        promises=promises,
        space=None if unknown is None else space,
        novelty=_novelty(told),
        distances=distances,
    )


def _measure_distances(
    net: Network,
    table: ImageTable,
    cache: PixelCache,
    splits: tuple[str, ...],
    normalize: Normalization,
    left_out: LeftOut,
    features: NDArray[np.float32] | None,
    progress: Progress,
) -> tuple[FeatureSpace, NDArray[np.float64], NDArray[np.float64]]:
    """The space of the training part's pooled features, and how far every image lies from it, ``(N,)``.

    Last, how far the left-out images ``(M,)`` lie from a space that was fitted without them.
    """
    usable, train = np.flatnonzero(cache.usable).astype(np.int64), rows_of(splits, "train")
    if features is None:
        features = np.zeros((len(table), net.head.in_features), np.float32)
        features[usable] = embed_pixels(net, cache.pixels, usable, normalize, progress=progress)[0]
    space = fit_space(features[train], table.targets[train])
    distances = space.distances(features)
    held = distances[left_out.rows]
    for fold in np.unique(left_out.folds) if left_out.folds.any() else ():
        inside = left_out.folds == fold
        others = left_out.rows[~inside]
        without = fit_space(features[others], table.targets[others])
        held[inside] = without.distances(features[left_out.rows[inside]])
    return space, distances, held


def _calibration(temperature: Temperature, beta: BetaCalibration | None) -> Calibration:
    if beta is not None:
        return Calibration(
            beta=(beta.a, beta.b, beta.c),
            reason=beta.reason,
            images=beta.images,
            nll_before=beta.log_loss_before,
            nll_after=beta.log_loss_after,
            ece_before=beta.ece_before,
            ece_after=beta.ece_after,
        )
    return Calibration(
        temperature=temperature.value,
        reason=temperature.reason,
        images=temperature.images,
        nll_before=temperature.nll_before,
        nll_after=temperature.nll_after,
        ece_before=temperature.ece_before,
        ece_after=temperature.ece_after,
    )


def _novelty(told: UnknownRule | None) -> Novelty | None:
    if told is None or told.threshold is None:
        return None
    return Novelty(threshold=told.threshold, alpha=told.alpha, images=told.images)


def threshold_of(choice: Choice, images: int, *, part: str = "validation") -> Threshold:
    """The cuts as they travel in an artifact; `part` is what they were chosen on."""
    return Threshold(
        value=choice.low,
        review=None if choice.high is None else (choice.low, choice.high),
        rule=choice.rule,
        part=part,
        images=images,
        guarantee=None if choice.claim is None else choice.claim.to_dict(),
    )


def write_predictions(
    path: Path, table: ImageTable, cache: PixelCache, splits: tuple[str, ...], judged: Judged
) -> None:
    """Every image: part, group, truth, probabilities and verdict, and what the cuts were chosen on."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    low, high, unknown = judged.threshold.value, judged.threshold.high, judged.unknown
    called = decide(judged.probabilities, low, 0, unknown=unknown)
    decided = decisions(defect_scores(judged.probabilities, 0), low, high, unknown=unknown)
    usable = cache.usable

    def text(values: tuple[str, ...]) -> list[str]:
        return [value.encode("utf-8", "backslashreplace").decode() for value in values]

    columns: dict[str, Any] = {
        "path": text(table.paths),
        "split": list(splits),
        "group": [None] * len(table) if table.groups is None else text(table.groups),
        "truth": list(table.labels),
        "label": [table.classes[k] if ok else None for k, ok in zip(called, usable, strict=True)],
        "decision": [word if ok else None for word, ok in zip(decided, usable, strict=True)],
        "score": [
            float(s) if ok else None for s, ok in zip(1 - judged.probabilities[:, 0], usable, strict=True)
        ],
        "left_out_score": [None if np.isnan(s) else float(s) for s in judged.left_out],
        "error": [cache.errors[row].code if row in cache.errors else None for row in range(len(table))],
    }
    for number, name in enumerate(table.classes):
        columns[f"p_{name}"] = [
            float(p) if ok else None for p, ok in zip(judged.probabilities[:, number], usable, strict=True)
        ]
    if unknown is not None:
        columns["unknown"] = [bool(u) if ok else None for u, ok in zip(unknown, usable, strict=True)]
    with atomic_file(path) as file:
        pq.write_table(pa.table(columns), file)


def rows_of(splits: tuple[str, ...], part: str) -> NDArray[np.int64]:
    """Numbers of the images of one part."""
    return np.flatnonzero(np.array(splits) == part).astype(np.int64)
