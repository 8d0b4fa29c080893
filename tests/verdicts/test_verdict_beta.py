"""Beta calibration against scikit-learn and against truths it can and cannot mend; and the band of whole groups."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss as log_loss_of_sklearn

from eyeline.errors import EyelineError
from eyeline.verdicts import fit_beta, log_loss, reliability_curve, softmax


def scores(seed, n=1200, a=1.0, b=1.0, c=0.0):
    """Scores whose true chance of a defect is the beta map with a, b, c."""
    rng = np.random.default_rng(seed)
    s = rng.beta(0.6, 0.8, n).clip(1e-4, 1 - 1e-4)
    true = 1 / (1 + np.exp(-(a * np.log(s) - b * np.log1p(-s) + c)))
    return s, rng.random(n) < true, true


def test_the_fit_is_the_logistic_regression_of_scikit_learn():
    s, d, _ = scores(0, a=0.5, b=1.6, c=0.4)
    found = fit_beta(s, d)
    design = np.column_stack([np.log(s), -np.log1p(-s)])
    theirs = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(design, d)
    assert (found.a, found.b) == pytest.approx(tuple(theirs.coef_[0]), rel=1e-4)
    assert found.c == pytest.approx(theirs.intercept_[0], abs=1e-4)
    assert found.apply(s) == pytest.approx(theirs.predict_proba(design)[:, 1], abs=1e-5)
    assert found.log_loss_after == pytest.approx(log_loss_of_sklearn(d, found.apply(s)))


def test_it_mends_what_it_can_and_leaves_honest_scores():
    s, d, true = scores(1, n=4000, a=0.4, b=1.5, c=0.8)
    found = fit_beta(s, d)
    assert found.fitted
    assert np.abs(found.apply(s) - true).mean() < 0.25 * np.abs(s - true).mean()
    assert found.ece_after < found.ece_before
    assert (np.diff(found.apply(np.sort(s))) >= 0).all()
    kept = sum(not fit_beta(*scores(seed, n=400)[:2]).fitted for seed in range(20))
    assert kept >= 14  # honest scores are left alone, but for chance


def test_a_temperature_is_one_of_its_maps():
    rng = np.random.default_rng(2)
    z = rng.normal(0, 4, (5000, 2))
    d = rng.random(5000) < softmax(z, 2.5)[:, 1]
    found = fit_beta(softmax(z)[:, 1], d)
    assert (found.a, found.b, found.c) == pytest.approx((0.4, 0.4, 0.0), abs=0.07)


def test_a_score_that_points_the_wrong_way_is_never_turned_round():
    s, d, _ = scores(3)
    found = fit_beta(s, ~d)
    assert min(found.a, found.b) >= 0
    assert (np.diff(found.apply(np.sort(s))) >= 0).all()


@pytest.mark.parametrize("n", [150, 300])
def test_too_little_is_not_fitted(n):
    s, d, _ = scores(4, n=n, c=-4.0)  # defects are rare
    found = fit_beta(s, d)
    assert not found.fitted
    assert "it takes 200 with 50 of each" in found.reason
    assert found.apply(s) is not None
    assert found.apply(s) == pytest.approx(s)


def test_folds_are_dealt_by_group():
    """Two parts alone cannot be told from their images: what one teaches about the other must help, or it is left."""
    s, d, _ = scores(5, a=0.5, b=1.6)
    one = fit_beta(s, d, groups=np.zeros(len(s), int))
    assert not one.fitted
    many = fit_beta(s, d, groups=np.arange(len(s)) % 40)
    assert many.fitted


def test_log_loss_is_that_of_scikit_learn_and_bad_scores_are_refused():
    s, d, _ = scores(6)
    assert log_loss(s, d) == pytest.approx(log_loss_of_sklearn(d, s))
    with pytest.raises(EyelineError, match="between 0 and 1"):
        fit_beta([0.5, 1.5], [True, False])


# --- the band of a reliability diagram by whole groups ---------------------------------------------


def test_groups_widen_the_band():
    rng = np.random.default_rng(7)
    groups = np.repeat(np.arange(40), 25)
    s = rng.random(1000)
    offset = rng.normal(0, 1.2, 40)[groups]
    d = rng.random(1000) < 1 / (1 + np.exp(-(np.log(s / (1 - s)) + offset)))
    plain, grouped = reliability_curve(s, d), reliability_curve(s, d, groups=groups)
    assert grouped.defect_share.tolist() == plain.defect_share.tolist()
    assert ((grouped.low <= grouped.defect_share) & (grouped.defect_share <= grouped.high)).all()
    assert np.mean(grouped.high - grouped.low) > 1.1 * np.mean(plain.high - plain.low)


def test_the_group_band_covers_where_the_band_of_images_does_not():
    true = covered = naive = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        groups = np.repeat(np.arange(25), 20)
        s = np.tile(np.linspace(0.05, 0.95, 20), 25)
        offset = rng.normal(0, 1.5, 25)[groups]
        d = rng.random(500) < 1 / (1 + np.exp(-(np.log(s / (1 - s)) + offset)))
        z = rng.normal(0, 1.5, 20_000)
        for plain, count in ((reliability_curve(s, d, bins=5), "naive"), (None, "covered")):
            curve = plain or reliability_curve(s, d, bins=5, groups=groups, resamples=300)
            at = np.log(s / (1 - s)).reshape(25, 20)[0]
            chances = (1 / (1 + np.exp(-(at[:, None] + z)))).mean(axis=1)
            order = np.searchsorted(curve.mean_score[:-1] / 2 + curve.mean_score[1:] / 2, s[:20])
            expected = np.array([chances[order == b].mean() for b in range(5)])
            inside = int(((curve.low <= expected) & (expected <= curve.high)).sum())
            if count == "naive":
                naive += inside
            else:
                covered += inside
                true += 5
    assert covered / true >= 0.92
    assert naive < covered


def test_bins_without_spread_count_groups():
    s, d = np.repeat([0.1, 0.9], 50), np.repeat([False, True], 50)
    groups = np.arange(100) % 10
    curve = reliability_curve(s, d, bins=2, groups=groups)
    assert curve.high[0] == pytest.approx(1 - 0.025 ** (1 / 10))
    with pytest.raises(EyelineError, match="groups name 3"):
        reliability_curve(s, d, groups=[1, 2, 3])
