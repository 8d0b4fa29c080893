"""Grouped against random: the same quick inspector scored both ways, so that a flattering split shows.

A head fitted on frozen features takes a second, so many splits can be tried: what is learned here is how much
of a score comes from having seen other images of the same part.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeline.errors import EyelineError
from eyeline.images import ImageTable, make_folds, split_images
from eyeline.progress import Progress, silent
from eyeline.training import fit_head
from eyeline.verdicts import auroc, defect_scores, softmax

RANDOM_SEEDS = (0, 1, 2)
GROUPED_SEEDS = (0, 1, 2, 3, 4)
FOLDS = 5
INNER_FOLDS = 3  # for the penalty of the head, inside the training part of each split


@dataclass(frozen=True, kw_only=True)
class ProtocolResult:
    """AUROC of one way to split, a value a split."""

    name: str
    by: str  # "group" or "image"
    auroc: tuple[float, ...]
    images: int
    groups: int | None
    method: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {
            "auroc": list(self.auroc),
            "mean": float(np.mean(self.auroc)),
            "sd": float(np.std(self.auroc)),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ProtocolResult:
        """What `to_dict` gave."""
        own = {item.name: values[item.name] for item in fields(cls)}
        return cls(**own | {"auroc": tuple(own["auroc"])})


def compare_protocols(
    table: ImageTable, features: NDArray[np.float32], *, progress: Progress = silent
) -> tuple[ProtocolResult, ...]:
    """Score a fitted head by random 75/25 splits and, where there are groups, by grouped 5-fold.

    Parameters
    ----------
    features : ``(N, C)`` of every image of `table`, from a network that never saw the labels.
    """
    jobs: list[tuple[str, int]] = [("image", seed) for seed in RANDOM_SEEDS]
    if table.groups is not None:
        jobs += [("group", seed) for seed in GROUPED_SEEDS]
    values: dict[str, list[float]] = {"image": [], "group": []}
    for number, (by, seed) in enumerate(jobs):
        try:
            for held_out in _held_out(table, by, seed):
                values[by].append(_score(table, features, held_out, by))
        except EyelineError:  # too few groups or defects for this many parts: the report says it is missing
            continue
        progress("comparing splits", number + 1, len(jobs), "")
    method = "fitted head on frozen features"
    groups = None if table.groups is None else len(set(table.groups))
    results = []
    if values["image"]:
        name = f"random 75/25, {len(values['image'])} seeds"
        results.append(("image", name))
    if values["group"]:
        results.append(("group", f"grouped {FOLDS}-fold, {len(values['group']) // FOLDS} seeds"))
    return tuple(
        ProtocolResult(
            name=name, by=by, auroc=tuple(values[by]), images=len(table), groups=groups, method=method
        )
        for by, name in results
    )


def _held_out(table: ImageTable, by: str, seed: int) -> list[NDArray[np.bool_]]:
    if by == "image":
        whole = replace(table, splits=None)
        parts = split_images(whole, by="image", fractions=(0.75, 0.0, 0.25), seed=seed)
        return [np.array(parts) == "test"]
    folds = make_folds(table, k=FOLDS, by="group", seed=seed)
    return [folds == fold for fold in range(FOLDS)]


def _score(table: ImageTable, features: NDArray[np.float32], held_out: NDArray[np.bool_], by: str) -> float:
    seen = np.flatnonzero(~held_out)
    part = table.select(seen)
    folds = make_folds(part, k=INNER_FOLDS, by="group" if by == "group" else "image")
    shares = np.bincount(part.targets, minlength=len(table.classes)) / len(part)
    head = fit_head(
        features[seen], part.targets, folds, classes=len(table.classes), weights=1 / shares[part.targets]
    )
    scores = defect_scores(softmax(head.logits(features[held_out])), 0)
    return float(auroc(scores, table.is_defect[held_out]))
