"""Random damage: nothing but an ImageError may ever come out, and pixels are always pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from corpus.builders import FORMATS, MAGIC, encode, grey, picture, valid
from eyeline.errors import ImageError
from eyeline.images import decode_image

SEEDS = {
    **{name: valid(name) for name in FORMATS},
    "progressive JPEG": encode(picture(), "JPEG", progressive=True),
    "grey PNG": encode(grey(picture()), "PNG"),
    "LZW TIFF": encode(picture(16, 16), "TIFF", compression="tiff_lzw"),
    "lossy WebP": encode(picture(), "WEBP"),
    "16-bit PNG": encode(Image.fromarray(grey(picture()).astype(np.uint16) * 257), "PNG"),
    "float TIFF": encode(Image.fromarray(grey(picture()).astype(np.float32)), "TIFF"),
}


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", SEEDS)
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_flipped_bytes(name: str, data: st.DataObject) -> None:
    content = bytearray(SEEDS[name])
    # Headers break more parsers than pixels do: half of the damage goes to the first bytes.
    place = st.one_of(st.integers(0, min(199, len(content) - 1)), st.integers(0, len(content) - 1))
    for at, value in data.draw(st.lists(st.tuples(place, st.integers(0, 255)), min_size=1, max_size=6)):
        content[at] = value
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(content)))
        content[at : at + data.draw(st.integers(0, 20))] = data.draw(st.binary(max_size=20))
    check(bytes(content))


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=200, deadline=None)
@given(st.sampled_from([b"", b"MM\0*", *MAGIC.values()]), st.binary(max_size=80))
def test_random_bytes(magic: bytes, rest: bytes) -> None:
    check(magic + rest)


def check(content: bytes) -> None:
    outcome(content, None)
    outcome(content, (0, 4095))


def outcome(content: bytes, value_range: tuple[float, float] | None) -> None:
    error, pixels = None, None
    try:
        pixels = decode_image(content, range=value_range, max_pixels=1_000_000)
    except ImageError as refusal:
        error = refusal
    if pixels is not None:
        assert pixels.dtype == np.uint8
        assert pixels.ndim == 3
        assert pixels.shape[2] == 3
        assert 0 < pixels.shape[0] * pixels.shape[1] <= 1_000_000
    else:
        assert error is not None
        assert error.code in ("empty", "truncated", "unsupported", "too_large", "unreadable")
        assert "\n" not in str(error)
