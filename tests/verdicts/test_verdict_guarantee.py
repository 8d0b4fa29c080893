"""Promises: published sample sizes, exact thresholds, refusals that say what is missing."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from eyeline.errors import EyelineError, GateError
from eyeline.verdicts import (
    Demand,
    clopper_pearson,
    guaranteed_threshold,
    provable_detection,
    success_run,
    success_run_table,
)


def calibration(defects, goods=400, seed=0, shift=3.0):
    """Independent scores in (0, 1), defects first."""
    rng = np.random.default_rng(seed)
    truth = np.arange(defects + goods) < defects
    return 1 / (1 + np.exp(-rng.normal(truth * shift - shift / 2, 1.0))), truth


def grouped(groups=44, seed=0, correlation=0.3, size=15, goods=20, shift=3.0):
    """Scores whose groups differ, with their groups."""
    rng = np.random.default_rng(seed)
    n = np.maximum(1, rng.poisson(rng.gamma(3.0, size / 3.0, groups)))
    g = np.concatenate([np.repeat(np.arange(groups), n), np.repeat(np.arange(groups), goods)])
    truth = np.arange(len(g)) < n.sum()
    z = np.sqrt(correlation) * rng.normal(size=groups)[g] + np.sqrt(1 - correlation) * rng.normal(size=len(g))
    return 1 / (1 + np.exp(-z - truth * shift + shift / 2)), truth, g


def test_published_numbers_of_defects():
    table = success_run_table((0.9, 0.95, 0.98, 0.99), (0, 1, 2, 5))
    assert table == {
        0.9: (29, 46, 61, 103),
        0.95: (59, 93, 124, 208),
        0.98: (149, 236, 313, 523),
        0.99: (299, 473, 628, 1049),
    }
    assert success_run(0.999) == 2995
    assert success_run(0.999, misses=1) == 4742
    assert provable_detection(10) == pytest.approx(0.741, abs=5e-4)
    assert provable_detection(165, 5) == pytest.approx(0.937, abs=5e-4)


@pytest.mark.parametrize("misses", [0, 1, 4])
@pytest.mark.parametrize("detection", [0.3, 0.8, 0.97])
def test_success_run_is_the_first_that_suffices(detection, misses):
    n = success_run(detection, 0.9, misses)
    assert stats.binom.cdf(misses, n, 1 - detection) <= 0.1
    assert n == misses + 1 or stats.binom.cdf(misses, n - 1, 1 - detection) > 0.1
    assert provable_detection(n, misses, 0.9) >= detection


def test_impossible_sample_sizes_are_refused():
    with pytest.raises(EyelineError, match="detection 1"):
        success_run(1.0)


@pytest.mark.parametrize(
    ("text", "escape", "confidence"),
    [
        ("escape<=0.05@0.95", 0.05, 0.95),
        (" escape <= 5% @ 95% ", 0.05, 0.95),
        ("escape<=.01", 0.01, None),
        ("escape<=2.5%", 0.025, None),
    ],
)
def test_demands_are_read(text, escape, confidence):
    demand = Demand.parse(text)
    assert demand.escape == pytest.approx(escape)
    assert demand.confidence == (None if confidence is None else pytest.approx(confidence))
    assert Demand.parse(str(demand)) == demand


@pytest.mark.parametrize(
    "text",
    [
        "",
        "escape",
        "overkill<=0.05",
        "escape<0.05",
        "escape<=0",
        "escape<=5",
        "escape<=0.05@0.3",
        "escape<=0.05@1",
    ],
)
def test_unreadable_demands_are_refused(text):
    with pytest.raises(EyelineError, match="claim"):
        Demand.parse(text)


@pytest.mark.parametrize("defects", [59, 92, 93, 124, 500])
def test_the_threshold_is_the_order_statistic_of_the_theory(defects):
    """The k-th smallest defect score has P(escape <= e) = 1 - BinomCDF(k - 1; n, e)."""
    s, d = calibration(defects)
    promise = guaranteed_threshold(s, d, "escape<=0.05@0.95")
    assert promise.granted
    allowed = max(r for r in range(defects) if stats.binom.cdf(r, defects, 0.05) <= 0.05)
    assert promise.escaped <= allowed
    ordered = np.sort(s[d])
    assert promise.threshold <= ordered[allowed]
    # No higher threshold within the promise would spare a good part.
    assert np.mean(s[~d] >= promise.threshold) == pytest.approx(np.mean(s[~d] >= ordered[allowed]))
    assert promise.escape_bound <= 0.05
    assert promise.escape_bound == pytest.approx(1 - provable_detection(defects, promise.escaped))
    assert promise.overkill.value == pytest.approx(np.mean(s[~d] >= promise.threshold))
    assert (promise.overkill.low, promise.overkill.high) == pytest.approx(
        clopper_pearson(promise.overkill.count, promise.overkill.n)
    )


def test_words_of_a_promise_with_confidence():
    promise = guaranteed_threshold(*calibration(200), "escape<=0.05@0.95")
    assert promise.kind == "with confidence"
    assert promise.text.startswith("With 95 % confidence at most 5 % of defects escape")
    assert f"{promise.escaped} of 200 defects" in promise.text
    assert "exact binomial" in promise.text
    assert "costs an overkill rate of" in promise.text
    assert promise.require() is promise
    json.dumps(promise.to_dict(), allow_nan=False)


def test_refusal_says_how_many_more_and_what_is_possible():
    refusal = guaranteed_threshold(*calibration(12), "escape<=0.05@0.95")
    assert not refusal.granted
    assert refusal.threshold is None
    assert refusal.needed == 47
    assert refusal.text == (
        "escape<=0.05@0.95 cannot be claimed from 12 defects; 47 more caught defects needed; "
        "these support at best escape<=0.221@0.95."
    )
    assert guaranteed_threshold(*calibration(12), "escape<=0.221@0.95").granted
    with pytest.raises(GateError, match="47 more"):
        refusal.require()
    s, d = calibration(58)
    assert guaranteed_threshold(s, d, "escape<=0.05@0.95").needed == 1
    json.dumps(refusal.to_dict(), allow_nan=False)


def test_no_defects_and_no_goods():
    nothing = guaranteed_threshold([0.1, 0.2], [False, False], "escape<=0.1@0.95")
    assert not nothing.granted
    assert nothing.needed == 29
    only = guaranteed_threshold(np.linspace(0.3, 0.9, 40), np.ones(40, bool), "escape<=0.1@0.95")
    assert only.granted
    assert only.overkill.value is None
    assert "no good parts to calibrate on" in only.text


def test_the_promise_on_average_is_the_conformal_quantile():
    for defects, alpha in ((19, 0.05), (99, 0.05), (99, 0.01), (250, 0.1)):
        s, d = calibration(defects)
        promise = guaranteed_threshold(s, d, f"escape<={alpha}")
        k = int(alpha * (defects + 1) + 1e-9)
        assert promise.granted
        assert promise.kind == "on average"
        assert promise.escaped <= k - 1
        assert promise.threshold <= np.sort(s[d])[k - 1]
        assert np.mean(s[~d] >= promise.threshold) == np.mean(s[~d] >= np.sort(s[d])[k - 1])
        assert promise.text.startswith("On average over such calibrations, though not in each")


@pytest.mark.parametrize(("alpha", "needed"), [(0.1, 9), (0.05, 19), (0.01, 99)])
def test_published_numbers_for_conformal_promises(alpha, needed):
    assert guaranteed_threshold(*calibration(needed), f"escape<={alpha}").granted
    refusal = guaranteed_threshold(*calibration(needed - 2), f"escape<={alpha}")
    assert not refusal.granted
    assert refusal.needed == 2


def test_ties_pass_or_fail_together():
    s = np.r_[np.full(30, 0.4), np.full(70, 0.8), np.full(50, 0.1)]
    d = np.arange(150) < 100
    promise = guaranteed_threshold(s, d, "escape<=0.1@0.95")
    assert promise.escaped == 0
    assert 0.1 < promise.threshold < 0.4


def test_groups_make_the_promise_dearer():
    s, d, g = grouped()
    by_group = guaranteed_threshold(s, d, "escape<=0.1@0.95", groups=g)
    by_image = guaranteed_threshold(s, d, "escape<=0.1@0.95")
    assert by_group.granted
    assert by_group.threshold < by_image.threshold
    assert by_group.overkill.value > by_image.overkill.value
    assert by_group.effective_defects < by_group.defects / 2
    assert by_group.groups == 44
    assert "defects in 44 groups" in by_group.text
    assert "the more careful" in by_group.text
    assert "a kind of group rarer than 6.6 % may not have been seen" in by_group.text


def test_many_thresholds_are_thinned_without_loosening():
    """Thousands of defects in thousands of groups: a grid of thresholds, close to the exact answer, in bounds."""
    s, d = calibration(8000, goods=2000)
    alone = guaranteed_threshold(s, d, "escape<=0.1@0.95")
    singles = guaranteed_threshold(s, d, "escape<=0.1@0.95", groups=np.arange(len(s)), resamples=200)
    assert 0.95 * alone.escaped <= singles.escaped <= alone.escaped
    assert alone.escape_bound <= 0.1
    assert singles.escape_bound <= 0.1


def test_groups_of_one_image_cost_next_to_nothing():
    s, d = calibration(300)
    alone = guaranteed_threshold(s, d, "escape<=0.05@0.95")
    singles = guaranteed_threshold(s, d, "escape<=0.05@0.95", groups=np.arange(len(s)))
    assert singles.effective_defects == 300
    assert 0 <= alone.escaped - singles.escaped <= 2


def test_few_groups_are_refused_whatever_their_size():
    s, d, g = grouped(groups=4, size=100)
    refusal = guaranteed_threshold(s, d, "escape<=0.1@0.95", groups=g)
    assert not refusal.granted
    assert f"from {refusal.defects} defects in 4 groups" in refusal.text
    assert "each from a new group" in refusal.text
    assert refusal.needed >= 6
    many, truth, names = grouped(groups=12, size=8, correlation=0.8)
    worth = guaranteed_threshold(many, truth, "escape<=0.05@0.95", groups=names)
    assert not worth.granted
    assert worth.needed == np.ceil(59 - worth.effective_defects)
    assert "independent ones" in worth.text
    possible = worth.text.rstrip(".").split("at best ")[1]
    assert guaranteed_threshold(many, truth, possible, groups=names).granted


def test_conformal_by_group_weighs_groups_alike():
    """One group of a thousand defects counts as one: 19 other groups are needed for 5 %."""
    g = np.r_[np.zeros(1000, int), np.arange(1, 18), 0]
    s = np.r_[np.linspace(0.5, 0.9, 1000), np.linspace(0.4, 0.6, 17), 0.1]
    d = np.arange(1018) < 1017
    assert not guaranteed_threshold(s, d, "escape<=0.05", groups=g).granted
    g, s, d = np.r_[g, 18], np.r_[s, 0.45], np.r_[d, True]
    promise = guaranteed_threshold(s, d, "escape<=0.05", groups=g)
    assert promise.granted
    assert promise.escaped == 0
    assert promise.method == "conformal by group"


def test_groups_must_name_every_image():
    with pytest.raises(EyelineError, match="groups name 3 images"):
        guaranteed_threshold(*calibration(30), "escape<=0.1", groups=[1, 2, 3])
