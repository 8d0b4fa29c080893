"""Verdicts to a table: CSV, JSON Lines or Parquet, written as they come and never half.

Text is always valid UTF-8. A file name that is not (its odd bytes are lone surrogates in Python) is written
with backslash escapes in CSV and Parquet; in JSON Lines the surrogates survive as ``\\udc..`` escapes and
come back.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from eyeline.errors import EyelineError, nearest
from eyeline.files import atomic_file
from eyeline.runtime.verdict import Verdict

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_ROWS = 10_000  # in a row group of Parquet


def write_verdicts(
    verdicts: Iterable[Verdict],
    target: str | Path | BinaryIO,
    *,
    classes: Sequence[str],
    format: str | None = None,
    tiled: bool = False,
    unknown: bool = False,
) -> int:
    """Write a row a verdict and return how many were written.

    Parameters
    ----------
    target : a path, which gets its content only when everything is written; or an open binary stream, such as
        standard output, which gets each row at once.
    classes : of the artifact, one column of probabilities each in CSV.
    format : ``csv``, ``jsonl`` or ``parquet``; None goes by the ending of the path, else CSV.
    tiled : the verdicts come from tiles: a column ``tile`` names the box that decided (``left top right bottom`` in
        CSV) and ``tiles`` how many there were. JSON Lines go by the verdict.
    unknown : the artifact tells unknown objects: columns ``unknown`` and ``novelty``.

    Raises
    ------
    EyelineError : ``bad_option`` for the format, ``write_failed``.
    """
    write = FORMATS[format_of(target, format)]
    extra = [*(("unknown", "novelty") if unknown else ()), *(("tile", "tiles") if tiled else ())]
    if isinstance(target, str | Path):
        with atomic_file(target) as file:
            return write(verdicts, file, classes, extra)
    return write(verdicts, target, classes, extra)


def format_of(target: str | Path | BinaryIO, format: str | None = None) -> str:
    """The format to write `target` in."""
    if format is None:
        ending = Path(target).suffix[1:].lower() if isinstance(target, str | Path) else ""
        return ending if ending in FORMATS else "csv"
    if format not in FORMATS:
        raise EyelineError(
            f"the format {format!r} is not known", code="bad_option", hint=nearest(format, FORMATS)
        )
    return format


def _write_csv(
    verdicts: Iterable[Verdict], file: BinaryIO, classes: Sequence[str], extra: Sequence[str]
) -> int:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")  # RFC 4180

    def put(row: list[Any]) -> None:
        writer.writerow([_cell(value) for value in row])
        file.write(_utf8(buffer.getvalue()))
        file.flush()
        buffer.seek(0)
        buffer.truncate()

    put(["path", "label", "decision", "score", *(f"p_{name}" for name in classes), *extra, "error"])
    count = 0
    for verdict in verdicts:
        chances = [verdict.probabilities.get(name) for name in classes]
        more = verdict.to_dict() | {"tile": " ".join(map(str, verdict.tile or ()))}
        known = [more.get(name) for name in extra]
        put([verdict.path, verdict.label, verdict.decision, verdict.score, *chances, *known, verdict.error])
        count += 1
    return count


def _write_jsonl(
    verdicts: Iterable[Verdict], file: BinaryIO, classes: Sequence[str], extra: Sequence[str]
) -> int:
    count = 0
    for verdict in verdicts:
        file.write(json.dumps(verdict.to_dict(), allow_nan=False).encode() + b"\n")
        file.flush()
        count += 1
    return count


def _write_parquet(
    verdicts: Iterable[Verdict], file: BinaryIO, classes: Sequence[str], extra: Sequence[str]
) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    # Keys may be any text; a struct would have to name them as columns, and could not be empty for an error.
    chances = pa.struct([(_text(name), pa.float64()) for name in classes])
    text = pa.string()
    columns = list(zip(Verdict().to_dict(), (text, text, text, pa.float64(), chances, text), strict=True))
    kinds = {
        "unknown": pa.bool_(),
        "novelty": pa.float64(),
        "tile": pa.list_(pa.int32()),
        "tiles": pa.int32(),
    }
    columns += [(name, kinds[name]) for name in extra]
    schema = pa.schema(columns)
    count = 0
    with pq.ParquetWriter(file, schema) as writer:
        for chunk in _chunks(iter(verdicts)):
            writer.write_table(pa.Table.from_pylist([_parquet_row(verdict) for verdict in chunk], schema))
            count += len(chunk)
    return count


def _parquet_row(verdict: Verdict) -> dict[str, Any]:
    row = {key: _text(value) if isinstance(value, str) else value for key, value in verdict.to_dict().items()}
    row["probabilities"] = {_text(name): p for name, p in verdict.probabilities.items()} or None
    return row


def _chunks(verdicts: Iterator[Verdict]) -> Iterator[list[Verdict]]:
    while chunk := list(islice(verdicts, _ROWS)):
        yield chunk


def _cell(value: Any) -> Any:
    """A spreadsheet runs text that begins like a formula; an apostrophe in front makes it text again."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _text(value: str) -> str:
    return _utf8(value).decode()


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


FORMATS: dict[str, Callable[[Iterable[Verdict], BinaryIO, Sequence[str], Sequence[str]], int]] = {
    "csv": _write_csv,
    "jsonl": _write_jsonl,
    "parquet": _write_parquet,
}
