"""Tables of verdicts that were left unfinished: which rows are there already."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from eyeline.errors import EyelineError
from eyeline.runtime.output import as_written

_HINT = "give the same images and options, or leave --resume out to begin anew"


def partial_path(target: str | Path) -> Path:
    """Where the finished rows of an interrupted run are kept: ``verdicts.partial.csv`` for ``verdicts.csv``."""
    path = Path(target)
    return path.with_name(f"{path.stem}.partial{path.suffix}")


def finished_rows(partial: Path, format: str, files: Sequence[str], sha256: str) -> tuple[int, int]:
    """How many of `files`, from the first on, the table `partial` holds, and how many of those could not be judged.

    Raises
    ------
    EyelineError : it cannot be read (``unreadable``), or its rows are of other images or another artifact
        (``other_rows``).
    """
    count = failed = 0
    try:
        for path, model, error in _rows(partial, format):
            if count >= len(files) or path != as_written(files[count], format):
                raise EyelineError(
                    f"row {count + 1} is of {path!r}, which is not image {count + 1} now",
                    code="other_rows",
                    path=partial,
                    hint=_HINT,
                )
            if model != sha256:
                raise EyelineError(
                    f"row {count + 1} was judged by another artifact",
                    code="other_rows",
                    path=partial,
                    hint=_HINT,
                )
            count += 1
            failed += bool(error)
    except (OSError, ValueError, KeyError, csv.Error) as problem:
        raise EyelineError(
            f"cannot be read: {problem}", code="unreadable", path=partial, hint=_HINT
        ) from problem
    return count, failed


def _rows(partial: Path, format: str) -> Iterator[tuple[str, str, str | None]]:
    """Path, artifact and error of each row."""
    if format == "parquet":
        import pyarrow.parquet as pq

        with pq.ParquetFile(partial) as table:  # what pyarrow raises is a ValueError
            for batch in table.iter_batches(columns=["path", "model_sha256", "error"]):
                for row in batch.to_pylist():
                    yield row["path"], row["model_sha256"], row["error"]
    elif format == "jsonl":
        with open(partial, encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                yield row["path"], row["model_sha256"], row["error"]
    else:
        with open(partial, encoding="utf-8", newline="") as table:
            for row in csv.DictReader(table, strict=True):
                yield row["path"], row["model_sha256"], row["error"]
