"""Temperature scaling against scikit-learn's, and its refusals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

from eyeline.errors import EyelineError
from eyeline.verdicts import fit_temperature, log_softmax, negative_log_likelihood, softmax
from eyeline.verdicts.calibration import HIGHEST


def _logits(seed=0, n=400, k=3, sharpness=3.0):
    """Logits that are calibrated at temperature `sharpness`."""
    rng = np.random.default_rng(seed)
    honest = rng.normal(size=(n, k)) * 2
    p = special.softmax(honest, axis=1)
    targets = (rng.random(n)[:, None] > p.cumsum(axis=1)).sum(axis=1)
    return honest * sharpness, targets


def test_softmax_equals_scipy_and_does_not_overflow():
    z = np.random.default_rng(0).normal(size=(20, 4)) * 50
    assert np.allclose(softmax(z, 2.0), special.softmax(z / 2, axis=1))
    assert np.allclose(log_softmax(z), special.log_softmax(z, axis=1))
    assert np.isfinite(log_softmax([[1e4, -1e4]])).all()


def test_it_finds_the_temperature_and_honest_probabilities():
    z, t = _logits(n=20_000)
    found = fit_temperature(z, t)
    assert found.fitted
    assert found.value == pytest.approx(3.0, rel=0.03)
    assert found.nll_after < found.nll_before
    assert found.ece_after < 0.01 < found.ece_before
    assert np.allclose(found.apply(z).sum(axis=1), 1)
    assert "falls" in found.reason
    assert found.to_dict()["images"] == 20_000


def test_it_equals_the_temperature_of_sklearn():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(600, 5))
    y = (x[:, 0] + rng.normal(size=600) > 0).astype(int)
    model = LogisticRegression(C=1e6).fit(x[:40], y[:40])
    peer = CalibratedClassifierCV(FrozenEstimator(model), method="temperature").fit(x[40:], y[40:])
    decision = model.decision_function(x[40:])
    ours = fit_temperature(np.stack([np.zeros(560), decision], axis=1), y[40:])
    assert ours.fitted
    expected = peer.predict_proba(x[40:])
    got = ours.apply(np.stack([np.zeros(560), decision], axis=1))
    assert np.abs(got - expected).max() < 2e-3


def test_the_temperature_minimises_the_likelihood():
    z, t = _logits(seed=2)
    value = fit_temperature(z, t).value
    at = negative_log_likelihood(z, t, value)
    assert at <= min(negative_log_likelihood(z, t, value * f) for f in (0.8, 0.95, 1.05, 1.25))
    rows = special.log_softmax(z / value, axis=1)[np.arange(len(t)), t]
    assert at == pytest.approx(-rows.mean())


def test_too_little_data_is_refused_with_what_is_needed():
    z, t = _logits(n=30)
    few = fit_temperature(z, t)
    assert few.value == 1.0
    assert not few.fitted
    assert "30 images" in few.reason
    assert "needed: 50 images with 5 mistakes" in few.reason
    right = fit_temperature(np.eye(2)[np.arange(200) % 2] * 9.0, np.arange(200) % 2)
    assert right.value == 1.0
    assert "0 mistakes" in right.reason
    assert right.nll_after == right.nll_before


def test_a_temperature_that_does_not_help_elsewhere_is_refused():
    """Honest logits: what a few images ask for by chance is noise and fails on the held-out folds."""
    z, t = _logits(seed=3, n=300, sharpness=1.0)
    refused = [fit_temperature(*_logits(seed=s, n=60, sharpness=1.0)) for s in range(12)]
    assert any(not f.fitted and "would raise" in f.reason for f in refused)
    assert all(f.value == 1.0 for f in refused if not f.fitted)
    one_group = fit_temperature(z, t, groups=["lot 1"] * 300)
    assert not one_group.fitted


def test_groups_are_never_split_over_folds():
    """With the same rows repeated, image folds would know the held-out images; group folds do not."""
    z, t = _logits(seed=0, n=80, sharpness=1.0)
    repeated = np.repeat(np.arange(80), 20)
    by_image = fit_temperature(z[repeated], t[repeated])
    by_group = fit_temperature(z[repeated], t[repeated], groups=repeated)
    assert by_image.fitted
    assert not by_group.fitted
    assert not fit_temperature(z, t).fitted


def test_hopeless_logits_stop_at_the_bound():
    rng = np.random.default_rng(5)
    z = rng.normal(size=(500, 2)) * 100
    assert fit_temperature(z, rng.integers(0, 2, 500)).value == pytest.approx(HIGHEST, rel=0.01)


@pytest.mark.parametrize(
    ("logits", "targets"),
    [([[1.0, 2.0]], [0, 1]), ([1.0], [0]), (np.empty((0, 2)), []), ([[np.nan, 0.0]], [0])],
)
def test_what_does_not_fit_is_refused(logits, targets):
    with pytest.raises(EyelineError):
        fit_temperature(logits, targets)
