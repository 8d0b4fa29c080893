"""Promises against MAPIE: fixed-sequence testing for those with confidence, split conformal for those on average.

Powers of two of defects, so that MAPIE's rates times counts are whole numbers.
"""

from __future__ import annotations

import numpy as np
import pytest
from mapie.classification import SplitConformalClassifier
from mapie.regression import SplitConformalRegressor
from mapie.risk_control import BinaryClassificationController
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from eyeline.verdicts import guaranteed_threshold, unknown_rule

GOODS = np.linspace(0, 1, 401)[1:-1]  # of every score, so that a promise is used to its limit


class Scored(ClassifierMixin, BaseEstimator):
    """A fitted classifier whose input is the defect score itself."""

    classes_ = np.array([0, 1])
    n_features_in_ = 1

    def fit(self, x, y):
        return self

    def predict_proba(self, x):
        s = np.asarray(x, dtype=float).reshape(-1)
        return np.column_stack([1 - s, s])

    def predict(self, x):
        return self.predict_proba(x).argmax(axis=1)

    def __sklearn_is_fitted__(self):
        return True


class Zero(RegressorMixin, BaseEstimator):
    """A fitted regressor that says 0: its residuals are the distances."""

    n_features_in_ = 1

    def fit(self, x, y):
        return self

    def predict(self, x):
        return np.zeros(len(x))

    def __sklearn_is_fitted__(self):
        return True


def promise(defects, demand):
    truth = np.arange(len(defects) + len(GOODS)) < len(defects)
    return guaranteed_threshold(np.r_[defects, GOODS], truth, demand)


@pytest.mark.parametrize("defects", [32, 64, 256])
@pytest.mark.parametrize(("escape", "confidence"), [(0.05, 0.9), (0.1, 0.95), (0.1, 0.9), (0.3, 0.95)])
def test_with_confidence_as_learn_then_test(defects, escape, confidence):
    s = np.sort(np.random.default_rng(defects).beta(4, 2, defects))
    levels = np.unique(np.r_[0.0, s, GOODS])
    controller = BinaryClassificationController(
        predict_function=Scored().predict_proba,
        risk="recall",
        target_level=1 - escape,
        confidence_level=confidence,
        list_predict_params=(levels[1:] + levels[:-1]) / 2,
        fwer_method="fixed_sequence",
    )
    # Their second objective, precision, needs good parts; the promise is about defects alone.
    x, y = np.r_[s, GOODS].reshape(-1, 1), np.r_[np.ones(defects, int), np.zeros(len(GOODS), int)]
    controller.calibrate(x, y)
    valid = np.asarray(controller.valid_predict_params, dtype=float)
    ours = promise(s, f"escape<={escape}@{confidence}")
    assert ours.granted == (len(valid) > 0)
    if ours.granted:
        # Of cuts that cost as much overkill Eyeline takes the one in the widest gap.
        assert (ours.threshold <= GOODS).sum() == (valid.max() <= GOODS).sum()
        assert int((s < valid.max()).sum()) - 2 <= ours.escaped <= int((s < valid.max()).sum())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("defects", "escape"), [(10, 0.1), (40, 0.05), (64, 0.1), (199, 0.03), (301, 0.2)])
def test_on_average_as_split_conformal(defects, escape):
    s = np.random.default_rng(defects).beta(4, 2, defects)
    # Conformal for the class of the defects: an image escapes when "defect" is not in its set.
    conformal = SplitConformalClassifier(Scored(), confidence_level=1 - escape, conformity_score="lac")
    conformal.conformalize(s.reshape(-1, 1), np.ones(defects, int))
    new = np.r_[s, np.random.default_rng(1).beta(4, 2, 2000)]
    _, sets = conformal.predict_set(new.reshape(-1, 1))
    theirs = ~sets[:, 1, 0].astype(bool)
    ours = promise(s, f"escape<={escape}")
    assert ours.granted
    assert ours.escaped == int(theirs[:defects].sum())
    # Between two calibration scores the cuts lie apart, by less than that gap.
    differ = new[(new < ours.threshold) != theirs]
    around = np.sort(np.r_[0.0, s, 1.0])
    gap = np.searchsorted(around, ours.threshold)
    assert np.all((differ >= around[gap - 1]) & (differ <= around[gap]))


@pytest.mark.parametrize(("images", "alpha"), [(20, 0.05), (101, 0.01), (150, 0.02), (333, 0.1)])
def test_unknown_objects_as_split_conformal(images, alpha):
    d = np.random.default_rng(images).gamma(3, size=images)
    x = np.zeros((images, 1))
    conformal = SplitConformalRegressor(Zero(), confidence_level=1 - alpha)
    conformal.conformalize(x, d)
    _, bounds = conformal.predict_interval(x[:1])
    theirs = float(bounds[0, 1, 0])
    ours = unknown_rule(d, alpha)
    assert ours.threshold >= theirs - 1e-12
    assert (d > ours.threshold).sum() == (d > theirs + 1e-12).sum()
