"""The table of an appraiser study: which picture shows which part, what is true, and what people said."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eyeline.errors import EyelineError, nearest
from eyeline.images import GOOD_WORDS

DEFECT_WORDS = ("defective", "defect", "bad", "fail", "reject", "nok", "ng")
PERSON = "appraiser:"  # in front of the name, in the head of a column
MODEL = "model"
NO_CALL = -1


@dataclass(frozen=True, kw_only=True)
class Study:
    """One row a look at a part: a picture, and what each person said when looking."""

    paths: tuple[str, ...]
    parts: tuple[str, ...]
    reference: NDArray[np.int64]
    """``(N,)``, 1 where the part is defective."""
    calls: dict[str, NDArray[np.int64]]
    """Of each person ``(N,)``: 1 for a defect, 0 for good, -1 for no call."""


def read_study(path: str | Path, classes: tuple[str, ...], good: str) -> Study:
    """Read ``path,part,reference`` and a column ``appraiser:NAME`` a person; paths are relative to the table.

    References and calls are class names of the model, or plain words for good (ok, pass, ...) and defective (bad,
    fail, ...). An empty call is no call. The rows of one part are its trials.

    Raises
    ------
    EyelineError : a column is missing, a word is unknown, a part has two references, a picture stands twice; with the
        line.
    """
    path = Path(path)
    header, rows = read_cells(path)
    for required in ("path", "part", "reference"):
        if required not in header:
            raise EyelineError(
                f"has no column {required!r}",
                code="missing_column",
                path=path,
                hint=nearest(required, header),
            )
    people = {name[len(PERSON) :].strip(): name for name in header if name.startswith(PERSON)}
    if "" in people or MODEL in people:
        raise EyelineError(
            f"a person needs a name of their own, not {'' if '' in people else MODEL!r}",
            code="bad_header",
            path=path,
        )
    words = dict.fromkeys(GOOD_WORDS, 0) | dict.fromkeys(DEFECT_WORDS, 1)
    words |= {name.lower(): int(name != good) for name in classes}

    def call(line: int, row: dict[str, str], name: str) -> int:
        word = row[name]
        if not word and name in people.values():
            return NO_CALL
        if word.lower() not in words:
            raise EyelineError(
                f"line {line}: {name} says {word!r}",
                code="unknown_label",
                path=path,
                hint=nearest(word, words),
            )
        return words[word.lower()]

    paths: dict[str, int] = {}
    first: dict[str, tuple[int, int]] = {}
    reference: list[int] = []
    calls: dict[str, list[int]] = {name: [] for name in people}
    for line, row in rows:
        if not row["path"] or not row["part"]:
            raise EyelineError(f"line {line}: path or part is empty", code="bad_row", path=path)
        place = str(path.parent / row["path"])
        if place in paths:
            raise EyelineError(
                f"line {line}: {row['path']} stands on line {paths[place]} already",
                code="bad_row",
                path=path,
                hint="a trial is a new picture of the part; the same picture would only repeat itself",
            )
        paths[place] = line
        truth = call(line, row, "reference")
        before = first.setdefault(row["part"], (truth, line))
        if before[0] != truth:
            raise EyelineError(
                f"line {line}: the part {row['part']!r} has another reference on line {before[1]}",
                code="bad_row",
                path=path,
            )
        reference.append(truth)
        for name, column in people.items():
            calls[name].append(call(line, row, column))
    if not paths:
        raise EyelineError("has no rows", code="empty", path=path)
    return Study(
        paths=tuple(paths),
        parts=tuple(row["part"] for _, row in rows),
        reference=np.array(reference, dtype=np.int64),
        calls={name: np.array(values, dtype=np.int64) for name, values in calls.items()},
    )


def read_cells(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """The head of a CSV and its rows, each with its line; EyelineError where it is none."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=max(",;\t", key=file.readline().count), strict=True)
            file.seek(0)
            header = [name.strip() for name in next(reader, [])]
            rows = []
            for cells in reader:
                if not any(cells):
                    continue
                if len(cells) != len(header):
                    raise EyelineError(
                        f"line {reader.line_num}: {len(cells)} cells, but the header has {len(header)}",
                        code="bad_row",
                        path=path,
                    )
                rows.append((reader.line_num, dict(zip(header, map(str.strip, cells), strict=True))))
    except UnicodeDecodeError as error:
        raise EyelineError(
            "not UTF-8 text", code="bad_encoding", path=path, hint="save it as CSV UTF-8"
        ) from error
    except csv.Error as error:
        raise EyelineError(f"no readable CSV: {error}", code="bad_row", path=path) from error
    except OSError as error:
        raise EyelineError(f"cannot be read: {error.strerror}", code="unreadable", path=path) from error
    if len(set(header)) != len(header):
        raise EyelineError("a column stands twice", code="bad_header", path=path)
    return header, rows
