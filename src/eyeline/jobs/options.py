"""What the user asks of a training run, and what is chosen where he leaves it open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from eyeline.errors import EyelineError
from eyeline.images import ImageTable, make_folds

FEW_IMAGES = 5000  # up to here training images are cross-fitted
FOLDS = 3


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """What the user asked for; recorded in the run, so that `--resume` needs nothing else."""

    source: str
    network: str = "efficientnet_lite0"
    weights: str | None = (
        None  # None: published ones where a package has them; "none"; or what create_network takes
    )
    image_size: int | None = None
    resize: str | None = None  # squash, letterbox or fit; None: by the pictures' shapes
    region: Sequence[float] | None = None  # left, top, right, bottom, shares 0..1
    range: Sequence[float] | None = None  # low, high: values that become 0 and 255
    good: str | None = None
    group_by: str | None = None
    budget: float | None = None  # seconds for training
    epochs: int | None = None
    steps: int | None = (
        None  # of training: the `steps` of a record repeat that run whatever the machine's speed
    )
    teacher: str | None = None  # the artifact of another run, whose answers are learned too
    folds: int | None = None  # of cross-validation; 0: a validation part instead; None: by the data
    views: int = 1  # mirrored and turned views of each image to average, if left-out images gain by it
    seed: int = 0
    max_bad: float = 0.01
    device: str = "auto"
    claim: str | None = None  # such as "escape<=0.05@0.95": sets the threshold, or is refused
    review: str | None = None  # such as "overkill<=0.05@0.95": doubtful images go to a human
    cost: str | None = None  # such as "escape=500,overkill=4,review=1,line=0.01"
    unknown: float | None = None  # share of false alarms, such as 0.01, at which unknown objects are told
    recipe: dict[str, Any] = field(default_factory=dict)


def choose_folds(
    table: ImageTable, splits: tuple[str, ...], wish: TrainOptions, *, tunable: bool
) -> tuple[tuple[str, ...], int]:
    """The parts of a run, and how many folds its training images are dealt into; 0 keeps the validation part.

    Unless told otherwise, a few thousand images with published weights are cross-fitted: a validation part of so
    few says little, and the images in it teach nothing. More images, a validation part that the source brings
    along, or weights drawn at random (whose average means nothing) keep the validation part.

    Raises
    ------
    EyelineError : folds were asked for that cannot be made.
    """
    given = table.splits is not None and "val" in table.splits
    rows = np.flatnonzero(np.isin(splits, ("train", "val")))
    if wish.folds == 0 or (wish.folds is None and (not tunable or given or len(rows) > FEW_IMAGES)):
        return splits, 0
    if not tunable:
        raise EyelineError(
            f"folds is {wish.folds}: cross-fitting averages networks that start from the same published weights "
            "and a fitted head, and this run has none",
            code="bad_option",
            hint="--folds 0",
        )
    merged = tuple("train" if part == "val" else part for part in splits)
    for count in (wish.folds,) if wish.folds else (FOLDS, 2):
        try:
            make_folds(table.select(rows), k=count, seed=wish.seed)
        except EyelineError:
            if wish.folds:
                raise
            continue
        return merged, count
    return splits, 0


def choose_device(device: str) -> str:
    """``cpu`` or ``cuda``.

    Raises
    ------
    EyelineError : another word, or no GPU that PyTorch can use.
    """
    import torch

    if device not in ("auto", "cpu", "cuda"):
        raise EyelineError(f"device is {device!r}; allowed: auto, cpu, cuda", code="bad_option")
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise EyelineError("PyTorch finds no CUDA device here", code="no_device", hint="use --device cpu")
    return "cuda" if available and device != "cpu" else "cpu"
