"""Tiles cover every pixel, evenly, and each is prepared as a picture of its own would be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.builders import encode, picture
from eyeline.errors import EyelineError, ImageError
from eyeline.images import DecodeOptions, Tiling, open_tiles, prepare_image, tile_boxes


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 700), st.integers(1, 700), st.integers(150, 300), st.floats(0, 0.9))
def test_boxes(height: int, width: int, tile: int, overlap: float) -> None:
    boxes = tile_boxes(height, width, tile, overlap)
    assert len(set(boxes)) == len(boxes) <= 4096
    seen = np.zeros((height, width), bool)
    for left, top, right, bottom in boxes:
        assert (right - left, bottom - top) == (min(tile, width), min(tile, height))  # one size
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        seen[top:bottom, left:right] = True
    assert seen.all()
    for length, starts in (
        (width, sorted({box[0] for box in boxes})),
        (height, sorted({box[1] for box in boxes})),
    ):
        gaps = np.diff(starts)
        assert starts[0] == 0
        assert starts[-1] == max(0, length - tile)
        if len(gaps):
            assert gaps.max() - gaps.min() <= 1  # evenly
            assert tile - gaps.max() >= overlap * tile - 1e-9  # as much overlap as was asked for
            # One tile fewer would not do.
            assert (length - tile) / (len(starts) - 1.999999) > tile - np.ceil(overlap * tile) or len(
                gaps
            ) == 1
    assert len(boxes) == len({box[0] for box in boxes}) * len({box[1] for box in boxes})


@pytest.mark.parametrize(("overlap", "columns"), [(0.0, 4), (0.25, 5), (0.5, 7)])
def test_known_numbers(overlap: float, columns: int) -> None:
    assert len(tile_boxes(300, 1200, 300, overlap)) == columns


def test_a_defect_no_larger_than_the_overlap_is_whole_in_some_tile() -> None:
    boxes = tile_boxes(500, 777, 100, 0.3)
    for x in range(777 - 30):
        for y in range(0, 500 - 30, 7):
            assert any(l <= x and x + 30 <= r and t <= y and y + 30 <= b for l, t, r, b in boxes)  # noqa: E741


@pytest.mark.parametrize(
    ("tile", "overlap"), [(15, 0.1), (True, 0.1), (100.0, 0.1), (32, 1), (32, -0.1), (32, "x")]
)
def test_wrong_use(tile: object, overlap: object) -> None:
    with pytest.raises(EyelineError, match="it must be") as caught:
        Tiling(tile, overlap)  # type: ignore[arg-type]
    assert caught.value.code == "bad_option"


def test_too_many() -> None:
    with pytest.raises(ImageError, match="4,096") as caught:
        tile_boxes(20_000, 20_000, 16, 0.0)
    assert caught.value.code == "too_large"


@pytest.mark.parametrize("resize", ["squash", "letterbox", "fit"])
@pytest.mark.parametrize("region", [None, (0.1, 0.2, 0.8, 1.0)])
def test_a_tile_is_a_picture_of_its_own(resize: str, region: tuple[float, ...] | None) -> None:
    whole = picture(203, 117)
    options = DecodeOptions(image_size=(20, 24), resize=resize, region=region)  # type: ignore[arg-type]
    plain = DecodeOptions(image_size=(20, 24), resize=resize)
    tiles = open_tiles(encode(whole, "PNG"), options, Tiling(48, 0.25))
    assert len(tiles) == len(tiles.boxes) > 6
    for index, (left, top, right, bottom) in enumerate(tiles.boxes):
        assert np.array_equal(tiles.cut(index), prepare_image(whole[top:bottom, left:right], plain))
    left, top = min(box[0] for box in tiles.boxes), min(box[1] for box in tiles.boxes)
    right, bottom = max(box[2] for box in tiles.boxes), max(box[3] for box in tiles.boxes)
    shares = region or (0, 0, 1, 1)
    assert (left, top, right, bottom) == tuple(
        round(s * n) for s, n in zip(shares, (203, 117) * 2, strict=True)
    )


def test_one_tile_is_the_whole_picture() -> None:
    options = DecodeOptions(image_size=(20, 24), channels=1, resize="letterbox")
    tiles = open_tiles(picture(90, 60), options, Tiling(128))
    assert tiles.boxes == ((0, 0, 90, 60),)
    assert np.array_equal(tiles.cut(0), prepare_image(picture(90, 60), options))
