"""Pass, review, fail: the promise about good parts, the band that costs least, and what a band does."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from eyeline.errors import EyelineError
from eyeline.verdicts import (
    Costs,
    Wishes,
    choose_cuts,
    cost_band,
    decide,
    decisions,
    guaranteed_band,
    review_figures,
    shift_prior,
)


def parts(defects=200, goods=400, seed=0, shift=3.0):
    rng = np.random.default_rng(seed)
    truth = np.arange(defects + goods) < defects
    return 1 / (1 + np.exp(-rng.normal(truth * shift - shift / 2, 1.0))), truth


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0.01, 0.99), st.none() | st.floats(0, 0.5)
)
def test_an_image_is_called_good_exactly_when_it_passes(scores, low, width):
    high = None if width is None else low + width
    words = decisions(scores, low, high)
    p = np.c_[1 - np.array(scores), scores]
    assert [word == "pass" for word in words] == (decide(p, low) == 0).tolist() or any(
        abs(s - low) < 1e-12 for s in scores
    )
    expected = [
        "pass" if s < low else "fail" if s >= (low if high is None else high) else "review" for s in scores
    ]
    assert words == expected


@pytest.mark.parametrize("goods", [59, 93, 200, 400])
def test_the_upper_cut_is_the_order_statistic_of_the_theory(goods):
    s, d = parts(goods=goods)
    band = guaranteed_band(s, d, "overkill<=0.05@0.95", 0.01)
    allowed = max(r for r in range(goods) if stats.binom.cdf(r, goods, 0.05) <= 0.05)
    highest = np.sort(s[~d])[::-1]
    assert band.granted
    assert band.failed == (s[~d] >= band.high).sum() <= allowed
    assert band.high > highest[allowed]
    # No lower cut within the promise fails more defects without a look.
    assert (s[d] >= band.high).sum() == (s[d] > highest[allowed]).sum()
    assert band.overkill_bound == pytest.approx(stats.beta.ppf(0.95, band.failed + 1, goods - band.failed))
    assert band.load.value == pytest.approx(((s >= 0.01) & (s < band.high)).mean())


@pytest.mark.parametrize(("overkill", "goods"), [(0.1, 29), (0.05, 59), (0.02, 149), (0.01, 299)])
def test_published_sample_sizes_hold_for_good_parts(overkill, goods):
    assert guaranteed_band(*parts(goods=goods), f"overkill<={overkill}@0.95", 0.0).granted
    refused = guaranteed_band(*parts(goods=goods - 1), f"overkill<={overkill}@0.95", 0.0)
    assert not refused.granted
    assert (refused.needed, refused.high, refused.load.value) == (1, None, 0.0)
    assert refused.text.startswith(
        f"overkill<={overkill}@0.95 cannot be claimed from {goods - 1} good parts; 1 more"
    )
    assert "defect" not in refused.text
    assert "escape" not in refused.text


@pytest.mark.parametrize("grouped", [False, True])
def test_overkill_without_a_look_stays_within_the_promise(grouped):
    """Good scores are uniform, so that the true share at or above a cut is one less the cut."""
    rng = np.random.default_rng(1)
    plants, broken = 150, 0
    for _ in range(plants):
        groups = np.arange(300) % 30
        effect = np.sqrt(0.3) * rng.normal(size=30)[groups] if grouped else 0.0
        goods = stats.norm.cdf(effect + np.sqrt(0.7 if grouped else 1.0) * rng.normal(size=300))
        s, d = np.r_[goods, np.linspace(0.001, 0.999, 300)], np.arange(600) >= 300
        band = guaranteed_band(
            s, d, "overkill<=0.1@0.95", 0.0, groups=np.r_[groups, groups] if grouped else None, resamples=200
        )
        broken += band.granted and 1 - band.high > 0.1
    assert broken / plants <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / plants)


def test_nothing_needs_a_review_where_one_threshold_keeps_both_promises():
    s, d = parts(shift=12.0)
    band = guaranteed_band(s, d, "overkill<=0.05@0.95", 0.5)
    assert band.granted
    assert band.high is None
    assert band.load.count == 0
    assert band.text.startswith("Nothing needs a review")


def test_the_words_of_a_band():
    s, d = parts()
    band = guaranteed_band(s, d, "overkill<=0.02@0.95", 0.3, groups=np.arange(600) % 40)
    assert "at most 2 % of good parts fail without a look" in band.text
    assert f"{band.failed} of 400 good parts in 40 groups did in calibration" in band.text
    assert "go to review: " in band.text
    assert guaranteed_band(s, d, "overkill<=0.02", 0.3).text.startswith("On average")
    json.dumps(band.to_dict(), allow_nan=False)
    with pytest.raises(EyelineError, match=r'write "overkill<=0\.05@0\.95"'):
        guaranteed_band(s, d, "escape<=0.02@0.9", 0.3)


def test_a_band_does_what_its_figures_say():
    s, d = parts(seed=3)
    found = review_figures(s, d, 0.3, 0.7)
    word = np.array(decisions(s, 0.3, 0.7))
    assert found.load.count == (word == "review").sum()
    assert (found.of_defects.count, found.of_defects.n) == ((word[d] == "review").sum(), d.sum())
    assert (found.of_goods.count, found.of_goods.n) == ((word[~d] == "review").sum(), (~d).sum())
    assert found.overkill.count == (word[~d] == "fail").sum()
    low, high = (stats.beta.ppf(q, k, n) for q, k, n in (
        (0.025, found.load.count, 601 - found.load.count), (0.975, found.load.count + 1, 600 - found.load.count)
    ))  # fmt: skip
    assert (found.load.low, found.load.high) == pytest.approx((low, high))
    assert f"{found.load.count} of 600 images go to review" in found.text
    only_goods = review_figures(s[~d], d[~d], 0.3, 0.7)
    assert only_goods.of_defects.value is None
    assert "0 of 0 defects" in only_goods.text


@given(
    st.floats(1, 1000), st.floats(1, 1000), st.floats(0.01, 10), st.floats(0.001, 0.5), st.floats(0.05, 0.6),
    st.lists(st.floats(0.001, 0.999), min_size=1, max_size=20),
)  # fmt: skip
def test_costs_send_each_part_where_it_costs_least(
    escape, overkill, review, line, defect_share, probabilities
):
    """Against the definition: expected cost of passing, failing and looking, at the line's defect rate."""
    costs = Costs(escape=escape, overkill=overkill, review=review, defect_rate=line)
    p = np.array(probabilities)
    defects = max(1, round(200 * defect_share))
    truth = np.arange(200) < defects
    choice = choose_cuts(np.resize(p, 200), truth, Wishes(costs=costs))
    at_line = shift_prior(p, defects / 200, line)
    prices = np.stack([at_line * escape, np.full(len(p), review), (1 - at_line) * overkill])
    best = prices.min(axis=0)
    for word, price, cheapest in zip(decisions(p, choice.low, choice.high), prices.T, best, strict=True):
        paid = price[["pass", "review", "fail"].index(word)]
        assert paid == pytest.approx(cheapest, rel=1e-6)


def test_a_band_by_cost_needs_a_price_of_a_review_that_pays():
    s, d = parts()
    dear = Costs(escape=10.0, overkill=1.0, defect_rate=0.01, review=5.0)
    assert cost_band(s, d, dear, 0.3) is None
    assert cost_band(s, d, dear.model_copy(update={"review": None}), 0.3) is None
    cheap = dear.model_copy(update={"review": 0.01})
    band = cost_band(s, d, cheap, 0.3, groups=np.arange(600) % 40)
    assert band.high > 0.3
    assert "a look costs less than a wrong decision" in band.text
    assert cost_band(s, d, cheap, 0.9999) is None


def test_costs_are_read():
    costs = Costs.parse("escape=500, overkill=4,review=1,line=1%")
    assert (costs.escape, costs.overkill, costs.review, costs.defect_rate) == (500, 4, 1, 0.01)
    assert Costs.parse("line=0.02,overkill=.5,escape=3").review is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "cannot read ''"),
        ("escape=500", "lack overkill"),
        ("escape=500,overkill=4", "lack line"),
        ("escape=500,overkill=4,line=0", "between 0 and 1"),
        ("escape=500,overkill=4,line=3", "between 0 and 1"),
        ("escape=0,overkill=0,line=0.1", "nor all zero"),
        ("escape=5,escape=6,overkill=4,line=0.1", "cannot read 'escape=6'"),
        ("escape=5%,overkill=4,line=0.1", "cannot read 'escape=5%'"),
        ("escape=-5,overkill=4,line=0.1", "cannot read 'escape=-5'"),
        ("miss=5", "cannot read 'miss=5'"),
    ],
)
def test_costs_that_cannot_be_read(text, says):
    with pytest.raises(EyelineError, match=says) as caught:
        Costs.parse(text)
    assert caught.value.code == "bad_option"
