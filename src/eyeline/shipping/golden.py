"""The few test images that travel inside the artifact, so that any machine can check itself against them."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eyeline.errors import EyelineError
from eyeline.runtime import GoldenImage
from eyeline.verdicts import decisions, defect_scores

FEWEST, MOST = 4, 16
_MAX_BYTES = 4 * 2**20
# A score this close to the threshold may fall on its other side on another processor.
_MARGIN = 1e-3


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """The test part and what the trained network says about it: what the artifact is held to."""

    pixels: NDArray[np.uint8]
    """``(M, H, W, C)``, prepared; may be memory-mapped and hold other images too."""
    rows: NDArray[np.integer] | None = None
    """``(N,)`` the rows of `pixels` that are the test part; None when all are."""
    logits: NDArray[np.floating]
    """``(N, K)``."""
    probabilities: NDArray[np.floating]
    """``(N, K)``, calibrated."""
    names: Sequence[str]
    """``(N,)`` the path of each image as the user knows it."""
    labels: Sequence[str]
    """``(N,)`` the true class of each image."""
    novelty: NDArray[np.floating] | None = None
    """``(N,)`` how far each lies from what was learned from; None when unknown objects are not told."""

    def __post_init__(self) -> None:
        n = len(self.pixels) if self.rows is None else len(self.rows)
        lengths = {len(self.logits), len(self.probabilities), len(self.names), len(self.labels)}
        if lengths != {n} or n == 0 or np.shape(self.logits) != np.shape(self.probabilities):
            raise EyelineError(
                f"the reference holds {n} images but columns of {sorted(lengths)}", code="bad_input_shape"
            )

    def unknown(self, threshold: float | None) -> NDArray[np.bool_] | None:
        """``(N,)`` which images lie farther than `threshold`; None when unknown objects are not told."""
        return None if threshold is None or self.novelty is None else self.novelty > threshold

    def image(self, i: int) -> NDArray[np.uint8]:
        """Pixels of the i-th image of the test part, ``(H, W, C)``."""
        return np.asarray(self.pixels[i if self.rows is None else int(self.rows[i])])


def choose_golden(
    reference: Reference,
    *,
    threshold: float,
    good: int,
    high: float | None = None,
    novelty: float | None = None,
    count: int = 8,
    margin: float = _MARGIN,
) -> list[int]:
    """Positions of images that notice most: of each class in turn the nearest to a threshold, the farthest.

    The nearest betray small drifts, the farthest gross ones. Images too near to decide the same on every
    machine, by less than `margin`, are left out while there are others.
    """
    if not FEWEST <= count <= MOST:
        raise EyelineError(f"golden is {count}; allowed: {FEWEST} to {MOST}", code="bad_option")
    scores = defect_scores(reference.probabilities, good)
    distance = np.abs(scores - threshold)
    if high is not None:
        distance = np.minimum(distance, np.abs(scores - high))
    far = distance >= margin
    if novelty is not None and reference.novelty is not None:
        far &= np.abs(reference.novelty - novelty) >= 10 * min(margin, 0.01) * novelty
    safe = np.flatnonzero(far)
    if len(safe) < min(FEWEST, len(distance)):
        safe = np.arange(len(distance))
    order = safe[np.argsort(distance[safe], kind="stable")].tolist()
    queues = [[i for i in order if reference.labels[i] == label] for label in dict.fromkeys(reference.labels)]
    chosen: list[int] = []
    nearest = True
    while len(chosen) < count and any(queues):
        for queue in filter(None, queues):
            if len(chosen) < count:
                chosen.append(queue.pop(0 if nearest else -1))
        nearest = not nearest
    return chosen


def make_golden(
    reference: Reference,
    positions: Sequence[int],
    *,
    threshold: float,
    good: int,
    high: float | None = None,
    novelty: float | None = None,
) -> tuple[GoldenImage, ...]:
    """The images at `positions` as they travel; later ones are dropped when all would be too large."""
    decided = decisions(
        defect_scores(reference.probabilities, good), threshold, high, unknown=reference.unknown(novelty)
    )
    golden: list[GoldenImage] = []
    size = 0
    for i in positions:
        png = _png(reference.image(i))
        size += len(png)
        if size > _MAX_BYTES and len(golden) >= FEWEST:
            break
        golden.append(
            GoldenImage(
                name=reference.names[i],
                label=reference.labels[i],
                png=base64.b64encode(png).decode(),
                probabilities=tuple(map(float, reference.probabilities[i])),
                logits=tuple(map(float, reference.logits[i])),
                decision=decided[i],
            )
        )
    return tuple(golden)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    flat = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
    Image.fromarray(flat).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
