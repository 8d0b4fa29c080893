"""Money and the line's defect rate: identities, simulation, hand-worked figures."""

from __future__ import annotations

import json

import numpy as np
import pytest

from eyeline.errors import EyelineError
from eyeline.verdicts import (
    Costs,
    choose_threshold,
    cost_curve,
    cost_threshold,
    evaluate,
    line_figures,
    outgoing_defect_rate,
    review_band,
    shift_prior,
)


def test_outgoing_defects_by_hand():
    # 10,000 parts with 1 % defects, 10 % escapes, 5 % overkill: 10 of 9,415 shipped.
    assert outgoing_defect_rate(0.1, 0.05, 0.01) == pytest.approx(10 / 9415)
    assert outgoing_defect_rate(0.0, 0.5, 0.3) == 0
    # No inspection ships what comes in; failing everything ships nothing.
    assert outgoing_defect_rate(1.0, 0.0, 0.02) == pytest.approx(0.02)
    assert np.isnan(outgoing_defect_rate(0.0, 1.0, 0.02))
    with pytest.raises(EyelineError, match="share from 0 to 1"):
        outgoing_defect_rate(0.1, 0.1, 5)


def test_prior_shift_is_bayes():
    """Two normal score distributions: the shifted posterior is the posterior of the other mix."""
    x = np.linspace(-3, 5, 50)
    ratio = np.exp(2 * x - 2)  # N(2, 1) over N(0, 1)

    def posterior(p):
        return p * ratio / (p * ratio + 1 - p)

    assert np.allclose(shift_prior(posterior(0.3), 0.3, 0.002), posterior(0.002))
    assert np.allclose(shift_prior(shift_prior(x / 10 + 0.4, 0.3, 0.1), 0.1, 0.3), x / 10 + 0.4)
    assert np.allclose(shift_prior(x / 10 + 0.4, 0.3, 0.3), x / 10 + 0.4)
    with pytest.raises(EyelineError, match="between 0 and 1"):
        shift_prior(0.5, 0.0, 0.1)


def test_cost_threshold_is_cheapest_for_calibrated_scores():
    rng = np.random.default_rng(0)
    d = rng.random(400_000) < 0.3
    x = rng.normal(size=len(d)) + 2 * d
    p_data = 0.3 * np.exp(2 * x - 2) / (0.3 * np.exp(2 * x - 2) + 0.7)
    costs = Costs(escape=30.0, overkill=1.0, defect_rate=0.05)
    assert cost_threshold(costs) == pytest.approx(1 / 31)
    t = cost_threshold(costs, data_rate=0.3)
    shifted = shift_prior(p_data, 0.3, 0.05)
    assert np.array_equal(p_data >= t, shifted >= 1 / 31)

    def cost(threshold):
        return 0.05 * 30 * np.mean(p_data[d] < threshold) + 0.95 * np.mean(p_data[~d] >= threshold)

    assert cost(t) <= min(cost(u) for u in np.linspace(0.01, 0.9, 60)) + 1e-3
    # The empirical rule finds it too, without the calibration.
    part = slice(0, 20_000)
    empirical = choose_threshold(
        p_data[part], d[part], rule="cost", cost_escape=30.0, cost_overkill=1.0, defect_rate=0.05
    )
    assert cost(empirical) <= cost(t) * 1.03


def test_review_pays_between_the_two_thresholds():
    costs = Costs(escape=100.0, overkill=10.0, review=2.0, defect_rate=0.1)
    low, high = review_band(costs)
    assert (low, high) == pytest.approx((0.02, 0.8))
    for p in np.linspace(0, 1, 101):
        cheapest = min((p * 100, "pass"), (2.0, "review"), ((1 - p) * 10, "fail"))[1]
        if abs(p - low) > 1e-9 and abs(p - high) > 1e-9:
            assert cheapest == ("pass" if p < low else "review" if p < high else "fail")
    shifted = review_band(costs, data_rate=0.4)
    assert shifted == pytest.approx(tuple(shift_prior([0.02, 0.8], 0.1, 0.4)))
    assert review_band(costs.model_copy(update={"review": 50.0})) is None
    with pytest.raises(EyelineError, match="cost of a review"):
        review_band(Costs(escape=1.0, overkill=1.0, defect_rate=0.1))


def test_cost_curve_and_its_minimum():
    rng = np.random.default_rng(1)
    d = np.arange(300) % 4 == 0
    s = 1 / (1 + np.exp(-rng.normal(2.0 * d - 1, 1.0)))
    costs = Costs(escape=20.0, overkill=1.0, defect_rate=0.02)
    curve = cost_curve(s, d, costs)
    assert (np.diff(curve.thresholds) > 0).all()
    best = curve.thresholds[curve.cost.argmin()]
    chosen = choose_threshold(s, d, rule="cost", cost_escape=20.0, cost_overkill=1.0, defect_rate=0.02)
    assert np.isclose(curve.cost[np.searchsorted(curve.thresholds, chosen)], curve.cost.min())
    i = len(curve.cost) // 2
    t = curve.thresholds[i]
    assert curve.cost[i] == pytest.approx(0.02 * 20 * np.mean(s[d] < t) + 0.98 * np.mean(s[~d] >= t))
    assert curve.outgoing_ppm[i] == pytest.approx(
        1e6 * outgoing_defect_rate(np.mean(s[d] < t), np.mean(s[~d] >= t), 0.02)
    )
    assert 0 < best < 1
    plain = curve.to_dict()
    assert plain["outgoing_ppm"][0] is None  # everything fails, nothing ships
    json.dumps(plain, allow_nan=False)


def _evaluation(targets):
    p = np.stack([np.linspace(0.9, 0.1, len(targets)), np.linspace(0.1, 0.9, len(targets))], axis=1)
    return evaluate(p, targets, classes=["ok", "bad"], good="ok", threshold=0.5)


def test_line_figures_restate_an_evaluation():
    t = np.r_[np.zeros(40, int), np.ones(5, int), np.zeros(5, int), np.ones(50, int)]
    e = _evaluation(t)
    m, f, p = e.escape_rate, e.overkill_rate, 0.002
    line = line_figures(e, p)
    assert line.outgoing_ppm.value == pytest.approx(
        1e6 * p * m.value / (p * m.value + (1 - p) * (1 - f.value))
    )
    assert line.outgoing_ppm.low == pytest.approx(1e6 * p * m.low / (p * m.low + (1 - p) * (1 - f.low)))
    assert line.outgoing_ppm.high == pytest.approx(1e6 * p * m.high / (p * m.high + (1 - p) * (1 - f.high)))
    assert line.failed_share.value == pytest.approx(p * (1 - m.value) + (1 - p) * f.value)
    assert line.failed_share.low <= line.failed_share.value <= line.failed_share.high
    right = p * (1 - m.value) / line.failed_share.value
    assert line.precision.value == pytest.approx(right)
    assert line.precision.low <= right <= line.precision.high
    assert "at least 90 %" in line.outgoing_ppm.method
    assert line.text.startswith("At a line that makes 2,000 ppm defects, ")
    json.dumps(line.to_dict(), allow_nan=False)


def test_line_figures_without_defects_say_so():
    line = line_figures(_evaluation(np.zeros(20, int)), 0.01)
    assert line.outgoing_ppm.value is None
    assert "unknown" in line.text
    assert line_figures(_evaluation(np.r_[np.zeros(10, int), np.ones(10, int)]), 0.01).outgoing_ppm.value == 0


def test_impossible_costs_are_refused():
    with pytest.raises(EyelineError, match="negative"):
        Costs(escape=-1.0, overkill=1.0, defect_rate=0.1)
    with pytest.raises(EyelineError, match="share from 0 to 1"):
        Costs(escape=1.0, overkill=1.0, defect_rate=3.0)
