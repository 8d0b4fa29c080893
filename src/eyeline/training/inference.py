"""Running a network over decoded pixels: always in evaluation mode, never with gradients."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eyeline.networks import Network
from eyeline.progress import Progress, silent
from eyeline.training.batches import Ints, Normalization, Pixels
from eyeline.training.memory import keep_freed_memory
from eyeline.training.ranks import ALONE, Ranks

Floats = NDArray[np.float32]
BATCH = 32


def embed_pixels(
    net: Network,
    pixels: Pixels,
    indices: Ints,
    normalize: Normalization,
    *,
    half_turn: bool = False,
    maximum: bool = False,
    progress: Progress = silent,
) -> Floats:
    """What the last layer of `net` sees, float32 ``(V, len(indices), C)``, of `pixels` uint8 ``(N, H, W, C)``.

    Parameters
    ----------
    half_turn : two views (V = 2) instead of one: each picture, and the same picture upside down. A part has no
        up and down, and what only one of the two shows is noise.
    maximum : append the maximum over positions of the last map, which makes it 2 C: a small defect fills one
        cell, and an average over a hundred hides it.
    """

    def embed(x: Tensor) -> Tensor:
        last = net.forward_features(x)
        features = net.pool(last)
        return torch.cat((features, last.amax((2, 3))), 1) if maximum else features

    def views(x: Tensor) -> Tensor:
        return torch.stack([embed(x), embed(x.flip(2, 3))] if half_turn else [embed(x)])

    return _run(net, views, pixels, indices, normalize, progress, "reading features")


def predict_logits(
    net: Network,
    pixels: Pixels,
    indices: Ints,
    normalize: Normalization,
    *,
    ranks: Ranks = ALONE,
    progress: Progress = silent,
) -> Floats:
    """Logits, float32 ``(len(indices), K)``, of `pixels` uint8 ``(N, H, W, C)``.

    Of several `ranks` each runs its share of the batches, every image in one of them, and all get all logits.
    """
    own = ranks.share(len(indices), BATCH)
    logits = np.zeros((len(indices), net.head.out_features), np.float32)
    if own.start < own.stop:
        logits[own] = _run(
            net, lambda x: net(x)[None], pixels, indices[own], normalize, progress, "predicting"
        )[0]
    return np.asarray(ranks.sum(torch.from_numpy(logits)).numpy())


def head_logits(net: Network, features: Floats) -> Floats:
    """Logits, float32 ``(N, K)``, of what `embed_pixels` gave for one view without maximum, ``(N, C)``."""
    with torch.inference_mode():
        found = net.head(torch.from_numpy(features).to(net.head.weight.device))
    return np.asarray(found.cpu().numpy())


def _run(
    net: Network,
    call: Callable[[Tensor], Tensor],
    pixels: Pixels,
    indices: Ints,
    normalize: Normalization,
    progress: Progress,
    stage: str,
) -> Floats:
    """What `call` gives, ``(V, n, C)`` of n images, of all of them; written where it stays, never copied whole."""
    keep_freed_memory()
    training = net.training
    net.eval()
    whole = np.empty((0, 0, 0), np.float32)
    try:
        with torch.inference_mode():
            for start in range(0, len(indices), BATCH):
                stop = min(start + BATCH, len(indices))
                part = call(normalize(pixels[indices[start:stop]])).float().cpu().numpy()
                if start == 0:
                    whole = np.empty((len(part), len(indices), part.shape[2]), np.float32)
                whole[:, start:stop] = part
                progress(stage, stop, len(indices), "")
    finally:
        net.train(training)
    return whole
