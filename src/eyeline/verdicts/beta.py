"""Beta calibration: three numbers that can mend a score which one temperature cannot, when the data allow them.

q = 1 / (1 + exp(-(a ln s - b ln(1 - s) + c))) with a, b >= 0 (Kull, Silva Filho and Flach 2017). With a = b = 1 and
c = 0 the score stays as it is; a = b = 1 / T is a temperature; a and b apart bend the two ends differently, and c
shifts the defect rate.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from eyeline.errors import EyelineError
from eyeline.verdicts.calibration import calibration_folds, softmax
from eyeline.verdicts.logistic import chance, logistic_fit
from eyeline.verdicts.metrics import Bools, Floats, checked_scores, expected_calibration_error
from eyeline.verdicts.rates import Verdict

MIN_IMAGES = 200
MIN_A_CLASS = 50
CLIP = 1e-6  # scores nearer to 0 or 1 than this count as this near


class BetaCalibration(Verdict):
    """The map from a defect score to a calibrated one, with the figures of the images it was fitted on."""

    a: float
    b: float
    c: float
    log_loss_before: float
    log_loss_after: float
    ece_before: float
    ece_after: float
    images: int
    reason: str  # why it is what it is, one sentence

    @property
    def fitted(self) -> bool:
        """False when the data could not support it and scores stay as they are."""
        return (self.a, self.b, self.c) != (1.0, 1.0, 0.0)

    def apply(self, scores: ArrayLike) -> Floats:
        """Calibrated defect scores `(N,)`; their order is kept."""
        s = np.asarray(scores, dtype=np.float64)
        return chance(_design(s) @ np.array([self.a, self.b, self.c])) if self.fitted else s

    def apply_logits(self, logits: ArrayLike, good: int = 0) -> Floats:
        """Calibrated probabilities `(N, 2)` from logits `(N, 2)`: what the graph of an artifact computes."""
        defect = self.apply(softmax(logits)[:, 1 - good])
        columns = (1 - defect, defect) if good == 0 else (defect, 1 - defect)
        return np.column_stack(columns)


def fit_beta(
    scores: ArrayLike, is_defect: ArrayLike, *, groups: ArrayLike | None = None, seed: int = 0
) -> BetaCalibration:
    """Fit on validation or out-of-fold scores, never of images that the network was trained on.

    It is kept only when it lowers the log-loss of images it was not fitted on: five folds, by group when groups are
    given. With fewer than 200 images or 50 of either kind nothing is fitted; `reason` says so.
    """
    s, d = checked_scores(scores, is_defect)
    if s.min() < 0 or s.max() > 1:
        raise EyelineError("defect scores to calibrate must lie between 0 and 1")
    before = log_loss(s, d)
    few = min(int(d.sum()), int((~d).sum()))
    a, b, c = 1.0, 1.0, 0.0
    if len(s) < MIN_IMAGES or few < MIN_A_CLASS:
        reason = f"too few: {len(s)} images, {few} of the rarer kind; it takes {MIN_IMAGES} with {MIN_A_CLASS} of each"
    else:
        losses = held_out_losses(s, d, groups, seed)
        held_out = math.inf if losses is None else float(losses.mean())
        if held_out < before:
            a, b, c = _fit(s, d)
            reason = f"on held-out folds the log-loss falls from {before:.4f} to {held_out:.4f}"
        else:
            reason = (
                f"not fitted: on held-out folds the log-loss would go from {before:.4f} to {held_out:.4f}"
            )
    found = BetaCalibration(
        a=a,
        b=b,
        c=c,
        log_loss_before=before,
        log_loss_after=before,
        ece_before=expected_calibration_error(s, d),
        ece_after=expected_calibration_error(s, d),
        images=len(s),
        reason=reason,
    )
    if not found.fitted:
        return found
    after = found.apply(s)
    return found.model_copy(
        update={"log_loss_after": log_loss(after, d), "ece_after": expected_calibration_error(after, d)}
    )


def log_loss(scores: ArrayLike, is_defect: ArrayLike) -> float:
    """Mean -ln of the probability given to the truth, in nats; scores of 0 and 1 count as a millionth from there."""
    return float(_losses(*checked_scores(scores, is_defect)).mean())


def _losses(scores: Floats, defect: Bools) -> Floats:
    s = np.clip(scores, CLIP, 1 - CLIP)
    return np.asarray(-np.where(defect, np.log(s), np.log1p(-s)), dtype=np.float64)


def _design(scores: Floats) -> Floats:
    s = np.clip(scores, CLIP, 1 - CLIP)
    return np.column_stack([np.log(s), -np.log1p(-s), np.ones_like(s)])


def _fit(scores: Floats, defect: Bools) -> tuple[float, float, float]:
    """Maximum likelihood; a coefficient that would be negative is 0, so that the order of scores is kept."""
    design, y = _design(scores), defect.astype(np.float64)
    columns = [0, 1, 2]
    while True:
        beta, _, _ = logistic_fit(design[:, columns], y)
        negative = [column for column, value in zip(columns, beta, strict=True) if column < 2 and value < 0]
        if not negative:
            break
        columns.remove(min(negative, key=lambda column: beta[columns.index(column)]))
    values = dict(zip(columns, beta.tolist(), strict=True))
    return values.get(0, 0.0), values.get(1, 0.0), values[2]


def held_out_losses(
    scores: Floats, defect: Bools, groups: ArrayLike | None = None, seed: int = 0
) -> Floats | None:
    """-ln of the probability of the truth, of each image under the map fitted on the other folds.

    None where no two folds exist or one cannot be fitted.
    """
    fold = calibration_folds(len(scores), groups, seed)
    if fold is None:
        return None
    losses = np.empty(len(scores))
    for k in range(int(fold.max()) + 1):
        held = fold == k
        if defect[~held].all() or not defect[~held].any():
            return None
        values = np.array(_fit(scores[~held], defect[~held]))
        losses[held] = _losses(chance(_design(scores[held]) @ values), defect[held])
    return losses
