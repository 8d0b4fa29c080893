"""Curves against scikit-learn."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from eyeline.errors import EyelineError
from eyeline.verdicts import (
    auroc,
    clopper_pearson,
    expected_calibration_error,
    precision_recall_curve,
    reliability_curve,
    roc_curve,
)


@pytest.fixture(params=[0, 1])
def scored(request):
    rng = np.random.default_rng(request.param)
    d = rng.random(300) < 0.3
    return np.round(rng.random(300) * 0.6 + 0.3 * d, 2 if request.param else 6), d


def test_roc_equals_sklearn(scored):
    s, d = scored
    curve = roc_curve(s, d)
    false, true, thresholds = sk.roc_curve(d, s, drop_intermediate=False)
    assert np.allclose(curve.overkill_rate, false)
    assert np.allclose(curve.detection_rate, true)
    assert np.array_equal(curve.thresholds, thresholds)
    assert np.trapezoid(curve.detection_rate, curve.overkill_rate) == pytest.approx(auroc(s, d))


def test_precision_recall_equals_sklearn(scored):
    s, d = scored
    curve = precision_recall_curve(s, d)
    precision, recall, thresholds = sk.precision_recall_curve(d, s)
    assert np.allclose(curve.precision[::-1], precision[:-1])
    assert np.allclose(curve.recall[::-1], recall[:-1])
    assert np.array_equal(curve.thresholds[::-1], thresholds)


def test_reliability_equals_sklearn_and_sums_to_the_ece():
    rng = np.random.default_rng(2)
    s = rng.random(1000)
    d = rng.random(1000) < s**1.5
    curve = reliability_curve(s, d, bins=10)
    share, mean = calibration_curve(d, s, n_bins=10, strategy="quantile")
    assert np.allclose(curve.defect_share, share, atol=0.02)
    assert np.allclose(curve.mean_score, mean, atol=0.005)
    gap = np.abs(curve.defect_share - curve.mean_score) @ curve.images / 1000
    assert gap == pytest.approx(expected_calibration_error(s, d, bins=10))
    hits = round(curve.defect_share[3] * curve.images[3])
    assert (curve.low[3], curve.high[3]) == pytest.approx(clopper_pearson(hits, curve.images[3]))


def test_curves_become_plain_json():
    s, d = [0.2, 0.4, 0.9], [False, True, True]
    assert roc_curve(s, d).to_dict()["thresholds"][0] is None
    for curve in (roc_curve(s, d), precision_recall_curve(s, d), reliability_curve(s, d, bins=2)):
        json.dumps(curve.to_dict(), allow_nan=False)


def test_missing_classes_are_refused():
    with pytest.raises(EyelineError, match="needs defects"):
        precision_recall_curve([0.1], [False])
    with pytest.raises(EyelineError, match="needs good parts"):
        roc_curve([0.1], [True])
