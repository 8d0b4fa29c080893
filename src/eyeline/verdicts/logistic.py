"""Logistic regression by maximum likelihood, for the few coefficients that a curve or a calibration has."""

from __future__ import annotations

import numpy as np

from eyeline.verdicts.metrics import Floats

_STEPS, _EXACT = 60, 1e-10


def logistic_fit(
    design: Floats, y: Floats, *, offset: float = 0.0, start: Floats | None = None
) -> tuple[Floats, float, Floats]:
    """Maximum likelihood of a logistic regression by Newton's method (iteratively reweighted least squares).

    Returns the coefficients `(P,)`, the log-likelihood and the information matrix `(P, P)`. Steps that would lower the
    likelihood are halved.
    """
    beta = np.zeros(design.shape[1]) if start is None else start.astype(np.float64)
    value = _log_likelihood(design @ beta + offset, y)
    for _ in range(_STEPS):
        p = chance(design @ beta + offset)
        information = design.T @ (design * (p * (1 - p))[:, None])
        information += 1e-12 * np.trace(information) * np.eye(len(beta)) + 1e-300 * np.eye(len(beta))
        move = np.linalg.solve(information, design.T @ (y - p))
        for _ in range(40):
            moved = _log_likelihood(design @ (beta + move) + offset, y)
            if moved >= value:
                break
            move = move / 2
        else:
            break
        gain, beta, value = moved - value, beta + move, moved
        if gain < _EXACT:
            break
    p = chance(design @ beta + offset)
    return beta, value, design.T @ (design * (p * (1 - p))[:, None])


def _log_likelihood(eta: Floats, y: Floats) -> float:
    return float((y * eta - np.logaddexp(0.0, eta)).sum())


def chance(eta: Floats) -> Floats:
    """1 / (1 + e^-eta) without overflow."""
    return np.asarray(1 / (1 + np.exp(-np.clip(eta, -700, 700))), dtype=np.float64)
