"""The named data sets, against their published figures."""

from __future__ import annotations

import importlib.util
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from eyeline.errors import EyelineError
from eyeline.images import ImageTable, decode_image, read_images
from eyeline.images.elpv import infer_modules


@pytest.fixture(scope="module")
def elpv() -> ImageTable:
    return read_images("elpv")


def test_elpv_counts(elpv: ImageTable) -> None:
    """Counts by cell type and annotated probability, as published with the data set."""
    assert len(elpv) == 2624
    assert Counter(elpv.labels) == {"functional": 1803, "defective": 821}
    assert elpv.classes == ("functional", "defective")
    pairs = Counter(zip(elpv.slices["type"], elpv.slices["probability"], strict=True))
    assert pairs == {
        ("mono", "0.00"): 588, ("mono", "0.33"): 117, ("mono", "0.67"): 56, ("mono", "1.00"): 313,
        ("poly", "0.00"): 920, ("poly", "0.33"): 178, ("poly", "0.67"): 50, ("poly", "1.00"): 402,
    }  # fmt: skip
    assert "CC BY-NC-SA 4.0" in elpv.licence
    assert elpv.weights is None


def test_elpv_rows_are_those_of_the_package(elpv: ImageTable) -> None:
    spec = importlib.util.find_spec("elpv_dataset")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "data"
    rows = np.genfromtxt(folder / "labels.csv", dtype=None, encoding="ascii", names=["path", "p", "type"])
    assert [Path(path) for path in elpv.paths] == [folder / row["path"] for row in rows]
    assert elpv.is_defect.tolist() == [bool(row["p"] > 0.5) for row in rows]
    for row in (0, 1000, 2623):
        pixels = decode_image(elpv.source(row), channels=1)
        assert pixels.shape == (300, 300, 1)
        with Image.open(elpv.paths[row]) as image:
            assert np.array_equal(pixels[:, :, 0], np.asarray(image))


def test_elpv_modules(elpv: ImageTable) -> None:
    """44 modules, 18 mono and 26 poly (Deitsch et al. 2019), in file order, of one cell type each."""
    assert elpv.groups is not None
    assert elpv.group_source.startswith("inferred: file order")
    runs: list[list[int]] = []
    for row, group in enumerate(elpv.groups):
        if row == 0 or group != elpv.groups[row - 1]:
            runs.append([])
        runs[-1].append(row)
    assert len(runs) == len(set(elpv.groups)) == 44
    types = [{elpv.slices["type"][row] for row in run} for run in runs]
    assert all(len(kinds) == 1 for kinds in types)
    assert sum(kinds == {"mono"} for kinds in types) == 18
    assert sum(kinds == {"poly"} for kinds in types) == 26
    sizes = [len(run) for run in runs]
    assert sizes == [60] * 21 + [54] + [60] * 7 + [50] + [60] * 6 + [72] + [60] * 3 + [48] + [60] * 3
    # Which module a cell belongs to nearly gives its label: the defect rates run from 0 to 0.93.
    rates = [float(elpv.is_defect[run].mean()) for run in runs]
    assert min(rates) == 0
    assert round(max(rates), 2) == 0.93


def test_the_elpv_module_of_50_cells_was_taken_twice(elpv: ImageTable) -> None:
    """What places it: its cells come again in the same order 542 rows on, and its neighbours do not."""

    def patterns(first: int, last: int) -> np.ndarray:
        rows = []
        for row in range(first, last + 1):
            with Image.open(elpv.paths[row]) as image:
                grey = np.asarray(image.resize((12, 12), Image.Resampling.BOX), np.float64)
            rows.append((grey - grey.mean()).ravel() / np.linalg.norm(grey - grey.mean()))
        return np.array(rows)

    assert elpv.groups is not None
    module = [row for row, group in enumerate(elpv.groups) if group == elpv.groups[1734]]
    assert (module[0], module[-1]) == (1734, 1783)
    alike = patterns(1734, 1783) @ patterns(2276, 2325).T
    assert (alike.argmax(axis=1) == np.arange(50)).mean() > 0.9
    assert np.median(np.diag(alike)) > 0.97
    for before, after in (((1724, 1733), (2266, 2275)), ((1784, 1793), (2326, 2335))):
        assert np.median(np.diag(patterns(*before) @ patterns(*after).T)) < 0.8


def test_elpv_other_tables_are_not_guessed_at() -> None:
    with pytest.raises(EyelineError, match="cannot be inferred"):
        infer_modules(["mono"] * 120 + ["poly"] * 60)


def test_elpv_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EyelineError) as caught:
        read_images("elpv")
    assert caught.value.code == "missing_package"
    assert "pip install elpv-dataset" in str(caught.value)


def test_elpv_can_be_grouped_otherwise() -> None:
    assert set(read_images("elpv", group_by="type").groups or ()) == {"mono", "poly"}
    assert read_images("elpv", good="DEFECTIVE").classes == ("defective", "functional")
    with pytest.raises(EyelineError, match="gives no group"):
        read_images("elpv", group_by="folder")


def test_digits() -> None:
    table = read_images("digits")
    data = load_digits()
    assert len(table) == 1797
    assert table.classes == tuple("0123456789")
    assert table.good == "0"
    assert [int(label) for label in table.labels] == data.target.tolist()
    assert table.pixels is not None
    assert table.pixels.shape == (1797, 8, 8, 1)
    # 0..16 becomes 0..255 and nothing is lost
    assert np.array_equal(np.rint(table.pixels[..., 0] * (16 / 255)), data.images)
    assert (table.pixels.min(), table.pixels.max()) == (0, 255)
    assert table.paths[7] == "digits/0007"
    assert "CC BY 4.0" in table.licence
    assert read_images("digits", good="7").classes[:2] == ("7", "0")


def test_digits_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sklearn.datasets", None)
    with pytest.raises(EyelineError, match="needs scikit-learn"):
        read_images("digits")
