"""Is this picture of anything the network learned from? Distance in feature space, with a stated rate of false alarms.

Each class is a cloud of pooled features, all clouds of one shape: the Mahalanobis distance to the nearest class mean
(Lee et al. 2018, "A simple unified framework for detecting out-of-distribution samples", sections 2.1 and 2.2), after
scaling every image's features to length 1 so that brightness and contrast do not pass for novelty. The
covariance is shrunk (Ledoit and Wolf 2004), since there are often fewer images than features, and kept as its largest
directions and one variance for all others, so that the distance is a small product inside the artifact's graph.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from eyeline.errors import EyelineError
from eyeline.verdicts.clusters import design_effect, group_numbers, intraclass_correlation, share_rate
from eyeline.verdicts.metrics import Bools, Floats
from eyeline.verdicts.rates import Rate, Verdict

RANK = 128  # directions kept
INTERVAL = 0.95
TINY = 1e-12


@dataclass(frozen=True, eq=False)
class FeatureSpace:
    """The classes in feature space; a distance of about 1 is that of an image of the training part."""

    means: Floats  # (K, C), of the classes that occur
    basis: Floats  # (C, R), orthonormal
    weights: Floats  # (R,) what each direction counts less than `scale`
    scale: float

    def distances(self, features: ArrayLike) -> Floats:
        """Squared distance of features `(N, C)` to the nearest class, a mean over the C dimensions, `(N,)`."""
        x = _unit(np.asarray(features, dtype=np.float64))
        nearest = np.full(len(x), np.inf)
        for mean in self.means:
            off = x - mean
            along = off @ self.basis
            nearest = np.minimum(nearest, self.scale * (off**2).sum(axis=1) - (along**2) @ self.weights)
        return nearest


def fit_space(features: ArrayLike, targets: ArrayLike, *, rank: int = RANK) -> FeatureSpace:
    """The space of training features `(N, C)` with class numbers `(N,)`; at least two images more than classes."""
    x, t = np.asarray(features, dtype=np.float64), np.asarray(targets, dtype=np.int64)
    if x.ndim != 2 or t.shape != x.shape[:1] or not np.isfinite(x).all():
        raise EyelineError(
            f"features (N, C) and targets (N,) do not fit, or are not finite: {x.shape} and {t.shape}"
        )
    present, numbers = np.unique(t, return_inverse=True)
    if len(x) < len(present) + 2:
        raise EyelineError(f"{len(x)} images of {len(present)} classes show no spread within a class")
    x = _unit(x)
    means = np.stack([x[numbers == k].mean(axis=0) for k in range(len(present))])
    residuals = x - means[numbers]
    covariance = residuals.T @ residuals / len(x)
    shrinkage = ledoit_wolf_shrinkage(residuals, covariance)
    channels = x.shape[1]
    level = float(np.trace(covariance)) / channels
    if level <= 1e-20:
        raise EyelineError("the features of a class are all the same")
    variances, directions = np.linalg.eigh(covariance)
    kept = min(rank, channels - 1)
    shrunk = (1 - shrinkage) * np.maximum(variances, 0) + shrinkage * level
    rest = max(float(shrunk[: channels - kept].mean()), 1e-6 * level)
    largest = np.maximum(shrunk[channels - kept :], rest)
    return FeatureSpace(
        means=means,
        basis=directions[:, channels - kept :],
        weights=(1 / rest - 1 / largest) / channels,
        scale=1 / rest / channels,
    )


def _unit(features: Floats) -> Floats:
    """Each row scaled to length 1."""
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.maximum(length, TINY), dtype=np.float64)


def ledoit_wolf_shrinkage(centred: Floats, covariance: Floats) -> float:
    """How far to pull a covariance to a multiple of the identity (Ledoit and Wolf 2004), 0 to 1."""
    n, channels = centred.shape
    level = float(np.trace(covariance)) / channels
    spread = float((covariance**2).sum()) - channels * level**2
    noise = (float(((centred**2).sum(axis=1) ** 2).sum()) / n - float((covariance**2).sum())) / n
    return 1.0 if spread <= 0 else float(np.clip(noise / spread, 0.0, 1.0))


class UnknownRule(Verdict):
    """From which distance on an image is of something unknown, or why that cannot be said."""

    alpha: float  # false alarms: on average at most this share of images like the calibration ones
    granted: bool
    threshold: float | None  # an image farther than this is unknown
    images: int  # calibrated on
    needed: int | None  # images needed in all, when refused
    text: str


def unknown_rule(distances: ArrayLike, alpha: float, *, groups: ArrayLike | None = None) -> UnknownRule:
    """The conformal threshold (Vovk et al. 2005) on distances `(N,)` of images that are known and were not trained on.

    An image is unknown when its p-value, (1 + calibration distances at least as large) / (N + 1), is at most `alpha`.
    For an image that is exchangeable with the calibration ones that happens with probability at most `alpha`. It takes
    N >= 1 / alpha - 1 images, whatever they show: 99 for 0.01, 19 for 0.05.

    Images of one group are odd together. With `groups` `(N,)` they count as fewer: N is divided by the design effect of
    lying among the farthest `alpha` (Kish 1965), and so is the number of distances at least as large.
    """
    if not 0 < alpha <= 0.5:
        raise EyelineError(f"unknown is {alpha}; allowed: above 0 to 0.5, such as 0.01", code="bad_option")
    d = np.sort(np.asarray(distances, dtype=np.float64))[::-1]
    worth = len(d) if groups is None else _worth(np.asarray(distances, dtype=np.float64), alpha, groups)
    # The most distances that may lie at or beyond the threshold, and one for the new image itself.
    allowed = math.floor((alpha * (worth + 1) - 1) * len(d) / max(worth, TINY) + 1e-9) + 1
    if alpha * (worth + 1) < 1 - 1e-9:
        needed = (
            math.ceil((1 / alpha - 1) * len(d) / max(worth, TINY) - 1e-9)
            if len(d)
            else math.ceil(1 / alpha - 1)
        )
        return UnknownRule(
            alpha=alpha,
            granted=False,
            threshold=None,
            images=len(d),
            needed=needed,
            text=f"Unknown objects cannot be told with {100 * alpha:g} % false alarms from {len(d)} images"
            f"{_worth_text(worth, len(d))}; {needed} are needed.",
        )
    # Midway to the next larger distance where there is one: careful, and away from every calibration image.
    above = float(d[allowed - 2]) if allowed > 1 else float(d[0])
    threshold = (float(d[allowed - 1]) + above) / 2
    return UnknownRule(
        alpha=alpha,
        granted=True,
        threshold=threshold,
        images=len(d),
        needed=None,
        text=f"An image is unknown when it lies farther than {threshold:.4g} from all that the network learned from: "
        f"on average at most {100 * alpha:g} % of images like the {len(d)} calibration images"
        f"{_worth_text(worth, len(d))} are (conformal).",
    )


def _worth(distances: Floats, alpha: float, groups: ArrayLike) -> float:
    """How many independent images grouped ones are worth, seen from those among the farthest `alpha`."""
    if len(distances) == 0:
        return 0.0
    unit, units = group_numbers(groups)
    if len(unit) != len(distances):
        raise EyelineError(f"groups name {len(unit)} images, there are {len(distances)}")
    far = np.zeros(len(distances))
    far[np.argsort(-distances, kind="stable")[: max(1, math.ceil(alpha * len(distances)))]] = 1.0
    sizes = np.bincount(unit, minlength=units)
    return max(1.0, len(distances) / design_effect(sizes, intraclass_correlation(far, unit)))


def _worth_text(worth: float, images: int) -> str:
    return f" (worth {worth:.3g} independent ones)" if worth < images else ""


class UnknownFigures(Verdict):
    """How many known images were taken for unknown, on images that had no part in choosing the rule."""

    alarms: Rate  # share of all images
    of_defects: Rate
    of_goods: Rate
    text: str


def unknown_figures(
    unknown: ArrayLike, is_defect: ArrayLike, *, groups: ArrayLike | None = None
) -> UnknownFigures:
    """The false alarms among known images: `unknown` and `is_defect` are `(N,)`."""
    u, d = np.asarray(unknown, dtype=bool), np.asarray(is_defect, dtype=bool)
    g = None if groups is None else np.asarray(groups)

    def share(among: Bools) -> Rate:
        return share_rate(u[among], None if g is None else g[among], INTERVAL)

    alarms = share(np.ones(len(u), dtype=bool))
    return UnknownFigures(
        alarms=alarms,
        of_defects=share(d),
        of_goods=share(~d),
        text=f"{alarms.count or 0} of {len(u)} known images were taken for unknown, {alarms.interval_text(INTERVAL)}: "
        f"{int(u[d].sum())} of {int(d.sum())} defects and {int(u[~d].sum())} of {int((~d).sum())} good parts.",
    )
