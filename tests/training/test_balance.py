"""Rare classes shown more often: evenly, in new views, by (seed, epoch) alone, and undone in the probabilities."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from eyeline.networks import create_network
from eyeline.training import Examples, Recipe
from eyeline.training.balance import (
    balanced_order,
    class_weights,
    image_of,
    loss_weights,
    prior_shift,
    undo_balance,
)


def examples(targets, classes=2, **more) -> Examples:
    targets = np.asarray(targets, np.int64)
    rows = np.arange(len(targets))
    pixels = np.zeros((len(targets), 8, 8, 1), np.uint8)
    return Examples(
        pixels=pixels, targets=targets, classes=classes, train=rows, val=rows[:0], folds=rows, **more
    )


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(1, 9), st.integers(0, 50))
def test_every_class_comes_equally_often_and_every_image_of_it_too(targets, batch_size, epoch):
    targets = np.array(targets)
    indices = np.arange(100, 100 + len(targets))
    labels = np.concatenate([np.full(100, -1), targets])
    batches = balanced_order(indices, labels, batch_size, seed=1, epoch=epoch)
    assert {len(batch) for batch in batches} == {batch_size}
    assert len(batches) == -(-len(indices) // batch_size)
    keys = np.concatenate(batches)
    shown = np.bincount(image_of(keys), minlength=len(labels))
    by_class = [shown[labels == kind].sum() for kind in np.unique(targets)]
    assert max(by_class) - min(by_class) <= 1
    for kind in np.unique(targets):
        times = shown[labels == kind]
        assert times.max() - times.min() <= 1
    assert len(np.unique(keys)) == len(keys), "an image that comes back has another key, so another view"
    again = balanced_order(indices[::-1], labels, batch_size, seed=1, epoch=epoch)
    assert np.array_equal(np.concatenate(again), keys)


def test_over_many_epochs_every_frequent_image_is_shown():
    targets = np.array([0] * 40 + [1] * 4)
    seen = {
        int(row)
        for epoch in range(12)
        for batch in balanced_order(np.arange(44), targets, 11, seed=0, epoch=epoch)
        for row in image_of(batch)
    }
    assert seen == set(range(44))


def test_sampling_shifts_the_prior_as_weights_do():
    """What sampling shows, counted, is what the correction divides by."""
    part = examples([0] * 60 + [1] * 20 + [2] * 10, classes=3)
    recipe = Recipe(balance="sampling", batch_size=10)
    batches = [b for e in range(40) for b in balanced_order(part.train, part.targets, 10, seed=0, epoch=e)]
    shown = np.bincount(part.targets[image_of(np.concatenate(batches))])
    share = np.bincount(part.targets) / len(part.targets)
    np.testing.assert_allclose(prior_shift(part, recipe), shown / shown.sum() / share, rtol=1e-2)
    np.testing.assert_allclose(prior_shift(part, recipe), prior_shift(part, Recipe(balance="weights")))
    assert loss_weights(part, recipe).sum() == pytest.approx(90)


def test_with_soft_labels_weights_balance_what_the_labels_say():
    soft = np.array([[1, 0], [0.75, 0.25], [0.75, 0.25], [0.5, 0.5]], np.float32)
    part = examples([0, 0, 0, 1], soft=soft)
    weights = class_weights(part, Recipe(balance="weights"))
    np.testing.assert_allclose(soft.sum(0) * weights, 2)
    drawn = class_weights(part, Recipe(balance="sampling"))  # by class: three images against one
    np.testing.assert_allclose(drawn, [4 / 6, 4 / 2])
    shift = prior_shift(part, Recipe(balance="sampling"))
    expected = (drawn[part.targets][:, None] * soft).sum(0) / soft.sum(0)
    np.testing.assert_allclose(shift, expected)
    assert prior_shift(part, Recipe(balance="none")).tolist() == [1, 1]


def test_a_balanced_optimum_becomes_the_soft_label_again():
    """The network that fits balanced soft labels exactly says the plain ones after the correction."""
    from eyeline.training.objective import Answers

    soft = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]], np.float32)
    part = examples([0, 0, 1], soft=soft)
    recipe = Recipe(balance="weights")
    balanced = Answers(part, recipe, "cpu")(np.arange(3)).target.numpy()
    assert not np.allclose(balanced, soft, atol=0.02)
    net = create_network("lenet5", num_classes=2, in_channels=1)
    with torch.no_grad():
        net.head.bias.zero_()
    undo_balance(net, prior_shift(part, recipe))
    corrected = torch.softmax(torch.from_numpy(np.log(balanced)) + net.head.bias.detach(), 1).numpy()
    np.testing.assert_allclose(corrected, soft, atol=1e-6)
