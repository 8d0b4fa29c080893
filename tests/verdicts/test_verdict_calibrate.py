"""The choice between a temperature and beta calibration: made by left-out images, and only when they are clear."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import log_loss

from eyeline.verdicts import choose_calibration, softmax


def logits(seed, n=900, a=1.0, b=1.0, c=0.0, parts=None):
    """Logits `(N, 2)` whose true chance of a defect is the beta map of their softmax, and the classes drawn from it."""
    rng = np.random.default_rng(seed)
    z = np.column_stack([np.zeros(n), rng.normal(0, 3, n)])
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    shared = 0.0 if parts is None else rng.normal(0, 2, parts)[np.arange(n) % parts]
    true = expit(a * log_p[:, 1] - b * log_p[:, 0] + c + shared)
    return z + rng.normal(size=(n, 1)), (rng.random(n) < true).astype(int), true


def test_it_takes_beta_where_one_temperature_cannot_do():
    z, t, true = logits(0, a=0.3, b=1.4, c=1.0)
    temperature, beta = choose_calibration(z, t)
    assert beta is not None
    assert "beta calibration" in beta.reason
    q = beta.apply_logits(z)
    assert q.sum(axis=1) == pytest.approx(np.ones(len(z)))
    assert np.abs(q[:, 1] - true).mean() < 0.4 * np.abs(temperature.apply(z)[:, 1] - true).mean()
    fresh, classes, _ = logits(1, a=0.3, b=1.4, c=1.0)
    assert log_loss(classes, beta.apply_logits(fresh)[:, 1]) < log_loss(
        classes, temperature.apply(fresh)[:, 1]
    )


def test_the_good_class_may_be_either():
    z, t, _ = logits(0, a=0.3, b=1.4, c=1.0)
    _, one = choose_calibration(z, t)
    _, other = choose_calibration(z[:, ::-1], 1 - t, good=1)
    assert one is not None
    assert other is not None
    np.testing.assert_allclose(
        one.apply_logits(z), other.apply_logits(z[:, ::-1], good=1)[:, ::-1], atol=1e-12
    )


@pytest.mark.parametrize("truth", [(1.0, 1.0, 0.0), (0.5, 0.5, 0.0)])
def test_a_temperature_is_kept_where_it_is_the_truth(truth):
    taken = sum(choose_calibration(*logits(seed, 600, *truth)[:2])[1] is not None for seed in range(40))
    assert taken <= 6  # one in twenty by chance, and a margin


def test_few_groups_do_not_ask_clearly():
    """Parts that differ look like a bend; by group it is not taken for one, by image it often is."""
    groups = np.arange(600) % 12
    by = {"image": 0, "group": 0}
    for seed in range(25):
        z, t, _ = logits(seed, 600, parts=12)
        by["image"] += choose_calibration(z, t)[1] is not None
        by["group"] += choose_calibration(z, t, groups=groups)[1] is not None
    assert by["group"] <= 3 < by["image"]


@pytest.mark.parametrize(("n", "classes"), [(120, 2), (900, 3)])
def test_too_few_images_or_more_classes_keep_the_temperature(n, classes):
    z, t, _ = logits(0, n, a=0.3, b=1.4, c=1.0)
    z = np.column_stack([z, np.full((n, classes - 2), -5.0)]) if classes > 2 else z
    assert choose_calibration(z, t)[1] is None


def test_certain_logits_stay_in_order_and_finite():
    z, t, _ = logits(0, a=0.3, b=1.4, c=1.0)
    _, beta = choose_calibration(z, t)
    assert beta is not None
    wide = np.column_stack([np.zeros(9), np.array([-900, -40, -5, -1, 0, 1, 5, 40, 900.0])])
    q = beta.apply_logits(wide)[:, 1]
    assert np.isfinite(q).all()
    assert (np.diff(q) >= 0).all()
    assert softmax(wide)[0, 1] == 0 < q[0]
