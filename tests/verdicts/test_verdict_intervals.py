"""Intervals against statsmodels, published tables, definitions and coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from eyeline.errors import EyelineError
from eyeline.verdicts import intervals


@given(st.integers(1, 400), st.floats(0, 1), st.sampled_from([0.8, 0.9, 0.95, 0.99]))
@settings(max_examples=100, deadline=None)
def test_clopper_pearson_and_wilson_equal_statsmodels(n, share, confidence):
    k = round(share * n)
    exact = proportion_confint(k, n, alpha=1 - confidence, method="beta")
    assert intervals.clopper_pearson(k, n, confidence) == pytest.approx(exact, abs=1e-9)
    score = proportion_confint(k, n, alpha=1 - confidence, method="wilson")
    assert intervals.wilson(k, n, confidence) == pytest.approx(score, abs=1e-9)


@pytest.mark.parametrize("n", [5, 29, 60])
def test_clopper_pearson_covers_at_least_as_often_as_it_says(n):
    """Exact coverage over all outcomes, not a simulation."""
    bounds = np.array([intervals.clopper_pearson(k, n) for k in range(n + 1)])
    for p in np.linspace(0.005, 0.995, 67):
        inside = (bounds[:, 0] <= p) & (p <= bounds[:, 1])
        assert stats.binom.pmf(np.arange(n + 1), n, p)[inside].sum() >= 0.95 - 1e-9


def test_published_one_sided_bounds():
    # 10 defects all caught prove 0.74, 20 0.86, 50 0.94; 165 with 5 misses 0.937.
    assert intervals.lower_bound(10, 10) == pytest.approx(0.741, abs=5e-4)
    assert intervals.lower_bound(20, 20) == pytest.approx(0.861, abs=5e-4)
    assert intervals.lower_bound(50, 50) == pytest.approx(0.942, abs=5e-4)
    assert intervals.lower_bound(160, 165) == pytest.approx(0.937, abs=5e-4)
    # Rule of three.
    assert intervals.upper_bound(0, 1000) == pytest.approx(3 / 1000, rel=4e-3)
    assert intervals.upper_bound(0, 0) == 1.0
    assert intervals.wilson(0, 0) == (0.0, 1.0)


def _delong_by_definition(scores, truth):
    """The kernel matrix of every defect against every good part (DeLong et al. 1988, equations 2 to 5)."""
    x, y = scores[truth], scores[~truth]
    psi = (x[:, None] > y) + 0.5 * (x[:, None] == y)
    v10, v01 = psi.mean(axis=1), psi.mean(axis=0)
    return psi.mean(), v10.var(ddof=1) / len(x) + v01.var(ddof=1) / len(y)


@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(2, 40), st.integers(2, 30))
@settings(max_examples=60, deadline=None)
def test_delong_variance_is_that_of_the_definition(seed, defects, goods, levels):
    rng = np.random.default_rng(seed)
    truth = np.arange(defects + goods) < defects
    scores = rng.integers(0, levels, defects + goods) + truth * rng.integers(0, 3)
    area, variance = _delong_by_definition(scores, truth)
    of_defects, of_goods = intervals.placements(scores, truth)
    assert of_defects.mean() == pytest.approx(area, abs=1e-12)
    assert of_goods.mean() == pytest.approx(area, abs=1e-12)
    assert intervals.delong_variance(scores, truth) == pytest.approx(variance, abs=1e-12)


def test_delong_interval_covers_the_true_auroc():
    rng = np.random.default_rng(3)
    true = stats.norm.cdf(1.5 / np.sqrt(2))
    truth = np.arange(120) < 40
    inside = 0
    for _ in range(600):
        low, high = intervals.delong(rng.normal(truth * 1.5, 1.0), truth)
        inside += low <= true <= high
    assert 0.93 <= inside / 600 <= 0.98


def test_delong_refuses_what_it_cannot_bound():
    with pytest.raises(EyelineError, match="perfect"):
        intervals.delong([0.1, 0.2, 0.8, 0.9], [False, False, True, True])
    with pytest.raises(EyelineError, match="all scores are equal"):
        intervals.delong([0.3, 0.3, 0.3, 0.3], [False, False, True, True])
    with pytest.raises(EyelineError, match="two defects"):
        intervals.delong_variance([0.1, 0.2, 0.8], [False, False, True])


def test_auroc_by_pairs_covers_with_few_defects():
    """Six defects: the variance bound must keep its promise where DeLong would not."""
    rng = np.random.default_rng(4)
    truth = np.arange(60) < 6
    for shift in (0.5, 1.5, 2.5):
        true, inside = stats.norm.cdf(shift / np.sqrt(2)), 0
        for _ in range(300):
            area = intervals.placements(rng.normal(truth * shift, 1.0), truth)[0].mean()
            low, high = intervals.auroc_by_pairs(area, 6)
            inside += low <= true <= high
        assert inside / 300 >= 0.95


def test_separated_average_precision_bound_holds():
    """Normal scores far enough apart to be separated often; the true area by integration."""
    rng = np.random.default_rng(5)
    shift, rate = 3.0, 0.3
    t = np.linspace(-6, 10, 20_001)
    recall, false = stats.norm.sf(t - shift), stats.norm.sf(t)
    precision = rate * recall / (rate * recall + (1 - rate) * false)
    true = np.trapezoid(precision[::-1], recall[::-1])
    low, high = intervals.average_precision_separated(6, 14, rate)
    assert low <= true <= high
    separated = sum(rng.normal(shift, 1, 6).min() > rng.normal(0, 1, 14).max() for _ in range(200))
    assert separated > 20  # the case is not an odd one
    # More of both tightens it towards 1.
    assert intervals.average_precision_separated(600, 1400, rate)[0] > 0.9 > low


def test_bootstrap_mean_agrees_with_theory_whatever_the_chunks(monkeypatch):
    rng = np.random.default_rng(6)
    x = rng.normal(size=200)

    def mean(counts):
        return {"mean": counts @ x / counts.sum(axis=1)}

    draws = intervals.bootstrap(mean, units=200, images=200, resamples=4000, seed=1)["mean"]
    assert draws.mean() == pytest.approx(x.mean(), abs=0.01)
    assert draws.std() == pytest.approx(x.std() / np.sqrt(200), rel=0.05)
    scipy_bounds = stats.bootstrap((x,), np.mean, n_resamples=4000, method="percentile", rng=2)
    assert intervals.percentile(draws) == pytest.approx(tuple(scipy_bounds.confidence_interval), abs=0.02)
    again = intervals.bootstrap(mean, units=200, images=200, resamples=4000, seed=1)["mean"]
    assert np.array_equal(draws, again)
    monkeypatch.setattr(intervals, "CHUNK", 1000)
    chunked = intervals.bootstrap(mean, units=200, images=200, resamples=4000, seed=1)["mean"]
    assert len(chunked) == 4000
    assert chunked.std() == pytest.approx(draws.std(), rel=0.05)


def test_every_resample_draws_as_many_units_as_there_are():
    counts = intervals.draw_counts(np.random.default_rng(0), 7, 50)
    assert counts.shape == (50, 7)
    assert (counts.sum(axis=1) == 7).all()


def test_percentiles_widen_for_few_units_as_student_t_would():
    """Means of 10 normal values: the expanded percentiles cover where the plain ones fall short."""
    rng = np.random.default_rng(7)
    plain = expanded = 0
    for _ in range(1000):
        x = rng.normal(size=10)
        draws = intervals.draw_counts(rng, 10, 600) @ x / 10
        low, high = intervals.percentile(draws)
        plain += low <= 0 <= high
        low, high = intervals.percentile(draws, units=10)
        expanded += low <= 0 <= high
    assert plain / 1000 < 0.92
    assert 0.925 <= expanded / 1000 <= 0.97
    assert intervals.expanded_level(0.975, 1e9) == pytest.approx(0.975, abs=1e-6)


def test_percentile_of_nothing_is_nan():
    assert np.isnan(intervals.percentile(np.full(10, np.nan))).all()
    assert np.isnan(intervals.percentile(np.arange(10.0), units=1)).all()
