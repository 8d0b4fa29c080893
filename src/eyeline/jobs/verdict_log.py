"""Verdicts that were written down: the log of a line, or the predictions of a run."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeline.errors import EyelineError, nearest
from eyeline.runtime import Contract

ROUNDING = 1e-6  # of scores that were written as text
DECISIONS = ("pass", "review", "fail")


@dataclass(frozen=True, kw_only=True, eq=False)
class VerdictLog:
    """Rows in the order in which they were written; a picture that could not be judged has no decision."""

    name: str
    scores: NDArray[np.float64]
    """``(N,)``, NaN where there is no verdict."""
    decisions: tuple[str, ...]
    """``pass``, ``review``, ``fail``, or empty."""
    columns: Mapping[str, Sequence[str]]
    """All further columns, as text."""

    @property
    def readable(self) -> NDArray[np.bool_]:
        """``(N,)``: the rows that carry a verdict."""
        return np.array([bool(decision) for decision in self.decisions], dtype=np.bool_)

    @property
    def stopped(self) -> NDArray[np.bool_]:
        """``(N,)``: the rows that did not pass."""
        return np.array([decision in ("fail", "review") for decision in self.decisions], dtype=np.bool_)

    @property
    def unknown(self) -> NDArray[np.bool_]:
        """``(N,)``: the rows of unknown objects, where the artifact tells them."""
        words = self.columns.get("unknown", [""] * len(self.decisions))
        return np.array([word.lower() == "true" for word in words], dtype=np.bool_)

    def column(self, name: str) -> NDArray[np.str_]:
        """A further column, ``(N,)``.

        Raises
        ------
        EyelineError : there is none of this name.
        """
        if name not in self.columns:
            raise EyelineError(
                f"has no column {name!r}",
                code="missing_column",
                path=self.name,
                hint=nearest(name, self.columns),
            )
        return np.array(self.columns[name], dtype=str)


def read_log(path: str | Path, contract: Contract) -> VerdictLog:
    """Read what ``eyeline predict`` (CSV, JSON Lines, Parquet) or a run (``predictions.parquet``) has written.

    Raises
    ------
    EyelineError : the file cannot be read, a row is no verdict, or the verdicts are not those of this artifact
        (``code="other_model"``): other classes, or parts that passed above its threshold.
    """
    path = Path(path)
    ending = path.suffix.lower()
    try:
        if ending in (".parquet", ".pq"):
            rows = _parquet(path)
        elif ending in (".jsonl", ".ndjson"):
            rows = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
        elif ending in (".csv", ".tsv"):
            with open(path, encoding="utf-8-sig", newline="") as file:
                delimiter = max(",;\t", key=file.readline().count)
                file.seek(0)
                rows = list(csv.DictReader(file, delimiter=delimiter))
        else:
            raise EyelineError(
                "not a log of verdicts",
                code="unknown_source",
                path=path,
                hint="it ends in .csv, .jsonl or .parquet",
            )
    except FileNotFoundError as error:
        raise EyelineError("no such file", code="missing", path=path) from error
    except (OSError, ValueError, csv.Error) as error:
        raise EyelineError(f"cannot be read: {error}", code="unreadable", path=path) from error
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise EyelineError("holds no verdicts", code="empty", path=path)
    first = rows[0]
    for name in ("decision", "score"):
        if name not in first:
            raise EyelineError(
                f"has no {name}", code="missing_column", path=path, hint="write it with: eyeline predict"
            )
    _same_classes(rows, contract, path)
    verdicts = [_verdict(number, row, path) for number, row in enumerate(rows, start=1)]
    log = VerdictLog(
        name=str(path),
        scores=np.array([score for score, _ in verdicts]),
        decisions=tuple(decision for _, decision in verdicts),
        columns={
            name: ["" if row.get(name) is None else str(row[name]) for row in rows]
            for name in first
            if name not in ("score", "decision", "probabilities")
        },
    )
    far = np.abs(log.scores - contract.threshold.value) > ROUNDING
    stops = (log.scores >= contract.threshold.value) | log.unknown
    wrong = log.readable & far & (log.stopped != stops)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise EyelineError(
            f"row {row + 1}: {log.decisions[row]} at a score of {log.scores[row]:.4f}, but the threshold of this "
            f"artifact is {contract.threshold.value:.4f}",
            code="other_model",
            path=path,
            hint="these verdicts were made by another artifact",
        )
    return log


def _parquet(path: Path) -> list[dict[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        rows: list[dict[str, Any]] = pyarrow.parquet.read_table(path).to_pylist()
    except pyarrow.ArrowException as error:
        raise ValueError(str(error)) from error
    return rows


def _verdict(number: int, row: Mapping[str, Any], path: Path) -> tuple[float, str]:
    decision, score = row.get("decision") or "", row.get("score")
    if not decision:
        if row.get("error"):
            return math.nan, ""
        raise EyelineError(f"row {number} has neither a decision nor an error", code="bad_row", path=path)
    try:
        value = float(score)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        value = math.nan
    if decision not in DECISIONS or not 0 <= value <= 1:
        raise EyelineError(
            f"row {number} is no verdict: decision {decision!r}, score {score!r}", code="bad_row", path=path
        )
    return value, str(decision)


def _same_classes(rows: Sequence[Mapping[str, Any]], contract: Contract, path: Path) -> None:
    named = {name[2:] for name in rows[0] if name.startswith("p_")}
    if not named:
        named = next((set(row["probabilities"]) for row in rows if row.get("probabilities")), set())
    if named and named != set(contract.classes):
        raise EyelineError(
            f"the classes are {', '.join(sorted(named))}, those of the artifact {', '.join(contract.classes)}",
            code="other_model",
            path=path,
        )
