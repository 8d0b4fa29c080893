"""`check.html`: what is wrong with the images, by what it does to the result, with the images to look at."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeline.checks import Finding
from eyeline.images import ImageTable
from eyeline.reports import charts
from eyeline.reports.embed import PIXELATED, data_uri, enlarged
from eyeline.reports.page import write_page
from eyeline.reports.text import counted, decimal, last_part, percent

_SHOWN = 8  # images (or pairs) below one finding
_LABELS = 60  # suspicious labels to review on the page
_GROUPS = 4  # of a proposal are shown,
_OF_A_GROUP = 6  # so many images of each
_SIDE = 220
_BYTES = 16_000  # of one picture


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One simple inspector, scored by random split and by group; AUROC, a value a split."""

    name: str
    random: tuple[float, ...]
    grouped: tuple[float, ...]
    sentence: str = ""


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """A label that looks wrong."""

    row: int
    given: str
    suggested: str
    probability: float
    """Of the given label, from a fold that did not see the image."""
    split: str = ""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A way to group the images that nobody has confirmed."""

    source: str
    rule: str
    confidence: float
    reason: str
    groups: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class CheckData:
    """What the page is made from."""

    table: ImageTable
    """With paths as they should be shown."""
    findings: Sequence[Finding]
    picture: Callable[[int], NDArray[np.uint8] | None]
    """A picture ``(H, W, C)`` of a row, None where it cannot be read."""
    facts: Mapping[str, str]
    comparisons: Sequence[Comparison] = ()
    proposals: Sequence[Proposal] = ()
    suspects: Sequence[Suspect] = ()
    labels_note: str = ""
    """What the labels were judged by, or why they were not."""
    labels_judged: bool = True
    label_rows: Sequence[Mapping[str, str]] = field(default=())
    """All rows of the table as `labels.csv` would hold them; empty when it cannot be written."""


def write_check(path: str | Path, data: CheckData) -> Path:
    """Write the page as one file that opens anywhere, offline. Returns its path.

    Labels are judged on the page; its button saves them as a new ``labels.csv``. Nothing else is changed.

    Raises
    ------
    EyelineError : the file cannot be written (``code="write_failed"``); nothing half-written is left.
    """
    counts = {
        severity: sum(finding.severity == severity for finding in data.findings)
        for severity in ("error", "warning", "note")
    }
    album = _Album(data)
    context = {
        "title": data.table.name,
        "headline": _headline(counts),
        "lead": _lead(data.table),
        "facts": list(data.facts.items()),
        "findings": [_card(finding, album) for finding in data.findings],
        "comparisons": _comparisons(data.comparisons),
        "groups": [_proposal(proposal, album) for proposal in data.proposals],
        "group_source": data.table.group_source,
        "group_count": None if data.table.groups is None else counted(len(set(data.table.groups)), "group"),
        "suspects": [_suspect(suspect, album, data) for suspect in data.suspects[:_LABELS]],
        "more_suspects": max(0, len(data.suspects) - _LABELS),
        "labels_note": data.labels_note,
        "labels_judged": data.labels_judged,
        "classes": data.table.classes,
        # "<" is spelled out, so that no name can end the script element that holds the data.
        "label_rows": json.dumps(list(data.label_rows)).replace("<", "\\u003c") if data.label_rows else "",
    }
    return write_page(path, "check.html", context, script="check.js")


def _headline(counts: dict[str, int]) -> str:
    said = [counted(number, severity) for severity, number in counts.items() if number and severity != "note"]
    if not said:
        return "Nothing stands in the way."
    return " and ".join(said).capitalize() + "."


def _lead(table: ImageTable) -> str:
    defects = int(table.is_defect.sum())
    return (
        f"{counted(len(table), 'image')}, {defects:,} of them defects ({percent(defects / len(table))}), "
        f"{counted(len(table.classes), 'class')}."
    )


class _Album:
    """Pictures as data URIs, each read once."""

    def __init__(self, data: CheckData) -> None:
        self.data = data
        self.known: dict[int, dict[str, Any]] = {}

    def card(self, row: int) -> dict[str, Any]:
        if row not in self.known:
            picture = self.data.picture(row)
            table = self.data.table
            self.known[row] = {
                "src": None
                if picture is None
                else data_uri(enlarged(picture, _SIDE), side=_SIDE, limit=_BYTES),
                "pixelated": picture is not None and max(picture.shape[:2]) <= PIXELATED,
                "name": last_part(table.paths[row]),
                "path": table.paths[row],
                "label": table.labels[row],
                "group": "" if table.groups is None else table.groups[row],
                "split": "" if table.splits is None else table.splits[row],
            }
        return self.known[row]


def _card(finding: Finding, album: _Album) -> dict[str, Any]:
    pairs = finding.details.get("pairs") or []
    return {
        "kind": finding.kind.replace("_", " "),
        "severity": finding.severity,
        "message": finding.message,
        "advice": finding.advice,
        "pairs": [[album.card(int(row)) for row in pair[:2]] for pair in pairs[: _SHOWN // 2]],
        "images": [] if pairs else [album.card(row) for row in finding.rows[:_SHOWN]],
        "left": max(0, len(pairs) - _SHOWN // 2 if pairs else len(finding.rows) - _SHOWN),
        "what": "pair" if pairs else "image",
    }


def _comparisons(found: Sequence[Comparison]) -> dict[str, Any] | None:
    values = [value for each in found for value in (*each.random, *each.grouped)]
    if not values:
        return None
    axis = (max(0.0, math.floor(20 * (min(values) - 0.01)) / 20), 1.0)
    rows = []
    for each in found:
        for by, scores in (("image", each.random), ("group", each.grouped)):
            if not scores:
                continue
            mean = float(np.mean(scores))
            what = "random split" if by == "image" else "by group"
            rows.append(
                {
                    "name": each.name,
                    "what": what,
                    "mean": decimal(mean),
                    "splits": len(scores),
                    "dots": charts.fold_dots(scores, axis, by, f"{each.name}, {what}: AUROC {decimal(mean)}"),
                }
            )
    return {
        "rows": rows,
        "axis": charts.axis_labels(axis, shares=False),
        "sentences": [f"{each.name}: {each.sentence}" for each in found if each.sentence],
    }


def _proposal(proposal: Proposal, album: _Album) -> dict[str, Any]:
    members: dict[str, list[int]] = {}
    for row, name in enumerate(proposal.groups):
        members.setdefault(name, []).append(row)
    largest = sorted(members.items(), key=lambda item: -len(item[1]))[:_GROUPS]
    return {
        "source": proposal.source,
        "rule": proposal.rule,
        "confidence": percent(proposal.confidence, 0),
        "reason": proposal.reason,
        "count": counted(len(members), "group"),
        "examples": [
            {"name": name, "size": len(rows), "images": [album.card(row) for row in rows[:_OF_A_GROUP]]}
            for name, rows in largest
        ],
    }


def _suspect(suspect: Suspect, album: _Album, data: CheckData) -> dict[str, Any]:
    return {
        **album.card(suspect.row),
        "row": suspect.row,
        "given": suspect.given,
        "suggested": suspect.suggested,
        "probability": percent(suspect.probability, 0 if suspect.probability >= 0.01 else 1),
        "test": suspect.split == "test",
        "choices": [name for name in data.table.classes if name != suspect.given],
    }
