"""Nearest neighbours against a plain sort, and votes against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier

from eyeline.checks import neighbours
from eyeline.checks.neighbours import (
    describe_thumbnails,
    nearest,
    neighbour_probabilities,
    unit_rows,
    vote,
)
from eyeline.errors import EyelineError
from eyeline.images import read_images


def brute_force(rows, asked, k, barred):
    """Similarities of the k best, by a full sort in float64."""
    table = np.where(barred, -np.inf, asked.astype(np.float64) @ rows.astype(np.float64).T)
    return -np.sort(-table, axis=1)[:, :k]


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 300),
    k=st.integers(1, 12),
    groups=st.integers(1, 20),
    by_group=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_the_nearest_are_those_of_a_full_sort(n, k, groups, by_group, seed):
    rng = np.random.default_rng(seed)
    rows = unit_rows(rng.normal(size=(n, 5)))
    group = rng.integers(0, groups, n) if by_group else np.arange(n)
    indices, similarities = nearest(rows, k, exclude=group if by_group else None)

    expected = brute_force(rows, rows, k, group[:, None] == group[None, :])
    width = expected.shape[1]
    assert np.allclose(similarities[:, :width], expected, atol=1e-5)
    assert (indices[:, width:] == -1).all()
    known = indices >= 0
    assert (known == np.isfinite(similarities)).all()
    of = np.repeat(np.arange(n), k).reshape(n, k)
    assert not (group[indices[known]] == group[of[known]]).any()
    assert np.allclose((rows[of[known]] * rows[indices[known]]).sum(1), similarities[known], atol=1e-5)
    assert all(len(set(line[line >= 0])) == (line >= 0).sum() for line in indices)


def test_blocks_make_no_difference(monkeypatch):
    rng = np.random.default_rng(0)
    rows, group = unit_rows(rng.normal(size=(500, 8))), rng.integers(0, 30, 500)
    whole = nearest(rows, 5, exclude=group)
    monkeypatch.setattr(neighbours, "_BLOCK", 3000)
    seen = []
    cut = nearest(
        rows, 5, exclude=group, progress=lambda stage, done, total, note: seen.append((done, total))
    )
    assert (whole[0] == cut[0]).all()
    assert np.allclose(whole[1], cut[1], atol=1e-6)
    assert len(seen) > 50
    assert seen[-1] == (500, 500)


def test_queries_may_find_the_row_itself_unless_it_is_excluded():
    rows = unit_rows(np.random.default_rng(1).normal(size=(40, 6)))
    assert (nearest(rows, 1, queries=rows[5:9])[0][:, 0] == np.arange(5, 9)).all()
    without = nearest(rows, 1, queries=rows, exclude=np.arange(40))
    assert (without[0] == nearest(rows, 1)[0]).all()


def test_equal_ones_come_by_index():
    rows = unit_rows(np.ones((6, 3)))
    assert nearest(rows, 5)[0].tolist()[0] == [1, 2, 3, 4, 5]
    assert nearest(rows, 5)[0].tolist()[5] == [0, 1, 2, 3, 4]


def test_wrong_use_is_said():
    rows = np.ones((4, 2), np.float32)
    with pytest.raises(EyelineError, match="0 neighbours"):
        nearest(rows, 0)
    with pytest.raises(EyelineError, match="3 groups"):
        nearest(rows, 1, exclude=np.arange(3))
    with pytest.raises(EyelineError, match="divide"):
        describe_thumbnails(np.zeros((1, 60, 64), np.uint8))
    assert nearest(rows[:0], 2)[0].shape == (0, 2)


def test_descriptors_ignore_brightness_and_contrast_and_have_length_one():
    rng = np.random.default_rng(2)
    grey = rng.integers(60, 180, (5, 64, 64)).astype(np.uint8)
    plain = describe_thumbnails(grey)
    changed = describe_thumbnails((grey // 2 + 40).astype(np.uint8))
    assert plain.dtype == np.float32
    assert plain.shape == (5, 256)
    assert np.allclose(np.linalg.norm(plain, axis=1), 1, atol=1e-5)
    assert (np.einsum("nd,nd->n", plain, changed) > 0.99).all()
    assert not describe_thumbnails(np.full((1, 64, 64), 9, np.uint8)).any()


def test_votes_of_equal_neighbours_are_those_of_scikit_learn():
    rng = np.random.default_rng(3)
    rows, y = unit_rows(rng.normal(size=(200, 4))), rng.integers(0, 3, 200)
    asked = unit_rows(rng.normal(size=(50, 4)))
    indices, _ = nearest(rows, 7, queries=asked)
    peer = (
        KNeighborsClassifier(7).fit(rows, y).predict_proba(asked)
    )  # nearest on the sphere is nearest by product
    shares = np.bincount(y) / 200
    assert np.allclose(vote(indices, np.ones((50, 7)), y, 3), (7 * peer + shares) / 8)


def test_a_vote_without_neighbours_is_the_share_of_the_classes():
    p = vote(np.full((1, 2), -1), np.full((1, 2), -np.inf), [0, 0, 1, 1], 2)
    assert p.tolist() == [[0.5, 0.5]]


def test_neighbours_read_digits():
    table = read_images("digits")
    rows = describe_thumbnails(np.repeat(np.repeat(table.pixels[..., 0], 8, 1), 8, 2), side=8)
    p = neighbour_probabilities(rows, table.targets, classes=10)
    assert p.shape == (1797, 10)
    assert np.allclose(p.sum(axis=1), 1)
    # 0.98 to 0.99 is what k-NN reaches on this set in the literature of scikit-learn's examples
    assert (p.argmax(axis=1) == table.targets).mean() > 0.98
