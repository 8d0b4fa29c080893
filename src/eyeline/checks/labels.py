"""Labels that are probably wrong: confident learning, and the table written back with what a person decided.

Northcutt, Jiang and Chuang 2021, "Confident learning: estimating uncertainty in dataset labels", JAIR 70. The
probabilities must be out of fold (better: out of group): a network that has seen a wrong label repeats it.
"""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eyeline.checks.findings import Finding
from eyeline.errors import EyelineError, nearest
from eyeline.files import write_atomically
from eyeline.images import ImageTable

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
Quality = Literal["self_confidence", "normalized_margin"]

REMOVE = "remove"
"""The decision to leave an image out of the table."""

_SLACK = 1e-6  # probabilities that equal a threshold up to rounding reach it
_FEWEST = 2  # images a class, as the table reader demands


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelReport:
    """Which labels look wrong and how much label noise there is."""

    rows: Ints
    """Suspicious images `(R,)`, the worst first."""
    given: Ints
    """Their class now `(R,)`."""
    suggested: Ints
    """The likeliest class instead `(R,)`."""
    quality: Doubles
    """Label quality of every image `(N,)`, from 0 (surely wrong) to 1."""
    joint: Doubles
    """Estimated shares of images `(K, K)`: row = given class, column = true class; sums to 1."""
    noise: Doubles
    """Share of the labels of each class `(K,)` that is estimated to be wrong; 0 for a class without images."""


def suspicious_labels(
    probabilities: ArrayLike, targets: ArrayLike, *, quality: Quality = "self_confidence"
) -> LabelReport:
    """Find labels that out-of-fold `probabilities` `(N, K)` speak against, given class numbers `targets` `(N,)`.

    The confident joint estimates how many images of class i truly are j. For each such pair, as many images as
    it counts are suspected, those with the largest p_j - p_i ("prune by noise rate", section 3.2), except where
    the given label is the likeliest anyway. They are ranked by label quality: p of the given class
    (`self_confidence`), or half of 1 + that p - the best other p (`normalized_margin`).

    Raises
    ------
    EyelineError : shapes that do not fit, values that are no probabilities, or class numbers outside 0..K-1.
    """
    p, y = _checked(probabilities, targets)
    scores = label_quality(p, y, quality)
    counts = confident_joint(p, y)
    suspected = _prune_by_noise_rate(p, y, counts)
    rows = np.flatnonzero(suspected)
    rows = rows[np.argsort(scores[rows], kind="stable")]
    totals = counts.sum(axis=1)
    wrong = 1 - np.divide(np.diagonal(counts), totals, out=np.ones(len(counts)), where=totals > 0)
    return LabelReport(
        rows=rows,
        given=y[rows],
        suggested=p[rows].argmax(axis=1).astype(np.int64),
        quality=scores,
        joint=counts / max(counts.sum(), 1),
        noise=wrong,
    )


def label_quality(
    probabilities: ArrayLike, targets: ArrayLike, method: Quality = "self_confidence"
) -> Doubles:
    """How well each label agrees with the probabilities, `(N,)`, from 0 to 1; see `suspicious_labels`."""
    p, y = _checked(probabilities, targets)
    own = p[np.arange(len(p)), y]
    if method == "self_confidence":
        return np.asarray(own, dtype=np.float64)
    if method != "normalized_margin":
        raise EyelineError(
            f"label quality {method!r}; self_confidence and normalized_margin are known", code="bad_option"
        )
    others = p.copy()
    others[np.arange(len(p)), y] = -np.inf
    return np.asarray((own - others.max(axis=1) + 1) / 2, dtype=np.float64)


def confident_joint(probabilities: ArrayLike, targets: ArrayLike) -> Ints:
    """Estimated counts `(K, K)` of images labelled i that truly are j; row i sums to the images of class i.

    An image counts as truly j when p_j reaches the mean p_j of the images labelled j (section 3.1, equation 2);
    when several classes are reached, the likeliest decides. The raw counts are scaled row by row to the counts
    of the labels (equation 3) and rounded.
    """
    p, y = _checked(probabilities, targets)
    classes = p.shape[1]
    images = np.bincount(y, minlength=classes)
    threshold = np.array([p[y == j, j].mean() if images[j] else np.inf for j in range(classes)])
    reached = p >= threshold - _SLACK
    truth = np.where(reached.sum(axis=1) > 1, p.argmax(axis=1), reached.argmax(axis=1))
    sure = reached.any(axis=1)
    raw = np.zeros((classes, classes))
    np.add.at(raw, (y[sure], truth[sure]), 1)
    np.fill_diagonal(raw, np.maximum(np.diagonal(raw), 1))  # no class is given up altogether
    scaled = raw / raw.sum(axis=1, keepdims=True) * images[:, None]
    scaled = scaled / scaled.sum() * images.sum()
    return np.array([_round_to_sum(row) for row in scaled], dtype=np.int64)


def _round_to_sum(values: Doubles) -> Ints:
    """Whole numbers near `values` with the same sum; what rounding lost goes where it lost most."""
    whole = np.rint(values)
    missing = int(np.rint(values.sum() - whole.sum()))
    step = 1 if missing > 0 else -1
    lost = np.argsort(values - whole)[::-step]
    whole[lost[: abs(missing)]] += step
    return whole.astype(np.int64)


def _prune_by_noise_rate(p: Doubles, y: Ints, counts: Ints) -> NDArray[np.bool_]:
    suspected = np.zeros(len(p), dtype=bool)
    for i, j in zip(*np.nonzero(counts), strict=True):
        rows = np.flatnonzero(y == i)
        if i == j or len(rows) < _FEWEST:
            continue
        margin = p[rows, j] - p[rows, i]
        cut = np.sort(margin)[-counts[i, j]]
        suspected[rows[margin >= cut]] = True
    return np.asarray(suspected & (p.argmax(axis=1) != y), dtype=np.bool_)


def _checked(probabilities: ArrayLike, targets: ArrayLike) -> tuple[Doubles, Ints]:
    p, y = np.asarray(probabilities, dtype=np.float64), np.asarray(targets, dtype=np.int64)
    if p.ndim != 2 or p.shape[1] < 2 or y.shape != p.shape[:1] or not len(y):
        raise EyelineError(f"probabilities (N, K) and targets (N,) are needed, not {p.shape} and {y.shape}")
    if not (np.isfinite(p).all() and p.min() >= 0 and np.abs(p.sum(axis=1) - 1).max() < 1e-3):
        raise EyelineError("the probabilities of an image must be finite, not negative and sum to 1")
    if y.min() < 0 or y.max() >= p.shape[1]:
        raise EyelineError(f"class numbers from {y.min()} to {y.max()} do not fit {p.shape[1]} classes")
    return p, y


# --- findings -------------------------------------------------------------------------------------


def label_findings(
    report: LabelReport, classes: Sequence[str], splits: Sequence[str] | None = None
) -> list[Finding]:
    """Suspicious labels as findings: those to look at, and apart from them those of the test part.

    A wrong test label bends the figure that is promised, and correcting test labels by a network's opinion
    bends it too; so those are only ever reported.
    """
    is_test = np.zeros(len(report.quality), dtype=bool) if splits is None else np.asarray(splits) == "test"
    tested = is_test[report.rows]
    findings = []
    for inside, kind, where, advice in (
        (
            ~tested,
            "suspicious_label",
            "labels",
            "look at each and accept or correct it; decisions go to labels.csv, the originals stay",
        ),
        (
            tested,
            "suspicious_test_label",
            "labels of the test part",
            "let a person judge them without the network's opinion; Eyeline never changes test labels by itself",
        ),
    ):
        rows = report.rows[inside]
        if not len(rows):
            continue
        of = int((is_test == (kind == "suspicious_test_label")).sum())
        noise = ", ".join(
            f"{name} {share:.1%}" for name, share in zip(classes, report.noise, strict=True) if share > 0
        )
        findings.append(
            Finding(
                kind=kind,
                severity="warning",
                message=f"{len(rows)} of {of} {where} look wrong ({noise or 'no class'} of labels estimated wrong)",
                advice=advice,
                effect=len(rows) / of,
                rows=tuple(int(row) for row in rows),
                details={
                    "given": [classes[i] for i in report.given[inside]],
                    "suggested": [classes[i] for i in report.suggested[inside]],
                    "quality": [round(float(report.quality[row]), 4) for row in rows],
                    "noise": {n: round(float(s), 4) for n, s in zip(classes, report.noise, strict=True)},
                },
            )
        )
    return findings


# --- decisions written back -----------------------------------------------------------------------


def write_labels(
    path: str | Path,
    table: ImageTable,
    decisions: Mapping[int, str],
    *,
    allow_test: bool = False,
    overwrite: bool = False,
) -> Path:
    """Write `table` with `decisions` as a CSV that `read_images` reads back; the originals are not touched.

    Parameters
    ----------
    path : the new file; image paths below its folder become relative to it, so both can move together.
    decisions : row -> the right class, or ``"remove"``. Rows that are not named stay as they are.
    allow_test : change rows of the test part too.
    overwrite : replace an earlier file at `path`; otherwise that is an error, lest it be the original table.

    Raises
    ------
    EyelineError : a row or class that does not exist, a row of the test part, a class that would keep fewer
        than two images, images without files, a file name that CSV cannot carry, or an existing file.
    """
    path = Path(path)
    if table.pixels is not None:
        raise EyelineError("its images live in memory and have no files to list", path=table.name)
    if path.exists() and not overwrite:
        raise EyelineError(
            "exists already", code="exists", path=path, hint="choose another name or allow overwriting"
        )
    originals = {os.path.abspath(name) for name in (*table.paths, *(m for m in table.masks or () if m))}
    if os.path.abspath(path) in originals:
        raise EyelineError("is one of the images; originals are never written", code="exists", path=path)
    _check_decisions(table, decisions, allow_test)

    folder = os.path.abspath(path.parent)
    columns: dict[str, Sequence[str]] = {
        "path": [_relative(name, folder) for name in table.paths],
        "label": [decisions.get(row, label) for row, label in enumerate(table.labels)],
    }
    if table.groups is not None:
        columns["group"] = table.groups
    if table.splits is not None:
        columns["split"] = table.splits
    if table.masks is not None:
        columns["mask"] = [_relative(name, folder) if name else "" for name in table.masks]
    if table.weights is not None:
        columns["weight"] = [repr(weight) for weight in table.weights]
    columns |= table.slices
    kept = [row for row in range(len(table)) if decisions.get(row) != REMOVE]
    counts = Counter(columns["label"][row] for row in kept)
    for name in sorted(set(table.labels)):
        if 0 < counts[name] < _FEWEST:
            raise EyelineError(
                f"class {name!r} would keep {counts[name]} image; at least {_FEWEST} are needed"
            )
    write_atomically(path, _csv(columns, kept, path))
    return path


def _check_decisions(table: ImageTable, decisions: Mapping[int, str], allow_test: bool) -> None:
    if REMOVE in table.classes:
        raise EyelineError(f"a class is called {REMOVE!r}, which is the word for leaving an image out")
    for row, decision in decisions.items():
        if not 0 <= row < len(table):
            raise EyelineError(f"row {row} is not among the {len(table)} rows", path=table.name)
        if decision != REMOVE and decision not in table.classes:
            raise EyelineError(
                f"no class is called {decision!r}",
                code="unknown_label",
                path=table.paths[row],
                hint=nearest(decision, [*table.classes, REMOVE]),
            )
        if not allow_test and table.splits is not None and table.splits[row] == "test":
            raise EyelineError(
                "is in the test part, whose labels are not changed",
                code="test_label",
                path=table.paths[row],
                hint="say so explicitly if a person judged it without the network's opinion",
            )


def _relative(name: str, folder: str) -> str:
    whole = os.path.abspath(name)
    inside = whole.startswith(os.path.join(folder, ""))
    return (os.path.relpath(whole, folder) if inside else whole).replace(os.sep, "/")


def _csv(columns: Mapping[str, Sequence[str]], rows: Sequence[int], path: Path) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        cells = [column[row] for column in columns.values()]
        for cell in cells:
            if cell != cell.strip():
                raise EyelineError(f"{cell!r} has blanks at an end, which a table loses", path=path)
        writer.writerow(cells)
    try:
        return text.getvalue().encode("utf-8")
    except UnicodeEncodeError as error:
        raise EyelineError("a file name is no valid text", code="bad_encoding", path=path) from error
