"""The last layer in closed form: ridge regression on frozen features, seconds instead of minutes.

With few labels this is hard to beat, and it is where fine-tuning starts from. The penalty is chosen by leaving
out whole folds (whole groups, where the images have groups), never by looking at validation or test images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eyeline.training.batches import Ints

Doubles = NDArray[np.float64]
PENALTIES = tuple(10.0**power for power in np.arange(0, 6.1, 0.5))  # in units of standardised features
FLATTEST, STEEPEST = 0.05, 50.0  # bounds of the factor from regression scores to logits


@dataclass(frozen=True, kw_only=True)
class FittedHead:
    """A linear layer fitted in closed form."""

    weight: Doubles  # (K, C)
    bias: Doubles  # (K,)
    penalty: float
    left_out: Doubles  # (N, K) logits of each image from the fold that did not see it

    def logits(self, features: NDArray[np.floating]) -> Doubles:
        """Logits ``(M, K)`` of features ``(M, C)``."""
        return np.asarray(features @ self.weight.T + self.bias)


def fit_head(
    features: NDArray[np.floating],
    targets: Ints,
    folds: Ints,
    *,
    classes: int,
    weights: NDArray[np.floating] | None = None,
    penalties: tuple[float, ...] = PENALTIES,
) -> FittedHead:
    """Fit a linear layer to features ``(N, C)`` and class numbers ``(N,)``.

    Each class is regressed against the others with targets of ±1, images weighing `weights` ``(N,)`` (by default
    the same). Scores become logits by the one factor that makes left-out images (of `folds`, ``(N,)``) most
    likely, and the penalty is the one whose left-out logits are the likeliest. The squared error would not do:
    it prefers scores shrunk towards zero, however badly they rank.

    The penalty of the last fit is what the folds chose; with a single fold number nothing can be left out and
    the middle penalty is taken.
    """
    x = np.asarray(features, np.float64)
    y = np.where(targets[:, None] == np.arange(classes), 1.0, -1.0)
    each: Doubles = np.ones(len(x)) if weights is None else np.asarray(weights, np.float64)

    scores = np.zeros((len(penalties), len(x), classes))
    numbers = np.unique(folds)
    for fold in numbers if len(numbers) > 1 else []:
        seen = folds != fold
        path = _Ridge(x[seen], y[seen], each[seen])
        for position, penalty in enumerate(penalties):
            weight, bias = path.solve(penalty)
            scores[position, ~seen] = x[~seen] @ weight.T + bias
    scaled = [_logit_factor(score, targets, each) for score in scores] if len(numbers) > 1 else []
    best = int(np.argmin([loss for _, loss in scaled])) if scaled else len(penalties) // 2

    weight, bias = _Ridge(x, y, each).solve(penalties[best])
    left_out = scores[best] if scaled else x @ weight.T + bias
    factor, _ = scaled[best] if scaled else _logit_factor(left_out, targets, each)
    return FittedHead(
        weight=factor * weight, bias=factor * bias, penalty=penalties[best], left_out=factor * left_out
    )


class _Ridge:
    """Weighted ridge regression for many penalties from one eigendecomposition of the smaller Gram matrix."""

    def __init__(self, x: Doubles, y: Doubles, weights: Doubles) -> None:
        total = weights.sum()
        self.mean = weights @ x / total
        centred = x - self.mean
        self.scale = np.sqrt(weights @ centred**2 / total) + 1e-6 * np.abs(self.mean).max(initial=1e-12)
        self.y_mean = weights @ y / total
        root = np.sqrt(weights)[:, None]
        self.a = root * (centred / self.scale)
        self.b = root * (y - self.y_mean)
        self.dual = len(x) < x.shape[1]
        self.values, self.vectors = np.linalg.eigh(self.a @ self.a.T if self.dual else self.a.T @ self.a)
        self.projected = self.vectors.T @ (self.b if self.dual else self.a.T @ self.b)

    def solve(self, penalty: float) -> tuple[Doubles, Doubles]:
        """Weight ``(K, C)`` and bias ``(K,)`` for one penalty."""
        solution = self.vectors @ (self.projected / (np.maximum(self.values, 0)[:, None] + penalty))
        if self.dual:
            solution = self.a.T @ solution
        weight = (solution / self.scale[:, None]).T
        return weight, self.y_mean - weight @ self.mean


def _logit_factor(scores: Doubles, targets: Ints, weights: Doubles) -> tuple[float, float]:
    """The factor that makes softmax(factor * scores) most likely, and its loss; scores ``(N, K)``."""
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    rows = np.arange(len(targets))

    def loss(log_factor: float) -> float:
        return float(-(weights * log_softmax(np.exp(log_factor) * scores, axis=1)[rows, targets]).mean())

    found = minimize_scalar(loss, bounds=(np.log(FLATTEST), np.log(STEEPEST)), method="bounded")
    return float(np.exp(found.x)), float(found.fun)
