"""Which calibration an inspector gets: a temperature, or beta calibration where left-out images clearly ask for it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from eyeline.verdicts import beta, calibration
from eyeline.verdicts.beta import BetaCalibration, fit_beta
from eyeline.verdicts.calibration import MIN_MISTAKES, Temperature, fit_temperature, softmax
from eyeline.verdicts.clusters import effective_groups, group_deviation, group_numbers
from eyeline.verdicts.intervals import t_quantile

SURE = 0.95


def choose_calibration(
    logits: ArrayLike, targets: ArrayLike, *, good: int = 0, groups: ArrayLike | None = None, seed: int = 0
) -> tuple[Temperature, BetaCalibration | None]:
    """The temperature, and beta calibration in its place where that is surely better; else None.

    Surely: in the same five folds, by group when groups are given, its log-loss of images it was not fitted on is
    lower, and the lower bound of the mean difference (one-sided at 95 %, jackknife over groups, Student's t) is above
    0. Three numbers bend more than one, which a small data set does not bear.

    Parameters
    ----------
    logits, targets : `(N, K)` and `(N,)`, never of images the network was trained on; beta needs K = 2.
    """
    z, t = np.asarray(logits, dtype=np.float64), np.asarray(targets, dtype=np.int64)
    temperature = fit_temperature(z, t, good=good, groups=groups, seed=seed)
    if z.shape[1] != 2 or (z.argmax(axis=1) != t).sum() < MIN_MISTAKES:
        return temperature, None
    scores, defect = softmax(z)[:, 1 - good], t != good
    found = fit_beta(scores, defect, groups=groups, seed=seed)
    if not found.fitted:
        return temperature, None
    bent = beta.held_out_losses(scores, defect, groups, seed)
    scaled = calibration.held_out_losses(z, t, groups, seed)
    assert bent is not None
    assert scaled is not None
    if not temperature.fitted:
        scaled = -np.log(softmax(z)[np.arange(len(t)), t])
    unit, units = group_numbers(np.arange(len(t)) if groups is None else groups)
    gains, sizes = (
        np.bincount(unit, weights=scaled - bent, minlength=units),
        np.bincount(unit, minlength=units),
    )
    degrees = max(1.0, effective_groups(sizes) - 1)
    if not (scaled - bent).mean() > t_quantile(SURE, degrees) * float(group_deviation(gains, sizes)):
        return temperature, None
    reason = (
        f"beta calibration: on held-out folds the log-loss falls from {found.log_loss_before:.4f} to "
        f"{bent.mean():.4f}, with {'a temperature' if temperature.fitted else 'none'} it is {scaled.mean():.4f}"
    )
    return temperature, found.model_copy(update={"reason": reason})
