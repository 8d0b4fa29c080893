"""Verdicts as CSV, JSON Lines and Parquet: whole, readable by others, and safe in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyeline.errors import EyelineError
from eyeline.runtime import Verdict, format_of, write_verdicts

CLASSES = ("good", "=cmd")
ODD_NAMES = [
    'a "quoted", b.png',
    "new\nline.png",
    "=HYPERLINK(1).png",
    "+1",
    "-1",
    "@x",
    "\tx",
    "\rx",
    "é-\U0001f600-\u202eevil.png",
    "e\u0301 against \u00e9",
    " leading",
    "'",
]


def verdict(path: str, p: float = 0.25) -> Verdict:
    return Verdict(
        path=path,
        label="=cmd",
        decision="fail",
        probabilities={"good": p, "=cmd": 1 - p},
        score=1 - p,
    )


ERROR = Verdict(path="bad.png", error="truncated: the file is cut short")


def rows(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def plain(cell: str) -> str:
    return cell[1:] if cell[:1] == "'" and cell[1:2] in ("=", "+", "-", "@", "\t", "\r") else cell


def test_csv_has_a_column_a_class_and_survives_odd_names() -> None:
    stream = io.BytesIO()
    assert write_verdicts([*map(verdict, ODD_NAMES), ERROR], stream, classes=CLASSES) == len(ODD_NAMES) + 1
    found = rows(stream.getvalue())
    assert list(found[0]) == ["path", "label", "decision", "score", "p_good", "p_=cmd", "error"]
    assert [plain(row["path"]) for row in found[:-1]] == ODD_NAMES
    assert {row["label"] for row in found[:-1]} == {"'=cmd"}
    assert (float(found[0]["p_good"]), float(found[0]["score"])) == (0.25, 0.75)
    assert found[-1] == dict.fromkeys(found[0], "") | {"path": "bad.png", "error": ERROR.error}
    frame = pd.read_csv(io.BytesIO(stream.getvalue()))
    assert len(frame) == len(found)


@given(st.text(max_size=20))
def test_no_cell_of_csv_begins_like_a_formula(name: str) -> None:
    stream = io.BytesIO()
    write_verdicts([verdict(name)], stream, classes=CLASSES, format="csv")
    (row,) = rows(stream.getvalue())
    assert not row["path"].startswith(("=", "+", "-", "@", "\t", "\r"))
    clean = name.encode("utf-8", "backslashreplace").decode()
    assert plain(row["path"]) == plain(clean)


@given(st.text(st.characters(), max_size=20))
def test_json_lines_bring_every_name_back(name: str) -> None:
    stream = io.BytesIO()
    write_verdicts([verdict(name), ERROR], stream, classes=CLASSES, format="jsonl")
    lines = stream.getvalue().decode("ascii").splitlines()
    assert [json.loads(line) for line in lines] == [verdict(name).to_dict(), ERROR.to_dict()]


def test_a_name_that_is_not_utf8_is_written_everywhere(tmp_path: Path) -> None:
    name = b"gr\xfcn.png".decode("utf-8", "surrogateescape")
    for format in ("csv", "jsonl", "parquet"):
        write_verdicts([verdict(name)], tmp_path / f"out.{format}", classes=CLASSES)
    assert rows((tmp_path / "out.csv").read_bytes())[0]["path"] == "gr\\udcfcn.png"
    assert json.loads((tmp_path / "out.jsonl").read_bytes())["path"] == name
    assert pq.read_table(tmp_path / "out.parquet")["path"].to_pylist() == ["gr\\udcfcn.png"]


def test_parquet_has_the_columns_others_rely_on(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.parquet"
    many = [verdict(f"{i}.png", i / 25_000) for i in range(25_000)]
    assert write_verdicts([ERROR, *many], path, classes=CLASSES) == 25_001
    table = pq.read_table(path)
    assert table.column_names == ["path", "label", "decision", "score", "probabilities", "error"]
    assert table.slice(0, 1).to_pylist() == [
        {**ERROR.to_dict(), "probabilities": None},
    ]
    assert table.slice(2, 1).to_pylist() == [many[1].to_dict()]
    assert pq.ParquetFile(path).num_row_groups == 3


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_no_rows_is_a_valid_table(tmp_path: Path, format: str) -> None:
    path = tmp_path / f"none.{format}"
    assert write_verdicts([], path, classes=CLASSES) == 0
    assert path.exists()
    if format == "parquet":
        assert pq.read_table(path).num_rows == 0
    else:
        assert path.read_bytes().count(b"\n") == (format == "csv")


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_a_run_that_breaks_leaves_the_old_file(tmp_path: Path, format: str) -> None:
    path = tmp_path / f"out.{format}"
    path.write_bytes(b"old")

    def breaks() -> Iterator[Verdict]:
        yield verdict("a.png")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_verdicts(breaks(), path, classes=CLASSES)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_stream_gets_each_row_at_once() -> None:
    stream = io.BytesIO()

    def watched() -> Iterator[Verdict]:
        for i in range(3):
            assert stream.getvalue().count(b"\n") == i
            yield verdict(f"{i}.png")

    write_verdicts(watched(), stream, classes=CLASSES, format="jsonl")


def test_formats_by_name_and_by_ending(tmp_path: Path) -> None:
    assert format_of("a/b.JSONL") == "jsonl"
    assert format_of(tmp_path / "x.parquet") == "parquet"
    assert format_of("x.txt") == format_of(io.BytesIO()) == "csv"
    assert format_of("x.csv", "jsonl") == "jsonl"
    with pytest.raises(EyelineError, match="did you mean jsonl"):
        format_of("x", "json")
    with pytest.raises(EyelineError) as caught:
        write_verdicts([], tmp_path / "no" / "folder.csv", classes=CLASSES)
    assert caught.value.code == "write_failed"
