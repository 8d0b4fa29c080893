"""Verdicts: against SciPy and statsmodels, and by simulation of what a wrong one costs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from eyeline.claims import Check, ClaimResult, Contrast, Findings, Settings, contrast, judge_together
from eyeline.claims.judging import LEVEL, deciding, p_of, word
from eyeline.errors import EyelineError

FLOATS = st.floats(-1, 1, allow_nan=False, width=32)


def judged(values: object, margin: float = 0.0, required: bool = True) -> Contrast:
    return contrast("it", "one over the other", values, margin=margin, required=required)  # type: ignore[arg-type]


def result(findings: Findings, share: float = 1.0) -> ClaimResult:
    p = p_of(findings)
    return ClaimResult(
        name="it", title="", statement="", experiment="", change="", source="", verdict=word(findings, p, share),
        effect=0, low=0, high=0, unit="accuracy", margin=0, p_value=p, adjusted_p=p, findings=findings,
        settings=Settings(), share=share, seconds=1, version="",
    )  # fmt: skip


@given(st.lists(FLOATS, min_size=2, max_size=12), st.floats(-0.5, 0.5))
def test_a_contrast_is_students_t(values: list[float], margin: float) -> None:
    found = judged(values, margin)
    if np.std(values) < 1e-6:
        return
    peer = stats.ttest_1samp(values, margin)
    interval = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert found.p_value == pytest.approx(peer.pvalue, rel=1e-6, abs=1e-12)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-6, abs=1e-9)
    assert (found.verdict != "inconclusive") == (found.p_value < LEVEL)  # interval and test agree


def test_the_half_width_of_few_seeds_is_the_tabulated_one() -> None:
    values = np.array([-1.0, 0.5, 0.25, -0.75, 1.0])
    spread = values.std(ddof=1)
    assert (judged(values).high - values.mean()) / spread == pytest.approx(1.24, abs=0.005)  # n = 5
    ten = np.concatenate([values, values])
    assert (judged(ten).high - ten.mean()) / ten.std(ddof=1) == pytest.approx(0.72, abs=0.006)  # n = 10


def test_overlapping_seeds_widen_the_interval() -> None:
    """Nadeau and Bengio 2003: ten resplits with a test part a ninth of the training part, factor 1/10 + 1/9."""
    values = np.linspace(0, 1, 10)
    plain = judged(values)
    wide = contrast("it", "", values, margin=0, overlap=1 / 9)
    assert (wide.high - wide.effect) / (plain.high - plain.effect) == pytest.approx(
        np.sqrt((1 / 10 + 1 / 9) * 10)
    )


def test_seeds_that_agree_to_the_last_bit() -> None:
    assert (
        judged([0.0, 0.0, 0.0]).verdict == "inconclusive"
    )  # identical arms differ by nothing: nothing is shown
    assert judged([0.5, 0.5, 0.5]).verdict == "holds"
    assert judged([0.5, 0.5], margin=0.6).verdict == "fails"


@pytest.mark.parametrize("values", [[], [0.1], [0.1, float("nan")], [[0.1, 0.2]]])
def test_differences_that_have_no_interval_are_refused(values: object) -> None:
    with pytest.raises(EyelineError, match="two finite differences"):
        judged(values)


def test_all_required_parts_have_to_hold() -> None:
    good, bad, open_ = judged([1, 1.1, 0.9]), judged([-1, -1.1, -0.9]), judged([-1, 1, 0.5])
    beside = judged([-1, -1.1, -0.9], required=False)

    def verdict(*contrasts: Contrast, checks: tuple[Check, ...] = ()) -> str:
        return result(Findings(contrasts=contrasts, checks=checks)).verdict

    assert verdict(good) == verdict(good, good) == verdict(good, beside) == "holds"
    assert verdict(good, open_) == "inconclusive"
    assert verdict(good, bad) == verdict(bad, open_) == "fails"
    wrong, right = (Check(text="", expected="1", found="2", holds=h) for h in (False, True))
    assert verdict(good, checks=(right,)) == "holds"
    assert verdict(good, checks=(right, wrong)) == "fails"
    assert verdict(checks=(right,)) == "holds"
    assert verdict(checks=(wrong,)) == "fails"


def test_the_part_that_stands_worst_decides() -> None:
    strong, weak, below = judged([1, 1.1, 0.9]), judged([0.1, 0.3, 0.2]), judged([-0.3, -0.2, 0.1])
    assert deciding(Findings(contrasts=(strong, weak))) == weak
    assert deciding(Findings(contrasts=(strong, below, weak))) == below
    assert deciding(Findings()) is None


def test_too_short_a_training_gives_no_verdict() -> None:
    found = Findings(contrasts=(judged([1, 1.1, 0.9]),))
    assert result(found, share=0.3).verdict == "holds"
    assert result(found, share=0.2).verdict == "inconclusive"
    assert judge_together([result(found, share=0.2)])[0].verdict == "inconclusive"


@pytest.mark.parametrize("seed", range(20))
def test_claims_are_corrected_together_as_statsmodels_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    differences = rng.normal(rng.uniform(-2, 2, (1 + seed % 9, 1)), 1, (1 + seed % 9, 5))
    single = [result(Findings(contrasts=(judged(values),))) for values in differences]
    exact = result(Findings(checks=(Check(text="", expected="", found="", holds=True),)))
    together = judge_together([*single, exact])
    peer = multipletests([r.p_value for r in single], LEVEL, method="holm")[1]
    assert [r.adjusted_p for r in together[:-1]] == pytest.approx(peer)
    assert together[-1].adjusted_p is None
    assert together[-1].verdict == "holds"
    for before, after in zip(
        single, together, strict=False
    ):  # a correction takes verdicts away, never adds one
        assert after.verdict in (before.verdict, "inconclusive")


# --- what a wrong verdict costs, by simulation ---------------------------------------------------------

DRAWS = 3000


def wrong_share(draw: object, claims: int = 1, parts: int = 1, seeds: int = 5, margin: float = 0.01) -> float:
    """How often any of `claims` is decided although every effect is exactly its margin."""
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(DRAWS // claims):
        found = []
        for _ in range(claims):
            noise = [draw(rng, seeds) for _ in range(parts)]  # type: ignore[operator]
            contrasts = tuple(judged(margin + values, margin) for values in noise)
            found.append(result(Findings(contrasts=contrasts)))
        wrong += any(r.verdict != "inconclusive" for r in judge_together(found))
    return wrong / (DRAWS // claims)


def most(claims: int = 1) -> float:
    """Five percent, and what a simulation of so few draws may show by chance (once in a thousand)."""
    draws = DRAWS // claims
    return float(stats.binom.ppf(0.999, draws, LEVEL)) / draws


NOISE = {
    "normal": lambda rng, n: rng.normal(0, 0.01, n),
    "binomial": lambda rng, n: (rng.binomial(2000, 0.9, n) - rng.binomial(2000, 0.9, n)) / 2000,
    "long tails": lambda rng, n: 0.01 * rng.standard_t(4, n),
}


@pytest.mark.parametrize("kind", NOISE)
def test_a_single_claim_without_effect_is_rarely_decided(kind: str) -> None:
    assert wrong_share(NOISE[kind]) <= most()


@pytest.mark.parametrize("parts", [1, 3])
def test_eight_claims_without_effect_are_rarely_decided_at_all(parts: int) -> None:
    assert wrong_share(NOISE["normal"], claims=8, parts=parts) <= most(8)


def test_an_effect_of_three_spreads_is_found() -> None:
    rng = np.random.default_rng(1)
    found = [judged(0.01 + 0.03 + rng.normal(0, 0.01, 5), 0.01).verdict for _ in range(300)]
    assert found.count("holds") > 290
    assert found.count("fails") == 0
