"""Folders as sources: layouts, masks, links, odd names, groups, and everything that is wrong with them."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from corpus.builders import valid
from corpus.make import AWKWARD_NAMES, special_files
from eyeline.errors import EyelineError
from eyeline.images import decode_image, read_images

PNG = valid("PNG")


def lay_out(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PNG)
    return root


def relative(table, root: Path) -> list[str]:  # type: ignore[no-untyped-def]
    return [os.path.relpath(path, root) for path in table.paths]


def refused(source: Path | str, **options: str) -> EyelineError:
    with pytest.raises(EyelineError) as caught:
        read_images(source, **options)
    return caught.value


BASIC = ("good/1.png", "good/2.png", "crack/1.png", "crack/2.png")


def test_flat_folder(tmp_path: Path) -> None:
    root = lay_out(tmp_path / "parts", *BASIC, "void/x.JPG", "void/y.tif")
    table = read_images(root)
    assert table.name == "parts"
    assert table.classes == ("good", "crack", "void")
    assert table.good == "good"
    assert relative(table, root) == [
        "crack/1.png", "crack/2.png", "good/1.png", "good/2.png", "void/x.JPG", "void/y.tif",
    ]  # fmt: skip
    assert table.labels == ("crack", "crack", "good", "good", "void", "void")
    assert table.splits is None
    assert table.groups is None
    assert table.group_source == "none"
    assert table.masks is None
    assert table.skipped == {}


def test_relative_paths_and_strings_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_out(tmp_path / "parts", *BASIC)
    monkeypatch.chdir(tmp_path)
    assert read_images("parts").paths == tuple(f"parts/{name}" for name in sorted(BASIC))
    monkeypatch.chdir(tmp_path / "parts")
    assert read_images(".").name == "parts"


def test_split_folder(tmp_path: Path) -> None:
    names = [
        f"{part}/{label}/{n}.png"
        for part in ("Train", "valid", "test")
        for label in ("ok", "bad")
        for n in (1, 2)
    ]
    table = read_images(lay_out(tmp_path, *names, "readme.txt", "stray.png"))
    assert table.splits is not None
    assert sorted(set(zip(table.splits, table.labels, strict=True))) == [
        ("test", "bad"), ("test", "ok"), ("train", "bad"), ("train", "ok"), ("val", "bad"), ("val", "ok"),
    ]  # fmt: skip
    assert table.classes == ("ok", "bad")
    assert table.skipped == {str(tmp_path / "stray.png"): "outside every class folder"}


def test_folders_called_train_that_hold_pictures_are_classes(tmp_path: Path) -> None:
    table = read_images(lay_out(tmp_path, "train/1.png", "train/2.png", "bus/1.png", "bus/2.png"), good="bus")
    assert table.splits is None
    assert table.classes == ("bus", "train")


def test_a_class_beside_the_parts_of_a_split(tmp_path: Path) -> None:
    error = refused(lay_out(tmp_path, "train/good/1.png", "test/good/1.png", "crack/1.png"))
    assert error.code == "bad_layout"
    assert "'crack'" in error.message


def test_hidden_files_and_other_files_are_passed_over(tmp_path: Path) -> None:
    extra = ("good/.hidden.png", "good/notes.txt", ".git/a.png", "good/Thumbs.db", "__MACOSX/good/1.png")
    assert len(read_images(lay_out(tmp_path, *BASIC, *extra))) == 4


def test_pictures_that_cannot_be_read_stay_in_the_table(tmp_path: Path) -> None:
    """They are reported one by one when decoded, instead of vanishing."""
    assert len(read_images(lay_out(tmp_path, *BASIC, "good/phone.HEIC", "good/anim.gif"))) == 6


@pytest.mark.parametrize("word", ["Good", "OK", "functional", "Free", "NORMAL", "pass"])
def test_good_is_guessed(tmp_path: Path, word: str) -> None:
    root = lay_out(tmp_path, f"{word}/1.png", f"{word}/2.png", "aaa/1.png", "aaa/2.png")
    assert read_images(root).classes == (word, "aaa")
    assert read_images(root, good="AAA").classes == ("aaa", word)


def test_good_that_cannot_be_guessed(tmp_path: Path) -> None:
    root = lay_out(tmp_path, "scratch/1.png", "scratch/2.png", "fine/1.png", "fine/2.png")
    error = refused(root)
    assert error.code == "unknown_good"
    assert "fine, scratch" in str(error)
    assert "--good" in str(error)
    assert "did you mean fine" in str(refused(root, good="fin"))
    both = lay_out(tmp_path / "two", "ok/1.png", "ok/2.png", "good/1.png", "good/2.png")
    assert refused(both).code == "unknown_good"


def test_bad_folders(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert refused(empty).code == "empty"
    assert refused(lay_out(tmp_path / "loose", "1.png", "2.png")).code == "empty"
    assert "outside every class folder" in str(refused(tmp_path / "loose"))
    assert refused(lay_out(tmp_path / "one", "good/1.png", "good/2.png")).code == "one_class"
    single = refused(lay_out(tmp_path / "single", *BASIC, "void/1.png"))
    assert single.code == "too_few"
    assert "'void' has only 1 image" in single.message
    (lay_out(tmp_path / "hollow", *BASIC) / "void").mkdir()
    hollow = refused(tmp_path / "hollow")
    assert hollow.code == "empty_class"
    assert hollow.path is not None
    assert hollow.path.endswith("void")


def test_unknown_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "did you mean elpv" in str(refused("elvp"))
    assert refused(tmp_path / "elpv").code == "unknown_source"  # a Path is never a data set
    (tmp_path / "a.json").write_text("{}")
    assert "neither a folder nor" in str(refused(tmp_path / "a.json"))
    lay_out(tmp_path / "digits", *BASIC)
    assert read_images("./digits").classes == ("good", "crack")
    assert len(read_images("digits").classes) == 10


def test_masks_beside_the_images(tmp_path: Path) -> None:
    root = lay_out(tmp_path, *BASIC, "crack/1_mask.png", "masks/crack/2.bmp")
    table = read_images(root)
    assert len(table) == 4
    assert table.masks == (str(root / "crack/1_mask.png"), str(root / "masks/crack/2.bmp"), None, None)


def test_masks_in_the_layout_of_mvtec(tmp_path: Path) -> None:
    """``ground_truth/<class>/<stem>_mask.png`` beside train and test, file names repeating in every class."""
    names = ["train/good/000.png", "train/good/001.png"]
    names += [f"test/{label}/00{n}.png" for label in ("good", "crack", "void") for n in (0, 1)]
    masks = [f"ground_truth/{label}/00{n}_mask.png" for label in ("crack", "void") for n in (0, 1)]
    table = read_images(lay_out(tmp_path, *names, *masks))
    assert len(table) == 8
    assert table.masks is not None
    for path, label, mask in zip(table.paths, table.labels, table.masks, strict=True):
        stem = Path(path).stem
        expected = None if label == "good" else str(tmp_path / f"ground_truth/{label}/{stem}_mask.png")
        assert mask == expected
    assert table.skipped == {}


def test_masks_without_a_home_are_reported(tmp_path: Path) -> None:
    odd = ("masks/9.png", "masks/1.png", "crack/2_mask.png", "masks/crack/2.png")
    table = read_images(lay_out(tmp_path, *BASIC, *odd))
    assert len(table) == 4
    assert table.skipped == {
        str(tmp_path / "masks/9.png"): "a mask without an image",
        str(tmp_path / "masks/1.png"): "a mask that fits several images",
        str(tmp_path / "masks/crack/2.png"): "a second mask of the same image",
    }


def test_a_class_may_be_called_a_mask(tmp_path: Path) -> None:
    """``with_mask`` is a folder of masks only beside a folder ``with``."""
    names = ("with_mask/1.png", "with_mask/2.png", "without_mask/1.png", "without_mask/2.png")
    table = read_images(lay_out(tmp_path / "faces", *names), good="with_mask")
    assert table.classes == ("with_mask", "without_mask")
    table = read_images(lay_out(tmp_path / "parts", *BASIC, "crack_mask/1.png"))
    assert table.classes == ("good", "crack")
    assert table.masks is not None
    assert table.masks[0] == str(tmp_path / "parts/crack_mask/1.png")


def test_group_by_folder(tmp_path: Path) -> None:
    names = [f"{label}/part{p}/{n}.png" for label in ("good", "crack") for p in (1, 2) for n in (1, 2)]
    table = read_images(lay_out(tmp_path / "a", *names), group_by="folder")
    assert table.group_source == "given: folder"
    # The same part in both classes is the same group.
    assert table.groups == ("part1", "part1", "part2", "part2") * 2
    error = refused(lay_out(tmp_path / "b", *BASIC), group_by="folder")
    assert error.code == "no_group"
    assert "4 of 4" in error.message
    split = [f"{part}/{name}" for part in ("train", "test") for name in names]
    assert set(read_images(lay_out(tmp_path / "c", *split), group_by="folder").groups or ()) == {
        "part1",
        "part2",
    }


def test_group_by_pattern(tmp_path: Path) -> None:
    names = ("good/w7_1.png", "good/w7_2.png", "bad/w8_1.png", "bad/w7_3.png")
    root = lay_out(tmp_path, *names)
    for pattern in (r"(?P<group>w\d+)_", r"/(w\d+)", r"(x)?(?P<group>w\d)"):
        table = read_images(root, group_by=pattern)
        assert table.groups == ("w7", "w8", "w7", "w7")
        assert table.group_source == f"given: pattern {pattern}"
    error = refused(root, group_by=r"good/(w\d)")
    assert error.code == "no_group"
    assert "2 of 4" in error.message
    assert error.path is not None
    assert error.path.endswith("w7_3.png")
    assert refused(root, group_by=r"(w\d").code == "bad_group"
    assert refused(root, group_by="lot").code == "bad_group"
    assert refused(root, group_by=r"w7|(zzz)").code == "no_group"  # matches, but the group is empty


def test_special_files_are_skipped_with_a_reason(tmp_path: Path) -> None:
    """Row 16. Links are followed within the folder only; a folder called x.png is a folder."""
    root = lay_out(tmp_path / "parts", *BASIC)
    made = special_files(root / "crack", tmp_path / "out")
    table = read_images(root)
    assert {Path(path).name for path in table.paths if "/crack/" in path} == {
        "1.png", "2.png", "real.png", "inward.png", "hardlink.png",
    }  # fmt: skip
    reasons = {name: table.skipped.get(str(path)) for name, path in made.items()}
    assert reasons == {
        "fifo": "not a regular file",
        "socket": "not a regular file",
        "device": "not a regular file",
        "dangling": "a link that leads nowhere",
        "loop": "a link that leads nowhere",
        "outward": "a link that leaves the folder",
        "round": "a link to a folder is not followed",
        "inward": None,
        "hardlink": None,
        "folder": None,
    }


def test_classes_that_are_links_are_not_lost_silently(tmp_path: Path) -> None:
    lay_out(tmp_path / "far", "crack/1.png", "crack/2.png")
    root = lay_out(tmp_path / "parts", "good/1.png", "good/2.png")
    (root / "crack").symlink_to(tmp_path / "far/crack")
    error = refused(root)
    assert error.code == "one_class"
    assert "a link to a folder is not followed" in error.message
    (tmp_path / "link").symlink_to(lay_out(tmp_path / "real", *BASIC))
    assert len(read_images(tmp_path / "link")) == 4  # what the user names is followed


def test_awkward_names_come_through(tmp_path: Path) -> None:
    """Row 15: from the folder to the decoder, and through a CSV where the name is text."""
    root = tmp_path / "parts"
    for label in ("good", "crack"):
        lay_out(root, *(f"{label}/{name}" for name in AWKWARD_NAMES))
    table = read_images(root)
    assert {Path(path).name for path in table.paths} == set(AWKWARD_NAMES)
    for path in table.paths:
        assert decode_image(path).shape == (24, 40, 3)
    assert len(table.fingerprint()) == 64

    textual = [path for path in table.paths if path.isprintable() or "\n" in path or "\u202e" in path]
    assert len(textual) == 2 * (len(AWKWARD_NAMES) - 1)  # all but the name that is not UTF-8
    manifest = root / "list.csv"
    with manifest.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label"])
        writer.writerows((os.path.relpath(path, root), Path(path).parent.name) for path in textual)
    again = read_images(manifest)
    assert [os.path.abspath(path) for path in again.paths] == textual


def test_an_error_never_breaks_out_of_its_line(tmp_path: Path) -> None:
    error = refused(tmp_path / "new\nline\x1b[31m.csv")
    assert "\n" not in str(error)
    assert "\x1b" not in str(error)
