"""simplejpeg makes the pixels where they are Pillow's, bit for bit, and notices what Pillow passes."""

from __future__ import annotations

import io

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from corpus.builders import encode, find_frame, grey, patch, picture, valid
from eyeline.errors import ImageError
from eyeline.images import decode_image, decoder_of

NOISE = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)


def by_pillow(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


@settings(max_examples=300, deadline=None)
@given(
    height=st.integers(1, 120),
    width=st.integers(1, 120),
    quality=st.integers(1, 100),
    kind=st.sampled_from(["4:4:4", "4:2:2", "4:2:0", "grey"]),
    noise=st.floats(0, 1),
    progressive=st.booleans(),
    optimize=st.booleans(),
    restarts=st.sampled_from([0, 1, 3]),
)
def test_the_pixels_are_those_of_pillow(
    height: int,
    width: int,
    quality: int,
    kind: str,
    noise: float,
    progressive: bool,
    optimize: bool,
    restarts: int,
) -> None:
    source = (picture(width, height) * (1 - noise) + NOISE[:height, :width] * noise).astype(np.uint8)
    data = encode(
        grey(source) if kind == "grey" else source,
        "JPEG",
        quality=quality,
        progressive=progressive,
        optimize=optimize,
        restart_marker_blocks=restarts,
        **({} if kind == "grey" else {"subsampling": kind}),
    )
    assert decoder_of(data) == "simplejpeg"
    expected = by_pillow(data)
    found = decode_image(data, channels=1 if kind == "grey" else 3)
    assert np.array_equal(found, expected.reshape(found.shape))


@settings(max_examples=100, deadline=None)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    quality=st.integers(1, 100),
    kind=st.sampled_from(["444", "422", "420", "440", "411"]),
)
def test_the_pixels_of_another_encoder(height: int, width: int, quality: int, kind: str) -> None:
    source = np.ascontiguousarray(NOISE[:height, :width])
    data = simplejpeg.encode_jpeg(source, quality, "RGB", kind)
    assert decoder_of(data) == "simplejpeg"
    assert np.array_equal(decode_image(data), by_pillow(data))


@pytest.mark.parametrize("mode", ["4:4:4", "4:2:2", "4:2:0", "grey"])
def test_a_large_picture(mode: str) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (1203, 1601, 3), dtype=np.uint8)
    data = encode(grey(noise), "JPEG") if mode == "grey" else encode(noise, "JPEG", subsampling=mode)
    expected = by_pillow(data)
    found = decode_image(data, channels=1 if mode == "grey" else 3)
    assert np.array_equal(found, expected.reshape(found.shape))


def test_which_kinds_pillow_decodes() -> None:
    data = valid("JPEG")
    cmyk = encode(Image.new("CMYK", (16, 16), (9, 99, 199, 50)), "JPEG")
    twice = patch(data, find_frame(data) + 14, b"\x21")  # Cb wider than Y
    for other in (cmyk, twice, valid("PNG"), b"", b"\xff\xd8\xff", data[:50]):
        assert decoder_of(other) == "pillow"
    assert decoder_of(data) == "simplejpeg"


def code_of(data: bytes) -> str:
    try:
        decode_image(data)
    except ImageError as error:
        return error.code
    return "ok"


def flips(data: bytes, count: int, seed: int = 0) -> list[bytes]:
    """Copies with one bit flipped somewhere inside the scan, none of which makes a marker."""
    rng = np.random.default_rng(seed)
    start = data.index(b"\xff\xda") + 14
    spoiled = []
    while len(spoiled) < count:
        at, bit = int(rng.integers(start, len(data) - 2)), int(rng.integers(8))
        byte = data[at] ^ (1 << bit)
        if 0xFF not in (byte, data[at], data[at - 1]):
            spoiled.append(patch(data, at, bytes([byte])))
    return spoiled


@pytest.mark.parametrize("kind", ["colour", "grey"])
def test_flipped_bits_are_noticed_where_libjpeg_notices(kind: str) -> None:
    """Pillow passes every one of them without a word. Where the picture comes out, nothing was left to notice."""
    source = NOISE[:96, :128] // 2 + picture(128, 96) // 2
    data = encode(source if kind == "colour" else grey(source), "JPEG", quality=90)
    refused = 0
    for spoiled in flips(data, 150):
        by_pillow(spoiled)
        try:
            simplejpeg.decode_jpeg(spoiled, "RGB", strict=True)
            noticed = ""
        except ValueError as error:
            noticed = str(error)
        code = code_of(spoiled)
        if code == "ok":
            assert not noticed or "extraneous" in noticed
        else:
            assert code == "unreadable"
            assert noticed
            refused += 1
    assert refused > 50


def test_a_progressive_file_that_lacks_scans_is_refused_only_if_it_says_so() -> None:
    data = encode(picture(), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    with pytest.raises(ImageError) as caught:
        decode_image(data[: last + 20])
    assert caught.value.code == "truncated"


def test_a_damaged_cmyk_file_is_refused_too() -> None:
    inks = np.dstack([NOISE[:64, :64], NOISE[64:128, :64, :1]])
    data = encode(Image.fromarray(inks, "CMYK"), "JPEG", quality=90)
    assert decoder_of(data) == "pillow"
    assert np.array_equal(decode_image(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
    middle = (data.index(b"\xff\xda") + len(data)) // 2
    with pytest.raises(ImageError, match="damaged JPEG"):
        decode_image(patch(data, middle, b"\xff\xd3"))


def test_an_unknown_jfif_revision_is_no_damage() -> None:
    data = valid("JPEG")
    later = patch(data, data.index(b"JFIF") + 5, b"\x07")
    assert np.array_equal(decode_image(later), decode_image(data))
