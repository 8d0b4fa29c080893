"""The table of images: one row a picture, whatever it was read from."""

from __future__ import annotations

import hashlib
import math
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eyeline.errors import EyelineError, nearest
from eyeline.images.opening import open_regular

SPLITS = ("train", "val", "test")

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageTable:
    """What is known about every image before any pixel is read.

    Raises
    ------
    EyelineError : columns of unequal length, duplicate paths, a label or `good` outside `classes`, an unknown
        split word, a weight that is not a positive finite number.
    """

    name: str
    """Name of the data: ``elpv``, the folder's name, the CSV's stem."""
    paths: tuple[str, ...]
    """One unique path an image; ``digits/0001`` for images that live in memory."""
    labels: tuple[str, ...]
    """Class name of each image."""
    classes: tuple[str, ...]
    """The good class first, then the others sorted."""
    good: str
    """The defect-free class; all others are defects."""
    splits: tuple[str, ...] | None = None
    """``train``, ``val`` or ``test`` for each image, when the source says so."""
    groups: tuple[str, ...] | None = None
    """What must stay on one side of a split: the part, module, wafer or lot an image belongs to."""
    group_source: str = "none"
    """``none``, ``given: column group``, ``given: pattern ...``, ``given: folder``, ``inferred: ...``."""
    masks: tuple[str | None, ...] | None = None
    """Path of the defect mask of each image, where there is one."""
    weights: tuple[float, ...] | None = None
    """Positive weight of each image in training."""
    slices: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Columns with few values by which results are told apart, such as the type of cell."""
    pixels: NDArray[np.uint8] | None = None
    """``(N, H, W, C)`` for images that live in memory, else None."""
    licence: str = ""
    """Licence note of the data, empty when unknown."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Files that were found and are not images of the table: path and reason."""

    def __post_init__(self) -> None:
        rows = len(self.paths)
        columns: dict[str, Sequence[Any] | NDArray[np.uint8] | None] = {
            "labels": self.labels,
            "splits": self.splits,
            "groups": self.groups,
            "masks": self.masks,
            "weights": self.weights,
            "pixels": self.pixels,
            **{f"slice {name!r}": values for name, values in self.slices.items()},
        }
        for name, values in columns.items():
            if values is not None and len(values) != rows:
                raise EyelineError(f"{rows} paths but {len(values)} {name}", code="bad_table", path=self.name)
        if len(set(self.paths)) != rows:
            repeated = next(path for path, count in Counter(self.paths).items() if count > 1)
            raise EyelineError("the same path stands twice in the table", code="duplicate", path=repeated)
        if len(set(self.classes)) != len(self.classes):
            raise EyelineError(f"a class is named twice: {', '.join(self.classes)}", code="bad_table")
        if unknown := sorted(set(self.labels) - set(self.classes)):
            raise EyelineError(
                f"label {unknown[0]!r} is not among the classes",
                code="unknown_label",
                hint=nearest(unknown[0], self.classes),
            )
        if self.good not in self.classes[:1]:
            raise EyelineError(
                f"the good class {self.good!r} must stand first among the classes", code="bad_table"
            )
        if strange := sorted(set(self.splits or ()) - set(SPLITS)):
            raise EyelineError(
                f"split {strange[0]!r} is not one of train, val, test", code="bad_table", path=self.name
            )
        for path, weight in zip(self.paths, self.weights or (), strict=False):
            if not (math.isfinite(weight) and weight > 0):
                raise EyelineError(f"weight {weight} is not a positive number", code="bad_table", path=path)

    def __len__(self) -> int:
        return len(self.paths)

    @cached_property
    def targets(self) -> NDArray[np.int64]:
        """Index into `classes` of each image, int64 ``(N,)``; 0 is good."""
        index = {name: number for number, name in enumerate(self.classes)}
        return np.array([index[label] for label in self.labels], dtype=np.int64)

    @cached_property
    def is_defect(self) -> NDArray[np.bool_]:
        """True where the image is of any class but the good one, bool ``(N,)``."""
        return np.asarray(self.targets != 0, dtype=np.bool_)

    def source(self, index: int) -> Path | NDArray[np.uint8]:
        """What `decode_image` reads for row `index`: a path, or ``(H, W, C)`` pixels."""
        if self.pixels is not None:
            pixels: NDArray[np.uint8] = self.pixels[index]
            return pixels
        return Path(self.paths[index])

    def select(self, indices: ArrayLike) -> ImageTable:
        """The rows at `indices` (numbers or a boolean mask), in that order, with the same classes."""
        chosen = np.asarray(indices)
        if chosen.size == 0:
            chosen = chosen.astype(np.int64)
        rows = np.arange(len(self))[chosen]

        def pick(column: Sequence[_T]) -> tuple[_T, ...]:
            return tuple(column[row] for row in rows)

        return replace(
            self,
            paths=pick(self.paths),
            labels=pick(self.labels),
            splits=None if self.splits is None else pick(self.splits),
            groups=None if self.groups is None else pick(self.groups),
            masks=None if self.masks is None else pick(self.masks),
            weights=None if self.weights is None else pick(self.weights),
            slices={name: pick(values) for name, values in self.slices.items()},
            pixels=None if self.pixels is None else self.pixels[rows],
        )

    def fingerprint(self) -> str:
        """sha256 (hex) over the contents and labels in row order; file names do not enter.

        Files are streamed, so size does not matter. A file that cannot be read counts as a missing one.
        """
        total = hashlib.sha256()
        for index, label in enumerate(self.labels):
            source = self.source(index)
            if isinstance(source, Path):
                total.update(_file_digest(source))
            else:
                total.update(hashlib.sha256(repr(source.shape).encode() + source.tobytes()).digest())
            total.update(hashlib.sha256(label.encode("utf-8", "surrogateescape")).digest())
        return total.hexdigest()

    def summary(self) -> dict[str, Any]:
        """Counts to print or to keep with a run."""
        return {
            "name": self.name,
            "images": len(self),
            "classes": _counts(self.labels, self.classes),
            "good": self.good,
            "groups": None if self.groups is None else len(set(self.groups)),
            "group_source": self.group_source,
            "splits": None if self.splits is None else _counts(self.splits, SPLITS),
            "masks": sum(mask is not None for mask in self.masks or ()),
            "slices": {name: _counts(values, sorted(set(values))) for name, values in self.slices.items()},
            "skipped": len(self.skipped),
            "licence": self.licence,
        }

    def to_dict(self) -> dict[str, Any]:
        """Every column but the pixels, ready for JSON."""
        return {
            "name": self.name,
            "paths": list(self.paths),
            "labels": list(self.labels),
            "classes": list(self.classes),
            "good": self.good,
            "splits": None if self.splits is None else list(self.splits),
            "groups": None if self.groups is None else list(self.groups),
            "group_source": self.group_source,
            "masks": None if self.masks is None else list(self.masks),
            "weights": None if self.weights is None else list(self.weights),
            "slices": {name: list(values) for name, values in self.slices.items()},
            "licence": self.licence,
            "skipped": dict(self.skipped),
        }


def _counts(values: Iterable[str], names: Iterable[str]) -> dict[str, int]:
    counted = Counter(values)
    return {name: counted[name] for name in names}


def _file_digest(path: Path) -> bytes:
    digest = hashlib.sha256()
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except (OSError, EyelineError):
        return hashlib.sha256(b"missing").digest()
    return digest.digest()
