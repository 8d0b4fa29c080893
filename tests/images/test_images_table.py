"""The table of images and its invariants."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corpus.builders import encode, picture
from eyeline.errors import EyelineError
from eyeline.images import ImageTable


def table(**changes: Any) -> ImageTable:
    values: dict[str, Any] = {
        "name": "parts",
        "paths": ("a", "b", "c", "d"),
        "labels": ("good", "crack", "good", "void"),
        "classes": ("good", "crack", "void"),
        "good": "good",
        "splits": ("train", "train", "val", "test"),
        "groups": ("1", "1", "2", "3"),
        "masks": (None, "b_mask", None, None),
        "weights": (1.0, 2.0, 1.0, 0.5),
        "slices": {"line": ("x", "x", "y", "y")},
        "pixels": np.arange(4 * 2 * 3, dtype=np.uint8).reshape(4, 2, 3, 1),
    }
    return ImageTable(**{**values, **changes})


def test_targets_and_defects() -> None:
    rows = table()
    assert len(rows) == 4
    assert rows.targets.tolist() == [0, 1, 0, 2]
    assert rows.targets.dtype == np.int64
    assert rows.is_defect.tolist() == [False, True, False, True]


@pytest.mark.parametrize(
    "change",
    [
        {"labels": ("good",)},
        {"splits": ("train",)},
        {"groups": ("1",) * 5},
        {"masks": ()},
        {"weights": (1.0,)},
        {"slices": {"line": ("x",)}},
        {"pixels": np.zeros((3, 2, 2, 1), np.uint8)},
        {"paths": ("a", "b", "c", "a")},
        {"labels": ("good", "crak", "good", "void")},
        {"classes": ("good", "crack", "void", "crack")},
        {"classes": ("crack", "good", "void")},
        {"good": "fine"},
        {"splits": ("train", "train", "val", "holdout")},
        {"weights": (1.0, float("nan"), 1.0, 1.0)},
        {"weights": (1.0, -1.0, 1.0, 1.0)},
    ],
    ids=lambda change: str(change)[:40],
)
def test_broken_tables_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(EyelineError):
        table(**change)


def test_select_keeps_every_column_in_step() -> None:
    rows = table()
    part = rows.select([3, 1])
    assert part.paths == ("d", "b")
    assert part.labels == ("void", "crack")
    assert part.splits == ("test", "train")
    assert part.groups == ("3", "1")
    assert part.masks == (None, "b_mask")
    assert part.weights == (0.5, 2.0)
    assert part.slices == {"line": ("y", "x")}
    assert part.pixels is not None
    assert rows.pixels is not None
    assert np.array_equal(part.pixels, rows.pixels[[3, 1]])
    assert part.classes == rows.classes  # a class may be absent, its number stays
    assert part.targets.tolist() == [2, 1]
    assert rows.select(rows.is_defect).paths == ("b", "d")
    assert len(rows.select([])) == 0
    assert len(rows.select(np.zeros(4, dtype=bool))) == 0


def test_sources(tmp_path: Path) -> None:
    rows = table()
    pixels = rows.source(2)
    assert isinstance(pixels, np.ndarray)
    assert rows.pixels is not None
    assert np.array_equal(pixels, rows.pixels[2])
    assert table(pixels=None).source(1) == Path("b")


def test_to_dict_and_summary_are_json() -> None:
    rows = table()
    full = json.loads(json.dumps(rows.to_dict()))
    assert full["labels"] == list(rows.labels)
    assert full["slices"] == {"line": ["x", "x", "y", "y"]}
    assert "pixels" not in full
    summary = json.loads(json.dumps(rows.summary()))
    assert summary["classes"] == {"good": 2, "crack": 1, "void": 1}
    assert summary["groups"] == 3
    assert summary["splits"] == {"train": 2, "val": 1, "test": 1}
    assert summary["masks"] == 1


def test_fingerprint_follows_contents_and_labels_not_names(tmp_path: Path) -> None:
    def on_disk(folder: str, contents: list[bytes], **changes: Any) -> ImageTable:
        (tmp_path / folder).mkdir()
        paths = []
        for number, content in enumerate(contents):
            path = tmp_path / folder / f"{folder}-{number}.png"
            path.write_bytes(content)
            paths.append(str(path))
        return table(paths=tuple(paths), pixels=None, **changes)

    contents = [encode(picture(8 + number, 8), "PNG") for number in range(4)]
    first = on_disk("first", contents).fingerprint()
    assert on_disk("second", contents).fingerprint() == first
    assert len(first) == 64
    assert on_disk("third", [*contents[:3], contents[3] + b"\0"]).fingerprint() != first
    assert on_disk("fourth", [contents[i] for i in (1, 0, 2, 3)]).fingerprint() != first
    relabelled = on_disk("fifth", contents, labels=("good", "void", "good", "void"))
    assert relabelled.fingerprint() != first
    missing = table(paths=tuple(str(tmp_path / str(i)) for i in range(4)), pixels=None)
    assert missing.fingerprint() not in (first, table().fingerprint())
    assert table().fingerprint() == table(paths=("e", "f", "g", "h")).fingerprint()
    changed = table(pixels=np.zeros((4, 2, 3, 1), np.uint8))
    assert changed.fingerprint() != table().fingerprint()
