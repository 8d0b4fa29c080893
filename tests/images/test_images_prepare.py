"""The one path from a file to the network's input."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from corpus.builders import encode, grey, picture
from eyeline.errors import EyelineError, ImageError
from eyeline.images import DecodeOptions, decode_image, decode_region, prepare_image


def antialiased(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Torch's antialiased bilinear resize, the peer, in float: ``(H, W, C)``. (Wrong for a width of 1.)"""
    x_nchw = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32))[None]
    y_nchw = torch.nn.functional.interpolate(
        x_nchw, (height, width), mode="bilinear", antialias=True, align_corners=False
    )
    return y_nchw[0].permute(1, 2, 0).numpy()


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 90), st.integers(2, 90), st.integers(1, 70), st.integers(2, 70), st.sampled_from([1, 3])
)
def test_squash_is_antialiased_bilinear(h: int, w: int, height: int, width: int, channels: int) -> None:
    source = np.random.default_rng(h * w).integers(0, 256, (h, w, channels), dtype=np.uint8)
    options = DecodeOptions(image_size=(height, width), channels=channels)
    pixels = prepare_image(source, options)
    assert pixels.shape == (height, width, channels)
    assert pixels.dtype == np.uint8
    # Pillow rounds after each of the two passes, so one level may be added to the half of rounding.
    assert np.abs(pixels - antialiased(source, height, width)).max() <= 1.5


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 80), st.integers(1, 80), st.integers(0, 255))
def test_letterbox_keeps_the_aspect(h: int, w: int, height: int, width: int, background: int) -> None:
    value = (background + 128) % 256
    source = np.full((h, w), value, np.uint8)
    options = DecodeOptions(image_size=(height, width), channels=1, resize="letterbox", background=background)
    pixels = prepare_image(source, options)[:, :, 0]
    inside = np.argwhere(pixels == value)
    top, left = inside.min(axis=0)
    bottom, right = inside.max(axis=0) + 1
    scale = min(height / h, width / w)
    assert abs((bottom - top) - max(1, h * scale)) <= 0.5 + 1e-9
    assert abs((right - left) - max(1, w * scale)) <= 0.5 + 1e-9
    assert bottom - top == height or right - left == width  # one direction is filled
    assert abs(top - (height - bottom)) <= 1  # and the picture is in the middle
    assert abs(left - (width - right)) <= 1
    box = np.full((height, width), background)
    box[top:bottom, left:right] = value
    assert np.array_equal(pixels, box)


@pytest.mark.parametrize(("h", "w"), [(40, 60), (60, 40), (80, 240), (240, 80), (50, 50)])
@pytest.mark.parametrize("side", [20, 40, 80])
def test_fit_against_the_peer(h: int, w: int, side: int) -> None:
    source = np.random.default_rng(h * w).integers(0, 256, (h, w, 3), dtype=np.uint8)
    scale = side / min(h, w)
    whole = round(h * scale), round(w * scale)
    top, left = (whole[0] - side) // 2, (whole[1] - side) // 2
    peer = antialiased(source, *whole)[top : top + side, left : left + side]
    assert (
        np.abs(prepare_image(source, DecodeOptions(image_size=(side, side), resize="fit")) - peer).max()
        <= 1.5
    )


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 80),
    st.integers(1, 80),
    *[st.tuples(st.floats(0, 1), st.floats(0, 1)).filter(lambda p: p[0] < p[1])] * 2,
    st.sampled_from(["squash", "letterbox", "fit"]),
)
def test_a_region_is_a_cropped_picture(
    h: int, w: int, across: tuple[float, float], down: tuple[float, float], resize: str
) -> None:
    source = np.random.default_rng(h * w).integers(0, 256, (h, w, 3), dtype=np.uint8)
    region = (across[0], down[0], across[1], down[1])
    options = DecodeOptions(image_size=(9, 12), resize=resize, region=region)
    inside = decode_region(source, options)
    assert abs(inside.shape[0] - max(1, (down[1] - down[0]) * h)) <= 1
    assert abs(inside.shape[1] - max(1, (across[1] - across[0]) * w)) <= 1
    top, left = min(round(down[0] * h), h - 1), min(round(across[0] * w), w - 1)
    assert np.array_equal(inside, source[top : top + inside.shape[0], left : left + inside.shape[1]])
    without = DecodeOptions(image_size=(9, 12), resize=resize)
    assert np.array_equal(prepare_image(source, options), prepare_image(inside, without))


def test_a_region_is_cut_from_the_upright_picture() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encode(np.ascontiguousarray(np.rot90(picture())), "PNG", exif=exif)
    options = DecodeOptions(image_size=(24, 20), region=(0.0, 0.0, 0.5, 1.0))
    assert np.array_equal(prepare_image(turned, options), picture()[:, :20])


def test_a_range_reaches_the_decoder() -> None:
    deep = np.arange(0, 4096, dtype=np.uint16).reshape(64, 64)
    options = DecodeOptions(image_size=(64, 64), channels=1, range=(0, 4095))
    pixels = prepare_image(encode(Image.fromarray(deep), "PNG"), options)[:, :, 0]
    assert np.array_equal(pixels, np.rint(deep / 4095 * 255))
    dark = prepare_image(encode(Image.fromarray(deep), "PNG"), DecodeOptions(image_size=(64, 64), channels=1))
    assert dark.max() == 16


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 20_000), (20_000, 1), (3, 3000)])
@pytest.mark.parametrize("resize", ["squash", "letterbox", "fit"])
def test_extreme_shapes(height: int, width: int, resize: str) -> None:
    source = np.full((height, width, 3), 200, np.uint8)
    pixels = prepare_image(source, DecodeOptions(image_size=(64, 48), resize=resize))
    assert pixels.shape == (64, 48, 3)
    assert pixels.max() == 200  # the picture never vanishes


def test_the_same_size_is_left_alone() -> None:
    data = encode(picture(), "PNG")
    assert np.array_equal(prepare_image(data, DecodeOptions(image_size=(24, 40))), picture())


def test_grey_before_resizing() -> None:
    """Grey is taken at full size: the same pixels whether the file is grey or the caller asks for grey."""
    options = DecodeOptions(image_size=(9, 11), channels=1)
    from_colour = prepare_image(encode(picture(), "PNG"), options)
    from_grey = prepare_image(encode(grey(picture()), "PNG"), options)
    assert np.array_equal(from_colour, from_grey)


def test_jpegs_are_not_decoded_at_a_fraction() -> None:
    """A scaled decode (DCT scaling) would blur; the result is the full decode, resized."""
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    data = encode(noise, "JPEG", quality=95)
    full = Image.fromarray(decode_image(data)).resize((32, 32), Image.Resampling.BILINEAR)
    assert np.array_equal(prepare_image(data, DecodeOptions(image_size=(32, 32))), np.asarray(full))


def test_bytes_path_and_array_agree(tmp_path) -> None:  # type: ignore[no-untyped-def]
    data = encode(picture(), "PNG")
    path = tmp_path / "a.png"
    path.write_bytes(data)
    options = DecodeOptions(image_size=(16, 16), resize="letterbox", background=7)
    results = [prepare_image(source, options) for source in (data, path, str(path), picture())]
    assert all(np.array_equal(result, results[0]) for result in results)


def test_limits_reach_the_decoder() -> None:
    with pytest.raises(ImageError) as caught:
        prepare_image(picture(), DecodeOptions(image_size=(8, 8), max_pixels=100))
    assert caught.value.code == "too_large"


def test_options_travel_as_json() -> None:
    options = DecodeOptions(
        image_size=(30, 50),
        channels=1,
        resize="letterbox",
        region=(0, 0.1, 1 / 3, 1),
        range=(-5, 1e4),
        background=9,
        max_bytes=77,
    )
    assert DecodeOptions.from_dict(json.loads(json.dumps(options.to_dict()))) == options


def test_options_of_an_older_version_mean_what_they_meant() -> None:
    old = {"image_size": [30, 50], "channels": 1, "resize": "squash", "background": 0}
    old |= {"max_bytes": 64 * 2**20, "max_pixels": 50_000_000}
    assert DecodeOptions.from_dict(old) == DecodeOptions(image_size=(30, 50), channels=1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image_size": (0, 5)}, "image_size"),
        ({"image_size": (5, 5, 5)}, "image_size"),
        ({"image_size": (5.0, 5)}, "image_size"),
        ({"image_size": 5}, "image_size"),
        ({"channels": 2}, "1 or 3"),
        ({"channels": True}, "1 or 3"),
        ({"resize": "crop"}, "squash, letterbox or fit"),
        ({"region": (0, 0, 1)}, "left, top, right"),
        ({"region": (0, 0, 1, 1.5)}, "in 0..1"),
        ({"region": (0.5, 0, 0.5, 1)}, "left < right"),
        ({"region": (0, float("nan"), 1, 1)}, "left, top, right"),
        ({"region": 0.5}, "left, top, right"),
        ({"range": (1, 1)}, "lower one first"),
        ({"range": (0, float("inf"))}, "two numbers"),
        ({"range": (0, "9")}, "two numbers"),
        ({"range": (False, 9)}, "two numbers"),
        ({"background": 256}, "0 to 255"),
        ({"background": "0"}, "0 to 255"),
        ({"max_bytes": 0}, "max_bytes"),
        ({"max_pixels": 10**12}, "max_pixels"),
    ],
)
def test_bad_options(change: dict[str, object], words: str) -> None:
    values = {"image_size": (8, 8), **change}
    with pytest.raises(EyelineError, match=words) as caught:
        DecodeOptions(**values)  # type: ignore[arg-type]
    assert caught.value.code == "bad_option"
    with pytest.raises(EyelineError, match=words):
        DecodeOptions.from_dict(values)


def test_unknown_and_missing_options() -> None:
    with pytest.raises(EyelineError, match="did you mean channels"):
        DecodeOptions.from_dict({"image_size": [8, 8], "chanels": 1})
    with pytest.raises(EyelineError, match="without image_size"):
        DecodeOptions.from_dict({"channels": 1})
