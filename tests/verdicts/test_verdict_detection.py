"""The curve of detection against statsmodels and SciPy, and a90/95 against what it promises."""

from __future__ import annotations

import math

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.optimize import minimize_scalar
from scipy.stats import chi2

from eyeline.errors import EyelineError
from eyeline.verdicts import fit_detection
from eyeline.verdicts.detection import SMALL

B0, B1 = -3.0, 2.5
TRUE_A90 = math.exp((math.log(9) - B0) / B1)


def defects(rng, n=150, groups=None, spread=0.0):
    a = np.exp(rng.uniform(0, 3, n))
    unit = np.arange(n) if groups is None else rng.integers(0, groups, n)
    offset = spread * rng.normal(size=unit.max() + 1)[unit]
    return a, rng.random(n) < 1 / (1 + np.exp(-(B0 + B1 * np.log(a) + offset))), unit


def test_the_curve_is_the_logistic_regression_of_statsmodels():
    a, y, _ = defects(np.random.default_rng(0))
    found = fit_detection(a, y)
    theirs = sm.Logit(y.astype(float), sm.add_constant(np.log(a))).fit(disp=0)
    assert (found.intercept, found.slope) == pytest.approx(tuple(theirs.params), rel=1e-6)
    assert np.array(found.covariance) == pytest.approx(theirs.cov_params(), rel=1e-5)
    assert found.size == pytest.approx(math.exp((math.log(9) - found.intercept) / found.slope))
    assert found.sizes[found.levels.index(0.9)] == pytest.approx(found.size)
    assert found.high[found.levels.index(0.9)] == pytest.approx(found.bound)


def test_the_bound_is_where_the_likelihood_ratio_says():
    """At a90/95 the best curve through it is less likely by half the 90 % quantile of chi-square, by Bartlett."""
    a, y, _ = defects(np.random.default_rng(1))
    found = fit_detection(a, y)
    x = np.log(a)

    def loss(eta):
        return float(np.logaddexp(0, eta).sum() - eta[y].sum())

    best = loss(found.intercept + found.slope * x)
    small = 1 + SMALL / min(y.sum(), (~y).sum())
    for place in (found.bound, found.low[found.levels.index(0.9)]):
        constrained = minimize_scalar(
            lambda b, at=place: loss(math.log(9) + b * (x - math.log(at))), bracket=(0.5, 2.5), tol=1e-12
        ).fun
        assert 2 * (constrained - best) == pytest.approx(chi2.ppf(0.9, 1) * small, abs=1e-3)


def test_size_units_do_not_matter():
    a, y, _ = defects(np.random.default_rng(2))
    one, other = fit_detection(a, y), fit_detection(25.4 * a, y)
    assert other.bound == pytest.approx(25.4 * one.bound, rel=1e-5)
    assert other.slope == pytest.approx(one.slope)


def test_the_band_is_in_order():
    a, y, _ = defects(np.random.default_rng(3))
    found = fit_detection(a, y)
    assert all(low < size < high for low, size, high in zip(found.low, found.sizes, found.high, strict=True))
    for values in (found.low, found.sizes, found.high):
        assert (np.diff(values) > 0).all()


def covered(rounds, **options):
    hits, rng = [], np.random.default_rng(4)
    for _ in range(rounds):
        a, y, _ = defects(rng, **options)
        try:
            hits.append(fit_detection(a, y, levels=()).bound >= TRUE_A90)
        except EyelineError:
            continue  # refused: nothing was promised
    assert len(hits) > 0.9 * rounds
    return float(np.mean(hits))


def test_a9095_holds_as_often_as_it_says():
    assert covered(300) >= 0.92


@pytest.mark.slow
def test_a9095_holds_as_often_as_it_says_over_2000_studies():
    assert covered(2000, n=100) >= 0.94


def test_groups_make_the_bound_more_careful():
    wider = 0
    rng = np.random.default_rng(5)
    for _ in range(8):
        a, y, unit = defects(rng, n=300, groups=20, spread=1.5)
        one, other = fit_detection(a, y), fit_detection(a, y, groups=unit)
        assert other.slope == pytest.approx(one.slope)
        assert other.groups == len(set(unit.tolist()))
        wider += other.bound > one.bound
    assert wider == 8


@pytest.mark.parametrize(
    ("sizes", "caught", "code"),
    [
        (np.linspace(1, 9, 40), np.ones(40, bool), "too_few"),
        (np.linspace(1, 9, 40), np.arange(40) < 3, "too_few"),
        (np.linspace(1, 9, 40), np.arange(40) >= 20, "separated"),
        (np.linspace(1, 9, 40), np.arange(40) % 2 == 0, "flat"),
        (np.linspace(1, 9, 40), np.arange(40) < 20, "flat"),
        (np.array([1.0, -1.0]), np.array([True, False]), "bad_sizes"),
    ],
)
def test_what_cannot_be_claimed_is_refused(sizes, caught, code):
    with pytest.raises(EyelineError) as error:
        fit_detection(sizes, caught)
    assert error.value.code == code


def test_beyond_the_data_it_says_so():
    rng = np.random.default_rng(6)
    a = np.exp(rng.uniform(0, 1.3, 120))
    y = rng.random(120) < 1 / (1 + np.exp(-(B0 + B1 * np.log(a))))
    found = fit_detection(a, y, unit=" mm")
    assert found.extrapolated
    assert "beyond the largest defect seen" in found.text
    assert " mm on" in found.text
    with pytest.raises(EyelineError, match="must lie between"):
        fit_detection(a, y, level=0.2)
