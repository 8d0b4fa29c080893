"""Row 18: tables of images with something wrong in them, and what must be said about it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from corpus.builders import valid

FOUR = "path,label\na.png,good\nb.png,good\nc.png,bad\nd.png,bad\n"


@dataclass(frozen=True)
class TableCase:
    """One table; the pictures a.png to d.png lie beside it."""

    name: str
    data: bytes
    code: str | None = None
    """None: it is read."""
    says: str = ""
    """Words of the message: where in the table."""

    row: int = 18


def table_cases() -> Iterator[TableCase]:
    yield TableCase("plain.csv", FOUR.encode())
    yield TableCase("bom-crlf.csv", b"\xef\xbb\xbf" + FOUR.replace("\n", "\r\n").encode())
    yield TableCase("spreadsheet-formula.csv", FOUR.replace("good", "=cmd()").replace("bad", "good").encode())
    yield TableCase("nothing.csv", b"", "missing_column", "'path'")
    yield TableCase("header-alone.csv", b"path,label\n", "empty", "no images")
    yield TableCase("no-label-column.csv", b"path,lable\na.png,good\n", "missing_column", "'label'")
    yield TableCase("empty-label.csv", FOUR.replace("a.png,good", "a.png,").encode(), "bad_row", "line 2")
    yield TableCase("one-class.csv", FOUR.replace("bad", "good").encode(), "one_class", "'good'")
    yield TableCase("one-image.csv", FOUR.replace("d.png,bad\n", "").encode(), "too_few", "'bad' has only 1")
    yield TableCase("which-is-good.csv", FOUR.replace("good", "x").encode(), "unknown_good", "bad, x")
    yield TableCase("twice.csv", (FOUR + "./b.png,bad\n").encode(), "bad_row", "line 6")
    yield TableCase("absent.csv", FOUR.replace("c.png", "z.png").encode(), "bad_row", "line 4")
    yield TableCase("nul.csv", FOUR.replace("c.png", "c\0.png").encode(), "bad_row", "line")
    yield TableCase("ragged.csv", FOUR.replace("c.png,bad", "c.png,bad,").encode(), "bad_row", "line 4")
    yield TableCase("open-quote.csv", FOUR.replace("c.png", '"c.png').encode(), "bad_row", "line")
    yield TableCase(
        "latin.csv", FOUR.replace("bad", "sch\xe4den").encode("latin-1"), "bad_encoding", "line 4"
    )
    yield TableCase("columns-twice.csv", b"path,label,LABEL\n", "bad_header", "twice")
    split = "path,label,split\na.png,good,train\nb.png,good,tests\n"
    yield TableCase("unseen-split.csv", split.encode(), "bad_row", "line 3")
    weight = "path,label,weight\na.png,good,1\nb.png,good,-1\n"
    yield TableCase("weight.csv", weight.encode(), "bad_row", "line 3")
    yield TableCase("field-bomb.csv", b"path,label\n" + b"a" * 200_000 + b",good\n", "bad_row", "line 1")
    columns: dict[str, Any] = {
        "path": ["a.png", "b.png", "c.png", "d.png"],
        "label": ["good", "good", "bad", "bad"],
    }
    good = _parquet(columns)
    yield TableCase("plain.parquet", good)
    yield TableCase("cut.parquet", good[: len(good) // 2], "unreadable", "Parquet")
    yield TableCase("text.parquet", FOUR.encode(), "unreadable", "Parquet")
    yield TableCase("zero.parquet", b"", "unreadable", "Parquet")
    yield TableCase(
        "null.parquet", _parquet({**columns, "label": ["good", None, "bad", "bad"]}), "bad_row", "row 2"
    )
    bytes_as_text = pyarrow.array([b"good", b"\xc0", b"bad", b"bad"]).view(pyarrow.string())
    yield TableCase(
        "not-utf8.parquet", _parquet({**columns, "label": bytes_as_text}), "bad_encoding", "UTF-8"
    )
    twice = _parquet({**columns, "path": ["a.png", "b.png", "c.png", "a.png"]})
    yield TableCase("twice.parquet", twice, "bad_row", "row 4")


def write_tables(folder: Path) -> dict[Path, TableCase]:
    """Write every table and the pictures they name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in "abcd":
        (folder / f"{name}.png").write_bytes(valid("PNG"))
    written = {folder / case.name: case for case in table_cases()}
    for path, case in written.items():
        path.write_bytes(case.data)
    return written


def _parquet(columns: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), file)
    return file.getvalue()
