"""Thresholds: the right place, midway, and stable against float noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, f1_score

from eyeline.errors import EyelineError
from eyeline.verdicts import choose_threshold
from eyeline.verdicts.threshold import cuts

RULES = [
    {"rule": "balanced_accuracy"},
    {"rule": "f1"},
    {"rule": "escape", "max_escape": 0.1},
    {"rule": "cost", "cost_escape": 20.0, "cost_overkill": 1.0, "defect_rate": 0.02},
]


def _plant(seed, n=60):
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % 3 == 0
    return np.clip(np.round(rng.normal(0.35 + 0.25 * truth, 0.15), 2), 0, 1), truth


@given(st.integers(0, 10_000))
@settings(max_examples=8, deadline=None)
def test_no_other_threshold_does_better(seed):
    s, d = _plant(seed)
    everywhere = np.append(np.unique(s), 2.0)

    def best(value):
        return max(value(s >= t) for t in everywhere)

    t = choose_threshold(s, d)
    assert balanced_accuracy_score(d, s >= t) == pytest.approx(best(lambda f: balanced_accuracy_score(d, f)))
    t = choose_threshold(s, d, rule="f1")
    assert f1_score(d, s >= t) == pytest.approx(best(lambda f: f1_score(d, f)))
    t = choose_threshold(s, d, rule="escape", max_escape=0.1)
    assert np.mean(s[d] < t) <= 0.1
    allowed = [u for u in everywhere if np.mean(s[d] < u) <= 0.1]
    assert np.mean(s[~d] >= t) == min(np.mean(s[~d] >= u) for u in allowed)

    def saved(fails):
        return -(0.02 * 20 * np.mean(~fails[d]) + 0.98 * np.mean(fails[~d]))

    t = choose_threshold(s, d, **RULES[3])
    assert saved(s >= t) == pytest.approx(best(saved))


@pytest.mark.parametrize("rule", RULES)
def test_float_noise_changes_no_decision(rule):
    for seed in range(20):
        s, d = _plant(seed)
        t = choose_threshold(s, d, **rule)
        for scale in (-1, 1):
            noisy = s + scale * 4e-7
            assert np.array_equal(noisy >= t, s >= t)
        assert np.array_equal(s.astype(np.float32) >= np.float32(t), s >= t)


def test_it_lies_midway_and_in_the_widest_of_equal_gaps():
    s, d = [0.1, 0.2, 0.6, 0.9], [False, False, True, True]
    assert choose_threshold(s, d) == pytest.approx(0.4)
    # Every threshold from 0.2 to 0.8 catches all; goods at 0.3 and 0.35 fail alike below and above.
    s, d = [0.1, 0.5, 0.52, 0.9], [False, True, False, True]
    assert choose_threshold(s, d) in (pytest.approx(0.3), pytest.approx(0.71))


def test_scores_within_rounding_are_never_parted():
    s = np.array([0.2, 0.5, 0.5 + 1e-9, 0.8])
    c = cuts(s, [False, False, True, True])
    assert not ((c.thresholds > 0.5) & (c.thresholds < 0.5 + 1e-9)).any()
    assert len(c.thresholds) == 4


def test_beyond_the_ends_all_pass_or_all_fail_within_zero_and_one():
    s, d = np.array([0.2, 0.7, 0.9]), np.array([False, True, True])
    c = cuts(s, d)
    assert 0 < c.thresholds[-1] < 0.2
    assert 0.9 < c.thresholds[0] < 1
    assert c.caught.tolist() == [0, 1, 2, 2]
    assert c.misses.tolist() == [2, 1, 0, 0]
    saturated = cuts(np.array([0.0, 1.0]), np.array([False, True]))
    assert (np.array([0.0, 1.0]) >= saturated.thresholds[0]).tolist() == [False, False]
    assert (np.array([0.0, 1.0]) >= saturated.thresholds[-1]).tolist() == [True, True]


def test_prior_shift_and_cost_move_the_threshold_the_right_way():
    rng = np.random.default_rng(0)
    d = np.arange(2000) < 800
    s = 1 / (1 + np.exp(-rng.normal(np.where(d, 1.5, -1.5), 1.5)))
    costs = {"rule": "cost", "cost_escape": 10.0, "cost_overkill": 1.0}
    rare, common = (choose_threshold(s, d, **costs, defect_rate=p) for p in (0.001, 0.3))
    assert rare > common
    dear = choose_threshold(s, d, rule="cost", cost_escape=100.0, cost_overkill=1.0, defect_rate=0.3)
    assert dear < common
    own = choose_threshold(s, d, **costs)
    assert own == choose_threshold(s, d, **costs, defect_rate=0.4)


@pytest.mark.parametrize("truth", [[True, True], [False, False]])
def test_one_class_is_refused(truth):
    with pytest.raises(EyelineError, match=r"hold no (defects|good parts)") as caught:
        choose_threshold([0.1, 0.9], truth)
    assert caught.value.code == "one_class"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "f2"}, "unknown threshold rule 'f2'"),
        ({"rule": "escape"}, "needs max_escape"),
        ({"rule": "escape", "max_escape": 1.5}, "allowed"),
        ({"rule": "cost", "cost_escape": 1.0}, "needs cost_overkill"),
        ({"rule": "cost", "cost_escape": -1.0, "cost_overkill": 1.0}, "not be negative"),
    ],
)
def test_wrong_use_is_told_in_one_line(options, message):
    with pytest.raises(EyelineError, match=message):
        choose_threshold([0.1, 0.9], [False, True], **options)
