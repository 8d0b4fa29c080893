"""Evidence on pictures: signed, on one scale, in the right place, and silent where there is nothing."""

from __future__ import annotations

import base64
import io
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import map_coordinates

from eyeline.errors import EyelineError
from eyeline.reports import (
    Placement,
    draw_overlay,
    evidence_scale,
    png_bytes,
    signed_evidence,
)
from eyeline.reports.embed import data_uri, enlarged
from eyeline.reports.overlay import spread

GREY = np.full((64, 96, 1), 120, dtype=np.uint8)


def test_signed_evidence_is_defect_less_good_and_sums_to_the_logit_difference() -> None:
    rng = np.random.default_rng(0)
    maps, bias = rng.normal(size=(4, 3, 5)), rng.normal(size=4)
    logits = maps.sum((1, 2)) + bias
    for good in range(4):
        found = signed_evidence(maps, logits, good=good)
        others = [k for k in range(4) if k != good]
        assert found.defect == max(others, key=lambda k: logits[k])
        assert found.values.sum() + bias[found.defect] - bias[good] == pytest.approx(
            logits[found.defect] - logits[good]
        )
    assert signed_evidence(maps, logits, good=0, defect=2).defect == 2


def test_no_evidence_leaves_the_picture_grey() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (40, 50, 1), dtype=np.uint8)
    drawn = draw_overlay(picture, np.zeros((4, 5)), scale=1.0)
    assert np.array_equal(drawn, picture.repeat(3, axis=2))


def test_a_faint_map_stays_faint() -> None:
    """A map stretched to its own range would make the good part as loud as the bad one."""
    loud, faint = np.eye(4), 0.01 * np.eye(4)
    assert np.abs(draw_overlay(GREY, faint, scale=1.0).astype(int) - 120).max() <= 2
    assert np.abs(draw_overlay(GREY, loud, scale=1.0).astype(int) - 120).max() > 60


def test_colours_tell_the_sign_and_stop_at_the_scale() -> None:
    defect = draw_overlay(GREY, np.full((2, 2), 0.5), scale=0.5)[0, 0].astype(int)
    good = draw_overlay(GREY, np.full((2, 2), -0.5), scale=0.5)[0, 0].astype(int)
    assert defect[0] > 120 > defect[2]
    assert good[2] > 120 > good[0]
    beyond = draw_overlay(GREY, np.full((2, 2), 50.0), scale=0.5)[0, 0]
    assert np.array_equal(beyond, defect)


@settings(max_examples=40, deadline=None)
@given(
    cells=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    stride=st.floats(2, 20),
    offset=st.floats(-5, 20),
    seed=st.integers(0, 99),
)
def test_spreading_is_bilinear_between_cell_centres(
    cells: tuple[int, int], stride: float, offset: float, seed: int
) -> None:
    values = np.random.default_rng(seed).normal(size=cells)
    placement = Placement((stride, stride / 2), (offset, offset / 3))
    found = spread(values, (30, 40), placement)
    ys = (np.arange(30) - offset) / stride
    xs = (np.arange(40) - offset / 3) / (stride / 2)
    grid = np.stack(np.meshgrid(ys.clip(0, cells[0] - 1), xs.clip(0, cells[1] - 1), indexing="ij"))
    np.testing.assert_allclose(found, map_coordinates(values, grid, order=1, mode="nearest"), atol=1e-9)


def test_a_cell_is_drawn_at_its_centre() -> None:
    """ResNet's second cell of a 96 pixel row is centred at pixel 32; stretched it would be at 47.5."""
    values = np.zeros((2, 3))
    values[0, 1] = 1.0
    placed = spread(values, (64, 96), Placement((32, 32), (0, 0)))
    assert np.unravel_index(placed.argmax(), placed.shape) == (0, 32)
    stretched = spread(values, (64, 96), Placement.stretched((2, 3), (64, 96)))
    assert stretched.argmax() % 96 in (47, 48)


def test_placement_follows_the_size_shown() -> None:
    """The centre of pixel x lies at (x + 1/2) of its width, whatever the size."""
    scaled = Placement((32, 32), (31, 0)).scaled((224, 224), (448, 112))
    assert scaled == Placement((64, 16), (62.5, -0.25))
    values = np.random.default_rng(2).normal(size=(7, 7))
    small = draw_overlay(
        np.full((224, 224), 90, np.uint8), values, scale=1, placement=Placement((32, 32), (31, 31))
    )
    large = draw_overlay(
        np.full((448, 448), 90, np.uint8),
        values,
        scale=1,
        placement=Placement((32, 32), (31, 31)),
        input_size=(224, 224),
    )
    halved = large.astype(float).reshape(224, 2, 224, 2, 3).mean((1, 3))
    assert np.abs(halved - small).max() <= 3


def test_scale_covers_nearly_all_evidence() -> None:
    rng = np.random.default_rng(3)
    maps, logits = rng.normal(size=(50, 3, 7, 7)), rng.normal(size=(50, 3))
    scale = evidence_scale(maps, logits, good=1)
    values = np.stack([signed_evidence(m, z, good=1).values for m, z in zip(maps, logits, strict=True)])
    assert (np.abs(values) <= scale).mean() == pytest.approx(0.99, abs=1e-3)
    assert evidence_scale(np.zeros((2, 2, 3, 3)), np.zeros((2, 2))) == 1.0
    assert evidence_scale(np.zeros((0, 2, 3, 3)), np.zeros((0, 2))) == 1.0


def test_colour_pictures_turn_grey_so_that_only_evidence_is_coloured() -> None:
    colour = np.random.default_rng(4).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    drawn = draw_overlay(colour, np.zeros((2, 2)), scale=1.0)
    assert (drawn[:, :, 0] == drawn[:, :, 2]).all()
    expected = np.asarray(Image.fromarray(colour).convert("L"), dtype=int)
    assert np.abs(drawn[:, :, 0] - expected).max() <= 1


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(EyelineError, match="do not fit"):
        signed_evidence(np.zeros((2, 3, 3)), np.zeros(3))
    with pytest.raises(EyelineError, match="do not fit"):
        evidence_scale(np.zeros((2, 3, 3)), np.zeros((2, 3)))
    with pytest.raises(EyelineError, match="scale"):
        draw_overlay(GREY, np.zeros((2, 2)), scale=0.0)
    with pytest.raises(EyelineError, match="picture of shape"):
        draw_overlay(np.zeros((4, 4, 2), np.uint8), np.zeros((2, 2)), scale=1.0)
    with pytest.raises(EyelineError, match="picture of shape"):
        png_bytes(np.zeros((4, 4), np.float32))  # type: ignore[arg-type]


# --- pictures in the page ---------------------------------------------------------------------------


def decoded(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


@pytest.mark.parametrize("limit", [60_000, 6_000, 1_500])
def test_noise_keeps_the_limit(limit: int) -> None:
    noise = np.random.default_rng(5).integers(0, 256, (500, 400, 3), dtype=np.uint8)
    uri = data_uri(noise, side=300, limit=limit)
    assert len(uri) <= limit
    assert uri.startswith("data:image/jpeg;base64,")
    assert max(decoded(uri).size) <= 300


def test_drawings_become_lossless() -> None:
    drawing = (np.indices((60, 60)).sum(0) % 7 * 40).astype(np.uint8)
    uri = data_uri(drawing, side=300)
    assert uri.startswith("data:image/png;base64,")
    assert np.array_equal(np.asarray(decoded(uri)), drawing)


def test_tiny_pictures_are_enlarged_by_whole_pixels() -> None:
    digit = np.arange(64, dtype=np.uint8).reshape(8, 8, 1)
    large = enlarged(digit, 100)
    assert large.shape == (96, 96, 1)
    assert np.array_equal(large[::12, ::12], digit)
    assert enlarged(GREY, 300) is GREY


def test_png_bytes_are_the_picture() -> None:
    drawn = draw_overlay(GREY, np.eye(3), scale=1.0)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png_bytes(drawn)))), drawn)


def test_overlays_need_neither_torch_nor_jinja() -> None:
    """The line has only NumPy and Pillow for this."""
    code = (
        "import sys; from eyeline.reports import draw_overlay, signed_evidence, Placement, png_bytes;"
        "bad = {'torch', 'jinja2', 'scipy', 'matplotlib', 'sklearn'} & set(sys.modules); assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
