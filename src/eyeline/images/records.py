"""What a source found, before labels are judged and groups are formed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

# Spellings of the three parts that folders and CSV columns use.
SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}


@dataclass(kw_only=True)
class Records:
    """Columns of equal length, one entry an image."""

    name: str
    paths: list[str]
    labels: list[str]
    relative: list[str]
    """Path within the source, with forward slashes: what a ``--group-by`` pattern is matched on."""
    folders: list[str]
    """The folder that ``--group-by folder`` means; empty when the image has none of its own."""
    where: list[str]
    """Where each row stands, for messages: ``line 7``, or the path itself."""
    splits: list[str] | None = None
    groups: list[str] | None = None
    group_source: str = "none"
    masks: list[str | None] | None = None
    weights: list[float] | None = None
    columns: dict[str, list[str]] = field(default_factory=dict)
    """Further columns by name; they can be grouped by."""
    slices: tuple[str, ...] = ()
    """Which of `columns` tell results apart."""
    pixels: NDArray[np.uint8] | None = None
    licence: str = ""
    skipped: dict[str, str] = field(default_factory=dict)
    good: str | None = None
    """The good class of a named data set."""
