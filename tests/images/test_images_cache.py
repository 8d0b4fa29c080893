"""Pixels are decoded once and found again; nothing half-written is ever left."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from corpus.builders import encode, picture, valid
from corpus.make import write_corpus
from eyeline.errors import EyelineError
from eyeline.images import DecodeOptions, ImageTable, cache_folder, open_cache, prepare_image, read_images

OPTIONS = DecodeOptions(image_size=(20, 30))


def photos(root: Path, number: int = 12, broken: int = 0) -> ImageTable:
    for row in range(number):
        path = root / ("good" if row % 2 else "bad") / f"{row:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        data = encode(np.roll(picture(), row, axis=1), "PNG")
        path.write_bytes(data if row >= broken else data[:60])
    return read_images(root)


class Stages:
    """Remembers what it was told."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.calls: list[tuple[str, int, int, str]] = []
        self.stop_at = stop_at

    def __call__(self, stage: str, done: int, total: int, note: str) -> None:
        self.calls.append((stage, done, total, note))
        if done == self.stop_at:
            raise KeyboardInterrupt


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def test_rows_are_what_prepare_image_gives(tmp_path: Path) -> None:
    table = photos(tmp_path / "in")
    stages = Stages()
    cache = open_cache(table, OPTIONS, folder=tmp_path / "cache", progress=stages)
    assert isinstance(cache.pixels, np.memmap)
    assert cache.pixels.shape == (12, 20, 30, 3)
    assert cache.pixels.dtype == np.uint8
    for row in range(12):
        assert np.array_equal(cache.pixels[row], prepare_image(table.source(row), OPTIONS))
    assert cache.usable.all()
    assert cache.errors == {}
    assert [call[:3] for call in stages.calls] == [("decoding", done, 12) for done in range(13)]
    with pytest.raises(ValueError, match="read-only"):
        cache.pixels[0] = 0


@pytest.mark.parametrize("side", [7, 64, 224, 300])
@pytest.mark.parametrize("resize", ["squash", "letterbox", "fit"])
def test_training_and_runtime_see_the_same_pixels(tmp_path: Path, side: int, resize: str) -> None:
    """What was trained on (the cache) and what is judged (bytes from a camera) is equal to the last bit."""
    rng = np.random.default_rng(side)
    for row, (name, options) in enumerate(
        [("PNG", {}), ("JPEG", {"quality": 80}), ("WEBP", {}), ("TIFF", {}), ("BMP", {}), ("PNG", {})]
    ):
        path = tmp_path / "in" / ("good" if row % 2 else "bad") / f"{row}.{name.lower()}"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = rng.integers(0, 256, (int(rng.integers(20, 400)), int(rng.integers(20, 400)), 3))
        path.write_bytes(encode(noise.astype(np.uint8), name, **options))
    table = read_images(tmp_path / "in")
    options = DecodeOptions(image_size=(side, side + 1), resize=resize, region=(0.1, 0.0, 0.9, 1.0))
    cache = open_cache(table, options, folder=tmp_path / "cache")
    for row, path in enumerate(table.paths):
        assert np.array_equal(cache.pixels[row], prepare_image(Path(path).read_bytes(), options))


def test_which_library_decoded_is_recorded(tmp_path: Path) -> None:
    for row, data in enumerate(
        [valid("JPEG"), valid("PNG"), encode(picture(), "JPEG", progressive=True), valid("JPEG")[:300]]
    ):
        path = tmp_path / "in" / ("good" if row % 2 else "bad") / f"{row}.img.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    table = read_images(tmp_path / "in")
    for _ in range(2):  # built, then found
        cache = open_cache(table, OPTIONS, folder=tmp_path / "cache", max_bad=1)
        assert cache.decoders == {"pillow": 1, "simplejpeg": 2}
    digits = read_images("digits").select(range(9))
    assert open_cache(digits, OPTIONS, folder=tmp_path / "cache").decoders == {"none": 9}


def test_digests_are_those_of_the_files(tmp_path: Path) -> None:
    import hashlib

    table = photos(tmp_path / "in", 4)
    cache = open_cache(table, OPTIONS, folder=tmp_path / "cache")
    assert cache.digests == tuple(hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in table.paths)


def test_the_second_time_nothing_is_decoded(tmp_path: Path) -> None:
    table = photos(tmp_path / "in")
    first = open_cache(table, OPTIONS, folder=tmp_path / "cache")
    stages = Stages()
    second = open_cache(table, OPTIONS, folder=tmp_path / "cache", progress=stages)
    assert stages.calls == []
    assert np.array_equal(first.pixels, second.pixels)
    assert first.digests == second.digests


@pytest.mark.parametrize(
    "options",
    [
        DecodeOptions(image_size=(20, 31)),
        DecodeOptions(image_size=(20, 30), channels=1),
        DecodeOptions(image_size=(20, 30), resize="letterbox"),
        DecodeOptions(image_size=(20, 30), background=1),
        DecodeOptions(image_size=(20, 30), resize="fit"),
        DecodeOptions(image_size=(20, 30), region=(0, 0, 0.5, 1)),
    ],
)
def test_other_options_have_their_own_entry(tmp_path: Path, options: DecodeOptions) -> None:
    table = photos(tmp_path / "in", 4)
    open_cache(table, OPTIONS, folder=tmp_path / "cache")
    cache = open_cache(table, options, folder=tmp_path / "cache")
    assert np.array_equal(cache.pixels[1], prepare_image(table.source(1), options))
    assert len(entries(tmp_path / "cache")) == 2


def test_a_changed_file_is_seen(tmp_path: Path) -> None:
    """Even if it has the same size and pretends to be as old as before."""
    table = photos(tmp_path / "in", 4)
    path = Path(table.paths[2])
    path.write_bytes(encode(picture(), "BMP"))
    old = path.stat()
    before = np.array(open_cache(table, OPTIONS, folder=tmp_path / "cache").pixels)
    path.write_bytes(encode(255 - picture(), "BMP"))
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert path.stat().st_size == old.st_size
    after = open_cache(table, OPTIONS, folder=tmp_path / "cache")
    assert not np.array_equal(before[2], after.pixels[2])
    assert np.array_equal(before[3], after.pixels[3])


def test_a_moved_folder_shares_the_entry(tmp_path: Path) -> None:
    table = photos(tmp_path / "in", 4)
    open_cache(table, OPTIONS, folder=tmp_path / "cache")
    shutil.copytree(tmp_path / "in", tmp_path / "copy")
    cache = open_cache(read_images(tmp_path / "copy"), OPTIONS, folder=tmp_path / "cache")
    assert len(entries(tmp_path / "cache")) == 1
    assert len(list((tmp_path / "cache").glob("*.json"))) == 2
    assert np.array_equal(cache.pixels[0], prepare_image(table.source(0), OPTIONS))


def test_an_entry_can_be_read_by_others(tmp_path: Path) -> None:
    old = os.umask(0o022)
    try:
        open_cache(photos(tmp_path / "in", 4), OPTIONS, folder=tmp_path / "cache")
    finally:
        os.umask(old)
    for path in (tmp_path / "cache").rglob("*"):
        assert path.stat().st_mode & 0o044 == 0o044, path


def test_no_images_at_all(tmp_path: Path) -> None:
    with pytest.raises(EyelineError, match="no images"):
        open_cache(photos(tmp_path / "in", 4).select([]), OPTIONS, folder=tmp_path / "cache")


def test_images_in_memory(tmp_path: Path) -> None:
    table = read_images("digits").select(range(50))
    options = DecodeOptions(image_size=(16, 16), channels=1)
    cache = open_cache(table, options, folder=tmp_path)
    assert np.array_equal(cache.pixels[7], prepare_image(table.source(7), options))
    stages = Stages()
    open_cache(table, options, folder=tmp_path, progress=stages)
    assert stages.calls == []
    assert table.pixels is not None
    other = table.select(range(49, -1, -1))
    assert np.array_equal(open_cache(other, options, folder=tmp_path).pixels[0], cache.pixels[49])


def test_few_bad_files_are_listed(tmp_path: Path) -> None:
    table = photos(tmp_path / "in", 20, broken=2)
    stages = Stages()
    for _ in range(2):  # built, then found
        cache = open_cache(table, OPTIONS, folder=tmp_path / "cache", max_bad=0.1, progress=stages)
        bad = [row for row, path in enumerate(table.paths) if Path(path).stem in ("00", "01")]
        assert sorted(cache.errors) == bad
        assert np.flatnonzero(~cache.usable).tolist() == bad
        for row in bad:
            assert cache.errors[row].code == "truncated"
            assert cache.errors[row].message == "the PNG file is cut short"
            assert str(cache.errors[row]).startswith(table.paths[row])
            assert not cache.pixels[row].any()
    assert stages.calls[-1] == ("decoding", 20, 20, "2 unusable")


def test_many_bad_files_stop_the_job(tmp_path: Path) -> None:
    table = photos(tmp_path / "in", 20, broken=5)
    with pytest.raises(EyelineError) as caught:
        open_cache(table, OPTIONS, folder=tmp_path / "cache")
    error = caught.value
    assert error.code == "too_many_bad"
    assert "5 of 20 images (25.0%) cannot be used, more than 1.0%" in error.message
    assert "cut short" in error.message
    assert "and 2 more" in error.message
    assert "--max-bad" in str(error)
    stages = Stages()  # allowing more does not decode again
    open_cache(table, OPTIONS, folder=tmp_path / "cache", max_bad=0.25, progress=stages)
    assert stages.calls == []
    with pytest.raises(EyelineError, match="share from 0 to 1"):
        open_cache(table, OPTIONS, folder=tmp_path / "cache", max_bad=5)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_whole_corpus_goes_through(tmp_path: Path) -> None:
    """Every odd file of the corpus in one folder: each is usable, or listed with the code of its row."""
    written = write_corpus(tmp_path / "odd")
    paths = tuple(str(path) for path in written)
    table = ImageTable(name="odd", paths=paths, labels=("good",) * len(paths), classes=("good",), good="good")
    cache = open_cache(table, OPTIONS, folder=tmp_path / "cache", max_bad=1)
    for row, case in enumerate(written.values()):
        code = cache.errors[row].code if row in cache.errors else "ok"
        assert code in case.codes, case.name
        if case.pixels is not None and case.tolerance == 0:
            assert np.array_equal(cache.pixels[row], prepare_image(case.pixels, OPTIONS)), case.name


def test_a_file_that_cannot_be_read_is_tried_again(tmp_path: Path) -> None:
    table = photos(tmp_path / "in", 4)
    path = Path(table.paths[0])
    data = path.read_bytes()
    path.unlink()
    cache = open_cache(table, OPTIONS, folder=tmp_path / "cache", max_bad=1)
    assert cache.errors[0].code == "missing"
    assert cache.digests[0] == "!missing"
    path.write_bytes(data)
    assert open_cache(table, OPTIONS, folder=tmp_path / "cache").usable.all()


def test_interrupted_leaves_nothing(tmp_path: Path) -> None:
    table = photos(tmp_path / "in")
    threads = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        open_cache(table, OPTIONS, folder=tmp_path / "cache", progress=Stages(stop_at=5))
    assert list((tmp_path / "cache").iterdir()) == []
    assert threading.active_count() == threads
    assert open_cache(table, OPTIONS, folder=tmp_path / "cache").usable.all()


def test_a_file_size_limit_is_one_clear_line(tmp_path: Path) -> None:
    """The kernel refuses to write more than 8 kB: as on a full disk, the write itself fails."""
    table = photos(tmp_path / "in")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, limits[1]))
    try:
        with pytest.raises(EyelineError) as caught:
            open_cache(table, OPTIONS, folder=tmp_path / "cache")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.code == "write_failed"
    assert "EYELINE_CACHE" in str(caught.value)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some file systems say that they are full only when asked to keep their promise."""

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    table = photos(tmp_path / "in", 4)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EyelineError, match="No space left on device") as caught:
        open_cache(table, OPTIONS, folder=tmp_path / "cache")
    assert caught.value.code == "write_failed"
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_cache_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EyelineError) as caught:
        open_cache(photos(tmp_path / "in", 4), OPTIONS, folder=tmp_path / "file" / "cache")
    assert caught.value.code == "write_failed"


@pytest.mark.parametrize("damage", ["short", "gone", "garbage", "shape", "index", "json"])
def test_a_damaged_entry_is_built_again(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "cache"
    table = photos(tmp_path / "in", 4)
    good = np.array(open_cache(table, OPTIONS, folder=folder).pixels)
    entry = folder / entries(folder)[0]
    if damage == "short":
        os.truncate(entry / "pixels.npy", 500)
    elif damage == "gone":
        (entry / "pixels.npy").unlink()
    elif damage == "garbage":
        (entry / "pixels.npy").write_bytes(b"not an array")
    elif damage == "shape":
        np.save(entry / "pixels.npy", good[:2])
    elif damage == "index":
        next(folder.glob("*.json")).write_text(json.dumps({"entry": "../../elsewhere"}))
    else:
        (entry / "entry.json").write_text("{")
    stages = Stages()
    cache = open_cache(table, OPTIONS, folder=folder, progress=stages)
    assert stages.calls
    assert np.array_equal(cache.pixels, good)
    assert entries(folder) == [entry.name]


def test_leftovers_of_killed_processes_go_after_a_day(tmp_path: Path) -> None:
    for name, hours in ((".building-old", 30), (".building-young", 1)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "pixels.npy").write_bytes(b"half")
        then = time.time() - hours * 3600
        os.utime(tmp_path / name, (then, then))
    open_cache(photos(tmp_path / "in", 4), OPTIONS, folder=tmp_path)
    assert not (tmp_path / ".building-old").exists()
    assert (tmp_path / ".building-young").exists()


def test_two_at_once(tmp_path: Path) -> None:
    table = photos(tmp_path / "in")
    barrier = threading.Barrier(4)
    results: list[np.ndarray] = []

    def work() -> None:
        barrier.wait()
        results.append(np.array(open_cache(table, OPTIONS, folder=tmp_path / "cache").pixels))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert all(np.array_equal(result, results[0]) for result in results)
    assert len(entries(tmp_path / "cache")) == 1


def test_where_the_cache_lives(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EYELINE_CACHE", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here"
    table = photos(tmp_path / "in", 4)
    open_cache(table, OPTIONS)
    assert len(entries(tmp_path / "here")) == 1
    monkeypatch.delenv("EYELINE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    for platform, expected in (
        ("linux", tmp_path / "xdg/eyeline"),
        ("darwin", tmp_path / "Library/Caches/eyeline"),
        ("win32", tmp_path / "local/eyeline"),
    ):
        monkeypatch.setattr(sys, "platform", platform)
        assert cache_folder() == expected
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(sys, "platform", "linux")
    assert cache_folder() == tmp_path / ".cache/eyeline"
