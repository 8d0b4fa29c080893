"""Coverage by simulation: in how many plants does each promise hold? Truth is known, so it can be counted.

Each plant draws its calibration defects, asks for a threshold, and is judged by the true escape rate there over
all defects of all groups. Quick versions run always; the full 2,000 plants are marked slow.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from eyeline.verdicts import guaranteed_threshold

ESCAPE = 0.1
# Goods of every score, so that each step of the threshold costs overkill and the promise is used to its limit.
GOODS = np.linspace(0, 1, 1001)[1:-1]
DEMAND = "escape<=0.1@0.95"


def with_goods(defect_scores):
    return np.r_[defect_scores, GOODS], np.arange(len(defect_scores) + len(GOODS)) < len(defect_scores)


def independent_plant(rng, defects=120):
    """Uniform defect scores, so that the true escape rate at a threshold is the threshold."""
    return *with_goods(rng.random(defects)), None, lambda t: t


def grouped_plant(rng, groups=44, correlation=0.3, size=15):
    """Normal scores with a group effect and unequal groups, mapped so that truth is the threshold again."""
    n = np.maximum(1, rng.poisson(rng.gamma(2.0, size / 2.0, groups)))
    g = np.repeat(np.arange(groups), n)
    z = np.sqrt(correlation) * rng.normal(size=groups)[g]
    s = stats.norm.cdf(z + np.sqrt(1 - correlation) * rng.normal(size=len(g)))
    return *with_goods(s), np.r_[g, np.arange(len(GOODS)) % groups], lambda t: t


def uneven_plant(rng, groups=44, share=0.1, shift=3.0, size=15):
    """A tenth of the groups are of a kind that the network hardly sees: their defects score far lower."""
    n = np.maximum(1, rng.poisson(rng.gamma(2.0, size / 2.0, groups)))
    g = np.repeat(np.arange(groups), n)
    z = rng.normal(size=len(g)) - shift * (rng.random(groups) < share)[g]

    def true(t):
        x = stats.norm.ppf(np.clip(t, 1e-12, 1 - 1e-12))
        return (1 - share) * stats.norm.cdf(x) + share * stats.norm.cdf(x + shift)

    return *with_goods(stats.norm.cdf(z)), np.r_[g, np.arange(len(GOODS)) % groups], true


def outcomes(plant, demand, plants, seed=0, use_groups=True):
    """True escape rates of the plants that were granted the demand; the others are as good as 0."""
    rng = np.random.default_rng(seed)
    escapes = np.zeros(plants)
    for i in range(plants):
        s, d, g, true = plant(rng)
        promise = guaranteed_threshold(s, d, demand, groups=g if use_groups else None, resamples=300, seed=i)
        if promise.granted:
            escapes[i] = true(promise.threshold)
    return escapes


def at_most(plants, share=0.05):
    """The share of broken promises that chance allows when the promise is kept: three standard errors."""
    return share + 3 * np.sqrt(share * (1 - share) / plants)


@pytest.mark.parametrize("defects", [35, 120, 400])
def test_independent_promise_is_kept_and_not_wasteful(defects):
    plants = 600
    broken = np.mean(outcomes(lambda rng: independent_plant(rng, defects), DEMAND, plants) > ESCAPE)
    assert broken <= at_most(plants)
    # The bound is exact up to the steps of the binomial: it must be used up, or overkill is paid for nothing.
    allowed = max(r for r in range(defects) if stats.binom.cdf(r, defects, ESCAPE) <= 0.05)
    assert broken == pytest.approx(stats.binom.cdf(allowed, defects, ESCAPE), abs=0.03)


@pytest.mark.parametrize("plant", [grouped_plant, uneven_plant])
def test_grouped_promise_is_kept_where_the_naive_one_breaks(plant):
    plants = 120
    escapes = outcomes(plant, DEMAND, plants)
    naive = np.mean(outcomes(plant, DEMAND, plants, use_groups=False) > ESCAPE)
    assert np.mean(escapes > ESCAPE) <= at_most(plants)
    assert naive >= 0.15
    # Careful, not wasteful: nearly every plant is granted its threshold, and some escapes are allowed.
    assert np.mean(escapes > 0) >= 0.95
    assert escapes.mean() >= 0.02


def test_promise_on_average_is_kept_on_average():
    plants = 500
    escapes = outcomes(lambda rng: independent_plant(rng, 60), "escape<=0.1", plants)
    assert escapes.mean() <= ESCAPE + 3 * escapes.std() / np.sqrt(plants)
    assert escapes.mean() >= 0.08
    # It is no promise for each plant: many exceed it.
    assert np.mean(escapes > ESCAPE) > 0.3
    grouped = outcomes(grouped_plant, "escape<=0.1", plants)
    assert grouped.mean() <= ESCAPE + 3 * grouped.std() / np.sqrt(plants)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("groups", "correlation", "size"),
    [(20, 0.1, 15), (20, 0.3, 15), (44, 0.1, 19), (44, 0.3, 19), (44, 0.5, 19), (100, 0.3, 5)],
)
def test_grouped_promise_over_two_thousand_plants(groups, correlation, size):
    def plant(rng):
        return grouped_plant(rng, groups, correlation, size)

    assert np.mean(outcomes(plant, DEMAND, 2000) > ESCAPE) <= at_most(2000)
    assert np.mean(outcomes(plant, DEMAND, 2000, use_groups=False) > ESCAPE) > at_most(2000)


@pytest.mark.slow
@pytest.mark.parametrize("groups", [44, 100])
def test_uneven_promise_over_two_thousand_plants(groups):
    def plant(rng):
        return uneven_plant(rng, groups)

    assert np.mean(outcomes(plant, DEMAND, 2000) > ESCAPE) <= at_most(2000)


@pytest.mark.slow
def test_independent_promises_over_two_thousand_plants():
    broken = outcomes(independent_plant, DEMAND, 2000) > ESCAPE
    assert np.mean(broken) <= at_most(2000)
    strict = outcomes(lambda rng: independent_plant(rng, 300), "escape<=0.02@0.95", 2000) > 0.02
    assert np.mean(strict) <= at_most(2000)
