"""What is said about one image."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeline.images import Box
from eyeline.verdicts import Decision


@dataclass(frozen=True, kw_only=True, eq=False)
class Verdict:
    """The verdict on one image, or why there is none.

    The label follows the decision: an image that passes is called the good class, one that fails or goes to review
    its likeliest defect.
    """

    path: str | None = None
    """As it was given; None for an image given as bytes or as an array."""
    label: str | None = None
    decision: Decision | None = None
    """``pass`` when `score` is below the threshold of the artifact, else ``fail``; with a review band, ``review``
    within it and ``fail`` above."""
    probabilities: dict[str, float] = field(default_factory=dict)
    """Calibrated, one a class."""
    score: float | None = None
    """The defect score, 1 - probabilities[good]."""
    logits: NDArray[np.float32] | None = field(default=None, repr=False)
    """``(K,)``, before calibration."""
    evidence: NDArray[np.float32] | None = field(default=None, repr=False)
    """``(K, h, w)``: where the network saw what; with the bias it sums to the logits."""
    novelty: float | None = None
    """How far it lies from all that the network learned from; None when the artifact does not say."""
    unknown: bool | None = None
    """True for something the network never learned: it then does not pass. None when the artifact does not say."""
    tile: Box | None = None
    """Left, top, right, bottom of the tile that decided, in pixels of the upright picture; None without tiling."""
    tiles: int | None = None
    """How many tiles were judged; None without tiling."""
    model_sha256: str | None = None
    """SHA-256 of the artifact that judged."""
    error: str | None = None
    """``code: message`` when the image could not be judged; everything else is then empty."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; without the arrays.

        ``unknown`` and ``novelty`` are there when the artifact tells them, ``tile`` and ``tiles`` with tiling alone,
        ``model_sha256`` when an inspector judged.
        """
        values: dict[str, Any] = {
            "path": self.path,
            "label": self.label,
            "decision": self.decision,
            "score": self.score,
            "probabilities": self.probabilities,
            "error": self.error,
        }
        if self.unknown is not None:
            values |= {"unknown": self.unknown, "novelty": self.novelty}
        if self.tile is not None:
            values |= {"tile": list(self.tile), "tiles": self.tiles}
        if self.model_sha256 is not None:
            values["model_sha256"] = self.model_sha256
        return values
