"""Paired tests against statsmodels, SciPy and their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from eyeline.errors import EyelineError
from eyeline.verdicts import (
    auroc,
    auroc_permutation_test,
    compare_models,
    delong_test,
    group_permutation_test,
    holm,
    mcnemar_test,
)


def two_models(seed, n=200, edge=0.0, groups=20):
    rng = np.random.default_rng(seed)
    d = np.arange(n) % 3 == 0
    common = rng.normal(size=n) + 1.2 * d
    return (
        common + 0.7 * rng.normal(size=n) + edge * d,
        common + 0.7 * rng.normal(size=n),
        d,
        np.arange(n) % groups,
    )


def test_delong_covariance_is_that_of_the_definition():
    a, b, d, _ = two_models(0)
    x, y = np.flatnonzero(d), np.flatnonzero(~d)
    v10 = [(s[x][:, None] > s[y]).mean(axis=1) for s in (a, b)]
    v01 = [(s[x][:, None] > s[y]).mean(axis=0) for s in (a, b)]
    cov = np.cov(v10) / len(x) + np.cov(v01) / len(y)
    variance = cov[0, 0] + cov[1, 1] - 2 * cov[0, 1]
    found = delong_test(a, b, d)
    assert found.difference == pytest.approx(auroc(a, d) - auroc(b, d))
    z = found.difference / np.sqrt(variance)
    assert found.p_value == pytest.approx(2 * stats.norm.sf(abs(z)))
    assert found.high - found.difference == pytest.approx(1.959964 * np.sqrt(variance), rel=1e-5)


def test_delong_test_errs_as_often_as_it_says_and_sees_a_difference():
    null = [delong_test(*two_models(seed)[:3]).p_value for seed in range(400)]
    assert 0.02 <= np.mean(np.array(null) < 0.05) <= 0.085
    power = [delong_test(*two_models(seed, edge=1.0)[:3]).p_value for seed in range(40)]
    assert np.mean(np.array(power) < 0.05) > 0.8


def test_a_model_equals_itself():
    a, _, d, g = two_models(1)
    same = delong_test(a, a, d)
    assert (same.difference, same.p_value, same.low, same.high) == (0, 1, 0, 0)
    assert auroc_permutation_test(a, 5 * a + 1, d, g, resamples=200).p_value == 1
    assert mcnemar_test(a > 0, a > 0).p_value == 1
    assert group_permutation_test(a, a, g).p_value == 1
    sure = delong_test([0.9, 0.8, 0.2, 0.1], [0.1, 0.2, 0.8, 0.9], [True, True, False, False])
    assert sure.difference == 1
    assert sure.p_value == 0


@pytest.mark.parametrize("seed", range(5))
def test_mcnemar_equals_statsmodels(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.random(150) < 0.85, rng.random(150) < 0.75
    table = [[np.sum(a & b), np.sum(a & ~b)], [np.sum(~a & b), np.sum(~a & ~b)]]
    found = mcnemar_test(a, b)
    assert found.p_value == pytest.approx(mcnemar(table, exact=True).pvalue)
    assert found.difference == pytest.approx(a.mean() - b.mean())
    assert found.low <= found.difference <= found.high
    # The interval excludes zero just when the test rejects, as both are exact on the same counts.
    assert (found.low > 0 or found.high < 0) == (found.p_value < 0.05)


def test_permutation_by_group_is_exact_for_few_groups():
    rng = np.random.default_rng(2)
    a, b, g = rng.random(36), rng.random(36) + 0.2, np.arange(36) // 4
    found = group_permutation_test(a, b, g)
    sums = np.array([(a - b)[g == k].sum() for k in range(9)])
    peer = stats.permutation_test(
        (sums,), lambda x, axis: x.sum(axis=axis), permutation_type="samples", n_resamples=np.inf
    )
    assert found.p_value == pytest.approx(peer.pvalue)
    assert found.groups == 9
    assert found.low < found.difference < found.high
    sampled = group_permutation_test(a, b, g, resamples=400, seed=1)
    assert sampled.p_value == pytest.approx(peer.pvalue, abs=0.05)


def test_groups_that_err_together_are_not_counted_as_images():
    """Two models that differ by group luck alone: image tests see a difference in far too many plants."""
    by_image = by_group = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        g = np.repeat(np.arange(10), 30)
        a, b = (rng.random(300) < rng.beta(4, 1, 10)[g] for _ in range(2))
        by_image += mcnemar_test(a, b).p_value < 0.05
        by_group += group_permutation_test(a, b, g, resamples=1024).p_value < 0.05
    assert by_image / 200 > 0.3
    assert by_group / 200 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)


def test_auroc_permutation_errs_as_often_as_it_says_and_sees_a_difference():
    null = [auroc_permutation_test(*two_models(s, n=90, groups=7), resamples=128).p_value for s in range(100)]
    assert np.mean(np.array(null) < 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 100)
    a, b, d, g = two_models(3, edge=1.2)
    seen = auroc_permutation_test(a, b, d, g, resamples=500)
    assert seen.p_value < 0.02
    assert seen.low > 0
    assert seen.difference == pytest.approx(auroc(a, d) - auroc(b, d))
    assert seen.p_value == auroc_permutation_test(a, b, d, g, resamples=500).p_value


def test_holm_equals_statsmodels():
    for seed in range(10):
        p = np.random.default_rng(seed).random(7) ** 3
        assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])
    assert holm([]) == []
    assert holm([0.01, 0.01]) == pytest.approx([0.02, 0.02])


def test_all_pairs_are_corrected_together():
    a, b, d, g = two_models(4, edge=1.0)
    models = {"a": a, "b": b, "noise": np.random.default_rng(0).normal(size=len(d))}
    found = compare_models(models, d)
    assert [(c.a, c.b) for c in found] == [("a", "b"), ("a", "noise"), ("b", "noise")]
    assert [c.adjusted_p for c in found] == pytest.approx(
        multipletests([c.p_value for c in found], method="holm")[1]
    )
    assert found[1].conclusive()
    by_group = compare_models(models, d, groups=g, resamples=200)
    assert {c.method for c in by_group} == {"permutation by group"}
    assert by_group[1].groups == 20
    assert by_group[1].to_dict()["figure"] == "auroc"


def test_what_does_not_fit_is_refused():
    with pytest.raises(EyelineError, match="same images"):
        mcnemar_test([True], [True, False])
    with pytest.raises(EyelineError, match="same images"):
        group_permutation_test([1.0], [1.0, 2.0])
    with pytest.raises(EyelineError, match="two defects"):
        delong_test([0.1, 0.2], [0.1, 0.3], [True, False])
    with pytest.raises(EyelineError, match="only one kind"):
        auroc_permutation_test([0.1, 0.2], [0.1, 0.3], [True, True], [0, 1])
    with pytest.raises(EyelineError, match="same images"):
        auroc_permutation_test([0.1, 0.2], [0.1, 0.3], [True, False], [0, 1, 2])
