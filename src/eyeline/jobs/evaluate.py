"""Figures of an artifact on labelled images it may never have seen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eyeline.errors import EyelineError, nearest
from eyeline.images import ImageTable, read_images, split_images
from eyeline.progress import Progress, silent
from eyeline.runtime import Verdict, load
from eyeline.verdicts import evaluate

if TYPE_CHECKING:
    from eyeline.verdicts import Evaluation

FRACTIONS = (0.6, 0.15, 0.25)  # of train, val and test, unless the source brings its own split


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Figures of an artifact on a source."""

    evaluation: Evaluation
    part: str  # "test" or "all"
    errors: dict[str, str]  # images that could not be judged
    note: str

    def to_dict(self) -> dict[str, Any]:
        """The keys of ``eyeline evaluate --json``."""
        return self.evaluation.to_dict() | {"part": self.part, "errors": self.errors, "note": self.note}


def evaluate_model(
    model: str | Path,
    source: str | Path,
    *,
    split: str | None = None,
    good: str | None = None,
    group_by: str | None = None,
    progress: Progress = silent,
) -> Measured:
    """Judge every image of a labelled source by an artifact and compare with the labels.

    Parameters
    ----------
    split : "test" judges the test part only: the source's own, or, for the very data the artifact was trained
        on, the part held out then. "all" judges everything. None takes "test" where there is one.

    Raises
    ------
    EyelineError : the classes are not the artifact's, or `split` is "test" and there is no test part.
    """
    inspector = load(model)
    contract = inspector.contract
    table = read_images(source, good=good or _good_of(contract.good, source), group_by=group_by)
    if set(table.classes) - set(contract.classes):
        unknown = sorted(set(table.classes) - set(contract.classes))[0]
        raise EyelineError(
            f"the class {unknown!r} is not one of the artifact's",
            code="unknown_label",
            path=source,
            hint=nearest(unknown, contract.classes),
        )
    trained_on = table.fingerprint() == contract.data.fingerprint
    parts = _parts(table, trained_on, contract.seeds.get("split", 0))
    if split not in (None, "test", "all"):
        raise EyelineError(f"split is {split!r}; allowed: test, all", code="bad_option")
    if split == "test" and parts is None:
        raise EyelineError(
            "this source has no test part", code="no_test", path=source, hint="use --split all"
        )
    part = split or ("test" if parts is not None else "all")
    rows = np.arange(len(table)) if part == "all" else np.flatnonzero(np.array(parts) == "test")
    verdicts: list[Verdict] = []
    for verdict in inspector.predict(table.source(int(row)) for row in rows):
        verdicts.append(verdict)
        progress("judging", len(verdicts), len(rows), "")
    judged = np.array([verdict.error is None for verdict in verdicts], dtype=bool)
    if not judged.any():
        raise EyelineError(f"no image could be judged: {verdicts[0].error}", code="too_many_bad", path=source)
    chosen = rows[judged]
    probabilities = np.array(
        [[v.probabilities[name] for name in contract.classes] for v in verdicts if v.error is None]
    )
    number = {name: position for position, name in enumerate(contract.classes)}
    note = (
        "these include the images it learned from: the figures flatter"
        if trained_on and part == "all"
        else ""
    )
    return Measured(
        evaluation=evaluate(
            probabilities,
            np.array([number[table.labels[row]] for row in chosen]),
            classes=contract.classes,
            good=contract.good,
            threshold=contract.threshold.value,
            groups=None if table.groups is None else np.array(table.groups, dtype=object)[chosen],
            slices={name: [values[row] for row in chosen] for name, values in table.slices.items()},
        ),
        part=part,
        errors={
            table.paths[row]: verdict.error
            for row, verdict in zip(rows, verdicts, strict=True)
            if verdict.error is not None
        },
        note=note,
    )


def _good_of(good: str, source: str | Path) -> str | None:
    """The artifact's good class, unless the source is a named data set, which has its own."""
    return good if Path(source).exists() else None


def _parts(table: ImageTable, trained_on: bool, seed: int) -> tuple[str, ...] | None:
    if table.splits is not None:
        return table.splits if "test" in table.splits else None
    if not trained_on:
        return None
    return split_images(table, fractions=FRACTIONS, seed=seed)
