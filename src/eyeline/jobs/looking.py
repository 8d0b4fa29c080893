"""What pictures and table say by themselves, before any network looks at them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeline.checks import (
    Balance,
    Finding,
    GroupProposal,
    LeakScore,
    Pairs,
    Scan,
    balance_findings,
    capture_order,
    connected_sets,
    describe_thumbnails,
    duplicate_findings,
    find_duplicates,
    group_findings,
    measure_balance,
    metadata_findings,
    metadata_leaks,
    picture_findings,
    propose_groups,
    scan_images,
    thumbnail_leaks,
    tiny_defect_findings,
)
from eyeline.images import SPLITS, DecodeOptions, ImageTable, split_images
from eyeline.progress import Progress, silent

FRACTIONS = (0.6, 0.15, 0.25)  # of train, val and test, unless the source brings its own split
LINKED = 0.1  # share of the smaller group's pictures that joins two groups


@dataclass(frozen=True, kw_only=True, eq=False)
class Looked:
    """What the pictures and the table alone say; no network has seen them."""

    scan: Scan
    pairs: Pairs
    sets: NDArray[np.int64]
    """Number of the set of near duplicates of each image."""
    balance: Balance
    proposals: tuple[GroupProposal, ...]
    scores: tuple[LeakScore, ...]
    findings: tuple[Finding, ...]


def look_at_images(table: ImageTable, decode: DecodeOptions, *, progress: Progress = silent) -> Looked:
    """Everything that needs no network: the pictures, duplicates, groups, leaks of thumbnails and files."""
    scan, pairs = scan_and_pair(table, decode, progress=progress)
    descriptors = describe_thumbnails(scan.thumbnails)
    sets = connected_sets(pairs, len(table))
    proposals = propose_groups(
        table.paths,
        table.targets,
        descriptors,
        splits=table.splits,
        modified=None if table.pixels is not None else scan.modified,
        duplicate_sets=sets,
    )
    balance = measure_balance(table)
    findings = [
        *picture_findings(scan, table, decode.image_size, resize=decode.resize),
        *tiny_defect_findings(table, decode.image_size, resize=decode.resize),
        *balance_findings(table, balance),
        *duplicate_findings(pairs, table.labels, splits=table.splits, groups=table.groups),
        *group_findings(proposals, given=table.groups is not None),
    ]
    scores: tuple[LeakScore, ...] = ()
    if table.groups is not None and len(set(table.groups)) > 1 and 0 < table.is_defect.sum() < len(table):
        scores = thumbnail_leaks(descriptors, table.targets, table.groups, progress=progress)
    findings += metadata_findings(metadata_leaks(_file_columns(table, scan), table.is_defect, table.groups))
    return Looked(
        scan=scan,
        pairs=pairs,
        sets=sets,
        balance=balance,
        proposals=tuple(proposals),
        scores=scores,
        findings=tuple(findings),
    )


def scan_and_pair(
    table: ImageTable, decode: DecodeOptions, *, progress: Progress = silent
) -> tuple[Scan, Pairs]:
    """What is known of every picture, and which of them are the same: equal for equal images and options."""
    scan = scan_images(table, decode=decode, progress=progress)
    pairs = find_duplicates(
        scan.thumbnails,
        contents=scan.content_digests,
        pixels=scan.pixel_digests,
        usable=scan.usable,
        progress=progress,
    )
    return scan, pairs


def tie_duplicates(table: ImageTable, sets: NDArray[np.int64]) -> tuple[ImageTable, NDArray[np.int64]]:
    """What is nearly the same picture never stands on two sides of a split.

    Groups that share a tenth of their pictures become one; without groups, each set of near duplicates is one.
    Where the source gives the split, it stays, and those images are left out of training that show what is
    tested, or chosen by.

    Returns
    -------
    The table with its groups, and the rows to leave out.
    """
    none = np.empty(0, dtype=np.int64)
    if len(np.unique(sets)) == len(sets):
        return table, none
    if table.splits is not None:
        order = np.array([SPLITS.index(name) for name in table.splits])
        latest = np.zeros(len(sets), dtype=np.int64)
        np.maximum.at(latest, sets, order)
        return table, np.flatnonzero(order < latest[sets]).astype(np.int64)
    if table.groups is None:
        names = tuple(f"set {number}" for number in sets)
        return replace(table, groups=names, group_source="inferred: near duplicates, all else single"), none
    parent = {name: name for name in table.groups}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for one, other in _linked_groups(table.groups, sets):
        parent[root(one)] = root(other)
    tied = tuple(root(name) for name in table.groups)
    if len(set(tied)) == len(set(table.groups)):
        return table, none
    return replace(
        table, groups=tied, group_source=f"{table.group_source}; those that share pictures joined"
    ), none


def deal_parts(
    table: ImageTable, usable: NDArray[np.bool_], left_out: NDArray[np.int64], seed: int
) -> tuple[str, ...]:
    """Part of every image of a tied table; an empty word for images that cannot be used or are left out."""
    rows = np.setdiff1d(np.flatnonzero(usable), left_out)
    splits = [""] * len(table)
    for row, part in zip(rows, split_images(table.select(rows), fractions=FRACTIONS, seed=seed), strict=True):
        splits[row] = part
    return tuple(splits)


def _linked_groups(groups: Sequence[str], sets: NDArray[np.int64]) -> list[tuple[str, str]]:
    """Pairs of groups that share at least `LINKED` of the smaller one's pictures.

    Less is chance: two of thousands of pictures may look alike, and whole groups must not be joined for that.
    """
    size = Counter(groups)
    members: dict[int, Counter[str]] = defaultdict(Counter)
    for number, name in zip(sets.tolist(), groups, strict=True):
        members[number][name] += 1
    shared: Counter[tuple[str, str]] = Counter()
    for found in members.values():
        for one, other in combinations(sorted(found), 2):
            shared[one, other] += min(found[one], found[other])
    return [pair for pair, count in shared.items() if count >= LINKED * min(size[name] for name in pair)]


def _file_columns(table: ImageTable, scan: Scan) -> dict[str, Any]:
    if table.pixels is not None:
        return {}
    order = capture_order(table.paths)
    return ({} if order is None else {"order": order}) | {
        "file size": scan.bytes,
        "width": scan.width,
        "height": scan.height,
        "mode": np.array(scan.mode),
        "format": np.array(scan.format),
        "modified": scan.modified,
    }
