"""A shift against its baseline: Fisher's exact test, SciPy's Kolmogorov-Smirnov, and false alarms as rare as stated."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, fisher_exact, ks_2samp

from eyeline.errors import EyelineError
from eyeline.verdicts import Baseline, population_stability, watch_shift
from eyeline.verdicts.drift import exact_batch, predictive_tail, score_drift


def line(rng, n, defects=0.3, groups=None, shift=0.0):
    """Scores and truth; images of one group share an offset."""
    unit = None if groups is None else rng.integers(0, groups, n)
    common = 0.0 if unit is None else rng.normal(size=groups)[unit]
    d = rng.random(n) < defects
    z = rng.normal(size=n) + common + 2.0 * d - 1.2 + shift
    return 1 / (1 + np.exp(-z)), d, unit


def baseline(seed=0, n=500, **options):
    rate = options.pop("defect_rate", None)
    s, d, unit = line(np.random.default_rng(seed), n, **options)
    return Baseline(scores=s, stopped=s >= 0.5, is_defect=d, groups=unit, defect_rate=rate)


def shift_of(seed, n=600, threshold=0.5, **options):
    s, _, _ = line(np.random.default_rng(1000 + seed), n, **options)
    return s, s >= threshold


def names(n, size=100):
    return [str(i // size) for i in range(n)]


@pytest.mark.parametrize(
    ("k", "n", "hits", "trials"), [(10, 60, 20, 300), (0, 40, 5, 90), (30, 30, 80, 100), (3, 9, 0, 50)]
)
def test_the_limits_are_fishers_exact_test(k, n, hits, trials):
    for upper, side in ((True, "greater"), (False, "less")):
        exact = fisher_exact([[k, n - k], [hits, trials - hits]], alternative=side).pvalue
        assert predictive_tail(k, n, hits, trials, upper=upper) == pytest.approx(exact, rel=1e-5)


def test_a_large_baseline_gives_binomial_limits():
    batch = exact_batch("b", 5, 100, 1e7, 1e8, 0.0027)
    inside = [k for k in range(101) if min(binom.cdf(k, 100, 0.1), binom.sf(k - 1, 100, 0.1)) > 0.00135]
    assert (batch.low, batch.high) == (inside[0], inside[-1])
    assert not batch.rings
    assert exact_batch("b", 40, 100, 1e7, 1e8, 0.0027).rings


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.4])
def test_a_batch_rings_no_more_often_than_it_says_whatever_the_baseline(rate):
    """All baselines of 80 images and all batches of 40, each by its chance."""
    level, total = 0.05, 0.0
    for hits in range(81):
        batch = exact_batch("b", 0, 40, hits, 80, level)
        ring = binom.cdf(batch.low - 1, 40, rate) + binom.sf(batch.high, 40, rate)
        total += binom.pmf(hits, 80, rate) * ring
    assert total <= level


def test_weights_bring_the_test_part_to_the_line():
    plain, at_line = baseline(), baseline(defect_rate=0.01)
    d, x = at_line.is_defect, at_line.stopped
    assert plain.rate == pytest.approx(x.mean())
    assert at_line.rate == pytest.approx(0.01 * x[d].mean() + 0.99 * x[~d].mean())
    assert at_line.weights.sum() == pytest.approx(1)
    assert plain.worth == 500
    assert at_line.worth < 500
    grouped = baseline(groups=10)
    assert grouped.worth < 0.4 * len(grouped)


def test_the_score_test_is_that_of_scipy_without_groups():
    base = baseline(n=300)
    for seed in range(4):
        s, _ = shift_of(seed, 200, shift=0.12 * seed)
        found, exact = score_drift(s, base, resamples=2000), ks_2samp(s, base.scores)
        assert found.ks == pytest.approx(exact.statistic, abs=1 / 150)
        assert found.p_value == pytest.approx(exact.pvalue, abs=0.05)


def test_grouped_baselines_ring_no_more_often_than_they_say():
    """A baseline of 15 parts, shifts of many: taken as 300 independent images it would ring all the time."""
    careful = naive = 0
    for seed in range(80):
        base = baseline(seed, 300, groups=15)
        s, _ = shift_of(seed, 300, groups=300)
        careful += score_drift(s, base, resamples=200, seed=seed).p_value <= 0.05
        naive += ks_2samp(s, base.scores).pvalue <= 0.05
    assert careful <= 9  # 4 expected; the binomial tail beyond 9 is below 1 %
    assert naive > 2 * careful


def test_psi_is_its_formula_and_small_by_chance_alone():
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.4, 0.4, 0.2])
    assert population_stability(p, q) == pytest.approx(-0.1 * np.log(0.8) + 0.1 * np.log(4 / 3))
    assert population_stability(p, p) == 0
    base = baseline(n=2000)
    seen = [score_drift(shift_of(seed, 1000)[0], base, resamples=100) for seed in range(20)]
    assert np.mean([f.psi for f in seen]) == pytest.approx(seen[0].psi_by_chance, rel=0.4)
    assert score_drift(shift_of(0, 1000, shift=1.0)[0], base, resamples=100).psi > 0.25


def test_an_unchanged_shift_is_quiet_and_a_changed_one_rings():
    base = baseline(n=1500)
    s, x = shift_of(1)
    calm = watch_shift(s, x, baseline=base, batches=names(600))
    assert not calm.alarm
    assert [test.rings for test in calm.tests] == [False] * 5
    assert "more than chance" in calm.text
    assert [batch.images for batch in calm.batches] == [100] * 6
    s, x = shift_of(2, shift=0.8)
    moved = watch_shift(s, x, baseline=base, batches=names(600))
    assert {test.name for test in moved.tests if test.rings} >= {"reject rate", "scores", "CUSUM"}
    assert moved.scores.p_value < 0.002
    assert moved.text.startswith("reject rate:")
    moved.to_dict()


def test_one_bad_batch_is_found():
    base = baseline(n=3000)
    s, x = shift_of(3, 1000)
    x[300:400] = True
    found = watch_shift(s, x, baseline=base, batches=names(1000))
    assert [batch.name for batch in found.batches if batch.rings] == ["3"]
    assert "most of all 3 with 100 of 100" in found.tests[1].text


def test_unreadable_pictures_ring_too():
    base = baseline()
    s, x = shift_of(1)
    found = watch_shift(s, x, baseline=base, batches=names(600), unreadable=20)
    assert found.tests[4].rings
    assert found.tests[4].p_value == pytest.approx(
        fisher_exact([[20, 600], [0, 500]], "greater").pvalue, rel=1e-6
    )


def test_unknown_objects_are_a_question_where_they_are_told():
    s, x = shift_of(1)
    plain = baseline()
    told = Baseline(scores=plain.scores, stopped=plain.stopped, unknown=5)
    found = watch_shift(s, x, baseline=told, batches=names(600), unknown=60)
    assert found.tests[5].name == "unknown objects"
    assert found.tests[5].rings
    assert found.tests[5].p_value == pytest.approx(
        fisher_exact([[60, 540], [5, 495]], "greater").pvalue, rel=1e-5
    )
    assert len(watch_shift(s, x, baseline=told, batches=names(600)).tests) == 5
    assert len(watch_shift(s, x, baseline=plain, batches=names(600), unknown=60).tests) == 5


@pytest.mark.slow
def test_false_alarms_are_as_rare_as_stated():
    """Fresh baselines and unchanged shifts at a rate of one in ten: the five questions share it."""
    rung = 0
    for seed in range(150):
        s, x = shift_of(seed, 300)
        rung += watch_shift(
            s, x, baseline=baseline(seed, 300), batches=names(300, 50), false_alarm=0.1, seed=seed
        ).alarm
    assert rung <= 24  # 15 expected at most; the binomial tail beyond 24 is below 1 %


def test_a_baseline_that_rejects_nothing_leaves_the_cusum_out():
    base = Baseline(scores=np.linspace(0, 0.4, 50), stopped=np.zeros(50, bool))
    s = np.linspace(0, 0.4, 60)
    found = watch_shift(s, s > 1, baseline=base, batches=names(60))
    assert found.cusums == ()
    assert found.tests[2].p_value is None
    assert not found.alarm
    assert watch_shift(s, s > 0.2, baseline=base, batches=names(60)).tests[0].rings


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scores": np.zeros(5), "stopped": np.zeros(5, bool)}, "5 readable"),
        ({"defect_rate": 0.1}, "without the truth"),
        ({"defect_rate": 2.0, "is_defect": np.arange(50) < 5}, "between 0 and 1"),
        ({"defect_rate": 0.1, "is_defect": np.zeros(50, bool)}, "both good parts and defects"),
    ],
)
def test_a_baseline_that_cannot_serve_is_refused(options, message):
    fields = {"scores": np.linspace(0, 1, 50), "stopped": np.arange(50) < 5} | options
    with pytest.raises(EyelineError, match=message):
        Baseline(**fields)


def test_a_shift_that_cannot_be_judged_is_refused():
    base = baseline()
    s, x = shift_of(0)
    with pytest.raises(EyelineError, match="at least 20"):
        watch_shift(s[:9], x[:9], baseline=base, batches=names(9))
    with pytest.raises(EyelineError, match="do not fit"):
        watch_shift(s, x[:9], baseline=base, batches=names(600))
    with pytest.raises(EyelineError, match="false-alarm rate"):
        watch_shift(s, x, baseline=base, batches=names(600), false_alarm=0.9)
