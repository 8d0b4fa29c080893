"""Running a network over decoded pixels: always in evaluation mode, never with gradients."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eyeline.networks import Network
from eyeline.progress import Progress, silent
from eyeline.training.batches import Ints, Normalization, Pixels
from eyeline.training.memory import keep_freed_memory

Floats = NDArray[np.float32]
BATCH = 32


def embed_pixels(
    net: Network, pixels: Pixels, indices: Ints, normalize: Normalization, *, progress: Progress = silent
) -> Floats:
    """What the last layer of `net` sees, float32 ``(len(indices), C)``, of `pixels` uint8 ``(N, H, W, C)``."""
    return _run(net, net.embed, pixels, indices, normalize, progress, "reading features")


def predict_logits(
    net: Network, pixels: Pixels, indices: Ints, normalize: Normalization, *, progress: Progress = silent
) -> Floats:
    """Logits, float32 ``(len(indices), K)``, of `pixels` uint8 ``(N, H, W, C)``."""
    return _run(net, net, pixels, indices, normalize, progress, "predicting")


def _run(
    net: Network,
    call: object,
    pixels: Pixels,
    indices: Ints,
    normalize: Normalization,
    progress: Progress,
    stage: str,
) -> Floats:
    keep_freed_memory()
    assert callable(call)
    training = net.training
    net.eval()
    parts: list[Tensor] = []
    try:
        with torch.inference_mode():
            for start in range(0, len(indices), BATCH):
                parts.append(call(normalize(pixels[indices[start : start + BATCH]])).float().cpu())
                progress(stage, min(start + BATCH, len(indices)), len(indices), "")
    finally:
        net.train(training)
    return np.asarray(torch.cat(parts).numpy(), dtype=np.float32)
