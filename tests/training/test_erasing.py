"""Random erasing: rectangles of the paper's sizes, in as many images as asked for."""

from __future__ import annotations

import numpy as np
import torch

from eyeline.training import Recipe
from eyeline.training.erasing import erase, erased_box
from networks.peers import v2

tv = v2.functional


def pictures(count, height=40, width=50, channels=1):
    return np.random.default_rng(0).integers(0, 256, (count, height, width, channels), dtype=np.uint8)


def test_area_and_aspect_are_the_papers():
    draw = np.random.default_rng(0)
    boxes = [erased_box(200, 300, draw) for _ in range(500)]
    sizes = np.array([(b[2] - b[0], b[3] - b[1]) for b in boxes])
    area, aspect = sizes.prod(1) / 60_000, sizes[:, 0] / sizes[:, 1]
    assert 0.019 < area.min() < 0.04
    assert 0.3 < area.max() < 0.34
    assert 0.28 < aspect.min() < 0.4
    assert 2.5 < aspect.max() < 3.5
    assert abs(np.median(np.log(aspect))) < 0.15, "as often lying as standing"
    assert all(0 <= b[0] < b[2] <= 200 and 0 <= b[1] < b[3] <= 300 for b in boxes)


def test_it_is_torchvisions_erase_with_the_mean_colour():
    images = pictures(30, channels=3)
    erased = erase(images, Recipe(erasing=1.0), seed=0, epoch=1, indices=range(30))
    for before, after in zip(images, erased, strict=True):
        changed = (before != after).any(2)
        rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        box = (rows[0], columns[0], rows[-1] + 1 - rows[0], columns[-1] + 1 - columns[0])
        mean = torch.from_numpy(before.mean((0, 1)).round().astype(np.uint8))[:, None, None]
        peer = tv.erase(torch.from_numpy(before).permute(2, 0, 1), *map(int, box), mean)
        assert np.array_equal(peer.permute(1, 2, 0).numpy(), after)


def test_share_and_counters():
    images = pictures(300, 16, 16)
    recipe = Recipe(erasing=0.3)
    erased = erase(images, recipe, seed=0, epoch=1, indices=range(300))
    assert 0.2 < (erased != images).any((1, 2, 3)).mean() < 0.4
    alone = erase(images[7:8], recipe, seed=0, epoch=1, indices=[7])
    assert np.array_equal(alone[0], erased[7])
    assert not np.array_equal(erased, erase(images, recipe, seed=0, epoch=2, indices=range(300)))
    assert erase(images, Recipe(), seed=0, epoch=1, indices=range(300)) is images
