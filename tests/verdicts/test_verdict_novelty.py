"""Unknown objects: the distance against scikit-learn, false alarms against the promise, power on real digits."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf
from sklearn.datasets import load_digits

from eyeline.errors import EyelineError
from eyeline.verdicts import (
    Wishes,
    decide,
    decisions,
    evaluate,
    fit_space,
    review_figures,
    unknown_figures,
    unknown_rule,
)
from eyeline.verdicts.novelty import ledoit_wolf_shrinkage


def clouds(images=200, channels=12, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    t = np.arange(images) % classes
    mix = rng.normal(size=(channels, channels))
    return 3 * rng.normal(size=(classes, channels))[t] + rng.normal(size=(images, channels)) @ mix, t


def centred(x, t):
    return x - np.stack([x[t == k].mean(axis=0) for k in range(t.max() + 1)])[t]


@pytest.mark.parametrize(("images", "channels"), [(200, 12), (30, 60), (9, 5)])
def test_the_covariance_is_shrunk_as_scikit_learn_does(images, channels):
    residuals = centred(*clouds(images, channels))
    ours = ledoit_wolf_shrinkage(residuals, residuals.T @ residuals / images)
    assert ours == pytest.approx(LedoitWolf(assume_centered=True).fit(residuals).shrinkage_)


def test_the_distance_is_that_of_mahalanobis_to_the_nearest_class():
    x, t = clouds()
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    space = fit_space(3.7 * x, t, rank=1000)  # the length of the features does not matter
    precision = LedoitWolf(assume_centered=True).fit(centred(x, t)).precision_
    new = np.random.default_rng(1).normal(size=(50, 12))
    new /= np.linalg.norm(new, axis=1, keepdims=True)
    off = new[:, None] - space.means
    direct = np.einsum("nkc,cd,nkd->nk", off, precision, off).min(axis=1) / 12
    np.testing.assert_allclose(space.distances(0.2 * new), direct, rtol=1e-8)
    assert np.mean(space.distances(x)) == pytest.approx(1.0, rel=0.3)  # of the training part: about 1


def test_fewer_directions_change_little_and_fewer_images_than_features_are_enough():
    x, t = clouds(images=40, channels=100)
    full, few = fit_space(x, t, rank=99), fit_space(x, t, rank=20)
    assert few.basis.shape == (100, 20)
    near, far = clouds(images=40, channels=100)[0], 10 * np.random.default_rng(3).normal(size=(40, 100))
    for space in (full, few):
        assert np.isfinite(space.distances(near)).all()
        assert space.distances(near).max() < space.distances(far).min()


def test_a_class_without_images_has_no_mean():
    x, t = clouds(classes=2)
    assert fit_space(x, 2 * t).means.shape == (2, 12)


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("images", [120, 250])
def test_false_alarms_are_at_most_alpha_on_average(alpha, images):
    """For exchangeable images, with ties or without; the exact chance is floor(alpha (n + 1)) / (n + 1) or less."""
    rng = np.random.default_rng(0)
    for draw in (lambda n: rng.gamma(2.0, size=n), lambda n: rng.integers(0, 40, n).astype(float)):
        alarms = []
        for _ in range(400):
            rule = unknown_rule(draw(images), alpha)
            alarms.append((draw(50) > rule.threshold).mean())
        assert np.mean(alarms) <= alpha + 3 * np.std(alarms) / 20


def test_the_p_value_decides():
    """Against the definition: unknown exactly when (1 + calibration at least as far) / (n + 1) <= alpha, or later."""
    rng = np.random.default_rng(2)
    calibration = rng.gamma(2.0, size=199)
    rule = unknown_rule(calibration, 0.05)
    new = rng.gamma(2.0, size=2000) * 1.5
    p = (1 + (calibration[None] >= new[:, None]).sum(axis=1)) / 200
    flagged = new > rule.threshold
    assert (p[flagged] <= 0.05).all()
    assert flagged.sum() >= 0.9 * (p <= 0.05).sum()


@pytest.mark.parametrize(("alpha", "needed"), [(0.01, 99), (0.05, 19), (0.1, 9)])
def test_published_sample_sizes(alpha, needed):
    distances = np.linspace(0.5, 2, needed)
    granted = unknown_rule(distances, alpha)
    assert granted.granted
    assert granted.threshold == 2.0
    refused = unknown_rule(distances[:-1], alpha)
    assert (refused.granted, refused.threshold, refused.needed) == (False, None, needed)
    assert f"from {needed - 1} images; {needed} are needed" in refused.text
    json.dumps(refused.to_dict(), allow_nan=False)


@pytest.mark.parametrize("defects", [10, 50])
def test_power_on_real_digits_from_few_defects(defects):
    """Zeros are good; a few ones and sevens are the defects. Foreign: noise and inverted digits."""
    data = load_digits()
    rng = np.random.default_rng(defects)
    goods = rng.permutation(np.flatnonzero(data.target == 0))
    bad = rng.permutation(np.flatnonzero(np.isin(data.target, (1, 7))))
    pixels = data.images.reshape(len(data.images), -1)
    train = np.r_[goods[:60], bad[:defects]]
    space = fit_space(pixels[train], (data.target[train] != 0).astype(int))
    held = np.r_[goods[60:], bad[defects:]]
    held = rng.permutation(held)
    half = len(held) // 2
    rule = unknown_rule(space.distances(pixels[held[:half]]), 0.02)
    alarms = (space.distances(pixels[held[half:]]) > rule.threshold).mean()
    # One calibration draw: its false alarms spread around alpha like a beta variable.
    assert alarms <= 0.02 + 4 * np.sqrt(2 * 0.02 * 0.98 / half)
    noise = rng.integers(0, 17, (200, 64))
    inverted = 16 - pixels[held[half:]]
    for foreign in (noise, inverted):
        assert (space.distances(foreign) > rule.threshold).mean() >= 0.95


def test_what_is_unknown_never_passes():
    scores, unknown = np.array([0.1, 0.1, 0.5, 0.9, 0.9]), np.array([False, True, True, False, True])
    p = np.c_[1 - scores, scores]
    assert decisions(scores, 0.4, unknown=unknown) == ["pass", "fail", "fail", "fail", "fail"]
    assert decisions(scores, 0.4, 0.8, unknown=unknown) == ["pass", "review", "review", "fail", "review"]
    assert decide(p, 0.4, unknown=unknown).tolist() == [0, 1, 1, 1, 1]


def test_figures_count_what_unknown_stops():
    rng = np.random.default_rng(0)
    truth, scores = np.arange(100) < 40, rng.random(100)
    unknown = rng.random(100) < 0.2
    found = evaluate(
        np.c_[1 - scores, scores], truth.astype(int), classes=["good", "bad"], good="good", threshold=0.5,
        unknown=unknown, resamples=100,
    )  # fmt: skip
    passes = (scores < 0.5) & ~unknown
    assert found.escape_rate.count == (passes & truth).sum()
    assert found.overkill_rate.count == (~passes & ~truth).sum()
    reviewed = review_figures(scores, truth, 0.5, 0.7, unknown=unknown)
    assert reviewed.load.count == (unknown | ((scores >= 0.5) & (scores < 0.7))).sum()
    alarms = unknown_figures(unknown, truth, groups=np.arange(100) % 20)
    assert (alarms.alarms.count, alarms.of_goods.n) == (unknown.sum(), 60)
    assert f"{unknown.sum()} of 100 known images were taken for unknown" in alarms.text
    json.dumps(alarms.to_dict(), allow_nan=False)


@pytest.mark.parametrize("alpha", [0.0, 0.7, -1])
def test_wrong_use(alpha):
    for use in (lambda: unknown_rule([1.0, 2.0], alpha), lambda: Wishes.parse(unknown=alpha)):
        with pytest.raises(EyelineError, match="above 0 to") as caught:
            use()
        assert caught.value.code == "bad_option"


def test_features_that_say_nothing():
    with pytest.raises(EyelineError, match="no spread within a class"):
        fit_space(np.eye(3), [0, 1, 2])
    with pytest.raises(EyelineError, match="all the same"):
        fit_space(np.ones((9, 4)), [0] * 9)
    with pytest.raises(EyelineError, match="do not fit"):
        fit_space(np.ones((9, 4)), [0] * 8)
