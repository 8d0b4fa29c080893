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
from eyeline.verdicts import decide, defect_scores

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

    def __post_init__(self) -> None:
        n = len(self.pixels) if self.rows is None else len(self.rows)
        lengths = {len(self.logits), len(self.probabilities), len(self.names), len(self.labels)}
        if lengths != {n} or n == 0 or np.shape(self.logits) != np.shape(self.probabilities):
            raise EyelineError(
                f"the reference holds {n} images but columns of {sorted(lengths)}", code="bad_input_shape"
            )

    def image(self, i: int) -> NDArray[np.uint8]:
        """Pixels of the i-th image of the test part, ``(H, W, C)``."""
        return np.asarray(self.pixels[i if self.rows is None else int(self.rows[i])])


def choose_golden(reference: Reference, *, threshold: float, good: int, count: int = 8) -> list[int]:
    """Positions of images that notice most: of each class in turn the nearest to the threshold, the farthest.

    The nearest betray small drifts, the farthest gross ones. Images too near to decide the same on every
    machine are left out while there are others.
    """
    if not FEWEST <= count <= MOST:
        raise EyelineError(f"golden is {count}; allowed: {FEWEST} to {MOST}", code="bad_option")
    distance = np.abs(defect_scores(reference.probabilities, good) - threshold)
    safe = np.flatnonzero(distance >= _MARGIN)
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
    reference: Reference, positions: Sequence[int], *, threshold: float, good: int
) -> tuple[GoldenImage, ...]:
    """The images at `positions` as they travel; later ones are dropped when all would be too large."""
    called = decide(reference.probabilities, threshold, good)
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
                decision="pass" if called[i] == good else "fail",
            )
        )
    return tuple(golden)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    flat = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
    Image.fromarray(flat).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
