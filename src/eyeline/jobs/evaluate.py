"""Figures of an artifact on labelled images it may never have seen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eyeline.checks import connected_sets
from eyeline.errors import EyelineError, nearest
from eyeline.images import ImageTable, read_images
from eyeline.jobs.looking import deal_parts, scan_and_pair, tie_duplicates
from eyeline.progress import Progress, silent
from eyeline.runtime import Contract, Verdict, load
from eyeline.verdicts import (
    Demand,
    Promises,
    check_claim,
    defect_scores,
    evaluate,
    review_figures,
    unknown_figures,
)

if TYPE_CHECKING:
    from eyeline.verdicts import Evaluation

# What is said of a good part that does not pass when some go to a human.
STOPPED = "failed or went to review"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Figures of an artifact on a source."""

    evaluation: Evaluation
    part: str  # "test" or "all"
    errors: dict[str, str]  # images that could not be judged
    note: str
    promises: Promises | None = None  # a claim held against these images; the figures of a review band

    def to_dict(self) -> dict[str, Any]:
        """The keys of ``eyeline evaluate --json``."""
        figures = figures_dict(self.evaluation, self.promises)
        return figures | {"part": self.part, "errors": self.errors, "note": self.note}


def figures_dict(evaluation: Evaluation, promises: Promises | None) -> dict[str, Any]:
    """The figures of judged images in plain JSON types; what was asked of the decisions is under ``promises``."""
    return evaluation.to_dict() | ({} if promises is None else {"promises": promises.to_dict()})


def evaluate_model(
    model: str | Path,
    source: str | Path,
    *,
    split: str | None = None,
    good: str | None = None,
    group_by: str | None = None,
    claim: str | None = None,
    progress: Progress = silent,
) -> Measured:
    """Judge every image of a labelled source by an artifact and compare with the labels.

    Parameters
    ----------
    split : "test" judges the test part only: the source's own, or, for the very data the artifact was trained
        on, the part held out then. "all" judges everything. None takes "test" where there is one.
    claim : such as "escape<=0.05@0.95": do these images support it at the threshold of the artifact?

    Raises
    ------
    EyelineError : the classes are not the artifact's, or `split` is "test" and there is no test part.
    """
    asked = None if claim is None else Demand.parse(claim)
    inspector = load(model)
    contract = inspector.contract
    table = read_images(source, good=good or good_of(contract.good, source), group_by=group_by)
    if set(table.classes) - set(contract.classes):
        unknown = sorted(set(table.classes) - set(contract.classes))[0]
        raise EyelineError(
            f"the class {unknown!r} is not one of the artifact's",
            code="unknown_label",
            path=source,
            hint=nearest(unknown, contract.classes),
        )
    trained_on = table.fingerprint() == contract.data.fingerprint
    table, parts = parts_of(table, contract, progress=progress)
    part, rows = rows_to_judge(table, parts, split, source)
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
    strange = None
    if contract.novelty is not None:
        strange = np.array([bool(v.unknown) for v in verdicts if v.error is None])
    targets = np.array([number[table.labels[row]] for row in chosen])
    groups = None if table.groups is None else np.array(table.groups, dtype=object)[chosen]
    note = (
        "these include the images it learned from: the figures flatter"
        if trained_on and part == "all"
        else ""
    )
    return Measured(
        evaluation=evaluate(
            probabilities,
            targets,
            classes=contract.classes,
            good=contract.good,
            threshold=contract.threshold.value,
            groups=groups,
            slices={name: [values[row] for row in chosen] for name, values in table.slices.items()},
            unknown=strange,
            stopped="failed" if contract.threshold.review is None else STOPPED,
        ),
        promises=_promises(contract, asked, probabilities, targets != contract.good_index, groups, strange),
        part=part,
        errors={
            table.paths[row]: verdict.error
            for row, verdict in zip(rows, verdicts, strict=True)
            if verdict.error is not None
        },
        note=note,
    )


def _promises(
    contract: Contract,
    asked: Demand | None,
    probabilities: NDArray[np.float64],
    is_defect: NDArray[np.bool_],
    groups: NDArray[np.object_] | None,
    unknown: NDArray[np.bool_] | None,
) -> Promises | None:
    """A claim held against the judged images, and what the review band and the rule for unknown objects do to them."""
    threshold = contract.threshold
    if asked is None and threshold.review is None and unknown is None:
        return None
    scores = defect_scores(probabilities, contract.good_index)
    check = None
    if asked is not None:
        check = check_claim(scores, is_defect, asked, threshold.value, groups=groups)
    reviewed = None
    if threshold.review is not None:
        reviewed = review_figures(scores, is_defect, *threshold.review, groups=groups, unknown=unknown)
    return Promises(
        check=check,
        reviewed=reviewed,
        alarms=None if unknown is None else unknown_figures(unknown, is_defect, groups=groups),
        kept=check is None or check.outcome == "supported",
        text="" if check is None else check.text,
    )


def rows_to_judge(
    table: ImageTable, parts: tuple[str, ...] | None, split: str | None, source: str | Path
) -> tuple[str, NDArray[np.int64]]:
    """Which part is judged, "test" or "all", and its rows; `split` None takes the test part where there is one."""
    if split not in (None, "test", "all"):
        raise EyelineError(f"split is {split!r}; allowed: test, all", code="bad_option")
    if split == "test" and parts is None:
        raise EyelineError(
            "this source has no test part", code="no_test", path=source, hint="use --split all"
        )
    part = split or ("test" if parts is not None else "all")
    rows = np.arange(len(table)) if part == "all" else np.flatnonzero(np.array(parts) == "test")
    return part, rows.astype(np.int64)


def good_of(good: str, source: str | Path) -> str | None:
    """The artifact's good class, unless the source is a named data set, which has its own."""
    return good if Path(source).exists() else None


def parts_of(
    table: ImageTable, contract: Contract, *, progress: Progress = silent
) -> tuple[ImageTable, tuple[str, ...] | None]:
    """The part of each image: the source's own, or that of the run for the very data it was trained on.

    Near duplicates are tied as `train` tied them, or images it learned from would be taken for its test part.

    Returns
    -------
    The table, with the groups of the run where it is that of the run, and the parts, None where there are none.
    """
    if table.splits is not None:
        return table, table.splits if "test" in table.splits else None
    if table.fingerprint() != contract.data.fingerprint:
        return table, None
    scan, pairs = scan_and_pair(table, contract.decode, progress=progress)
    tied, left_out = tie_duplicates(table, connected_sets(pairs, len(table)))
    return tied, deal_parts(tied, scan.usable, left_out, contract.seeds.get("split", 0))
