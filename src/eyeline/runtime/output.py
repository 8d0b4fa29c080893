"""Verdicts to a table: CSV, JSON Lines or Parquet, written as they come and never half.

Text is always valid UTF-8. A file name that is not (its odd bytes are lone surrogates in Python) is written
with backslash escapes in CSV and Parquet; in JSON Lines the surrogates survive as ``\\udc..`` escapes and
come back.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
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
    sha256: bool = False,
    before: str | Path | None = None,
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
    sha256 : a column ``model_sha256``, the artifact that judged. JSON Lines go by the verdict.
    before : a table that was written likewise; its rows come first. The result is then, byte for byte, what writing all
        rows at once gives.

    Raises
    ------
    EyelineError : ``bad_option`` for the format, ``write_failed``, ``other_rows`` when `before` has other columns.
    """
    write = FORMATS[format_of(target, format)]
    extra = [*(("unknown", "novelty") if unknown else ()), *(("tile", "tiles") if tiled else ())]
    extra += ["model_sha256"] if sha256 else []
    first = None if before is None else Path(before)
    if isinstance(target, str | Path):
        with atomic_file(target) as file:
            return write(verdicts, file, classes, extra, first)
    return write(verdicts, target, classes, extra, first)


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


def as_written(path: str, format: str) -> str:
    """A path as it stands in a table of this format."""
    if format == "jsonl":
        return path
    return _text(str(_cell(path)) if format == "csv" else path)


def _write_csv(
    verdicts: Iterable[Verdict],
    file: BinaryIO,
    classes: Sequence[str],
    extra: Sequence[str],
    before: Path | None,
) -> int:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")  # RFC 4180

    def put(row: list[Any]) -> None:
        writer.writerow([_cell(value) for value in row])
        file.write(_utf8(buffer.getvalue()))
        file.flush()
        buffer.seek(0)
        buffer.truncate()

    header = ["path", "label", "decision", "score", *(f"p_{name}" for name in classes), *extra, "error"]
    count = 0
    if before is None:
        put(header)
    else:
        with open(before, encoding="utf-8", newline="") as table:
            rows = csv.reader(table)
            _check_columns(next(rows, []), [_text(str(_cell(name))) for name in header], before)
            count = sum(1 for _ in rows)
        _copy(before, file)
    for verdict in verdicts:
        chances = [verdict.probabilities.get(name) for name in classes]
        more = verdict.to_dict() | {"tile": " ".join(map(str, verdict.tile or ()))}
        known = [more.get(name) for name in extra]
        put([verdict.path, verdict.label, verdict.decision, verdict.score, *chances, *known, verdict.error])
        count += 1
    return count


def _write_jsonl(
    verdicts: Iterable[Verdict],
    file: BinaryIO,
    classes: Sequence[str],
    extra: Sequence[str],
    before: Path | None,
) -> int:
    count = 0
    if before is not None:
        with open(before, "rb") as lines:
            count = sum(1 for _ in lines)
        _copy(before, file)
    for verdict in verdicts:
        file.write(json.dumps(verdict.to_dict(), allow_nan=False).encode() + b"\n")
        file.flush()
        count += 1
    return count


def _write_parquet(
    verdicts: Iterable[Verdict],
    file: BinaryIO,
    classes: Sequence[str],
    extra: Sequence[str],
    before: Path | None,
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
        "model_sha256": text,
    }
    columns += [(name, kinds[name]) for name in extra]
    schema = pa.schema(columns)
    count = 0
    new = (_parquet_row(verdict) for verdict in verdicts)
    with pq.ParquetWriter(file, schema) as writer:
        for rows in _chunks(chain(() if before is None else _parquet_rows(before, schema), new)):
            writer.write_table(pa.Table.from_pylist(rows, schema))
            count += len(rows)
    return count


def _parquet_rows(path: Path, schema: Any) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as table:
        _check_columns(table.schema_arrow.names, schema.names, path)
        for batch in table.iter_batches(_ROWS):
            yield from batch.to_pylist()


def _copy(path: Path, file: BinaryIO) -> None:
    with open(path, "rb") as source:
        shutil.copyfileobj(source, file)


def _check_columns(found: Sequence[str], wanted: Sequence[str], path: Path) -> None:
    if list(found) != list(wanted):
        raise EyelineError(
            f"has the columns {', '.join(found)}; these verdicts have {', '.join(wanted)}",
            code="other_rows",
            path=path,
        )


def _parquet_row(verdict: Verdict) -> dict[str, Any]:
    row = {key: _text(value) if isinstance(value, str) else value for key, value in verdict.to_dict().items()}
    row["probabilities"] = {_text(name): p for name, p in verdict.probabilities.items()} or None
    return row


def _chunks(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while chunk := list(islice(rows, _ROWS)):
        yield chunk


def _cell(value: Any) -> Any:
    """A spreadsheet runs text that begins like a formula; an apostrophe in front makes it text again."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _text(value: str) -> str:
    return _utf8(value).decode()


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


_Write = Callable[[Iterable[Verdict], BinaryIO, Sequence[str], Sequence[str], Path | None], int]
FORMATS: dict[str, _Write] = {
    "csv": _write_csv,
    "jsonl": _write_jsonl,
    "parquet": _write_parquet,
}
