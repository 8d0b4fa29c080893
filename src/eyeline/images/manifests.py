"""A CSV or Parquet table with the columns path and label, and optionally split, group, mask and weight."""

from __future__ import annotations

import csv
import math
import os
from dataclasses import dataclass
from pathlib import Path

from eyeline.errors import EyelineError, nearest
from eyeline.images.records import SPLIT_WORDS, Records

KNOWN = ("path", "label", "split", "group", "mask", "weight")
_MAX_SLICE_VALUES = 20  # a further column with more distinct values tells no results apart


@dataclass(frozen=True)
class Manifest:
    """The cells of a table as text, column by column, and where each row stands in the file."""

    path: Path
    columns: dict[str, list[str]]
    where: list[str]  # "line 7" of a CSV, "row 7" of a Parquet file

    def wrong(self, row: int, message: str, hint: str | None = None) -> EyelineError:
        return EyelineError(f"{self.where[row]}: {message}", code="bad_row", path=self.path, hint=hint)


def read_manifest(path: Path) -> Records:
    """Read a table of images. Paths are relative to the table's own folder.

    Raises
    ------
    EyelineError : with the line (or Parquet row) of the first wrong cell: no path or label, an unknown split
        word, a file that does not exist, a path that stands twice, a weight that is no positive number.
    """
    manifest = _read_parquet(path) if path.suffix.lower() in (".parquet", ".pq") else _read_csv(path)
    columns = manifest.columns
    for required in ("path", "label"):
        if required not in columns:
            raise EyelineError(
                f"has no column {required!r}",
                code="missing_column",
                path=path,
                hint=nearest(required, columns),
            )
    for name in ("path", "label", "split", "group"):
        for row, value in enumerate(columns.get(name, ())):
            if not value:
                raise manifest.wrong(row, f"the {name} is empty")
    relative = [cell.replace(os.sep, "/") for cell in columns["path"]]
    further = {name: values for name, values in columns.items() if name not in KNOWN}
    return Records(
        name=path.stem,
        paths=_paths(manifest),
        labels=columns["label"],
        relative=relative,
        folders=[name.rpartition("/")[0] for name in relative],
        where=[f"{path}, {place}" for place in manifest.where],
        splits=_splits(manifest),
        groups=columns.get("group"),
        group_source="given: column group" if "group" in columns else "none",
        masks=_masks(manifest),
        weights=_weights(manifest),
        columns={name: values for name, values in columns.items() if name not in ("path", "label", "mask")},
        slices=tuple(name for name, values in further.items() if _tells_apart(values)),
    )


def _read_csv(path: Path) -> Manifest:
    rows: list[list[str]] = []
    where: list[str] = []
    line = 1
    try:
        # utf-8-sig: spreadsheet programs put a byte order mark in front.
        with open(path, encoding="utf-8-sig", newline="") as file:
            delimiter = max(",;\t", key=file.readline().count)
            file.seek(0)
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            header = [name.strip() for name in next(reader, [])]
            for cells in reader:
                line = reader.line_num
                if not any(cells):
                    continue
                if len(cells) != len(header):
                    raise EyelineError(
                        f"line {line}: {len(cells)} cells, but the header has {len(header)}",
                        code="bad_row",
                        path=path,
                    )
                rows.append(cells)
                where.append(f"line {line}")
    except UnicodeDecodeError as error:
        raise EyelineError(
            f"line {_first_line_not_utf8(path)}: not UTF-8 text",
            code="bad_encoding",
            path=path,
            hint="save it as CSV UTF-8",
        ) from error
    except csv.Error as error:
        raise EyelineError(f"after line {line}: {error}", code="bad_row", path=path) from error
    except OSError as error:
        raise EyelineError(f"cannot be read: {error.strerror}", code="unreadable", path=path) from error
    names = _column_names(header, path)
    columns = {name: [cells[place].strip() for cells in rows] for place, name in enumerate(names) if name}
    return Manifest(path, columns, where)


def _first_line_not_utf8(path: Path) -> int:
    # The decoder counts from the start of its own buffer, so the line has to be found again.
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError:
            return number
    return 1


def _read_parquet(path: Path) -> Manifest:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
        columns = {
            name: ["" if value is None else str(value).strip() for value in column.to_pylist()]
            for name, column in zip(_column_names(table.column_names, path), table.columns, strict=True)
        }
    except UnicodeDecodeError as error:  # text is looked at only when it becomes a Python string
        raise EyelineError("text that is not UTF-8", code="bad_encoding", path=path) from error
    except (OSError, ValueError, ArithmeticError, MemoryError, pyarrow.ArrowException) as error:
        raise EyelineError(f"is no readable Parquet file: {error}", code="unreadable", path=path) from error
    return Manifest(path, columns, [f"row {row + 1}" for row in range(table.num_rows)])


def _column_names(header: list[str], path: Path) -> list[str]:
    """The known names in lower case, the others as they are."""
    names = [name.lower() if name.lower() in KNOWN else name for name in header]
    for name in names:
        if name and names.count(name) > 1:
            raise EyelineError(f"the column {name!r} stands twice", code="bad_header", path=path)
    return names


def _paths(manifest: Manifest) -> list[str]:
    paths = [str(manifest.path.parent / cell) for cell in manifest.columns["path"]]
    seen: dict[str, int] = {}
    for row, path in enumerate(paths):
        first = seen.setdefault(os.path.normpath(path), row)
        if first != row:
            raise manifest.wrong(row, f"{path} stands on {manifest.where[first]} already")
        if not os.path.isfile(path):
            kind = "is not a regular file" if os.path.lexists(path) else "does not exist"
            raise manifest.wrong(row, f"{path} {kind}")
    return paths


def _splits(manifest: Manifest) -> list[str] | None:
    words = manifest.columns.get("split")
    if words is None:
        return None
    for row, word in enumerate(words):
        if word.lower() not in SPLIT_WORDS:
            raise manifest.wrong(
                row, f"split {word!r} is not one of train, val, test", nearest(word, SPLIT_WORDS)
            )
    return [SPLIT_WORDS[word.lower()] for word in words]


def _masks(manifest: Manifest) -> list[str | None] | None:
    cells = manifest.columns.get("mask")
    if cells is None:
        return None
    masks = [str(manifest.path.parent / cell) if cell else None for cell in cells]
    for row, mask in enumerate(masks):
        if mask is not None and not os.path.isfile(mask):
            raise manifest.wrong(row, f"the mask {mask} does not exist")
    return masks


def _weights(manifest: Manifest) -> list[float] | None:
    cells = manifest.columns.get("weight")
    if cells is None:
        return None
    weights = []
    for row, cell in enumerate(cells):
        try:
            weight = float(cell)
        except ValueError:
            weight = math.nan
        if not (math.isfinite(weight) and weight > 0):
            raise manifest.wrong(row, f"weight {cell!r} is not a positive number")
        weights.append(weight)
    return weights


def _tells_apart(values: list[str]) -> bool:
    distinct = set(values)
    return 2 <= len(distinct) <= min(_MAX_SLICE_VALUES, len(values) // 2) and "" not in distinct
