"""Kappa against the tables of the AIAG manual, statsmodels and its own promise."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.inter_rater import aggregate_raters, cohens_kappa
from statsmodels.stats.inter_rater import fleiss_kappa as fleiss_of_statsmodels

from eyeline.errors import EyelineError
from eyeline.verdicts import cohen_kappa, fleiss_kappa

# The attribute study of the AIAG manual (50 parts, 3 trials): tables of two appraisers' calls and the kappa it prints.
AIAG = {
    "A and reference": ([[45, 5], [3, 97]], 0.88),
    "B and reference": ([[45, 2], [3, 100]], 0.92),
    "C and reference": ([[42, 9], [6, 93]], 0.77),
    "A and B": ([[44, 6], [3, 97]], 0.86),
    "A and C": ([[43, 7], [8, 92]], 0.78),
    "B and C": ([[42, 5], [9, 94]], 0.79),
}


def calls(table):
    a, b = zip(*[(i, j) for i in range(2) for j in range(2) for _ in range(table[i][j])], strict=True)
    return np.array(a), np.array(b)


@pytest.mark.parametrize("pair", AIAG)
def test_cohen_gives_the_kappas_of_the_manual(pair):
    table, printed = AIAG[pair]
    found = cohen_kappa(*calls(table))
    assert round(found.value, 2) == printed
    theirs = cohens_kappa(table)
    assert found.value == pytest.approx(theirs.kappa)
    # Their interval is symmetric, ours follows the skew; both are as wide to a few hundredths.
    assert found.high - found.low == pytest.approx(theirs.kappa_upp - theirs.kappa_low, abs=0.03)


@pytest.mark.parametrize("seed", range(4))
def test_cohen_and_fleiss_equal_statsmodels(seed):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, 80)
    votes = np.where(rng.random((80, 4)) < 0.7, truth[:, None], rng.integers(0, 3, (80, 4)))
    table = np.zeros((3, 3))
    np.add.at(table, (votes[:, 0], votes[:, 1]), 1)
    assert cohen_kappa(votes[:, 0], votes[:, 1]).value == pytest.approx(cohens_kappa(table).kappa)
    expected = fleiss_of_statsmodels(aggregate_raters(votes)[0])
    assert fleiss_kappa(votes).value == pytest.approx(expected)


def test_the_names_of_classes_and_of_parts_do_not_matter():
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 2, (2, 60))
    plain = cohen_kappa(a, b)
    assert cohen_kappa(5 - a, 5 - b, rng.permutation(60)).value == plain.value
    assert cohen_kappa(b, a).low == pytest.approx(plain.low)


def test_full_agreement_is_bounded_by_the_number_of_parts():
    wide, narrow = (cohen_kappa([0, 1] * n, [0, 1] * n) for n in (10, 100))
    assert wide.value == narrow.value == wide.high == 1
    assert wide.low < narrow.low < 1
    assert wide.low == pytest.approx(
        2 * 0.025 ** (1 / 20) - 1
    )  # Clopper-Pearson on 20 parts, chance one half
    repeated = cohen_kappa([0, 1] * 10, [0, 1] * 10, np.arange(20) // 2)
    assert repeated.low < wide.low


def test_what_cannot_be_known_is_none():
    assert cohen_kappa([], []).value is None
    same = cohen_kappa([1, 1, 1], [1, 1, 1])
    assert (same.value, same.low) == (None, None)
    assert "every call is the same" in same.method
    assert cohen_kappa([0, 1], [1, 0]).value == -1
    assert cohen_kappa([0, 1], [1, 0]).low is None
    assert fleiss_kappa(np.empty((0, 2))).value is None
    with pytest.raises(EyelineError, match="the same things"):
        cohen_kappa([0], [0, 1])
    with pytest.raises(EyelineError, match="two or more appraisers"):
        fleiss_kappa([[1], [0]])


@pytest.mark.parametrize("trials", [1, 3])
def test_the_interval_covers_with_and_without_trials(trials):
    """50 parts; each appraiser errs on a part by its difficulty, which all its trials share."""
    rng = np.random.default_rng(trials)

    def study(parts):
        part = np.repeat(np.arange(parts), trials)
        truth = (np.arange(parts) % 3 == 0)[part]
        hard = (rng.random(parts) < 0.25)[part]
        return part, *((rng.random(len(part)) < np.where(hard, 0.35, 0.02)) ^ truth for _ in range(2))

    part, a, b = study(200_000)
    true_kappa = cohens_kappa(np.histogram2d(a, b, bins=2)[0]).kappa
    covered = naive = 0
    for _ in range(300):
        part, a, b = study(50)
        found = cohen_kappa(a, b, part)
        covered += found.low <= true_kappa <= found.high
        plain = cohen_kappa(a, b)
        naive += plain.low <= true_kappa <= plain.high
    assert covered / 300 >= 0.93
    if trials > 1:
        assert naive < covered  # trials taken as parts promise too much
