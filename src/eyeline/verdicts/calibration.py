"""Temperature scaling: one number that turns confident logits into honest probabilities, if it can."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict

from eyeline.errors import EyelineError
from eyeline.verdicts.clusters import group_numbers
from eyeline.verdicts.metrics import Floats, Ints, expected_calibration_error

# Temperature lives off mistakes: without them the likelihood grows forever as T falls to 0.
MIN_IMAGES = 50
MIN_MISTAKES = 5
FOLDS = 5
LOWEST, HIGHEST = 0.05, 20.0


class Temperature(BaseModel):
    """probabilities = softmax(logits / value), with the figures of the images it was fitted on."""

    model_config = ConfigDict(frozen=True)

    value: float
    nll_before: float
    nll_after: float
    ece_before: float
    ece_after: float
    images: int
    reason: str  # why value is what it is, one sentence

    @property
    def fitted(self) -> bool:
        """False when the data could not support a temperature and the value is 1."""
        return self.value != 1.0

    def apply(self, logits: ArrayLike) -> Floats:
        """Calibrated probabilities `(N, K)`."""
        return softmax(logits, self.value)

    def to_dict(self) -> dict[str, float | int | str]:
        """Plain JSON types."""
        return self.model_dump(mode="json")


def log_softmax(logits: ArrayLike, temperature: float = 1.0) -> Floats:
    """Log-probabilities `(N, K)` without overflow."""
    z = np.asarray(logits, dtype=np.float64) / temperature
    z = z - z.max(axis=1, keepdims=True)
    return np.asarray(z - np.log(np.exp(z).sum(axis=1, keepdims=True)), dtype=np.float64)


def softmax(logits: ArrayLike, temperature: float = 1.0) -> Floats:
    """Probabilities `(N, K)`."""
    return np.exp(log_softmax(logits, temperature))


def negative_log_likelihood(logits: ArrayLike, targets: ArrayLike, temperature: float = 1.0) -> float:
    """Mean -log p[target] over the images, in nats."""
    t = np.asarray(targets, dtype=np.int64)
    return float(-log_softmax(logits, temperature)[np.arange(len(t)), t].mean())


def fit_temperature(
    logits: ArrayLike, targets: ArrayLike, *, good: int = 0, groups: ArrayLike | None = None, seed: int = 0
) -> Temperature:
    """Temperature by likelihood (Guo et al. 2017) on validation or out-of-fold logits.

    It is kept only when it helps on images it was not fitted on: five folds, by group when groups are given.
    Otherwise, and with too little data, the value is 1 and `reason` says why or how much more is needed.

    Parameters
    ----------
    logits : `(N, K)`, never of images the network was trained on.
    targets : `(N,)` class indices.
    good : index of the defect-free class, for the ECE of the defect score.
    """
    z, t = np.asarray(logits, dtype=np.float64), np.asarray(targets, dtype=np.int64)
    if z.ndim != 2 or t.shape != z.shape[:1] or len(t) == 0:
        raise EyelineError(f"logits (N, K) and targets (N,) do not fit: {z.shape} and {t.shape}")
    if not np.isfinite(z).all():
        raise EyelineError("logits to calibrate on are not all finite numbers")
    mistakes = int((z.argmax(axis=1) != t).sum())
    value, reason = 1.0, ""
    if len(t) < MIN_IMAGES or mistakes < MIN_MISTAKES:
        reason = (
            f"not calibrated: {len(t)} images with {mistakes} mistakes are too few to fit a temperature; "
            f"needed: {MIN_IMAGES} images with {MIN_MISTAKES} mistakes"
        )
    else:
        candidate, losses = _minimise(z, t), held_out_losses(z, t, groups, seed)
        held_out = math.inf if losses is None else float(losses.mean())
        plain = negative_log_likelihood(z, t)
        if held_out < plain:
            value = candidate
            reason = f"on held-out folds the log-loss falls from {plain:.4f} to {held_out:.4f}"
        else:
            reason = (
                f"not calibrated: a temperature of {candidate:.2f} would raise the log-loss on held-out "
                f"folds from {plain:.4f} to {held_out:.4f}"
            )
    return Temperature(
        value=value,
        nll_before=negative_log_likelihood(z, t),
        nll_after=negative_log_likelihood(z, t, value),
        ece_before=_defect_ece(z, t, 1.0, good),
        ece_after=_defect_ece(z, t, value, good),
        images=len(t),
        reason=reason,
    )


def _minimise(logits: Floats, targets: Ints) -> float:
    """The NLL is convex in 1 / T, so it has one minimum in log T."""
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda log_t: negative_log_likelihood(logits, targets, math.exp(log_t)),
        bounds=(math.log(LOWEST), math.log(HIGHEST)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return float(math.exp(found.x))


def held_out_losses(
    logits: Floats, targets: Ints, groups: ArrayLike | None = None, seed: int = 0
) -> Floats | None:
    """-log p[target] of each image under the temperature fitted on the other folds; None when no two folds exist."""
    fold = calibration_folds(len(targets), groups, seed)
    if fold is None:
        return None
    losses = np.empty(len(targets))
    for k in range(int(fold.max()) + 1):
        held = fold == k
        temperature = _minimise(logits[~held], targets[~held])
        losses[held] = -log_softmax(logits[held], temperature)[np.arange(held.sum()), targets[held]]
    return losses


def calibration_folds(images: int, groups: ArrayLike | None, seed: int) -> Ints | None:
    """Five folds of whole groups, `(N,)`, fewer with fewer groups; None below two."""
    unit, count = group_numbers(np.arange(images) if groups is None else groups)
    folds = min(FOLDS, count)
    if folds < 2:
        return None
    return np.asarray((np.random.default_rng(seed).permutation(count) % folds)[unit], dtype=np.int64)


def _defect_ece(logits: Floats, targets: Ints, temperature: float, good: int) -> float:
    return expected_calibration_error(1.0 - softmax(logits, temperature)[:, good], targets != good)
