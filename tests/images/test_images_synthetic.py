"""The synthetic parts: reproducible, with true masks and stated sizes, and leaking as a burst does."""

from __future__ import annotations

import doctest
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from skimage.measure import label, regionprops
from sklearn.metrics import roc_auc_score

from eyeline.errors import EyelineError
from eyeline.images import ImageTable, decode_image, make_folds, read_images, split_images
from eyeline.images.synthetic import KINDS, synthetic_images, write_synthetic


@pytest.fixture(scope="module")
def made() -> tuple[ImageTable, np.ndarray]:
    return synthetic_images()


def neighbour_auroc(table: ImageTable, by: str) -> float:
    """A 1-nearest-neighbour on the pixels, by what it says about pictures of other folds."""
    assert table.pixels is not None
    x = table.pixels.reshape(len(table), -1).astype(np.float32)
    x -= x.mean(axis=1, keepdims=True)
    distance = (x**2).sum(1)[:, None] + (x**2).sum(1)[None] - 2 * x @ x.T
    scores = []
    for seed in range(3):
        folds = make_folds(table, by=by, seed=seed)  # type: ignore[arg-type]
        allowed = np.where(folds[:, None] != folds[None], distance, np.inf)
        scores.append(roc_auc_score(table.is_defect, table.is_defect[allowed.argmin(axis=1)]))
    return float(np.mean(scores))


def test_the_named_source_is_the_default(made: tuple[ImageTable, np.ndarray]) -> None:
    table, masks = made
    named = read_images("synthetic")
    assert named.to_dict() == table.to_dict()
    assert named.fingerprint() == table.fingerprint()
    assert len(table) == 600
    assert table.pixels is not None
    assert table.pixels.shape == (600, 64, 64, 1)
    assert masks.shape == (600, 64, 64)
    assert masks.dtype == np.uint8
    assert set(np.unique(masks)) == {0, 255}
    assert table.classes == ("good", "defective")
    assert Counter(Counter(table.groups).values()) == {10: 60}
    assert 0.25 < table.is_defect.mean() < 0.35
    assert named.masks is None  # they are files elsewhere, and there are none here


def test_masks_and_labels_agree(made: tuple[ImageTable, np.ndarray]) -> None:
    table, masks = made
    assert np.array_equal(masks.any(axis=(1, 2)), table.is_defect)
    kinds = np.array(table.slices["kind"])
    assert np.array_equal(kinds != "none", table.is_defect)
    assert set(kinds[table.is_defect]) == set(KINDS)
    areas = np.array(table.slices["area"])
    assert set(areas) == {"none", "1 to 24 px", "25 to 48 px", "over 48 px"}
    for row in np.flatnonzero(table.is_defect)[::7]:
        area = int((masks[row] > 0).sum())
        expected = "1 to 24 px" if area <= 24 else "25 to 48 px" if area <= 48 else "over 48 px"
        assert areas[row] == expected


@pytest.mark.parametrize("size", [64, 96])
def test_defects_have_the_stated_sizes(size: int) -> None:
    """scikit-image measures the masks; half a pixel is the price of a grid."""
    table, masks = synthetic_images(images=400, parts=200, burst=2, defect_rate=1, size=size)
    unit = size / 64
    seen = Counter()
    for row, kind in enumerate(table.slices["kind"]):
        parts = regionprops(label(masks[row] > 0))
        seen[kind] += 1
        area = sum(part.area for part in parts)
        if kind == "scratch":
            assert 1.6 * 16 * unit**2 * 0.85 <= area <= 2.6 * 34 * unit**2 * 1.15
            assert parts[0].axis_major_length / parts[0].axis_minor_length > 4
        elif kind == "blob":
            assert len(parts) == 1
            assert 6 * unit * 0.85 <= parts[0].equivalent_diameter_area <= 12 * unit * 1.15
        else:
            rows, columns = np.nonzero(masks[row])
            assert max(np.ptp(rows), np.ptp(columns)) + 1 <= 12.5 * unit
            assert np.pi * unit**2 * 0.7 <= area <= 7 * np.pi * (1.8 * unit) ** 2 * 1.15
    assert min(seen[kind] for kind in KINDS) > 50


def test_a_defect_can_be_seen_where_the_mask_is(made: tuple[ImageTable, np.ndarray]) -> None:
    """Against the ring around it, in units of the surface's own spread there."""
    table, masks = made
    assert table.pixels is not None
    contrast = []
    for row in np.flatnonzero(table.is_defect):
        inside = masks[row] > 0
        grown = np.zeros_like(inside)
        for dy in range(-4, 5):
            for dx in range(-4, 5):
                grown |= np.roll(inside, (dy, dx), axis=(0, 1))
        near = np.zeros_like(inside)
        for dy in range(-1, 2):
            for dx in range(-1, 2):
                near |= np.roll(inside, (dy, dx), axis=(0, 1))
        grey = table.pixels[row, :, :, 0].astype(float)
        ring = grey[grown & ~near]
        contrast.append(abs(grey[inside].mean() - ring.mean()) / ring.std())
    assert np.median(contrast) > 2
    assert np.quantile(contrast, 0.05) > 0.5


def test_a_picture_depends_on_seed_part_and_place_alone() -> None:
    options = {"parts": 7, "burst": 5, "size": 48}
    few, few_masks = synthetic_images(images=35, **options)
    more, more_masks = synthetic_images(images=90, **options)
    assert few.pixels is not None
    assert more.pixels is not None
    place = {path: row for row, path in enumerate(more.paths)}
    assert np.array_equal(few.pixels, more.pixels[[place[path] for path in few.paths]])
    assert np.array_equal(few_masks, more_masks[[place[path] for path in few.paths]])
    wider, _ = synthetic_images(images=60, parts=12, burst=5, size=48)
    assert wider.pixels is not None
    assert np.array_equal(wider.pixels[:35], few.pixels)
    other, _ = synthetic_images(images=35, seed=1, **options)
    assert other.pixels is not None
    assert (other.pixels != few.pixels).mean() > 0.9


def test_parts_come_back_in_later_bursts() -> None:
    table, _ = synthetic_images(images=60, parts=3, burst=10)
    assert table.groups is not None
    assert table.groups[:10] == table.groups[30:40] == ("part 0000",) * 10
    assert table.paths[30] == "synthetic/part0000_010"


def test_a_random_split_flatters(made: tuple[ImageTable, np.ndarray]) -> None:
    table, _ = made
    by_image, by_group = neighbour_auroc(table, "image"), neighbour_auroc(table, "group")
    assert by_image > 0.75
    assert by_group < 0.62
    assert by_image - by_group > 0.2


def test_every_part_of_a_split_has_both_classes(made: tuple[ImageTable, np.ndarray]) -> None:
    for seed in range(3):
        table, _ = synthetic_images(images=120, parts=12, seed=seed)
        parts = np.array(split_images(table))
        for part in ("train", "val", "test"):
            assert set(table.is_defect[parts == part]) == {False, True}


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.7, 0.95])
def test_the_defect_rate_is_as_asked(rate: float) -> None:
    table, _ = synthetic_images(images=2000, parts=200, size=32, defect_rate=rate)
    assert abs(table.is_defect.mean() - rate) < 0.04


def test_600_images_take_less_than_two_seconds() -> None:
    start = time.process_time()
    synthetic_images(seed=5)
    assert time.process_time() - start < 2


def test_labels_by_kind() -> None:
    table, _ = synthetic_images(images=200, parts=40, by_kind=True, kinds=("pore", "scratch"))
    assert table.classes == ("good", "pore", "scratch")
    assert table.labels == tuple("good" if kind == "none" else kind for kind in table.slices["kind"])


def test_files_read_back_as_they_were_made(tmp_path: Path) -> None:
    options = {"images": 40, "parts": 8, "burst": 5, "seed": 3}
    made, masks = synthetic_images(**options)
    manifest = write_synthetic(tmp_path / "parts", **options)
    assert manifest == tmp_path / "parts" / "parts.csv"
    table = read_images(manifest, good="good")
    assert made.pixels is not None
    assert table.labels == made.labels
    assert table.groups == made.groups
    assert table.classes == made.classes
    assert table.slices == made.slices
    assert table.masks is not None
    for row in range(len(table)):
        assert np.array_equal(decode_image(table.source(row), channels=1), made.pixels[row])
        mask = table.masks[row]
        assert (mask is None) == (not made.is_defect[row])
        if mask is not None:
            assert np.array_equal(decode_image(mask, channels=1)[:, :, 0], masks[row])
    with pytest.raises(EyelineError) as caught:
        write_synthetic(tmp_path / "parts", **options)
    assert caught.value.code == "exists"
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EyelineError) as caught:
        write_synthetic(tmp_path / "file", **options)
    assert caught.value.code == "write_failed"


@pytest.mark.parametrize(
    "wrong",
    [
        {"images": 0},
        {"size": 16},
        {"size": 64.5},
        {"defect_rate": 1.5},
        {"defect_rate": float("nan")},
        {"parts": 0},
        {"burst": -1},
        {"seed": -1},
        {"kinds": ()},
        {"kinds": ("scratches",)},
    ],
)
def test_options_out_of_range(wrong: dict[str, object]) -> None:
    with pytest.raises(EyelineError) as caught:
        synthetic_images(**wrong)  # type: ignore[arg-type]
    assert caught.value.code == "bad_option"
    if "scratches" in str(wrong):
        assert "did you mean scratch?" in str(caught.value)


def test_the_examples_of_the_page_run() -> None:
    page = Path(__file__).parents[2] / "docs" / "sources.md"
    result = doctest.testfile(str(page), module_relative=False)
    assert result.attempted >= 8
    assert result.failed == 0
