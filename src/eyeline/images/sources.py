"""From a folder, a table or the name of a data set to an `ImageTable`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from eyeline.errors import EyelineError, nearest
from eyeline.images.digits import read_digits
from eyeline.images.elpv import read_elpv
from eyeline.images.folders import read_folder
from eyeline.images.grouping import group_by_rule
from eyeline.images.idx import is_idx, read_fashion_mnist, read_idx
from eyeline.images.manifests import read_manifest
from eyeline.images.records import Records
from eyeline.images.synthetic import read_synthetic
from eyeline.images.table import ImageTable

GOOD_WORDS = ("good", "ok", "functional", "free", "normal", "pass")

_NAMED: dict[str, Callable[[], Records]] = {
    "elpv": read_elpv,
    "digits": read_digits,
    "fashion-mnist": read_fashion_mnist,
    "synthetic": read_synthetic,
}
_TABLES = (".csv", ".tsv", ".parquet", ".pq")
_FEWEST = 2  # images a class


def read_images(source: str | Path, *, good: str | None = None, group_by: str | None = None) -> ImageTable:
    """Read the table of images that `source` describes; no picture is opened.

    Parameters
    ----------
    source : a folder with one subfolder a class (optionally below train, val, test), a CSV or Parquet file
        with the columns path and label (optionally split, group, mask, weight), a folder of IDX files (the
        MNIST family), or a named data set: ``elpv``, ``digits``, ``fashion-mnist``, ``synthetic``. A folder
        that is called like a data set is written ``./elpv``.
    good : the defect-free class; guessed from good, ok, functional, free, normal, pass when not given.
    group_by : a column, ``folder``, or a regular expression whose group names what belongs together.

    Raises
    ------
    EyelineError : the source does not exist, is empty, has one class only, a class with fewer than two
        images, no class that is clearly the good one, or a row that is wrong (with its line).
    """
    records = _read(source)
    if group_by is not None:
        group_by_rule(records, group_by)
    _check(records, source)
    return _table(records, _good_class(records, good, source))


def _read(source: str | Path) -> Records:
    if isinstance(source, str) and source in _NAMED:
        return _NAMED[source]()
    path = Path(source)
    if path.is_dir():
        return read_idx(path) if is_idx(path) else read_folder(path)
    if path.is_file() and path.suffix.lower() in _TABLES:
        return read_manifest(path)
    if path.exists():
        raise EyelineError("neither a folder nor a .csv or .parquet table", code="unknown_source", path=path)
    raise EyelineError(
        "no such folder, table or data set",
        code="unknown_source",
        path=source,
        hint=nearest(str(source), _NAMED),
    )


def _check(records: Records, source: str | Path) -> None:
    skipped = ""
    if records.skipped:
        path, reason = next(iter(records.skipped.items()))
        skipped = f"; left out: {len(records.skipped)}, first {path} ({reason})"
    if not records.paths:
        raise EyelineError(
            f"no images found{skipped}",
            code="empty",
            path=source,
            hint="a folder needs one subfolder a class with images in it",
        )
    counts = Counter(records.labels)
    if len(counts) == 1:
        raise EyelineError(
            f"only one class, {records.labels[0]!r}; at least two are needed{skipped}",
            code="one_class",
            path=source,
        )
    for name, count in sorted(counts.items()):
        if count < _FEWEST:
            raise EyelineError(
                f"class {name!r} has only {count} image; at least {_FEWEST} are needed{skipped}",
                code="too_few",
                path=source,
            )


def _good_class(records: Records, good: str | None, source: str | Path) -> str:
    classes = sorted(set(records.labels))
    if good is not None:
        matches = [name for name in classes if name == good] or [
            name for name in classes if name.lower() == good.lower()
        ]
        if len(matches) == 1:
            return matches[0]
        raise EyelineError(
            f"no class is called {good!r}", code="unknown_label", path=source, hint=nearest(good, classes)
        )
    if records.good is not None:
        return records.good
    matches = [name for name in classes if name.lower() in GOOD_WORDS]
    if len(matches) == 1:
        return matches[0]
    shown = ", ".join(classes[:20]) + (", ..." if len(classes) > 20 else "")
    raise EyelineError(
        f"which class is free of defects? The classes are {shown}",
        code="unknown_good",
        path=source,
        hint="say it with --good CLASS",
    )


def _table(records: Records, good: str) -> ImageTable:
    return ImageTable(
        name=records.name,
        paths=tuple(records.paths),
        labels=tuple(records.labels),
        classes=(good, *sorted(set(records.labels) - {good})),
        good=good,
        splits=None if records.splits is None else tuple(records.splits),
        groups=None if records.groups is None else tuple(records.groups),
        group_source=records.group_source,
        masks=None if records.masks is None else tuple(records.masks),
        weights=None if records.weights is None else tuple(records.weights),
        slices={name: tuple(records.columns[name]) for name in records.slices},
        pixels=records.pixels,
        licence=records.licence,
        skipped=records.skipped,
    )
