"""The appraiser study: the rates and intervals of the AIAG manual, and verdicts that hold only what the data hold."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from eyeline.errors import EyelineError
from eyeline.verdicts import AIAG_LIMITS, Rate, appraise, grade


def study(parts=50, trials=3, defective=16):
    part = np.repeat([f"p{i:02d}" for i in range(parts)], trials)
    reference = np.repeat(np.arange(parts) < defective, trials).astype(int)
    return part, reference


def with_errors(reference, trials, mistakes):
    """Calls that are wrong on trial t of part p for each (p, t)."""
    calls = reference.copy()
    for p, t in mistakes:
        calls[p * trials + t] = 1 - calls[p * trials + t]
    return calls


def test_the_rates_of_the_manual():
    """Appraiser A: 3 misses of 48, 5 false alarms of 102, 42 of 50 parts right every time (84 %, 71 to 93 %)."""
    part, reference = study()
    wrong = [(0, 0), (1, 1), (2, 2), (20, 0), (21, 1), (22, 2), (23, 0), (24, 1)]
    a = with_errors(reference, 3, wrong)
    found = appraise({"model": a, "B": reference}, reference, part)
    one = found.appraisers[0]
    assert (one.miss_rate.count, one.miss_rate.n) == (3, 48)
    assert (one.false_alarm_rate.count, one.false_alarm_rate.n) == (5, 102)
    assert (one.effectiveness.count, one.effectiveness.n) == (42, 50)
    assert [round(x, 2) for x in (one.effectiveness.low, one.effectiveness.high)] == [0.71, 0.93]
    exact = binomtest(42, 50).proportion_ci(method="exact")
    assert (one.effectiveness.low, one.effectiveness.high) == pytest.approx((exact.low, exact.high))
    assert one.within.value == pytest.approx(42 / 50)
    assert one.grades["effectiveness"].by_value == "marginal"
    assert one.grades["miss_rate"].by_value == "unacceptable"
    assert one.grades["false_alarm_rate"].by_value == "acceptable"
    assert one.by_value == "unacceptable"
    assert one.verdict == "inconclusive"  # 48 calls on 16 parts cannot tell 6 % from 2 %
    assert set(one.wrong_parts) == {f"p{p:02d}" for p, _ in wrong}
    assert found.between.count == found.all_right.count == 42
    assert found.pairs[0].kappa.value == pytest.approx(one.kappa.value)
    assert "42" not in found.text
    assert "effectiveness 84.0 %" in found.text.lower()


def test_trials_of_one_part_are_worth_fewer_calls():
    part, reference = study()
    together = with_errors(reference, 3, [(p, t) for p in (0, 1) for t in range(3)])
    apart = with_errors(reference, 3, [(p, 0) for p in range(6)])
    one, other = (appraise({"model": c}, reference, part).appraisers[0].miss_rate for c in (together, apart))
    assert one.value == other.value == 6 / 48
    assert one.high > other.high
    single = appraise({"model": reference[::3]}, reference[::3], part[::3]).appraisers[0].miss_rate
    assert single.high == pytest.approx(binomtest(0, 16).proportion_ci(method="exact").high)


@pytest.mark.parametrize(
    ("name", "hits", "n", "by_value", "verdict"),
    [
        ("miss_rate", 0, 16, "acceptable", "inconclusive"),
        ("miss_rate", 0, 183, "acceptable", "acceptable"),
        ("miss_rate", 0, 182, "acceptable", "inconclusive"),
        ("miss_rate", 30, 100, "unacceptable", "unacceptable"),
        ("miss_rate", 12, 400, "marginal", "inconclusive"),
        ("miss_rate", 350, 10_000, "marginal", "marginal"),
        ("false_alarm_rate", 10, 1000, "acceptable", "acceptable"),
        ("effectiveness", 1000, 1000, "acceptable", "acceptable"),
        ("effectiveness", 42, 50, "marginal", "inconclusive"),
        ("effectiveness", 60, 100, "unacceptable", "unacceptable"),
    ],
)
def test_a_verdict_is_what_the_whole_interval_says(name, hits, n, by_value, verdict):
    low, high = binomtest(hits, n).proportion_ci(method="exact")
    found = grade(name, Rate(value=hits / n, low=low, high=high, method="", n=n, count=hits))
    assert (found.by_value, found.verdict) == (by_value, verdict)
    if verdict == "inconclusive":
        assert "reaches from" in found.text


def test_the_number_of_parts_that_would_show_it_does():
    """183 defective parts without a miss: the published success run at 97.5 %, two-sided 95 %."""
    text = grade("miss_rate", Rate(value=0.0, low=0.0, high=0.2, method="", n=16, count=0)).text
    assert "183 defective parts" in text
    assert 0.98**183 <= 0.025 < 0.98**182
    assert AIAG_LIMITS["miss_rate"] == (0.02, 0.05)


def test_missing_calls_leave_out_what_they_must():
    part, reference = study(parts=10, trials=2, defective=4)
    quiet = np.where(np.arange(20) < 4, -1, reference)
    found = appraise({"model": reference, "Anna": quiet, "Ben": reference}, reference, part)
    anna = found.appraisers[1]
    assert (anna.parts, anna.decisions, anna.human) == (8, 16, True)
    assert anna.effectiveness.n == found.between.n == 8
    assert found.pairs[0].kappa.n == 16
    silent = appraise({"model": reference, "Anna": np.full(20, -1)}, reference, part).appraisers[1]
    assert silent.effectiveness.value is None
    assert silent.verdict == "inconclusive"
    good = appraise({"model": np.zeros(4, int)}, np.zeros(4, int), ["a", "b", "c", "d"]).appraisers[0]
    assert good.miss_rate.value is None
    assert good.grades["miss_rate"].text == "the study holds no such part"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c, r, p: ({"Anna": c}, r, p), "'model'"),
        (lambda c, r, p: ({"model": c[:3]}, r, p), "3 calls"),
        (lambda c, r, p: ({"model": c + 5}, r, p), "1, 0 or -1"),
        (lambda c, r, p: ({"model": c}, 1 - np.arange(6) % 2, p), "two references"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    part, reference = study(parts=3, trials=2, defective=1)
    with pytest.raises(EyelineError, match=message):
        appraise(*change(reference, reference, part))
