"""The learning curve against SciPy's bounded least squares, and forecasts against what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import least_squares

from eyeline.errors import EyelineError
from eyeline.verdicts import GrowthCurve, fit_power_law

SIZES = np.array([4, 8, 16, 24, 32])


def errors(seed, *, floor=0.05, scale=0.6, exponent=0.7, noise=0.02, draws=8):
    rng = np.random.default_rng(seed)
    return floor + scale * SIZES**-exponent + rng.normal(0, noise, (draws, len(SIZES)))


@pytest.mark.parametrize(("a", "b", "c"), [(0.05, 0.6, 0.7), (0.0, 0.4, 0.35), (0.1, 2.0, 1.5)])
def test_a_curve_without_noise_comes_back(a, b, c):
    found = fit_power_law(SIZES, (a + b * SIZES**-c)[None])[0]
    assert found == pytest.approx((a, b, c), abs=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_no_other_curve_fits_better(seed):
    mean = errors(seed, noise=0.05).mean(axis=0)
    a, b, c = fit_power_law(SIZES, mean[None])[0]
    ours = ((mean - a - b * SIZES**-c) ** 2).sum()
    assert a >= 0
    assert b >= 0
    theirs = min(
        2
        * least_squares(
            lambda p: p[0] + p[1] * SIZES ** -p[2] - mean, start, bounds=([0, 0, 0.05], [1, 50, 2])
        ).cost
        for start in ((0.05, 0.5, 0.3), (0.01, 1.0, 1.0), (0.2, 0.1, 1.8))
    )
    assert ours <= theirs * 1.02 + 1e-9  # the exponent is taken from a grid


def test_the_floor_never_falls_below_zero():
    rising_steeply = np.array([[0.5, 0.25, 0.12, 0.05, 0.001]])
    assert fit_power_law(SIZES, rising_steeply)[0, 0] == 0
    growing = np.array([[0.1, 0.12, 0.13, 0.14, 0.2]])
    a, b, _ = fit_power_law(SIZES, growing)[0]
    assert b == 0
    assert a == pytest.approx(growing.mean())


def test_a_forecast_covers_the_expected_error():
    """Twice as many parts: the expected error lies in the interval in 95 % of cases or nearly."""
    true = 0.05 + 0.6 * 64**-0.7
    covered = 0
    for seed in range(100):
        found = GrowthCurve(SIZES, errors(seed), seed=seed).forecast(32)
        covered += found.low <= true <= found.high
        assert found.low <= found.error <= found.high
        assert found.size == 64
    assert covered >= 88


def test_draws_from_one_collection_are_no_independent_looks():
    """Parts held out twice bind the draws together: a correlation of the share held out, as the correction assumes."""
    true, share, noise = 0.05 + 0.6 * 64**-0.7, 0.25, 0.02
    covered = {0.0: [], share: []}
    for seed in range(150):
        rng = np.random.default_rng(seed)
        common = np.sqrt(share) * rng.normal(0, noise, len(SIZES))
        own = np.sqrt(1 - share) * rng.normal(0, noise, (8, len(SIZES)))
        values = 0.05 + 0.6 * SIZES**-0.7 + common + own
        for held_out, found in covered.items():
            forecast = GrowthCurve(SIZES, values, held_out=held_out, seed=seed).forecast(32)
            found.append(forecast.low <= true <= forecast.high)
    assert np.mean(covered[share]) >= 0.88
    assert np.mean(covered[0.0]) < 0.8


def test_a_share_held_out_is_below_one():
    with pytest.raises(EyelineError, match="allowed: 0 to below 1"):
        GrowthCurve(SIZES, np.ones((8, 5)), held_out=1.0)


def test_a_flat_curve_promises_no_fall():
    curves = [GrowthCurve(SIZES, errors(seed, scale=0.0, floor=0.2), seed=seed) for seed in range(100)]
    results = [curve.result() for curve in curves]
    assert sum(not result.falls for result in results) >= 90
    flat = next(result for result in results if not result.falls)
    assert "does not surely fall: more of the same kind may not help" in flat.text
    assert flat.gain_low <= 0 <= flat.gain_high
    forecasts = [curve.forecast(32) for curve in curves]
    assert sum(found.low <= 0.2 <= found.high for found in forecasts) >= 80
    assert sum(found.text.endswith(", so it may not fall") for found in forecasts) >= 95


def test_a_curve_that_could_go_anywhere_says_so():
    values = errors(3, floor=0.0, scale=0.9, exponent=1.6, noise=0.15, draws=5).clip(0, 1)
    found = GrowthCurve(SIZES, values, held_out=0.25).forecast(32)
    assert found.high - found.low > values[:, -1].mean()
    assert found.text.endswith(", so it may not fall")


def test_the_result_holds_the_whole_curve():
    result = GrowthCurve(SIZES, errors(0), figure="1 - AUROC").result()
    assert result.falls
    assert result.curve_sizes[0] == 4
    assert result.curve_sizes[-1] == pytest.approx(64)
    assert all(lo <= x <= hi for lo, x, hi in zip(result.low, result.curve, result.high, strict=True))
    assert result.text.startswith("32 more parts → 1 - AUROC in [")
    assert (np.diff(result.curve) < 0).all()


@pytest.mark.parametrize(
    ("sizes", "values", "message"),
    [
        (SIZES[:3], np.ones((8, 3)), "4 sizes and 5 draws"),
        (SIZES, np.ones((4, 5)), "not 5 and 4"),
        (SIZES[::-1], np.ones((8, 5)), "do not fit"),
        (SIZES, np.ones((8, 4)), "do not fit"),
        (SIZES, np.full((8, 5), np.nan), "finite"),
    ],
)
def test_too_little_is_refused(sizes, values, message):
    with pytest.raises(EyelineError, match=message):
        GrowthCurve(sizes, values)


def test_nothing_is_said_far_beyond_the_data():
    curve = GrowthCurve(SIZES, errors(0))
    with pytest.raises(EyelineError, match="beyond 4 times"):
        curve.forecast(97)
    with pytest.raises(EyelineError, match="beyond"):
        curve.forecast(0)
