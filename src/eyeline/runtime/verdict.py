"""What is said about one image."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from eyeline.images import Box


@dataclass(frozen=True, kw_only=True, eq=False)
class Verdict:
    """The verdict on one image, or why there is none.

    The label follows the decision: an image that passes is called the good class, an image that fails its
    likeliest defect.
    """

    path: str | None = None
    """As it was given; None for an image given as bytes or as an array."""
    label: str | None = None
    decision: Literal["pass", "fail"] | None = None
    """``fail`` when `score` is at least the threshold of the artifact."""
    probabilities: dict[str, float] = field(default_factory=dict)
    """Calibrated, one a class."""
    score: float | None = None
    """The defect score, 1 - probabilities[good]."""
    logits: NDArray[np.float32] | None = field(default=None, repr=False)
    """``(K,)``, before calibration."""
    evidence: NDArray[np.float32] | None = field(default=None, repr=False)
    """``(K, h, w)``: where the network saw what; with the bias it sums to the logits."""
    tile: Box | None = None
    """Left, top, right, bottom of the tile that decided, in pixels of the upright picture; None without tiling."""
    tiles: int | None = None
    """How many tiles were judged; None without tiling."""
    error: str | None = None
    """``code: message`` when the image could not be judged; everything else is then empty."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; without the arrays. ``tile`` and ``tiles`` are there with tiling alone."""
        values: dict[str, Any] = {
            "path": self.path,
            "label": self.label,
            "decision": self.decision,
            "score": self.score,
            "probabilities": self.probabilities,
            "error": self.error,
        }
        if self.tile is not None:
            values |= {"tile": list(self.tile), "tiles": self.tiles}
        return values
