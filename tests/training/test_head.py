"""The fitted head against scikit-learn's ridge regression and plain identities."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from eyeline.training import fit_head
from eyeline.training.head import _Ridge


def problem(n: int, d: int, classes: int = 2, seed: int = 0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    centres = rng.normal(size=(classes, d))
    return centres[y] + 2 * rng.normal(size=(n, d)) * rng.uniform(0.5, 3, d), y, rng


@pytest.mark.parametrize(("n", "d"), [(80, 10), (30, 60)])  # primal and dual
@pytest.mark.parametrize("penalty", [0.1, 10.0, 1000.0])
def test_ridge_equals_scikit_learn(n, d, penalty):
    x, y, rng = problem(n, d)
    weights = rng.uniform(0.5, 2, n)
    targets = np.stack([2.0 * y - 1, 1 - 2.0 * y], 1)
    weight, bias = _Ridge(x, targets, weights).solve(penalty)
    scaler = StandardScaler().fit(x, sample_weight=weights)
    peer = Ridge(alpha=penalty).fit(scaler.transform(x), targets, sample_weight=weights)
    np.testing.assert_allclose(x @ weight.T + bias, peer.predict(scaler.transform(x)), rtol=1e-4, atol=1e-5)


def test_left_out_scores_come_from_heads_that_did_not_see_the_image():
    """With pure noise a left-out score knows nothing, while the fit itself remembers."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(120, 300)), np.arange(120) % 2
    head = fit_head(x, y, np.arange(120) // 24, classes=2, penalties=(1.0,))
    remembered = (head.logits(x).argmax(1) == y).mean()
    left_out = (head.left_out.argmax(1) == y).mean()
    assert remembered == 1.0
    assert 0.3 < left_out < 0.7


def test_the_penalty_is_the_best_on_left_out_folds():
    x, y, _ = problem(200, 150, seed=3)
    folds = np.arange(200) % 5
    penalties = (1e-3, 1e2, 1e7)
    head = fit_head(x, y, folds, classes=2, penalties=penalties)
    errors = []
    for penalty in penalties:
        scores = np.zeros((200, 2))
        for fold in range(5):
            seen = folds != fold
            w, b = _Ridge(x[seen], np.where(y[seen, None] == [0, 1], 1.0, -1.0), np.ones(seen.sum())).solve(
                penalty
            )
            scores[~seen] = x[~seen] @ w.T + b
        errors.append(((scores - np.where(y[:, None] == [0, 1], 1.0, -1.0)) ** 2).mean())
    assert head.penalty == penalties[int(np.argmin(errors))]


def test_logits_are_scaled_to_the_best_likelihood():
    x, y, _ = problem(300, 20, classes=3, seed=1)
    head = fit_head(x, y, np.arange(300) % 3, classes=3)

    def loss(factor: float) -> float:
        return -log_softmax(factor * head.left_out, axis=1)[np.arange(300), y].mean()

    assert loss(1.0) <= min(loss(0.9), loss(1.1))
    assert head.weight.shape == (3, 20)
    assert (head.logits(x).argmax(1) == y).mean() > 0.5


def test_weights_count_like_repeated_images():
    x, y, _ = problem(60, 8)
    repeats = np.where(y == 1, 3, 1)
    weighted = fit_head(x, y, np.zeros(60, int), classes=2, weights=repeats.astype(float), penalties=(10.0,))
    repeated = fit_head(
        np.repeat(x, repeats, 0),
        np.repeat(y, repeats),
        np.zeros(repeats.sum(), int),
        classes=2,
        penalties=(10.0,),
    )
    np.testing.assert_allclose(weighted.weight, repeated.weight, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(weighted.bias, repeated.bias, rtol=1e-5, atol=1e-8)


def test_a_constant_feature_does_no_harm():
    x, y, _ = problem(50, 5)
    x[:, 2] = 7.0
    head = fit_head(x, y, np.arange(50) % 5, classes=2)
    assert np.isfinite(head.weight).all()
    assert abs(head.weight[0, 2]) < 1e-6
