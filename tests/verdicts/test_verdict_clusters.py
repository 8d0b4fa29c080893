"""Grouped images: design effects by their definitions, and coverage where image-level intervals fail."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from eyeline.verdicts import clusters, intervals


def grouped_counts(rng, groups, size, rate, correlation):
    """Misses and defects per group: unequal sizes, group rates from a beta with the given correlation."""
    n = np.maximum(1, rng.poisson(rng.gamma(3.0, size / 3.0, groups)))
    strength = 1 / correlation - 1
    return rng.binomial(n, rng.beta(rate * strength, (1 - rate) * strength, groups)), n


def test_intraclass_correlation_equals_the_anova_estimate():
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(12), rng.integers(2, 9, 12))
    x = rng.normal(size=12)[group] + rng.normal(size=len(group))
    table = anova_lm(ols("x ~ C(group)", pd.DataFrame({"x": x, "group": group})).fit())
    between, within = table["mean_sq"]
    n = np.bincount(group)
    size = (n.sum() - (n**2).sum() / n.sum()) / 11
    expected = (between - within) / (between + (size - 1) * within)
    assert clusters.intraclass_correlation(x, group) == pytest.approx(expected)


def test_intraclass_correlation_recovers_the_truth_and_its_limits():
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(3000), 10)
    x = np.sqrt(0.3) * rng.normal(size=3000)[group] + np.sqrt(0.7) * rng.normal(size=30_000)
    assert clusters.intraclass_correlation(x, group) == pytest.approx(0.3, abs=0.02)
    assert clusters.intraclass_correlation([1.0, 2.0, 3.0], ["a", "a", "a"]) == 1.0
    assert clusters.intraclass_correlation([1.0, 2.0, 3.0], ["a", "b", "c"]) == 0.0
    assert clusters.intraclass_correlation([1.0, 1.0, 2.0, 2.0], ["a", "a", "b", "b"]) == 1.0
    assert clusters.intraclass_correlation([1.0, 2.0, 1.0, 2.0], ["a", "a", "b", "b"]) == 0.0
    assert clusters.intraclass_correlation([1.0, 1.0, 1.0], ["a", "a", "b"]) == 0.0


def test_published_design_effect_of_the_solar_modules():
    # 44 modules of about 60 cells, intraclass correlation 0.38: design effect 23, about 114 of 2,624 images.
    effect = clusters.design_effect(np.full(44, 2624 / 44), 0.38)
    assert effect == pytest.approx(23, abs=0.5)
    assert 2624 / effect == pytest.approx(114, abs=3)


def test_kish_effective_groups():
    assert clusters.effective_groups([5, 5, 5, 5]) == pytest.approx(4)
    assert clusters.effective_groups([100, 1, 1]) == pytest.approx(102**2 / 10_002)
    assert clusters.effective_groups([]) == 0.0


def test_jackknife_deviation_is_that_of_the_mean_for_equal_groups():
    rng = np.random.default_rng(2)
    k, n = rng.binomial(20, 0.3, 15), np.full(15, 20)
    rates = k / n
    assert clusters.group_deviation(k, n) == pytest.approx(rates.std(ddof=1) / np.sqrt(15))
    stacked = clusters.group_deviation(np.stack([k, k + 0]), n)
    assert stacked == pytest.approx(np.full(2, rates.std(ddof=1) / np.sqrt(15)))
    assert np.isnan(clusters.group_deviation([3, 0], [5, 0]))


def test_effective_trials_between_groups_and_images():
    rng = np.random.default_rng(3)
    n = np.full(400, 10)
    independent = rng.binomial(10, 0.2, 400)
    assert clusters.effective_trials(independent, n, 0.975) > 3200
    whole = 10 * (rng.random(400) < 0.2)  # groups err as one
    assert clusters.effective_trials(whole, n, 0.975) == pytest.approx(400, rel=0.03)
    assert np.isinf(clusters.effective_trials(np.zeros(5), np.full(5, 9), 0.95))


def test_grouped_interval_without_differences_counts_groups():
    assert clusters.clopper_pearson_grouped(np.zeros(11), np.full(11, 15)) == pytest.approx(
        intervals.clopper_pearson(0, 11)
    )
    assert clusters.clopper_pearson_grouped([3], [10]) == pytest.approx(intervals.clopper_pearson(0.3, 1))
    assert clusters.clopper_pearson_grouped([0.0], [0.0]) == (0.0, 1.0)
    # One image a group is the plain interval.
    hits = np.r_[np.ones(12), np.zeros(88)]
    assert clusters.clopper_pearson_grouped(hits, np.ones(100)) == pytest.approx(
        intervals.clopper_pearson(12, 100), abs=0.004
    )


@pytest.mark.parametrize(("groups", "rate", "correlation"), [(11, 0.2, 0.1), (22, 0.1, 0.2), (44, 0.2, 0.4)])
def test_grouped_interval_covers_where_the_image_interval_fails(groups, rate, correlation):
    rng = np.random.default_rng(groups)
    grouped = naive = 0
    for _ in range(400):
        k, n = grouped_counts(rng, groups, 15, rate, correlation)
        low, high = clusters.clopper_pearson_grouped(k, n)
        grouped += low <= rate <= high
        low, high = intervals.clopper_pearson(k.sum(), n.sum())
        naive += low <= rate <= high
    assert grouped / 400 >= 0.915
    assert naive / 400 <= 0.80


def test_weighing_groups_alike_still_counts_their_images():
    """Equal independent groups: each of the three bounds is close to that of the images, none to 30 groups."""
    k, n = np.random.default_rng(5).binomial(50, 0.1, (1, 30)).astype(float), np.full(30, 50.0)
    bound = clusters.careful_upper_bounds(k, n, worth=1e9, confidence=0.95, resamples=500, seed=0)[0]
    assert bound <= intervals.upper_bound(k.sum(), 1500) + 0.012


def test_careful_bounds_are_the_highest_and_respect_the_cap():
    rng = np.random.default_rng(4)
    k, n = grouped_counts(rng, 30, 12, 0.1, 0.2)
    rows = np.stack([np.zeros(30), k])
    options = {"confidence": 0.95, "resamples": 500, "seed": 0}
    loose = clusters.careful_upper_bounds(rows, n.astype(float), worth=1e9, **options)
    capped = clusters.careful_upper_bounds(rows, n.astype(float), worth=40.0, **options)
    assert capped[0] == pytest.approx(intervals.upper_bound(0, 40))
    assert (capped >= loose).all()
    assert loose[1] >= clusters.clopper_pearson_grouped(k, n, 0.90)[1] - 1e-12
