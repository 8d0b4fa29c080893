"""The CUSUM's chain against simulation, and its promise when the baseline is itself an estimate."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from eyeline.errors import EyelineError
from eyeline.verdicts import average_run_length, cusum, run_cusum
from eyeline.verdicts.cusum import alarm_chance, cusum_path, cusum_steps


def known(rate):
    return np.array([rate]), np.array([1.0])


@pytest.mark.parametrize("rate", [0.002, 0.01, 0.05, 0.31, 0.6, 0.9])
@pytest.mark.parametrize("rising", [True, False])
def test_the_steps_balance_between_the_rate_and_twice_its_odds(rate, rising):
    hit, miss = cusum_steps(rate, rising=rising)
    odds = rate / (1 - rate) * (2 if rising else 0.5)
    other = odds / (1 + odds)
    balance = -miss / (hit - miss)
    assert min(rate, other) < balance < max(rate, other)
    assert (hit > 0) == rising


def test_the_path_is_the_recursion():
    rng = np.random.default_rng(0)
    x = rng.random(500) < 0.2
    value, expected = 0, []
    for stopped in x:
        value = max(0, value + (7 if stopped else -2))
        expected.append(value)
    assert cusum_path(x, 7, -2).tolist() == expected


def test_the_chain_is_what_simulation_gives():
    rng = np.random.default_rng(1)
    hit, miss = cusum_steps(0.1)
    x = rng.random((20_000, 200)) < 0.1
    total = np.cumsum(np.where(x, hit, miss), axis=1)
    largest = (total - np.minimum(np.minimum.accumulate(total, axis=1), 0)).max(axis=1)
    for limit in (20, 35, 50):
        chance = alarm_chance(200, limit, [0.1], hit, miss)[0]
        assert chance == pytest.approx((largest >= limit).mean(), abs=4 * np.sqrt(chance / 20_000) + 1e-3)
    assert alarm_chance(10, 0, [0.1], hit, miss)[0] == 1


def test_a_long_shift_is_followed_to_the_end(monkeypatch):
    """The chain stops early and goes on as a power, to the same chance."""
    for rate, limit in ((0.1, 60), (0.02, 400), (0.45, 4)):
        hit, miss = cusum_steps(rate)
        rates = [rate / 2, rate, 1.3 * rate, 2 * rate]
        fast = alarm_chance(20_000, limit, rates, hit, miss)
        with monkeypatch.context() as context:
            context.setattr(cusum, "_SETTLED", -1.0)
            assert fast == pytest.approx(alarm_chance(20_000, limit, rates, hit, miss), abs=1e-4)
    assert np.isfinite(alarm_chance(100_000, 60, [0.1, 0.9], *cusum_steps(0.1))).all()


@pytest.mark.parametrize("rising", [True, False])
def test_the_average_run_length_is_what_simulation_gives(rising):
    rng = np.random.default_rng(2)
    hit, miss = cusum_steps(0.2, rising=rising)
    limit = 3 * max(abs(hit), abs(miss))
    runs = []
    for _ in range(400):
        value, n = 0, 0
        while value < limit:
            value = max(0, value + (hit if rng.random() < 0.2 else miss))
            n += 1
            if n > 20_000:
                break
        runs.append(n)
    expected = average_run_length(0.2, limit, hit, miss)
    assert np.mean(runs) == pytest.approx(expected, rel=4 / np.sqrt(400))


def test_a_change_is_seen_and_dated_and_no_change_is_not():
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.random(600) < 0.05, rng.random(400) < 0.2])
    found = run_cusum(x, 0.05, known(0.05), level=0.001)
    assert found.rings
    assert 600 <= found.first <= 700
    assert abs(found.since - 600) < 40
    assert found.p_value < 0.001
    assert found.path == tuple(cusum_path(x, found.hit, found.miss))
    calm = run_cusum(x[:600], 0.05, known(0.05), level=0.001)
    assert not calm.rings
    assert (calm.first, calm.since) == (None, None)
    assert calm.average_run_length > 600 / 0.001 / 2
    fewer = run_cusum(np.zeros(600, bool), 0.05, known(0.05), level=0.001, rising=False)
    assert fewer.rings


def test_an_estimated_baseline_rings_no_more_often_than_it_says():
    """Every baseline of 60 images that a line at 15 % can give, weighted by its chance: exact, nothing simulated."""
    from eyeline.verdicts import Baseline

    rate, images, level = 0.15, 60, 0.05
    total = naive = 0.0
    for k in range(1, 22):
        baseline = Baseline(scores=np.linspace(0, 1, images), stopped=np.arange(images) < k)
        careful = run_cusum(np.zeros(80, bool), k / images, baseline.allowed(rising=True), level=level)
        plain = run_cusum(np.zeros(80, bool), k / images, known(k / images), level=level)
        weight = binom.pmf(k, images, rate)
        total += weight * alarm_chance(80, careful.limit, [rate], careful.hit, careful.miss)[0]
        naive += weight * alarm_chance(80, plain.limit, [rate], plain.hit, plain.miss)[0]
    assert total <= level
    assert naive > 1.5 * level  # taking the estimate for the truth rings too often


@pytest.mark.parametrize("rate", [0.0, 1.0, 1e-5])
def test_a_rate_too_near_to_zero_or_one_is_refused(rate):
    with pytest.raises(EyelineError, match="CUSUM"):
        cusum_steps(rate)
    assert average_run_length(0.01, 10_000, 69, -1) is None
