"""Sizes and regularisation grow as in EfficientNetV2; small images are Pillow's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from eyeline.errors import EyelineError
from eyeline.networks import create_network
from eyeline.training import Recipe
from eyeline.training.progressive import check_sizes, shrink, stage_of, staged_size, stages


def test_the_stages_of_efficientnetv2_s():
    """Table 6 of the paper: size 128 to 300, RandAugment 5 to 15, mixup 0 to 0.2, dropout 0.1 to 0.3."""
    recipe = Recipe(progressive=128 / 300, magnitude=15, mixup=0.2, dropout=0.3, rand_augment=2)
    found = stages(recipe)
    np.testing.assert_allclose([300 * s.progressive for s in found], np.linspace(128, 300, 4))
    np.testing.assert_allclose([s.magnitude for s in found], np.linspace(5, 15, 4))
    np.testing.assert_allclose([s.mixup for s in found], np.linspace(0, 0.2, 4))
    np.testing.assert_allclose([s.dropout for s in found], np.linspace(0.1, 0.3, 4))
    assert found[-1] == recipe.replace(progressive=1.0)
    assert [s.rand_augment for s in found] == [2] * 4


def test_off_is_the_recipe_itself():
    recipe = Recipe(mixup=0.2)
    assert all(stage is recipe for stage in stages(recipe))


def test_stages_are_quarters():
    assert [stage_of(step, 8) for step in range(8)] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [stage_of(step, 2) for step in range(2)] == [0, 2]
    assert stage_of(0, 0) == 0


@pytest.mark.parametrize(
    ("side", "share", "expected"),
    [(300, 0.5, 144), (300, 1.0, 300), (64, 0.1, 32), (24, 0.9, 16), (12, 0.5, 12)],
)
def test_sizes_are_multiples_of_sixteen(side, share, expected):
    assert staged_size(side, share, 32 if side > 32 else 4) == expected


def test_shrinking_is_pillows_bilinear():
    rng = np.random.default_rng(0)
    image = rng.normal(size=(96, 64)).astype(np.float32)
    small = shrink(torch.from_numpy(image)[None, None], 0.5, 4)
    peer = Image.fromarray(image).resize((32, 48), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(small[0, 0].numpy(), np.asarray(peer), atol=1e-5)
    whole = torch.zeros(1, 1, 96, 64)
    assert shrink(whole, 1.0, 4) is whole


def test_a_size_the_network_does_not_take_is_refused_at_once():
    net = create_network("vit_ti_16", num_classes=2, image_size=(64, 64))
    check_sizes(net, Recipe(progressive=0.5), 64, 64)
    with pytest.raises(EyelineError, match="multiples of 16"):
        check_sizes(net, Recipe(progressive=0.5), 72, 72)
