"""Every figure against scikit-learn, on scores with and without ties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from eyeline.errors import EyelineError
from eyeline.verdicts import metrics
from eyeline.verdicts.metrics import Ranking


@st.composite
def scored(draw):
    """Scores with many ties, and both kinds of parts."""
    n = draw(st.integers(2, 60))
    levels = draw(st.integers(1, 12))
    scores = draw(st.lists(st.integers(0, levels), min_size=n, max_size=n))
    truth = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    truth[0], truth[1] = True, False
    return np.array(scores) / levels, np.array(truth)


@st.composite
def called(draw):
    k = draw(st.integers(2, 5))
    n = draw(st.integers(1, 60))
    pairs = draw(st.lists(st.tuples(st.integers(0, k - 1), st.integers(0, k - 1)), min_size=n, max_size=n))
    truth, calls = (np.array(x) for x in zip(*pairs, strict=True))
    return truth, calls, k


@given(scored())
@settings(max_examples=60, deadline=None)
def test_ranking_figures_equal_sklearn(case):
    scores, truth = case
    assert metrics.auroc(scores, truth) == pytest.approx(sk.roc_auc_score(truth, scores), abs=1e-12)
    assert metrics.average_precision(scores, truth) == pytest.approx(
        sk.average_precision_score(truth, scores), abs=1e-12
    )
    assert metrics.brier(scores, truth) == pytest.approx(sk.brier_score_loss(truth, scores), abs=1e-12)


@given(scored(), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_counts_are_the_same_as_repeating_images(case, seed):
    scores, truth = case
    counts = np.random.default_rng(seed).integers(0, 4, (3, len(scores))).astype(float)
    counts[:, :2] += 1  # keep both kinds
    ranking = Ranking.of(scores, truth)
    for row, area, precision in zip(
        counts, ranking.auroc(counts), ranking.average_precision(counts), strict=True
    ):
        repeated = np.repeat(np.arange(len(scores)), row.astype(int))
        assert area == pytest.approx(sk.roc_auc_score(truth[repeated], scores[repeated]), abs=1e-12)
        assert precision == pytest.approx(
            sk.average_precision_score(truth[repeated], scores[repeated]), abs=1e-12
        )


@given(called())
@settings(max_examples=50, deadline=None)
@pytest.mark.filterwarnings("ignore")
def test_confusion_figures_equal_sklearn(case):
    truth, calls, k = case
    c = metrics.confusion_matrix(truth, calls, k)
    assert np.array_equal(c, sk.confusion_matrix(truth, calls, labels=range(k)))
    assert metrics.accuracy(c) == pytest.approx(sk.accuracy_score(truth, calls))
    assert metrics.balanced_accuracy(c) == pytest.approx(sk.balanced_accuracy_score(truth, calls))
    precision, recall, f1, _ = sk.precision_recall_fscore_support(
        truth, calls, labels=range(k), zero_division=np.nan
    )
    assert np.allclose(metrics.precision(c), precision, equal_nan=True)
    assert np.allclose(metrics.recall(c), recall, equal_nan=True)
    seen = (c.sum(axis=0) + c.sum(axis=1)) > 0
    assert np.allclose(metrics.f1(c)[seen], np.nan_to_num(f1[seen]))
    assert np.isnan(metrics.f1(c)[~seen]).all()
    assert metrics.macro_f1(c) == pytest.approx(sk.f1_score(truth, calls, average="macro"))


def test_escape_and_overkill_count_decisions_not_classes():
    # Truth by row, classes good, crack, stain: a crack called a stain is caught all the same.
    c = np.array([[90, 6, 4], [3, 5, 2], [1, 4, 15]])
    assert metrics.escape_rate(c) == pytest.approx(4 / 30)
    assert metrics.overkill_rate(c) == pytest.approx(10 / 100)
    assert metrics.pass_fail(c).tolist() == [[90, 10], [4, 26]]


def test_figures_take_leading_axes():
    c = np.random.default_rng(0).integers(1, 20, (4, 3, 3))
    assert np.allclose(metrics.escape_rate(c, 1), [metrics.escape_rate(one, 1) for one in c])
    assert np.allclose(metrics.macro_f1(c), [metrics.macro_f1(one) for one in c])


def test_empty_denominators_are_nan():
    c = np.array([[3, 0], [0, 0]])
    assert np.isnan(metrics.escape_rate(c))
    assert metrics.overkill_rate(c) == 0
    assert np.isnan(metrics.auroc([0.1, 0.2], [False, False]))
    assert np.isnan(metrics.average_precision([0.1, 0.2], [False, False]))


def test_decide_calls_what_passes_good_and_else_the_likeliest_defect():
    p = np.array([[0.6, 0.3, 0.1], [0.45, 0.25, 0.3], [0.1, 0.7, 0.2]])
    assert metrics.decide(p, 0.5).tolist() == [0, 2, 1]
    assert metrics.decide(p, 0.4).tolist() == [1, 2, 1]
    assert metrics.decide(p, 0.75, good=1).tolist() == [1, 0, 1]
    assert metrics.defect_scores(p).tolist() == pytest.approx([0.4, 0.55, 0.9])


def test_equal_mass_bins_hold_equal_counts_and_keep_ties_together():
    rng = np.random.default_rng(1)
    assert np.bincount(metrics.equal_mass_bins(rng.random(1000), 10)).tolist() == [100] * 10
    scores = rng.choice([0.1, 0.2, 0.9], 500)
    bins = metrics.equal_mass_bins(scores, 10)
    assert all(len(set(bins[scores == s])) == 1 for s in (0.1, 0.2, 0.9))


def test_ece_by_hand_and_of_a_calibrated_score():
    # Two bins: mean score 0.1 with share 0.5, mean score 0.9 with share 1.
    assert metrics.expected_calibration_error(
        [0.1, 0.1, 0.9, 0.9], [False, True, True, True], bins=2
    ) == pytest.approx(0.5 * 0.4 + 0.5 * 0.1)
    rng = np.random.default_rng(2)
    s = rng.random(200_000)
    truth = rng.random(200_000) < s
    assert metrics.expected_calibration_error(s, truth) < 0.006
    # A shifted defect rate is seen, though folding both classes at 0.5 would cancel it.
    assert metrics.expected_calibration_error(s, rng.random(200_000) < s**2) > 0.1


@pytest.mark.parametrize(
    ("scores", "truth"), [([], []), ([0.1], [True, False]), ([[0.1]], [[True]]), ([np.nan], [True])]
)
def test_scores_that_do_not_fit_are_refused(scores, truth):
    with pytest.raises(EyelineError):
        metrics.brier(scores, truth)
