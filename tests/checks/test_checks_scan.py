"""One pass over all pictures: the same decoder as training, recalled the next time, never lost as a whole."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter
from scipy.ndimage import laplace

from corpus.builders import encode, grey, picture
from corpus.make import write_corpus
from eyeline.checks.measure import sharpness_of
from eyeline.checks.scan import Scan, scan_images
from eyeline.errors import EyelineError, ImageError
from eyeline.images import DecodeOptions, ImageTable, decode_image, prepare_image, read_images

THUMBNAIL = DecodeOptions(image_size=(64, 64), channels=1)


def table_of(paths: list[Path]) -> ImageTable:
    names = tuple(str(path) for path in paths)
    return ImageTable(name="some", paths=names, labels=("good",) * len(names), classes=("good",), good="good")


def photos(root: Path, number: int = 12) -> ImageTable:
    root.mkdir(parents=True, exist_ok=True)
    paths = []
    for row in range(number):
        paths.append(root / f"{row:02d}.png")
        paths[-1].write_bytes(encode(np.roll(picture(90, 70), 3 * row, axis=1), "PNG"))
    return table_of(paths)


class Stages:
    """Remembers what it was told, and may pull the plug."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.calls: list[tuple[str, int, int, str]] = []
        self.stop_at = stop_at

    def __call__(self, stage: str, done: int, total: int, note: str) -> None:
        self.calls.append((stage, done, total, note))
        if done == self.stop_at:
            raise KeyboardInterrupt


def decoded(path: Path) -> tuple[np.ndarray | None, ImageError | None]:
    try:
        return decode_image(path), None
    except ImageError as error:
        return None, error


def same(one: Scan, other: Scan) -> bool:
    return all(
        np.array_equal(value, vars(other)[name])
        if isinstance(value, np.ndarray)
        else value == vars(other)[name]
        for name, value in vars(one).items()
        if name != "errors"
    ) and {row: e.one_line() for row, e in one.errors.items()} == {
        row: e.one_line() for row, e in other.errors.items()
    }


def test_every_figure_is_what_numpy_says(tmp_path: Path) -> None:
    table = photos(tmp_path / "in")
    scan = scan_images(table, folder=tmp_path / "scans")
    assert len(scan) == 12
    assert scan.usable.all()
    assert scan.errors == {}
    for row in range(12):
        path = Path(table.paths[row])
        levels = decode_image(path, channels=1)[:, :, 0]
        assert np.array_equal(scan.thumbnails[row], prepare_image(path, THUMBNAIL)[:, :, 0])
        assert (scan.width[row], scan.height[row]) == (90, 70)
        assert scan.mean[row] == pytest.approx(levels.mean())
        assert scan.deviation[row] == pytest.approx(levels.std())
        assert scan.dark[row] == pytest.approx((levels <= 2).mean())
        assert scan.bright[row] == pytest.approx((levels >= 253).mean())
        assert scan.content_digests[row] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert scan.bytes[row] == path.stat().st_size
        assert scan.modified[row] == path.stat().st_mtime_ns
        grey_levels = levels.astype(float)
        tiles = [
            grey_levels[y : y + 16, x : x + 16].var() for y in range(0, 64, 16) for x in range(0, 80, 16)
        ]
        expected = laplace(grey_levels)[1:-1, 1:-1].var() / np.mean(tiles)
        assert scan.sharpness[row] == pytest.approx(expected, rel=1e-4)
    assert set(scan.mode) == {"RGB"}
    assert set(scan.format) == {"PNG"}
    assert not scan.grey.any()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_whole_corpus_as_training_sees_it(tmp_path: Path) -> None:
    """Every odd file: the code and the message of decode_image, or the very pixels of prepare_image."""
    written = write_corpus(tmp_path / "odd")
    table = table_of(list(written))
    for _ in range(2):  # measured, then recalled
        scan = scan_images(table, folder=tmp_path / "scans")
        for row, path in enumerate(written):
            pixels, refusal = decoded(path)
            assert scan.usable[row] == (refusal is None), path
            if pixels is None:
                assert refusal is not None
                assert scan.errors[row].code == refusal.code
                assert scan.errors[row].one_line() == refusal.one_line()
                assert not scan.thumbnails[row].any()
                continue
            assert (scan.height[row], scan.width[row]) == pixels.shape[:2]
            assert np.array_equal(scan.thumbnails[row], prepare_image(path, THUMBNAIL)[:, :, 0]), path
            assert scan.grey[row] == (np.ptp(pixels, axis=2) == 0).all()


def test_pixel_digests_see_the_picture_and_not_the_file(tmp_path: Path) -> None:
    colour, level = picture(), grey(picture())
    files = {
        "a.png": encode(colour, "PNG"),
        "b.bmp": encode(colour, "BMP"),
        "c.tif": encode(colour, "TIFF"),
        "d.png": encode(level, "PNG"),
        "e.png": encode(np.repeat(level[:, :, None], 3, axis=2), "PNG"),
        "f.png": encode(colour[:, ::-1], "PNG"),
        "g.png": encode(level.T, "PNG"),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    scan = scan_images(table_of([tmp_path / name for name in files]), folder=tmp_path / "scans")
    a, b, c, d, e, f, g = scan.pixel_digests
    assert a == b == c
    assert d == e
    assert len({a, d, f, g}) == 4
    assert len(set(scan.content_digests)) == 7
    assert scan.grey.tolist() == [False, False, False, True, True, False, True]
    assert scan.mode == ("RGB", "RGB", "RGB", "L", "RGB", "RGB", "L")


def test_formats_modes_and_extensions(tmp_path: Path) -> None:
    level = grey(picture())
    files = {
        "right.JPEG": (encode(level, "JPEG"), "JPEG", "L", True),
        "wrong.jpg": (encode(level, "PNG"), "PNG", "L", False),
        "wrong.gif": (encode(level, "PNG"), "PNG", "L", False),
        "none": (encode(level, "PNG"), "PNG", "L", True),
        "strange.dat": (encode(level, "BMP"), "BMP", "L", True),
        "deep.png": (encode(level.astype(np.uint16) * 257, "PNG"), "PNG", "I;16", True),
        "alpha.tiff": (encode(Image.fromarray(picture()).convert("RGBA"), "TIFF"), "TIFF", "RGBA", True),
        "inks.jpg": (encode(Image.fromarray(picture()).convert("CMYK"), "JPEG"), "JPEG", "CMYK", True),
        "web.webp": (encode(picture(), "WEBP"), "WEBP", "RGB", True),
    }
    for name, (data, *_) in files.items():
        (tmp_path / name).write_bytes(data)
    scan = scan_images(table_of([tmp_path / name for name in files]), folder=tmp_path / "scans")
    found = zip(scan.format, scan.mode, scan.extension_agrees.tolist(), strict=True)
    assert list(found) == [tuple(expected) for _, *expected in files.values()]


def test_pictures_in_memory(tmp_path: Path) -> None:
    table = read_images("digits").select(range(100))
    scan = scan_images(table, folder=tmp_path)
    assert set(scan.format) == {"memory"}
    assert set(scan.mode) == {"L"}
    assert not scan.modified.any()
    assert scan.extension_agrees.all()
    assert np.array_equal(scan.thumbnails[7], prepare_image(table.source(7), THUMBNAIL)[:, :, 0])
    stages = Stages()
    again = scan_images(table.select(range(99, -1, -1)), folder=tmp_path, progress=stages)
    assert stages.calls == [("scanning", 100, 100, "recalled")]
    assert np.array_equal(again.thumbnails[::-1], scan.thumbnails)


def test_the_second_scan_measures_nothing(tmp_path: Path) -> None:
    table = photos(tmp_path / "in")
    (tmp_path / "in" / "05.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    first = scan_images(table, folder=tmp_path / "scans")
    stages = Stages()
    assert same(first, scan_images(table, folder=tmp_path / "scans", progress=stages))
    assert stages.calls == [("scanning", 12, 12, "recalled")]
    assert first.errors[5].code == "truncated"
    assert not first.usable[5]


def test_a_folder_may_grow_and_change(tmp_path: Path) -> None:
    table = photos(tmp_path / "in", 10)
    scan_images(table, folder=tmp_path / "scans")
    changed = Path(table.paths[3])
    data, old = encode(picture(90, 70)[::-1], "PNG"), changed.stat()
    changed.write_bytes(data)
    os.utime(changed, ns=(old.st_atime_ns, old.st_mtime_ns))  # it pretends to be as old as before
    (tmp_path / "in" / "10.png").write_bytes(encode(picture(90, 70)[:, ::-1], "PNG"))
    grown = table_of(sorted((tmp_path / "in").iterdir()))
    stages = Stages()
    scan = scan_images(grown, folder=tmp_path / "scans", progress=stages)
    assert [call[1] for call in stages.calls] == [9, 10, 11]
    assert scan.content_digests[3] == hashlib.sha256(data).hexdigest()
    assert same(scan, scan_images(grown, folder=tmp_path / "fresh"))


def test_a_file_that_cannot_be_read_is_tried_again(tmp_path: Path) -> None:
    table = photos(tmp_path / "in", 4)
    path = Path(table.paths[1])
    data = path.read_bytes()
    path.unlink()
    scan = scan_images(table, folder=tmp_path / "scans")
    assert scan.errors[1].code == "missing"
    assert scan.content_digests[1] == ""
    path.write_bytes(data)
    assert scan_images(table, folder=tmp_path / "scans").usable.all()


def test_interrupted_loses_nothing(tmp_path: Path) -> None:
    table = photos(tmp_path / "in")
    with pytest.raises(KeyboardInterrupt):
        scan_images(table, folder=tmp_path / "scans", progress=Stages(stop_at=7))
    stages = Stages()
    scan = scan_images(table, folder=tmp_path / "scans", progress=stages)
    assert stages.calls[0][1] == 7
    assert same(scan, scan_images(table, folder=tmp_path / "fresh"))


KILLED = """
import sys, time
from pathlib import Path
import eyeline.checks.scan as room
from eyeline.images import ImageTable
room._SHARD_ROWS = 4
paths = tuple(sorted(str(p) for p in Path(sys.argv[1]).iterdir()))
table = ImageTable(name="some", paths=paths, labels=("good",) * len(paths), classes=("good",), good="good")
def slow(stage, done, total, note):
    print(done, flush=True)
    time.sleep(60 if done == 10 else 0)
room.scan_images(table, folder=Path(sys.argv[2]), progress=slow)
"""


def test_killed_loses_one_shard_at_most(tmp_path: Path) -> None:
    table = photos(tmp_path / "in")
    command = [sys.executable, "-c", KILLED, tmp_path / "in", tmp_path / "scans"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == "10":
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    stages = Stages()
    scan = scan_images(table, folder=tmp_path / "scans", progress=stages)
    assert stages.calls[0][1] == 8
    assert same(scan, scan_images(table, folder=tmp_path / "fresh"))


@pytest.mark.parametrize("damage", ["short", "garbage", "flipped", "shape", "empty"])
def test_a_damaged_shard_is_measured_again(tmp_path: Path, damage: str) -> None:
    table = photos(tmp_path / "in", 4)
    good = scan_images(table, folder=tmp_path / "scans")
    (shard,) = (tmp_path / "scans").rglob("*.npz")
    data = shard.read_bytes()
    if damage == "short":
        shard.write_bytes(data[:-200])
    elif damage == "garbage":
        shard.write_bytes(b"not an archive")
    elif damage == "flipped":
        middle = len(data) // 2
        shard.write_bytes(data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :])
    elif damage == "shape":
        np.savez(shard, rows=np.zeros(3), thumbnails=np.zeros(3), errors=np.zeros(3))
    else:
        shard.write_bytes(b"")
    stages = Stages()
    assert same(good, scan_images(table, folder=tmp_path / "scans", progress=stages))
    assert stages.calls[0][1] == 0
    assert not shard.exists()


def test_shards_hold_no_pickle(tmp_path: Path) -> None:
    scan_images(photos(tmp_path / "in", 4), folder=tmp_path / "scans")
    (shard,) = (tmp_path / "scans").rglob("*.npz")
    with np.load(shard, allow_pickle=False) as content:
        assert {content[name].dtype.hasobject for name in content.files} == {False}
    json.dumps(sorted(content.files))


def test_a_full_disk_and_no_images(tmp_path: Path) -> None:
    table = photos(tmp_path / "in", 4)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, limits[1]))
    try:
        with pytest.raises(EyelineError) as caught:
            scan_images(table, folder=tmp_path / "scans")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.code == "write_failed"
    assert list((tmp_path / "scans").rglob("*.npz")) == []
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EyelineError) as caught:
        scan_images(table, folder=tmp_path / "file")
    assert caught.value.code == "write_failed"
    with pytest.raises(EyelineError, match="no images"):
        scan_images(table.select([]), folder=tmp_path)


def test_it_sees_what_training_will_see(tmp_path: Path) -> None:
    """A float file needs a range, a region hides what is outside, and each way of reading has its own scan."""
    values = np.linspace(-3, 5, 40 * 60, dtype=np.float32).reshape(40, 60)
    (tmp_path / "float.tif").write_bytes(encode(values, "TIFF"))
    table = table_of([tmp_path / "float.tif"])
    assert scan_images(table, folder=tmp_path / "scans").errors[0].code == "unsupported"
    decode = DecodeOptions(image_size=(64, 64), channels=1, range=(-3, 5), region=(0, 0, 0.5, 0.5))
    for _ in range(2):
        scan = scan_images(table, decode=decode, folder=tmp_path / "scans")
        assert scan.usable.all()
        assert (scan.width[0], scan.height[0]) == (30, 20)
        assert np.array_equal(scan.thumbnails[0], prepare_image(table.source(0), decode)[:, :, 0])
    assert not scan_images(table, folder=tmp_path / "scans").usable.any()


def test_where_shards_live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EYELINE_CACHE", str(tmp_path / "cache"))
    scan_images(photos(tmp_path / "in", 2))
    assert len(list((tmp_path / "cache" / "scans").rglob("*.npz"))) == 1


@settings(max_examples=25, deadline=None)
@given(gain=st.floats(0.2, 1.0), offset=st.integers(0, 40), seed=st.integers(0, 100))
def test_sharpness_does_not_depend_on_contrast(gain: float, offset: int, seed: int) -> None:
    levels = np.random.default_rng(seed).integers(0, 200, (80, 80)).astype(float)
    first = sharpness_of(Image.fromarray(levels.astype(np.uint8)))
    second = sharpness_of(Image.fromarray(np.rint(gain * levels + offset).astype(np.uint8)))
    assert second == pytest.approx(first, rel=0.05)


def test_sharpness_of_known_pictures() -> None:
    """White noise: the Laplacian's weights squared are 4 * 1 + 16 = 20. Blur lowers it, flat has none."""
    noise = np.random.default_rng(0).normal(128, 30, (256, 256)).clip(0, 255)
    assert sharpness_of(Image.fromarray(noise.astype(np.uint8))) == pytest.approx(20, rel=0.03)
    values = [
        sharpness_of(Image.fromarray(noise.astype(np.uint8)).filter(ImageFilter.GaussianBlur(radius)))
        for radius in (0, 0.5, 1, 1.5, 2)
    ]
    assert values == sorted(values, reverse=True)
    assert values[-1] < values[0] / 30
    assert sharpness_of(Image.new("L", (100, 100), 77)) == 0
    assert sharpness_of(Image.new("L", (2, 100), 77)) == 0
    # The same scene at twice and four times the size has the same sharpness, within the resampling.
    scene = Image.fromarray(noise.astype(np.uint8)).filter(ImageFilter.GaussianBlur(2))
    large = scene.resize((1024, 1024), Image.Resampling.BICUBIC)
    assert sharpness_of(large) == pytest.approx(sharpness_of(scene), rel=0.35)


@pytest.mark.slow
def test_it_is_fast_enough(tmp_path: Path) -> None:
    """100,000 pictures in ten minutes are 167 a second; solar cells of 300 by 300."""
    table = read_images("elpv").select(range(800))
    start = time.process_time()
    scan_images(table, folder=tmp_path)
    assert 2 * 800 / (time.process_time() - start) > 167  # of two processors, whatever else they do
