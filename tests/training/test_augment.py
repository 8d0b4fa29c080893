"""Augmentation: views the camera could have taken, the same ones however training got there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eyeline.training import Normalization, Recipe
from eyeline.training.augment import augment
from eyeline.training.batches import epoch_order
from eyeline.training.randomness import Purpose, stream

STILL = Recipe(shift=0.0, brightness=0.0, contrast=0.0)


def pictures(count: int, height: int, width: int, channels: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, channels), dtype=np.uint8)


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]), st.integers(0, 50))
def test_without_shift_a_view_has_the_same_pixels_elsewhere(height, width, channels, epoch):
    images = pictures(4, height, width, channels)
    moved, gain, offset = augment(images, STILL, seed=1, epoch=epoch, indices=range(4))
    for before, after in zip(images, moved, strict=True):
        views = [before, before[::-1], before[:, ::-1], before[::-1, ::-1]]
        if height == width:
            views += [np.swapaxes(view, 0, 1) for view in views]
        assert any(np.array_equal(view, after) for view in views)
    assert gain.unique().tolist() == [1.0]
    assert offset.unique().tolist() == [0.0]


def test_all_eight_views_of_a_square_occur():
    image = pictures(1, 5, 5, 1)
    views = {augment(image, STILL, seed=0, epoch=epoch, indices=[0])[0].tobytes() for epoch in range(200)}
    assert len(views) == 8


def test_upright_pictures_are_mirrored_left_to_right_and_nothing_else():
    image, upright = pictures(1, 5, 5, 1), STILL.replace(upright=True)
    views = {augment(image, upright, seed=0, epoch=epoch, indices=[0])[0].tobytes() for epoch in range(50)}
    assert views == {image.tobytes(), image[:, :, ::-1].tobytes()}
    assert STILL.half_turn
    assert not upright.half_turn  # nor does the fitted head see them upside down


def test_switched_off_means_untouched():
    images = pictures(3, 8, 8, 3)
    off = STILL.replace(flips=False, turns=False)
    assert np.array_equal(augment(images, off, seed=0, epoch=5, indices=range(3))[0], images)


def test_a_view_depends_on_seed_epoch_and_index_alone():
    images = pictures(6, 16, 16, 1)
    recipe = Recipe(shift=0.2)
    together, gain, offset = augment(images, recipe, seed=3, epoch=2, indices=[10, 11, 12, 13, 14, 15])
    alone = augment(images[4:5], recipe, seed=3, epoch=2, indices=[14])
    assert np.array_equal(together[4], alone[0][0])
    assert gain[4] == alone[1][0]
    assert offset[4] == alone[2][0]
    other = augment(images, recipe, seed=3, epoch=3, indices=[10, 11, 12, 13, 14, 15])
    assert not torch.equal(other[1], gain)


@given(st.integers(0, 23), st.integers(0, 23), st.integers(0, 100))
def test_no_view_loses_a_defect(row, column, epoch):
    """A defect of 2 x 2 pixels is in every view, wherever it lies, at the default settings."""
    side = 25
    image = np.zeros((1, side, side, 1), np.uint8)
    image[0, row : row + 2, column : column + 2] = 255
    moved, _, _ = augment(image, Recipe(), seed=0, epoch=epoch, indices=[0])
    assert moved.max() == 255


def test_brightness_and_contrast_stay_within_the_recipe():
    images = np.full((200, 4, 4, 1), 100, np.uint8)
    _, gain, offset = augment(
        images, Recipe(brightness=0.1, contrast=0.15), seed=0, epoch=1, indices=range(200)
    )
    seen = (gain * 100 + offset).flatten().numpy()  # contrast turns around the mean, which is 100 here
    assert np.abs(seen - 100).max() <= 255 * 0.1 + 1e-3
    assert seen.std() > 5
    assert 0.85 - 1e-6 <= float(gain.min()) < 0.9 < 1.1 < float(gain.max()) <= 1.15 + 1e-6


def test_an_epoch_shows_every_image_and_full_batches():
    indices = np.arange(10, 33)
    batches = epoch_order(indices, 8, seed=0, epoch=1)
    assert [len(batch) for batch in batches] == [8, 8, 8]
    assert set(np.concatenate(batches)) == set(indices)
    again = epoch_order(indices[::-1], 8, seed=0, epoch=1)
    assert np.array_equal(np.concatenate(batches), np.concatenate(again))
    assert not np.array_equal(
        np.concatenate(batches), np.concatenate(epoch_order(indices, 8, seed=0, epoch=2))
    )


def test_fewer_images_than_a_batch_are_repeated():
    (batch,) = epoch_order(np.array([4, 5, 6]), 8, seed=0, epoch=1)
    assert sorted(np.bincount(batch)[4:].tolist()) == [2, 3, 3]


def test_streams_of_different_purpose_differ_and_repeat():
    first = stream(0, Purpose.ORDER, 1).random(4)
    assert np.array_equal(first, stream(0, Purpose.ORDER, 1).random(4))
    for other in (stream(0, Purpose.DROPOUT, 1), stream(1, Purpose.ORDER, 1), stream(0, Purpose.ORDER, 2)):
        assert not np.array_equal(first, other.random(4))


@pytest.mark.parametrize("channels", [1, 3])
def test_normalization_is_the_published_formula(channels):
    pixels = pictures(2, 5, 6, channels)
    normalize = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)).for_channels(channels)
    x = normalize(pixels)
    expected = (pixels.astype(np.float64) / 255 - normalize.mean) / normalize.std
    assert x.shape == (2, channels, 5, 6)
    assert x.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(x.permute(0, 2, 3, 1).numpy(), expected, rtol=1e-5, atol=1e-5)


def test_brightened_values_stay_in_the_range_of_a_camera():
    pixels = np.array([0, 255], np.uint8).reshape(2, 1, 1, 1)
    plain = Normalization((0.0,), (1.0,))
    x = plain(pixels, torch.full((2, 1, 1, 1), 1.5), torch.full((2, 1, 1, 1), -20.0))
    assert x.flatten().tolist() == [0.0, 1.0]
