"""What a run learns from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eyeline.training.batches import Ints, Pixels


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Decoded pixels, class numbers and the parts they belong to."""

    pixels: Pixels  # uint8 (N, H, W, C), may be memory-mapped
    targets: Ints  # (N,) class numbers, 0 = good
    classes: int
    train: Ints  # numbers of the training images
    val: Ints
    folds: Ints  # fold of each training image, for choosing the penalty of the fitted head
    features: NDArray[np.float32] | None = None  # (V, N, C) of `embed_pixels`, when they are known already
    weights: NDArray[np.float64] | None = None  # (N,) of each image in the loss
    soft: NDArray[np.float32] | None = None  # (N, K) a distribution an image, learned instead of its class
    teacher: NDArray[np.float32] | None = None  # (N, K) logits of another network, for distillation
