"""From what is asked to the cuts, and from the cuts to what the test images and the line say of them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from eyeline.errors import EyelineError
from eyeline.verdicts import (
    Costs,
    Wishes,
    choose_cuts,
    choose_threshold,
    cost_threshold,
    decisions,
    evaluate,
    guaranteed_threshold,
    judge_promises,
    line_costs,
    outgoing_defect_rate,
    review_figures,
)


def parts(defects=200, goods=400, seed=0, shift=3.0):
    rng = np.random.default_rng(seed)
    truth = np.arange(defects + goods) < defects
    return 1 / (1 + np.exp(-rng.normal(truth * shift - shift / 2, 1.0))), truth


def judged(choice, s, d, groups=None):
    found = evaluate(
        np.c_[1 - s, s], d.astype(int), classes=["good", "bad"], good="good", threshold=choice.low,
        groups=groups, resamples=100,
    )  # fmt: skip
    return found, judge_promises(choice, found, s, d, groups=groups)


def test_nothing_asked_is_the_usual_threshold():
    s, d = parts()
    choice = choose_cuts(s, d, Wishes())
    assert (choice.low, choice.high, choice.rule) == (choose_threshold(s, d), None, "balanced_accuracy")
    assert not choice.refused
    assert Wishes.parse() == Wishes()


def test_a_granted_claim_sets_the_cut_and_a_refused_one_leaves_it():
    s, d = parts()
    granted = choose_cuts(s, d, Wishes.parse("escape<=0.05@0.95"))
    assert granted.low == guaranteed_threshold(s, d, "escape<=0.05@0.95").threshold
    assert (granted.rule, granted.refused) == ("claim", False)
    refused = choose_cuts(s, d, Wishes.parse("escape<=0.001@0.95"))
    assert (refused.low, refused.rule, refused.refused) == (choose_threshold(s, d), "balanced_accuracy", True)


def test_costs_may_lower_the_cut_of_a_claim_and_never_raise_it():
    s, d = parts()
    claimed = guaranteed_threshold(s, d, "escape<=0.05@0.95").threshold
    cheap_escape = choose_cuts(s, d, Wishes.parse("escape<=0.05@0.95", cost="escape=1,overkill=9,line=0.01"))
    assert (cheap_escape.low, cheap_escape.rule) == (claimed, "claim")
    dear_escape = choose_cuts(s, d, Wishes.parse("escape<=0.05@0.95", cost="escape=9000,overkill=1,line=0.1"))
    assert dear_escape.low < claimed
    assert dear_escape.rule == "cost within the claim"
    costs = Costs.parse("escape=9000,overkill=1,line=0.1")
    assert dear_escape.low == cost_threshold(costs, d.mean())


def test_a_promise_about_overkill_goes_before_the_price_of_a_review():
    s, d = parts()
    both = choose_cuts(
        s,
        d,
        Wishes.parse("escape<=0.05@0.95", "overkill<=0.01@0.95", "escape=500,overkill=4,review=1,line=0.01"),
    )
    assert both.review.demand == "overkill<=0.01@0.95"
    priced = choose_cuts(s, d, Wishes.parse(cost="escape=500,overkill=4,review=1,line=0.01"))
    assert priced.review.demand == "cost"
    refused = choose_cuts(s, d, Wishes.parse(review="overkill<=0.001@0.95"))
    assert refused.refused
    assert refused.high is None


def test_the_sentence_of_a_claim():
    s, d = parts()
    choice = choose_cuts(s, d, Wishes.parse("escape<=0.05@0.95"))
    _, kept = judged(choice, *parts(seed=1))
    assert kept.text.startswith("At most 5 % of defects escape, with 95 % confidence; the test part ")
    assert kept.kept == (kept.check.outcome != "contradicted")
    _, worse = judged(choice, *parts(seed=1, shift=0.5))
    assert not worse.kept
    assert "but the test part contradicts it" in worse.text
    few = np.r_[0:8, 200:240]
    _, small = judged(choice, *(column[few] for column in parts(seed=1, shift=9.0)))
    assert small.kept
    assert "too small to tell (0 of 8 defects escaped)" in small.text
    _, refused = judged(choose_cuts(s, d, Wishes.parse("escape<=0.001@0.95")), *parts(seed=1))
    assert refused.text == (
        "escape<=0.001@0.95 cannot be claimed from 200 defects; 2795 more caught defects needed; these support at "
        "best escape<=0.015@0.95."
    )
    assert not refused.kept
    assert refused.check is None
    for found in (kept, refused):
        json.dumps(found.to_dict(), allow_nan=False)


def test_the_line_is_the_mean_over_parts_at_its_defect_rate():
    """Each test image is given the weight it has at the line, and its cost is added up: no formula."""
    s, d = parts(seed=2)
    costs = Costs.parse("escape=500,overkill=4,review=1,line=0.02")
    choice = choose_cuts(s, d, Wishes(costs=costs))
    _, promises = judged(choice, s, d)
    weight = np.where(d, 0.02 / d.sum(), 0.98 / (~d).sum())
    word = np.array(decisions(s, choice.low, choice.high))
    price = np.select([word == "review", (word == "pass") & d, (word == "fail") & ~d], [1.0, 500.0, 4.0], 0.0)
    assert promises.line.cost.value == pytest.approx(1000 * (weight * price).sum())
    assert promises.line.reviews.value == pytest.approx(1000 * weight[word == "review"].sum())
    ships = (word == "pass") | ((word == "review") & ~d)  # a look finds every defect
    assert promises.line.outgoing_ppm.value == pytest.approx(
        1e6 * weight[ships & d].sum() / weight[ships].sum()
    )
    for rate in (promises.line.cost, promises.line.reviews, promises.line.outgoing_ppm):
        assert rate.low <= rate.value <= rate.high
    assert "At a line that makes 20,000 ppm defects" in promises.line.text
    assert "of 1,000 parts go to review" in promises.line.text


def test_the_line_without_a_band():
    s, d = parts(seed=2)
    costs = Costs.parse("escape=500,overkill=4,line=0.02")
    found, promises = judged(choose_cuts(s, d, Wishes(costs=costs)), s, d)
    m, f = found.escape_rate.value, found.overkill_rate.value
    assert promises.line.reviews is None
    assert promises.line.cost.value == pytest.approx(1000 * (0.02 * m * 500 + 0.98 * f * 4))
    assert promises.line.outgoing_ppm.value == pytest.approx(1e6 * outgoing_defect_rate(m, f, 0.02))
    assert promises.line.cost.high == pytest.approx(
        1000 * (0.02 * found.escape_rate.high * 500 + 0.98 * found.overkill_rate.high * 4)
    )
    assert "at least 90 %" in promises.line.cost.method


def test_an_unknown_rate_leaves_the_line_unknown():
    s, d = parts()
    only = ~d
    found = evaluate(
        np.c_[1 - s, s][only], d[only].astype(int), classes=["good", "bad"], good="good", threshold=0.5,
        resamples=100,
    )  # fmt: skip
    line = line_costs(
        found, Costs.parse("escape=5,overkill=1,line=0.1"), review_figures(s[only], d[only], 0.5, 0.6)
    )
    assert line.cost.value is None
    assert "an unknown number" in line.text
    json.dumps(line.to_dict(), allow_nan=False)


def test_words_that_cannot_be_read():
    for asked in ({"claim": "overkill<=0.1"}, {"review": "escape<=0.1"}, {"cost": "cheap"}):
        with pytest.raises(EyelineError) as caught:
            Wishes.parse(**asked)
        assert caught.value.code == "bad_option"
