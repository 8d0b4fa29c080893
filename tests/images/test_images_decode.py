"""Every odd file: what it decodes to, or the word it is refused with. Rows of the table of bad inputs."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from corpus.builders import FINE, FORMATS, encode, grey, picture, valid
from corpus.make import Case, cases, ranged_cases, special_files, write_corpus
from eyeline.errors import EyelineError, ImageError
from eyeline.images import decode_image

CASES = list(cases())

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


def outcome(
    source: Path | bytes, range: tuple[float, float] | None = None
) -> tuple[str, np.ndarray | None, str]:
    try:
        return "ok", decode_image(source, range=range), ""
    except ImageError as error:
        return error.code, None, str(error)


@pytest.mark.parametrize(
    "case",
    [*CASES, *ranged_cases()],
    ids=lambda case: f"{case.row}-{case.name}{'-ranged' * bool(case.range)}",
)
def test_corpus(case: Case, tmp_path: Path) -> None:
    started = time.monotonic()
    code, pixels, message = outcome(case.data, case.range)
    assert time.monotonic() - started < 1
    assert code in case.codes, message
    assert not re.search("0x[0-9a-f]{4}", message)  # no addresses: the same file always gives the same words
    if pixels is not None and case.pixels is not None:
        assert pixels.dtype == np.uint8
        assert pixels.shape == case.pixels.shape
        difference = np.abs(pixels.astype(int) - case.pixels.astype(int)).max()
        assert difference <= case.tolerance
    # From a file it is the same, and the message names the file.
    path = tmp_path / "some.file"
    path.write_bytes(case.data)
    code_from_file, from_file, message = outcome(path, case.range)
    assert code_from_file == code
    assert from_file is None or np.array_equal(from_file, pixels)
    assert from_file is not None or message.startswith(str(path))


def test_the_corpus_covers_the_rows() -> None:
    assert {case.row for case in CASES} == set(range(1, 15))
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", [c for c in CASES if c.pixels is not None], ids=lambda case: case.name)
def test_grey_is_the_luma_of_the_colours(case: Case) -> None:
    colour = decode_image(case.data, channels=3)
    one = decode_image(case.data, channels=1)
    assert one.shape == (*colour.shape[:2], 1)
    assert np.array_equal(one[:, :, 0], grey(colour))


VARIANTS = {
    **{name: valid(name) for name in FORMATS},
    "baseline 4:2:0": encode(picture(), "JPEG", quality=80),
    "grey JPEG": encode(grey(picture()), "JPEG"),
    "progressive": encode(picture(), "JPEG", progressive=True),
    "restarts": encode(picture(), "JPEG", restart_marker_blocks=1),
    "lossy WebP": encode(picture(), "WEBP"),
    "LZW": encode(picture(), "TIFF", compression="tiff_lzw"),
    "deflate": encode(picture(), "TIFF", compression="tiff_adobe_deflate"),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_cut_file_is_refused_or_whole(name: str) -> None:
    """Cut anywhere, a file is never filled up: it is refused, or every pixel is there."""
    data = VARIANTS[name]
    whole = decode_image(data)
    step = 1 if len(data) < 1200 else 7
    accepted = []
    for end in range(0, len(data), step):
        code, pixels, _ = outcome(data[:end])
        if pixels is None:
            assert code in ("empty", "truncated", "unreadable")
        else:
            assert np.array_equal(pixels, whole)
            accepted.append(len(data) - end)
    if name in ("JPEG", "baseline 4:2:0", "grey JPEG", "restarts"):
        assert accepted == [2, 1]  # the end marker alone may be missing
    elif name != "PNG":  # a PNG whose data is whole ends in a chunk and checksums that carry nothing
        assert accepted == []


def test_pillow_is_never_told_to_fill_up() -> None:
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_a_jpeg_is_decoded_as_pillow_does() -> None:
    data = encode(picture(203, 117), "JPEG", quality=80)
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(decode_image(data), np.asarray(image))


@pytest.mark.parametrize("background", [0, 90, 255])
def test_transparency_lies_on_the_background(background: int) -> None:
    rgba = np.zeros((4, 6, 4), np.uint8)
    rgba[:, :3] = (10, 20, 30, 255)
    for name in ("PNG", "WEBP", "TIFF"):
        data = encode(rgba, name, **({"lossless": True} if name == "WEBP" else {}))
        pixels = decode_image(data, background=background)
        assert (pixels[:, :3] == (10, 20, 30)).all()
        assert (pixels[:, 3:] == background).all()


def test_sixteen_bits_keep_256_levels() -> None:
    """Converting 16-bit grey with Pillow's own ``convert("L")`` clips everything above 255."""
    values = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)
    pixels = decode_image(encode(Image.fromarray(values), "PNG"), channels=1)
    assert len(np.unique(pixels)) == 256
    assert np.abs(pixels[:, :, 0] - values / 257).max() <= 0.5


@pytest.mark.parametrize("dtype", ["uint16", "int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_arrays_of_other_numbers_need_a_range(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.linspace(-20, 1100, int(np.prod(shape))).clip(0 if dtype == "uint16" else -20).astype(dtype)
    array = array.reshape(shape)
    pixels = decode_image(array, range=(0, 1023), channels=shape[-1] if len(shape) == 3 else 1)
    expected = np.rint(np.clip(array.astype(float) / 1023, 0, 1) * 255)
    assert np.array_equal(pixels, expected.reshape(pixels.shape))
    with pytest.raises(ImageError, match="declared range"):
        decode_image(array)
    if dtype.startswith("float"):
        array[2, 3] = np.nan
        with pytest.raises(ImageError, match="NaN"):
            decode_image(array, range=(0, 1023))


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3)])
def test_arrays(shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    colour, one = decode_image(array), decode_image(array, channels=1)
    assert colour.shape == (5, 7, 3)
    assert one.shape == (5, 7, 1)
    if len(shape) == 3 and shape[2] == 3:
        assert np.array_equal(colour, array)
        assert np.array_equal(one[:, :, 0], grey(array))
    else:
        assert (colour == array.reshape(5, 7, 1)).all()
        assert np.array_equal(one, array.reshape(5, 7, 1))
    flipped = array[::-1, ::-1]  # negative strides
    assert np.array_equal(decode_image(flipped), colour[::-1, ::-1])
    colour[:] = 0  # the result is a copy of one's own
    assert array.any()


@pytest.mark.parametrize(
    ("array", "code"),
    [
        (np.zeros((4, 4), np.float32), "unsupported"),
        (np.zeros((4, 4), np.uint16), "unsupported"),
        (np.zeros((4, 4, 4), np.uint8), "unsupported"),
        (np.zeros(4, np.uint8), "unsupported"),
        (np.zeros((1, 4, 4, 3), np.uint8), "unsupported"),
        (np.zeros((0, 4), np.uint8), "empty"),
        (np.zeros((4, 0, 3), np.uint8), "empty"),
    ],
)
def test_arrays_that_are_no_images(array: np.ndarray, code: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode_image(array)
    assert caught.value.code == code


def test_limits_are_inclusive() -> None:
    data = valid("PNG")
    pixels = decode_image(data, max_bytes=len(data), max_pixels=40 * 24)
    assert pixels.shape == (24, 40, 3)
    for limit in ({"max_bytes": len(data) - 1}, {"max_pixels": 40 * 24 - 1}):
        with pytest.raises(ImageError) as caught:
            decode_image(data, **limit)
        assert caught.value.code == "too_large"
        assert f"{next(iter(limit.values())):,}" in caught.value.message
    with pytest.raises(ImageError):
        decode_image(picture(), max_pixels=40 * 24 - 1)


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse.png"
    with path.open("wb") as file:
        file.write(valid("PNG"))
        file.truncate(2**40)  # a terabyte of holes
    started = time.monotonic()
    with pytest.raises(ImageError) as caught:
        decode_image(path)
    assert caught.value.code == "too_large"
    assert time.monotonic() - started < 0.5


def test_channels_are_one_or_three() -> None:
    with pytest.raises(EyelineError, match="channels is 2"):
        decode_image(valid("PNG"), channels=2)


def test_special_files_never_block(tmp_path: Path) -> None:
    """Row 16: each is refused with a reason, at once; links to pictures are pictures."""
    made = special_files(tmp_path / "in", tmp_path / "out")
    expected = {
        "fifo": "unreadable",
        "socket": "unreadable",
        "device": "unreadable",
        "folder": "unreadable",
        "round": "unreadable",
        "dangling": "missing",
        "loop": "unreadable",
        "outward": "ok",
        "inward": "ok",
        "hardlink": "ok",
    }
    found: dict[str, str] = {}
    thread = threading.Thread(
        target=lambda: found.update({name: outcome(path)[0] for name, path in made.items()}), daemon=True
    )
    thread.start()
    thread.join(5)
    assert not thread.is_alive(), "blocked"
    assert found == expected
    assert outcome(tmp_path / "nowhere.png")[0] == "missing"
    assert outcome(tmp_path / "nul\0byte.png")[0] == "unreadable"


def test_threads_see_the_same_pixels() -> None:
    sound = [case.data for case in CASES if case.pixels is not None] * 2
    alone = [decode_image(data).tobytes() for data in sound]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda data: decode_image(data).tobytes(), sound))
    assert together == alone


def test_bombs_take_neither_memory_nor_time(tmp_path: Path) -> None:
    """Row 11, in a process of its own: resident memory rises by less than 50 MB."""
    bombs = [path for path, case in write_corpus(tmp_path).items() if case.row == 11]
    program = """
import resource, sys, time
from eyeline.images import decode_image
from eyeline.errors import ImageError
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    decode_image(b"BM")
except ImageError:
    pass
before = peak()
for path in sys.argv[1:]:
    started = time.monotonic()
    try:
        decode_image(path)
    except ImageError:
        pass
    assert time.monotonic() - started < 1, path
    assert peak() - before < 50_000, (path, peak() - before)
"""
    assert len(bombs) >= 10
    subprocess.run([sys.executable, "-W", "ignore", "-c", program, *map(str, bombs)], check=True, timeout=60)


def test_exif_turns_once_whatever_the_bit_depth_or_compression() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = np.rot90(grey(picture()))
    for mode, array in (("L", stored), ("I;16", stored.astype(np.uint16) * 257)):
        for name, options in (
            ("TIFF", {}),
            ("TIFF", {"compression": "tiff_lzw"}),
            ("PNG", {}),
            ("JPEG", FINE),
        ):
            if mode == "I;16" and name == "JPEG":
                continue
            data = encode(Image.fromarray(np.ascontiguousarray(array)), name, exif=exif, **options)
            pixels = decode_image(data, channels=1)[:, :, 0]
            assert pixels.shape == (24, 40), (mode, name, options)
            assert np.abs(pixels.astype(int) - grey(picture())).max() <= (8 if name == "JPEG" else 0)
