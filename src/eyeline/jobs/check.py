"""What is wrong with the images, before anything is trained on them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eyeline.checks import (
    Finding,
    GroupIdentity,
    LabelReport,
    describe_thumbnails,
    group_identity,
    inflation,
    label_findings,
    leak_findings,
    neighbour_probabilities,
    rank_findings,
    suspicious_labels,
)
from eyeline.errors import EyelineError
from eyeline.images import DecodeOptions, ImageTable, read_images
from eyeline.jobs.check_page import page_data
from eyeline.jobs.inputs import choose_decoding, sample_rows
from eyeline.jobs.looking import Looked, look_at_images
from eyeline.progress import Progress, silent
from eyeline.reports import Comparison, write_check
from eyeline.verdicts import auroc

if TYPE_CHECKING:
    from eyeline.jobs.protocols import ProtocolResult

REPEATS = 2  # of the cross-validation that random and grouped splits are compared by
MOST_EMBEDDED = 3000  # images a network looks at; a sample of whole groups beyond that
USEFUL = 0.8  # AUROC of defects against good below which a judge of labels is not asked
TRUSTED = 0.95  # AUROC on planted wrong labels from which a suspicion is a warning
_THUMBNAILS = "the nearest thumbnails"
_FEATURES = "linear head on the features of"


@dataclass(frozen=True, kw_only=True, eq=False)
class Check:
    """The result of ``eyeline check``."""

    table: ImageTable
    decode: DecodeOptions
    looked: Looked
    findings: tuple[Finding, ...]
    """Errors first, then by what they do to the result."""
    comparisons: tuple[Comparison, ...]
    labels: LabelReport | None
    labels_note: str
    page: Path | None
    seconds: float

    @property
    def errors(self) -> int:
        """Findings of level error."""
        return sum(finding.severity == "error" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """The keys of ``eyeline check --json``."""
        table = self.table
        return {
            "images": len(table),
            "classes": {name: table.labels.count(name) for name in table.classes},
            "groups": None if table.groups is None else len(set(table.groups)),
            "group_source": table.group_source,
            "balance": self.looked.balance.to_dict(),
            "comparisons": [
                {
                    "name": each.name,
                    "random": round(float(np.mean(each.random)), 4),
                    "grouped": round(float(np.mean(each.grouped)), 4) if each.grouped else None,
                }
                for each in self.comparisons
            ],
            "proposals": [
                {
                    "source": proposal.source,
                    "rule": proposal.rule,
                    "groups": proposal.count,
                    "confidence": round(proposal.confidence, 4),
                    "reason": proposal.reason,
                }
                for proposal in self.looked.proposals
            ],
            "findings": [finding.to_dict(table.paths) for finding in self.findings],
            "page": None if self.page is None else str(self.page),
            "seconds": round(self.seconds, 1),
        }


def check_images(
    source: str | Path | ImageTable,
    *,
    good: str | None = None,
    group_by: str | None = None,
    image_size: int | None = None,
    network: str | None = "efficientnet_lite0",
    page: str | Path | None = None,
    progress: Progress = silent,
) -> Check:
    """Look for what would make a network worse, or its figures too good.

    Parameters
    ----------
    source : what `read_images` takes, or a table that was read before.
    image_size : side of the network's input in pixels, as `train` would choose it by default.
    network : whose published weights look at the pictures, for the second opinion on leaks and labels; None, or
        weights that are not installed, leave it to thumbnails. Of more than 3,000 images it sees a sample.
    page : where to write ``check.html``; None writes none.

    Raises
    ------
    EyelineError : the source cannot be read at all. What is wrong with single images is a finding instead.
    """
    started = time.monotonic()
    progress("reading", 0, 1, str(source))
    table = source if isinstance(source, ImageTable) else read_images(source, good=good, group_by=group_by)
    decode = choose_decoding(table, image_size)
    looked = look_at_images(table, decode, progress=progress)
    opinion = _network_opinion(table, looked, decode, network, progress)
    opinion = opinion or _thumbnail_opinion(table, looked)
    check = Check(
        table=table,
        decode=decode,
        looked=looked,
        findings=tuple(rank_findings([*looked.findings, *opinion.findings])),
        comparisons=opinion.comparisons,
        labels=opinion.labels,
        labels_note=opinion.labels_note,
        page=None if page is None else Path(page),
        seconds=time.monotonic() - started,
    )
    if page is not None:
        progress("writing the page", 0, 1, "")
        write_check(page, page_data(check))
    return check


class Opinion(NamedTuple):
    """What a second look says about leaks and labels."""

    comparisons: tuple[Comparison, ...]
    labels: LabelReport | None
    labels_note: str
    findings: list[Finding]


def _network_opinion(
    table: ImageTable, looked: Looked, decode: DecodeOptions, network: str | None, progress: Progress
) -> Opinion | None:
    """Leaks and labels as a published network's features see them; None where there is none."""
    if network is None:
        return None
    try:
        from eyeline.jobs.features import published_features
    except ModuleNotFoundError:  # the tier without PyTorch
        return None
    rows = sample_rows(table, np.flatnonzero(looked.scan.usable), MOST_EMBEDDED)
    part = table.select(rows)
    features = published_features(part, decode, network, progress=progress)
    if features is None:
        return None
    from eyeline.jobs.protocols import compare_protocols

    protocols = compare_protocols(part, features, progress=progress)
    try:
        return second_opinion(table, looked, rows, features, protocols, network)
    except EyelineError:  # too few groups or defects for two folds: nothing can be left out
        return None


def second_opinion(
    table: ImageTable,
    looked: Looked,
    rows: NDArray[np.int64],
    features: NDArray[np.float32],
    protocols: Sequence[ProtocolResult],
    network: str,
) -> Opinion:
    """Leaks and labels by `features` ``(M, C)`` of the images `rows` ``(M,)``."""
    from eyeline.jobs.features import judge_of_labels, left_out_probabilities

    part = table.select(rows)
    findings: list[Finding] = []
    probe = f"{_FEATURES} {network}"
    by = {protocol.by: protocol.auroc for protocol in protocols}
    random = [left_out_probabilities(part, features, by="image", seed=seed) for seed in range(REPEATS)]
    scores, sentence = list(looked.scores), ""
    if part.groups is not None and "group" in by:
        grouped = [left_out_probabilities(part, features, by="group", seed=seed) for seed in range(REPEATS)]
        scores.append(
            inflation(
                [1 - p[:, 0] for p in random],
                [1 - p[:, 0] for p in grouped],
                part.is_defect,
                part.groups,
                probe=probe,
            )
        )
        sentence = scores[-1].sentence()
    comparisons = _thumbnail_comparisons(looked)
    if "image" in by:
        comparisons.append(
            Comparison(name=probe, random=by["image"], grouped=by.get("group", ()), sentence=sentence)
        )
    findings += leak_findings(scores, _identity(part, features))
    trust = judge_of_labels(part, features)
    note = (
        f"Judged by a {probe}, each image by a head that did not see it, but others of its group"
        + (f"; {len(rows):,} of {len(table):,} images were looked at" if len(rows) < len(table) else "")
        + f". Of labels flipped on purpose this judge tells AUROC {trust:.2f}"
        + ("" if trust >= TRUSTED else ": expect hard cases rather than wrong labels, and begin at the top")
    )
    # Other images of the part help here: what is wrong with one label shows beside its neighbours.
    labels = _in_table(suspicious_labels(random[0], part.targets), rows, len(table))
    findings += [
        _as_trusted(finding, trust) for finding in label_findings(labels, table.classes, table.splits)
    ]
    return Opinion(tuple(comparisons), labels, note, findings)


def _identity(part: ImageTable, features: NDArray[np.float32]) -> GroupIdentity | None:
    try:
        return None if part.groups is None else group_identity(features, part.groups, part.targets)
    except EyelineError:  # every group is one image
        return None


def _in_table(labels: LabelReport, rows: NDArray[np.int64], count: int) -> LabelReport:
    """A report of the images `rows` in terms of a table of `count`."""
    if len(rows) == count:
        return labels
    quality = np.ones(count)
    quality[rows] = labels.quality
    return replace(labels, rows=rows[labels.rows], quality=quality)


def _as_trusted(finding: Finding, trust: float) -> Finding:
    """A judge that cannot tell planted wrong labels well raises no alarm about real ones."""
    said = f"{finding.message}, by a judge that tells labels flipped on purpose with AUROC {trust:.2f}"
    if trust >= TRUSTED:
        return replace(finding, message=said)
    return replace(
        finding,
        severity="note",
        message=said,
        advice=f"expect hard cases among them, and begin at the top; {finding.advice}",
        effect=0.0,
    )


def _thumbnail_comparisons(looked: Looked) -> list[Comparison]:
    return [
        Comparison(
            name=score.probe, random=(score.random,), grouped=(score.grouped,), sentence=score.sentence()
        )
        for score in looked.scores
    ]


def _thumbnail_opinion(table: ImageTable, looked: Looked) -> Opinion:
    usable = np.flatnonzero(looked.scan.usable)
    part = table.select(usable)
    probabilities = neighbour_probabilities(
        describe_thumbnails(looked.scan.thumbnails[usable]),
        part.targets,
        classes=len(table.classes),
    )
    comparisons, findings = tuple(_thumbnail_comparisons(looked)), leak_findings(looked.scores, None)
    skill = auroc(1 - probabilities[:, 0], part.is_defect)
    if not skill >= USEFUL:
        note = f"{_THUMBNAILS} cannot judge these labels: they tell defects with AUROC {skill:.2f} only"
        return Opinion(comparisons, None, note, findings)
    labels = _in_table(suspicious_labels(probabilities, part.targets), usable, len(table))
    note = f"Judged by {_THUMBNAILS} only, which see little: install the train tier for a network's opinion"
    findings += [_unweighed(finding) for finding in label_findings(labels, table.classes, table.splits)]
    return Opinion(comparisons, labels, note, findings)


def _unweighed(finding: Finding) -> Finding:
    return replace(
        finding,
        severity="note",
        message=f"{finding.message}, by thumbnails alone, which see little",
        effect=0.0,
    )
