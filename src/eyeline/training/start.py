"""Where training starts from: batch norm frozen or not, dropout set, and a head fitted on frozen features."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from eyeline.networks import Network, fold_batch_norm
from eyeline.progress import Progress, silent
from eyeline.training.balance import loss_weights
from eyeline.training.batches import Normalization
from eyeline.training.examples import Examples
from eyeline.training.head import FittedHead, fit_head
from eyeline.training.inference import embed_pixels
from eyeline.training.progressive import check_sizes
from eyeline.training.recipe import Recipe
from eyeline.training.stochastic_depth import set_drop_path

MOST_FITTED = 20_000  # images that the fitted head learns from; their features take 20 kB each


def set_up(net: Network, examples: Examples, recipe: Recipe, normalize: Normalization) -> bool:
    """Make `net` what the recipe trains, in place; returns whether its batch norms are frozen.

    Raises
    ------
    EyelineError : the network cannot do what the recipe asks for.
    """
    _, height, width, _ = examples.pixels.shape
    check_sizes(net, recipe, height, width)
    freeze = freeze_batch_norm(net, recipe, normalize(examples.pixels[examples.train[:1]]))
    if isinstance(net.dropout, nn.Dropout):
        net.dropout.p = recipe.dropout
    set_drop_path(net, recipe.drop_path)
    return freeze


def freeze_batch_norm(net: Network, recipe: Recipe, example: Tensor) -> bool:
    """Whether batch norms keep their published statistics; if so they are folded into the convolutions.

    Statistics re-estimated from a few hundred images are noise: fine-tuning keeps the published ones, and
    learning from scratch has none to keep. A second call changes nothing.
    """
    freeze = recipe.batch_norm == "freeze" or (recipe.batch_norm == "auto" and net.load_report is not None)
    if freeze:
        fold_batch_norm(net, example)
    return freeze


def start_head(
    net: Network,
    examples: Examples,
    recipe: Recipe,
    normalize: Normalization,
    *,
    progress: Progress = silent,
) -> float | None:
    """Give `net` a head fitted in closed form, if the recipe wants one and the weights are published ones.

    Returns
    -------
    The penalty that the folds chose, or None without a fitted head.
    """
    if not recipe.fit_head or net.load_report is None:
        return None
    if examples.features is None:
        few = _few(examples)
        features = embed_pixels(
            net, few.pixels, few.train, normalize, half_turn=recipe.half_turn, progress=progress
        )
        return put_head(net, features, few, recipe).penalty
    return put_head(net, examples.features[:, examples.train], examples, recipe).penalty


def _few(examples: Examples) -> Examples:
    """At most `MOST_FITTED` training images, drawn by chance: more move a linear head no further."""
    if len(examples.train) <= MOST_FITTED:
        return examples
    kept = np.sort(np.random.default_rng(0).permutation(len(examples.train))[:MOST_FITTED])
    return replace(examples, train=examples.train[kept], folds=examples.folds[kept])


def put_head(net: Network, features: NDArray[np.float32], examples: Examples, recipe: Recipe) -> FittedHead:
    """Fit a head to `features` ``(V, len(examples.train), C)`` of V views, and put it into `net`."""
    train, views = (
        examples.train,
        len(features),
    )  # every view is an example of its own, in the fold of its picture
    head = fit_head(
        features.reshape(views * len(train), -1),
        np.tile(examples.targets[train], views),
        np.tile(examples.folds, views),
        classes=examples.classes,
        weights=np.tile(loss_weights(examples, recipe)[train], views),
    )
    with torch.no_grad():
        net.head.weight.copy_(torch.from_numpy(head.weight))
        net.head.bias.copy_(torch.from_numpy(head.bias))
    return head
