"""Which images to label next: unsure ones, unlike each other and unlike what is labelled."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import entropy

from eyeline.errors import EyelineError
from eyeline.verdicts import choose_next, uncertainty


def test_uncertainty_is_the_entropy_of_scipy():
    p = np.random.default_rng(0).dirichlet([1, 1, 1], 50)
    assert uncertainty(p) == pytest.approx(entropy(p, base=3, axis=1))
    assert uncertainty([[1, 0], [0.5, 0.5]]) == pytest.approx([0, 1])


def test_with_equal_doubt_it_is_greedy_k_centre():
    rng = np.random.default_rng(1)
    pool, known = rng.normal(size=(60, 5)), rng.normal(size=(10, 5))
    scale = known.std(axis=0)
    expected, near = [], cdist(pool / scale, known / scale).min(axis=1)
    for _ in range(8):
        expected.append(int(near.argmax()))
        near = np.minimum(near, cdist(pool / scale, pool[expected[-1:]] / scale)[:, 0])
    assert choose_next(pool, np.ones(60), known, count=8).tolist() == expected


def test_of_a_burst_one_is_chosen_and_sure_images_come_last():
    rng = np.random.default_rng(2)
    known = rng.normal(size=(20, 4))
    burst = np.tile([[6.0, 0, 0, 0]], (10, 1)) + 0.01 * rng.normal(size=(10, 4))
    other = np.array([[0, 6.0, 0, 0], [0, 0, 6.0, 0]])
    pool = np.concatenate([burst, other])
    chosen = choose_next(pool, np.ones(12), known, count=3).tolist()
    assert sum(row < 10 for row in chosen) == 1
    unsure = np.ones(12)
    unsure[chosen[0]] = 0.0
    assert choose_next(pool, unsure, known, count=1)[0] != chosen[0]
    everything = choose_next(pool, np.zeros(12), known, count=50)
    assert sorted(everything.tolist()) == list(range(12))


def test_what_does_not_fit_is_refused():
    with pytest.raises(EyelineError, match="do not fit"):
        choose_next(np.zeros((3, 2)), np.zeros(3), np.zeros((3, 4)))
    with pytest.raises(EyelineError, match="0 images"):
        choose_next(np.zeros((3, 2)), np.zeros(3), np.zeros((3, 2)), count=0)
