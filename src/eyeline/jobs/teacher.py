"""Another run as the teacher of this one: its artifact judges the training images, once, before training begins."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeline.errors import EyelineError
from eyeline.images import DecodeOptions, ImageTable, PixelCache, prepare_image
from eyeline.jobs.judged import rows_of
from eyeline.progress import Progress
from eyeline.runtime import Contract, load
from eyeline.training import Recipe

BATCH = 64
SHARE = 0.5  # of the loss, when there is a teacher and the recipe says nothing of it


@dataclass(frozen=True, kw_only=True, eq=False)
class Teacher:
    """What a teacher says about the training images."""

    logits: NDArray[np.float32]  # (N, K) in the order of the table's classes; zero outside the training part
    record: dict[str, str]  # model and sha256
    notes: tuple[str, ...]


def with_teacher(recipe: Recipe, model: str | None) -> Recipe:
    """The recipe of a run with this teacher, or with none.

    Raises
    ------
    EyelineError : the recipe wants a teacher and there is none (``code="no_teacher"``).
    """
    if model is None and recipe.distill:
        raise EyelineError(
            f"distill is {recipe.distill:g} in the recipe, but there is no teacher",
            code="no_teacher",
            hint="give --teacher MODEL.onnx, or set distill = 0",
        )
    return recipe if model is None or recipe.distill else recipe.replace(distill=SHARE)


def ask_teacher(
    model: str | Path,
    table: ImageTable,
    cache: PixelCache,
    decode: DecodeOptions,
    splits: tuple[str, ...],
    *,
    fingerprint: str,
    seed: int,
    expected: str | None = None,
    progress: Progress,
) -> Teacher:
    """Logits of an artifact on the training part.

    A teacher that decodes as this run does reads the cached pixels; another one, such as one with larger images,
    reads the files by its own rules.

    Parameters
    ----------
    seed : of this run's split.
    expected : SHA-256 that the run began with, when it is resumed.

    Raises
    ------
    EyelineError : other classes (``code="other_classes"``), another file than the run began with
        (``code="changed"``), or a teacher that learned from this run's test part (``code="teacher_saw_test"``).
    """
    inspector = load(model)
    contract = inspector.contract
    if set(contract.classes) != set(table.classes):
        raise EyelineError(
            f"the teacher tells {', '.join(contract.classes)}; the images are labelled {', '.join(table.classes)}",
            code="other_classes",
            path=model,
            hint="a teacher needs the same classes",
        )
    if expected is not None and inspector.sha256 != expected:
        raise EyelineError("this is not the teacher that the run began with", code="changed", path=model)
    notes = _what_it_saw(contract, table, splits, fingerprint, seed, model)
    columns = [contract.classes.index(name) for name in table.classes]
    rows = rows_of(splits, "train")
    logits = np.zeros((len(table), len(columns)), np.float32)
    for start in range(0, len(rows), BATCH):
        chosen = rows[start : start + BATCH]
        if contract.decode == decode:
            pixels = cache.pixels[chosen]
        else:
            pixels = np.stack([prepare_image(table.source(int(row)), contract.decode) for row in chosen])
        logits[chosen] = inspector.run(pixels).logits[:, columns]
        progress("asking the teacher", start + len(chosen), len(rows), "")
    return Teacher(logits=logits, record={"model": str(model), "sha256": inspector.sha256}, notes=notes)


def _what_it_saw(
    contract: Contract,
    table: ImageTable,
    splits: tuple[str, ...],
    fingerprint: str,
    seed: int,
    model: str | Path,
) -> tuple[str, ...]:
    """A note when the teacher may have learned from this run's test part; an error when it surely has."""
    if contract.data.fingerprint != fingerprint:
        return (
            "the teacher was trained on other data: if that held images of this test part, these figures flatter",
        )
    parts: dict[str, Any] = {part: splits.count(part) for part in ("train", "val", "test")}
    same = table.splits is not None or contract.seeds.get("split") == seed
    if not same:
        raise EyelineError(
            f"the teacher was trained on these images with another split (seed {contract.seeds.get('split')}), so "
            "it has learned from images of this run's test part",
            code="teacher_saw_test",
            path=model,
            hint=f"train with --seed {contract.seeds.get('split')}",
        )
    if contract.data.images != parts or contract.data.group_source != table.group_source:
        return (
            "the teacher was trained on these images in other parts: it may have learned from this test part, and "
            "these figures may flatter",
        )
    return ()
