"""Every planted fault is found, and nothing is found where there is none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image, ImageDraw, ImageFilter
from skimage.measure import label as skimage_label
from skimage.measure import regionprops

from corpus.builders import encode
from eyeline.checks.findings import Finding
from eyeline.checks.pictures import picture_findings
from eyeline.checks.scan import scan_images
from eyeline.checks.tiny import components, equivalent_diameters, smaller_extents, tiny_defect_findings
from eyeline.images import ImageTable, read_images
from eyeline.images.synthetic import synthetic_images, write_synthetic

Edit = Callable[[Path, Image.Image], None]


@pytest.fixture(scope="module")
def scenes() -> list[Image.Image]:
    """120 pictures of one product without a fault."""
    table, _ = synthetic_images(images=120, parts=1, burst=120, defect_rate=0, size=96)
    assert table.pixels is not None
    return [Image.fromarray(pixels[:, :, 0]) for pixels in table.pixels]


def planted(
    folder: Path, scenes: list[Image.Image], faults: dict[int, Edit]
) -> tuple[ImageTable, dict[str, Finding]]:
    """The scenes as files, those in `faults` spoiled, and what is found."""
    paths = []
    for row, scene in enumerate(scenes):
        path = folder / ("good" if row % 2 else "bad") / f"{row:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        faults.get(row, lambda path, scene: scene.save(path))(path, scene)
        paths.append(str(path))
    labels = tuple("good" if row % 2 else "bad" for row in range(len(scenes)))
    table = ImageTable(
        name="planted", paths=tuple(paths), labels=labels, classes=("good", "bad"), good="good"
    )
    found = picture_findings(scan_images(table, folder=folder / "scans"), table)
    for finding in found:
        json.dumps(finding.to_dict(table.paths))
        assert finding.message.endswith(".")
        assert finding.advice.endswith(".")
        assert 0 <= finding.effect <= 1
    return table, {finding.kind: finding for finding in found}


def save(change: Callable[[Image.Image], Image.Image], format_name: str = "PNG") -> Edit:
    def edit(path: Path, scene: Image.Image) -> None:
        path.write_bytes(encode(change(scene), format_name))

    return edit


def write(data: bytes) -> Edit:
    return lambda path, scene: path.write_bytes(data) and None


def around(scene: Image.Image, level: int) -> Image.Image:
    """The same scene about another level, so that about half of it is clipped at either end."""
    grey = np.asarray(scene, dtype=float)
    return Image.fromarray((4 * (grey - np.median(grey)) + level).clip(0, 255).astype(np.uint8))


def test_sound_pictures_raise_nothing(tmp_path: Path, scenes: list[Image.Image]) -> None:
    assert planted(tmp_path, scenes, {})[1] == {}


def test_unreadable_files(tmp_path: Path, scenes: list[Image.Image]) -> None:
    def cut(path: Path, scene: Image.Image) -> None:
        path.write_bytes(encode(scene, "PNG")[:-700])

    faults: dict[int, Edit] = {3: write(b""), 8: cut, 9: cut, 50: write(b"<html>not found</html>")}
    table, _ = planted(tmp_path, scenes, faults)
    found = picture_findings(scan_images(table, folder=tmp_path / "scans"), table)
    assert {(f.kind, f.severity, f.details["code"], f.rows) for f in found} == {
        ("unreadable", "error", "empty", (3,)),
        ("unreadable", "error", "truncated", (8, 9)),
        ("unreadable", "error", "unsupported", (50,)),
    }
    assert found[0].details["code"] == "truncated"  # the most frequent one first
    assert "an HTML page" in next(f.message for f in found if f.details["code"] == "unsupported")


def test_one_bad_file_is_no_error(tmp_path: Path, scenes: list[Image.Image]) -> None:
    assert planted(tmp_path, scenes, {7: write(b"")})[1]["unreadable"].severity == "warning"


@pytest.mark.parametrize(
    ("kind", "edit"),
    [
        ("wrong_extension", save(lambda scene: scene, "BMP")),
        ("blank", save(lambda scene: Image.new("L", scene.size, 90))),
        ("over_exposed", save(lambda scene: around(scene, 252))),
        ("under_exposed", save(lambda scene: around(scene, 3))),
        ("blurred", save(lambda scene: scene.filter(ImageFilter.GaussianBlur(3)))),
        ("odd_size", save(lambda scene: scene.crop((0, 0, 64, 64)))),
        ("mixed_depths", save(lambda scene: Image.fromarray(np.asarray(scene).astype(np.uint16) * 257))),
        (
            "mixed_colours",
            save(lambda scene: Image.merge("RGB", (scene, scene, scene.point(lambda level: level // 2)))),
        ),
        ("mixed_modes", save(lambda scene: scene.convert("RGB"))),
    ],
)
def test_a_planted_fault(tmp_path: Path, scenes: list[Image.Image], kind: str, edit: Edit) -> None:
    """Precision and recall 1: the planted rows and no other, by that finding and no other."""
    rows = (4, 5, 30, 77)
    _, found = planted(tmp_path, scenes, dict.fromkeys(rows, edit))
    also = {"wrong_extension": {"mixed_formats"}}.get(kind, set())
    assert set(found) == {kind} | also
    assert set(found[kind].rows) == set(rows)
    assert found[kind].severity != "error"


def test_other_shapes_ask_for_letterbox(tmp_path: Path, scenes: list[Image.Image]) -> None:
    faults = {row: save(lambda scene: scene.resize((96, 48))) for row in (10, 11)}
    faults[12] = save(lambda scene: scene.resize((300, 96)))
    table, found = planted(tmp_path, scenes, faults)
    assert found["mixed_aspects"].rows == (12, 10, 11)  # the worst first
    assert found["mixed_aspects"].severity == "warning"
    assert "letterbox" in found["mixed_aspects"].advice
    assert found["mixed_aspects"].details["factor"] == pytest.approx(3.12, abs=0.01)
    scan = scan_images(table, folder=tmp_path / "scans")
    boxed = {f.kind: f for f in picture_findings(scan, table, resize="letterbox")}
    assert boxed["mixed_aspects"].severity == "note"


def test_colour_that_is_grey(tmp_path: Path, scenes: list[Image.Image]) -> None:
    _, found = planted(tmp_path, scenes, dict.fromkeys(range(120), save(lambda scene: scene.convert("RGB"))))
    assert set(found) == {"colour_unneeded"}
    assert "All 120 pictures" in found["colour_unneeded"].message


def test_small_pictures_for_a_large_network(tmp_path: Path) -> None:
    table = read_images("digits").select(range(60))
    scan = scan_images(table, folder=tmp_path)
    (finding,) = picture_findings(scan, table, (64, 64))
    assert finding.kind == "enlarged"
    assert "enlarged by up to 8.0 times" in finding.message
    assert picture_findings(scan, table, (16, 16)) == []
    assert picture_findings(scan, table) == []


def test_nothing_usable_at_all(tmp_path: Path, scenes: list[Image.Image]) -> None:
    found = planted(tmp_path, scenes[:6], dict.fromkeys(range(6), write(b"")))[1]
    assert set(found) == {"unreadable"}
    assert found["unreadable"].effect == 1


def test_sharpness_is_judged_among_its_own(tmp_path: Path, scenes: list[Image.Image]) -> None:
    """Half of the pictures come from a soft lens, named by a slice: none of them is an outlier."""
    soft = save(lambda scene: scene.filter(ImageFilter.GaussianBlur(3)))
    table, found = planted(tmp_path, scenes, {row: soft for row in range(120) if row % 4 < 2})
    assert found == {}  # half against half: nothing is usual
    table, found = planted(tmp_path / "few", scenes, dict.fromkeys(range(0, 120, 5), soft))
    assert set(found["blurred"].rows) == set(range(0, 120, 5))
    lens = tuple("soft" if row % 5 == 0 else "sharp" for row in range(120))
    sliced = ImageTable(
        name="sliced",
        paths=table.paths,
        labels=("good",) * 120,
        classes=("good",),
        good="good",
        slices={"lens": lens},
    )
    assert picture_findings(scan_images(sliced, folder=tmp_path / "few" / "scans"), sliced) == []


def test_skipped_files(tmp_path: Path, scenes: list[Image.Image]) -> None:
    planted(tmp_path / "tree", scenes[:40], {})
    scenes[0].save(tmp_path / "tree" / "stray.png")
    shutil.rmtree(tmp_path / "tree" / "scans")
    table = read_images(tmp_path / "tree")
    (finding,) = picture_findings(scan_images(table, folder=tmp_path / "scans"), table)
    assert finding.kind == "skipped"
    assert finding.message.startswith("1 file was left out")
    assert "outside every class folder" in finding.message
    assert finding.effect == pytest.approx(1 / 41)


# --- masks ----------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(mask=arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=14)))
def test_components_are_those_of_scikit_image(mask: np.ndarray) -> None:
    mine = components(mask)
    theirs = regionprops(skimage_label(mask, connectivity=2))
    assert len(mine.area) == len(theirs)
    order = np.lexsort((smaller_extents(mine, (1, 1)).round(6), mine.area))
    expected = sorted((part.area, part.axis_minor_length) for part in theirs)
    assert mine.area[order].tolist() == [area for area, _ in expected]
    # scikit-image takes a pixel for a point, we take it for a square: 1/12 more of variance in every direction
    as_points = np.sqrt(np.maximum(smaller_extents(mine, (1, 1))[order] ** 2 - 16 / 12, 0))
    assert np.allclose(as_points, [minor for _, minor in expected], atol=1e-5)


def test_extents_of_drawn_shapes() -> None:
    canvas = Image.new("L", (400, 300))
    draw = ImageDraw.Draw(canvas)
    draw.ellipse((20, 20, 59, 59), fill=255)  # a disc of diameter 40
    draw.point((350, 10), fill=255)  # one pixel
    y, x = np.mgrid[0:300, 0:400] - np.array([150, 200])[:, None, None]
    scratch = (abs(x + y) <= 4) & (abs(x - y) <= 141)  # 9 diagonals, each 1 / sqrt(2) wide, 200 long
    parts = components((np.asarray(canvas) > 0) | scratch)
    assert len(parts.area) == 3
    dot, disc, scratch = range(3)  # as they begin from the top
    extents = smaller_extents(parts, (1.0, 1.0))
    assert extents[disc] == pytest.approx(40, rel=0.02)
    assert extents[scratch] == pytest.approx(9 / np.sqrt(2) * 2 / np.sqrt(3), rel=0.01)
    assert extents[dot] == pytest.approx(1.155, abs=0.01)
    assert equivalent_diameters(parts, (1.0, 1.0))[disc] == pytest.approx(40, rel=0.02)
    assert np.allclose(smaller_extents(parts, (0.25, 0.25)), extents / 4)
    assert smaller_extents(parts, (1.0, 0.1))[disc] == pytest.approx(4, rel=0.02)


def masked(folder: Path, diameters: list[float], side: int = 512) -> ImageTable:
    """One disc a picture; 0 is a good picture without a mask."""
    folder.mkdir()
    paths: list[str] = []
    masks: list[str | None] = []
    for row, diameter in enumerate(diameters):
        y, x = np.mgrid[0:side, 0:side]
        disc = np.hypot(x - 200, y - 300) < diameter / 2
        paths.append(str(folder / f"{row}.png"))
        Image.fromarray(np.where(disc, 200, 90).astype(np.uint8)).save(paths[-1])
        masks.append(str(folder / f"{row}_mask.png") if diameter else None)
        if masks[-1]:
            Image.fromarray(disc.astype(np.uint8) * 255).save(masks[-1])
    labels = tuple("bad" if diameter else "good" for diameter in diameters)
    return ImageTable(
        name="masked",
        paths=tuple(paths),
        labels=labels,
        classes=("good", "bad"),
        good="good",
        masks=tuple(masks),
    )


def test_tiny_defects(tmp_path: Path) -> None:
    """At 128 pixels a disc of 512-pixel diameter d has d / 4."""
    table = masked(tmp_path / "in", [0, 30, 8, 20, 6, 40, 50, 0])
    assert tiny_defect_findings(table) == []  # no size is planned
    (finding,) = tiny_defect_findings(table, (128, 128))
    assert finding.kind == "tiny_defect"
    assert finding.severity == "warning"
    assert finding.rows == (4, 2)  # the smallest first
    assert finding.details["lost"] == 2
    assert finding.details["defects"] == 6
    assert finding.details["smallest"][0]["extent"] == pytest.approx(1.5, abs=0.15)
    assert finding.details["smallest"][0]["original_extent"] == pytest.approx(6, abs=0.5)
    # 6 pixels become 4 at 341 of 512; the disc on its grid is a little smaller
    assert finding.details["advised_size"] in ([352, 352], [384, 384])
    assert f"--image-size {finding.details['advised_size'][0]}" in finding.advice
    assert tiny_defect_findings(table, (352, 352)) == []
    kept = masked(tmp_path / "large", [0, 30, 0, 40])
    assert tiny_defect_findings(kept, (128, 128)) == []


def test_letterbox_and_squash_differ(tmp_path: Path) -> None:
    """A wide mask of 400 x 100 pixels: squashed to 100 x 100 a disc of 8 becomes 2 wide and 8 high."""
    (tmp_path / "in").mkdir()
    y, x = np.mgrid[0:100, 0:400]
    disc = np.hypot(x - 200, y - 50) < 8
    mask = tmp_path / "in" / "a_mask.png"
    Image.fromarray(disc.astype(np.uint8)).save(mask)  # zeros and ones, as class numbers
    table = ImageTable(
        name="wide", paths=("a.png", "b.png"), labels=("bad", "good"), classes=("good", "bad"), good="good",
        masks=(str(mask), None),
    )  # fmt: skip
    assert tiny_defect_findings(table, (100, 100)) == []
    (finding,) = tiny_defect_findings(table, (50, 50))
    assert finding.details["smallest"][0]["extent"] == pytest.approx(2, abs=0.1)
    (finding,) = tiny_defect_findings(table, (70, 70), resize="letterbox")
    assert finding.details["smallest"][0]["extent"] == pytest.approx(16 * 70 / 400, abs=0.1)


def test_masks_that_contradict(tmp_path: Path) -> None:
    table = masked(tmp_path / "in", [30, 30, 30, 30])
    masks = list(table.masks or ())
    Image.new("L", (512, 512)).save(str(masks[0]))
    Path(str(masks[1])).write_bytes(b"no mask")
    Path(str(masks[3])).unlink()
    table = ImageTable(
        name="odd", paths=table.paths, labels=("bad", "bad", "good", "bad"), classes=("good", "bad"), good="good",
        masks=tuple(masks),
    )  # fmt: skip
    found = {finding.kind: finding for finding in tiny_defect_findings(table, (224, 224))}
    assert set(found) == {"empty_mask", "unreadable_mask", "mask_label_conflict"}
    assert found["empty_mask"].rows == (0,)
    assert found["unreadable_mask"].rows == (1, 3)
    assert found["unreadable_mask"].details["codes"] == {"1": "unsupported", "3": "missing"}
    assert found["mask_label_conflict"].rows == (2,)


def test_synthetic_parts_pass(tmp_path: Path) -> None:
    """Synthetic defects are made to be seen at their own size, and half of them are lost at half of it."""
    table = read_images(write_synthetic(tmp_path / "parts", images=200, parts=40, burst=5), good="good")
    found = picture_findings(scan_images(table, folder=tmp_path / "scans"), table, image_size=(128, 128))
    assert [finding.kind for finding in found] == []
    assert tiny_defect_findings(table, (128, 128)) == []
    (finding,) = tiny_defect_findings(table, (32, 32))
    assert finding.kind == "tiny_defect"
    assert finding.effect > 0.5


def test_elpv_as_shipped(tmp_path: Path) -> None:
    """Nothing wrong with it: no error, and few warnings."""
    table = read_images("elpv").select(range(0, 2624, 8))
    found = picture_findings(scan_images(table, folder=tmp_path), table, image_size=(224, 224))
    assert [finding for finding in found if finding.severity == "error"] == []
    assert len([finding for finding in found if finding.severity == "warning"]) <= 1
