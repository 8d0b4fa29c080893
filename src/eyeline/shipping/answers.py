"""What a graph says about many prepared images, a few at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eyeline.progress import Progress, silent
from eyeline.runtime import Engine

BATCH = 4


@dataclass(frozen=True, eq=False)
class Answers:
    """Of N images, without their evidence."""

    probabilities: NDArray[np.float32]  # (N, K), calibrated
    logits: NDArray[np.float32]  # (N, K)
    novelty: NDArray[np.float32] | None  # (N,)

    def unknown(self, threshold: float | None) -> NDArray[np.bool_] | None:
        """``(N,)`` which images lie farther than `threshold`; None when unknown objects are not told."""
        return None if threshold is None or self.novelty is None else self.novelty > threshold


def answer_all(
    engine: Engine,
    pixels: NDArray[np.uint8],
    rows: NDArray[np.integer],
    *,
    progress: Progress = silent,
    stage: str = "proving",
) -> Answers:
    """Run the `rows` of `pixels` ``(M, H, W, C)`` through an engine, in order."""
    found = []
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        found.append(engine.run(np.asarray(pixels[part])))
        progress(stage, start + len(part), len(rows), engine.name)
    far = [outputs.novelty for outputs in found if outputs.novelty is not None]
    return Answers(
        np.concatenate([outputs.probabilities for outputs in found]),
        np.concatenate([outputs.logits for outputs in found]),
        np.concatenate(far) if far else None,
    )
