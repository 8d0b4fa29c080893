"""A claim held against other images: exact bounds, and the wrong word no oftener than the confidence allows."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from eyeline.errors import EyelineError
from eyeline.verdicts import check_claim, guaranteed_threshold


def missed(misses, defects, goods=20):
    """Scores of which `misses` defects lie below 0.5."""
    scores = np.r_[np.full(misses, 0.2), np.full(defects - misses, 0.8), np.full(goods, 0.1)]
    return scores, np.arange(len(scores)) < defects


@pytest.mark.parametrize(("escape", "defects"), [(0.1, 29), (0.05, 59), (0.02, 149), (0.01, 299)])
def test_published_numbers_of_defects_support_a_claim_and_one_fewer_does_not(escape, defects):
    assert check_claim(*missed(0, defects), f"escape<={escape}@0.95", 0.5).outcome == "supported"
    assert check_claim(*missed(0, defects - 1), f"escape<={escape}@0.95", 0.5).outcome == "open"


@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.95])
@pytest.mark.parametrize("defects", [7, 60, 200])
def test_bounds_are_those_of_clopper_and_pearson(defects, confidence):
    for misses in (0, 1, defects // 4, defects):
        found = check_claim(*missed(misses, defects), f"escape<=0.1@{confidence}", 0.5)
        upper = stats.beta.ppf(confidence, misses + 1, defects - misses) if misses < defects else 1.0
        lower = stats.beta.ppf(1 - confidence, misses, defects - misses + 1) if misses else 0.0
        assert (found.lower, found.upper) == pytest.approx((lower, upper))
        expected = "supported" if upper <= 0.1 else "contradicted" if lower > 0.1 else "open"
        assert found.outcome == expected
        assert found.escape_rate.count == misses


@pytest.mark.parametrize("defects", [40, 93, 250])
def test_neither_word_is_wrong_oftener_than_the_confidence_allows(defects):
    """Summed over the binomial of the misses: no simulation."""
    word = [check_claim(*missed(k, defects), "escape<=0.05@0.95", 0.5).outcome for k in range(defects + 1)]
    chance = stats.binom.pmf(np.arange(defects + 1), defects, 0.05)
    assert chance[np.array(word) == "supported"].sum() <= 0.05 + 1e-9  # a hair above 5 % escape
    assert chance[np.array(word) == "contradicted"].sum() <= 0.05 + 1e-9  # a hair below


def test_groups_make_both_words_rarer():
    s, d = missed(3, 120)
    groups = np.r_[np.repeat(np.arange(12), 10), np.arange(20) % 12]
    alone = check_claim(s, d, "escape<=0.08@0.95", 0.5)
    together = check_claim(s, d, "escape<=0.08@0.95", 0.5, groups=groups)  # all three in one group
    assert alone.outcome == "supported"
    assert together.outcome == "open"
    assert together.lower <= alone.lower
    assert together.upper > alone.upper
    assert together.groups == 12
    many = check_claim(*missed(60, 120), "escape<=0.3@0.95", 0.5)
    clustered = check_claim(*missed(60, 120), "escape<=0.3@0.95", 0.5, groups=groups)
    assert (many.outcome, clustered.outcome) == ("contradicted", "open")


def test_few_groups_support_nothing_however_many_images():
    s, d = missed(0, 900, goods=0)
    found = check_claim(s, d, "escape<=0.5@0.95", 0.5, groups=np.arange(900) % 9)
    assert found.outcome == "open"
    assert "10 groups with defects are needed" in found.text
    assert check_claim(s, d, "escape<=0.5@0.95", 0.5, groups=np.arange(900) % 10).outcome == "supported"


def test_what_was_promised_is_rarely_contradicted_by_other_images_of_the_same_kind():
    rng = np.random.default_rng(0)
    plants, wrong = 200, 0
    for _ in range(plants):
        truth = np.arange(260) < 130
        score = stats.norm.cdf(rng.normal(truth * 2.0 - 1, 1, (2, 260)))
        promise = guaranteed_threshold(score[0], truth, "escape<=0.1@0.95")
        found = check_claim(score[1], truth, "escape<=0.1@0.95", promise.threshold)
        wrong += found.outcome == "contradicted"
    assert (
        wrong <= 3
    )  # far fewer than 5 %: a granted threshold has less than 10 % escapes, mostly by a margin


def test_the_words():
    supported = check_claim(*missed(1, 93), "escape<=0.05@0.95", 0.5)
    assert supported.text.startswith("1 of 93 defects escaped, 1.1 % (95 % interval ")
    assert "supports escape<=0.05@0.95: with 95 % confidence at most 5 % escape" in supported.text
    contradicted = check_claim(*missed(20, 93), "escape<=0.05@0.95", 0.5)
    assert "contradicts escape<=0.05@0.95: with 95 % confidence more than 15 % escape" in contradicted.text
    assert "may be up to 26 %" in check_claim(*missed(0, 10), "escape<=0.05@0.95", 0.5).text
    on_average = check_claim(*missed(0, 59), "escape<=0.05", 0.5)
    assert (on_average.outcome, on_average.demand) == ("supported", "escape<=0.05")
    nothing = check_claim([0.1, 0.2], [False, False], "escape<=0.05@0.95", 0.5)
    assert (nothing.outcome, nothing.lower, nothing.defects) == ("open", None, 0)
    assert "no defects" in nothing.text
    for found in (supported, nothing):
        json.dumps(found.to_dict(), allow_nan=False)


def test_wrong_use():
    with pytest.raises(EyelineError, match="cannot read the claim"):
        check_claim(*missed(0, 5), "escape=0.05", 0.5)
    with pytest.raises(EyelineError, match="groups name 2 images"):
        check_claim(*missed(0, 5), "escape<=0.05", 0.5, groups=[1, 2])


def test_groups_at_even_odds():
    """At a confidence of one half the spread between groups does not enter the bound."""
    s, d = missed(6, 120, goods=0)
    found = check_claim(s, d, "escape<=0.2@0.5", 0.5, groups=np.arange(120) % 20)
    assert found.outcome == "supported"
    assert found.lower <= 0.05 <= found.upper
