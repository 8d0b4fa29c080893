"""What a published network sees in images it was never trained on."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from eyeline.checks import label_quality
from eyeline.errors import EyelineError
from eyeline.images import DecodeOptions, ImageTable, make_folds, open_cache
from eyeline.jobs.inputs import choose_weights
from eyeline.networks import create_network, network_info
from eyeline.progress import Progress, silent
from eyeline.training import Normalization, embed_pixels, fit_head
from eyeline.verdicts import auroc, softmax

FOLDS = 5


def published_features(
    table: ImageTable, decode: DecodeOptions, network: str, *, progress: Progress = silent
) -> NDArray[np.float32] | None:
    """Pooled features ``(N, C)`` of every image: average and maximum over positions, mean of two views.

    None when no package with published weights of `network` is installed. Every image must be readable.
    """
    info = network_info(network)
    weights = choose_weights(info, None)
    if weights is None:
        return None
    net = create_network(
        network,
        num_classes=len(table.classes),
        in_channels=decode.channels,
        image_size=decode.image_size,
        weights=weights,
    )
    cache = open_cache(table, decode, progress=progress)
    normalize = Normalization(info.mean, info.std).for_channels(decode.channels)
    rows = np.arange(len(table), dtype=np.int64)
    found = embed_pixels(
        net, cache.pixels, rows, normalize, half_turn=True, maximum=net.gap_head, progress=progress
    )
    return np.asarray(found.mean(axis=0), dtype=np.float32)


def left_out_probabilities(
    table: ImageTable,
    features: NDArray[np.float32],
    *,
    by: Literal["group", "image"] | None = None,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Class probabilities ``(N, K)`` of each image by a linear head that saw no image of its group or fold.

    `by` is ``group`` where there are groups, else ``image``.

    Raises
    ------
    EyelineError : not even two folds can have good images and defects each.
    """
    folds = _folds(table, by, seed)
    shares = np.bincount(table.targets, minlength=len(table.classes)) / len(table)
    head = fit_head(
        features, table.targets, folds, classes=len(table.classes), weights=1 / shares[table.targets]
    )
    return np.asarray(softmax(head.left_out), dtype=np.float64)


def judge_of_labels(
    table: ImageTable, features: NDArray[np.float32], *, share: float = 0.05, seed: int = 0
) -> float:
    """How well wrong labels are told here: AUROC of the label quality on `share` of the labels flipped by chance.

    A judge that often errs suspects many right labels; this says how far its suspicion can be trusted on this data.
    """
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(table))[: max(1, round(share * len(table)))]
    labels = list(table.labels)
    for row in rows:
        labels[row] = str(rng.choice([name for name in table.classes if name != labels[row]]))
    spoiled = replace(table, labels=tuple(labels))
    quality = label_quality(left_out_probabilities(spoiled, features, by="image"), spoiled.targets)
    flipped = np.zeros(len(table), dtype=np.bool_)
    flipped[rows] = True
    return float(auroc(-quality, flipped))


def _folds(table: ImageTable, by: Literal["group", "image"] | None, seed: int) -> NDArray[np.int64]:
    """As many folds up to five as can have good images and defects each."""
    for k in range(FOLDS, 2, -1):
        try:
            return make_folds(table, k=k, by=by, seed=seed)
        except EyelineError:
            continue
    return make_folds(table, k=2, by=by, seed=seed)
