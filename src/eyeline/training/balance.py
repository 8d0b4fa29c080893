"""Rare classes: weighed up or shown more often while training, and put right in the probabilities afterwards."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from eyeline.networks import Network
from eyeline.training.batches import Ints, steps_per_epoch
from eyeline.training.examples import Examples
from eyeline.training.randomness import Purpose, stream
from eyeline.training.recipe import Recipe

Doubles = NDArray[np.float64]
# A view's key is the number of its image plus this times how often the image came before in the epoch.
_REPEAT = 1 << 32


def class_weights(examples: Examples, recipe: Recipe) -> Doubles:
    """Weight of each class ``(K,)``: inverse to its share of the training labels, or one without balance."""
    if recipe.balance == "none":
        return np.ones(examples.classes)
    # Sampling draws by class; weights act on the labels themselves, which may be shared between classes.
    soft = examples.soft if recipe.balance == "weights" else None
    counts = _labels(examples, soft).sum(0)
    return np.asarray(counts.sum() / (np.where(counts > 0, counts, 1) * np.count_nonzero(counts)))


def image_weights(examples: Examples) -> Doubles:
    """Weight of each image ``(N,)`` as the table gives it, or one."""
    if examples.weights is None:
        return np.ones(len(examples.targets))
    return np.asarray(examples.weights, np.float64)


def loss_weights(examples: Examples, recipe: Recipe) -> Doubles:
    """Weight of each image ``(N,)``: its own, times its class's if classes are balanced."""
    return np.asarray(image_weights(examples) * class_weights(examples, recipe)[examples.targets])


def prior_shift(examples: Examples, recipe: Recipe) -> Doubles:
    """How many times likelier each class ``(K,)`` is in training than among the training images."""
    weights = class_weights(examples, recipe)
    if recipe.balance != "sampling" or examples.soft is None:
        return weights
    labels = _labels(examples, examples.soft)
    drawn = (weights[examples.targets[examples.train]][:, None] * labels).sum(0)
    plain = labels.sum(0)
    return np.where(plain > 0, drawn / np.where(plain > 0, plain, 1), 1.0)


@torch.no_grad()
def undo_balance(net: Network, shift: Doubles) -> None:
    """Take the balance of training out of the probabilities, in the bias of the last layer.

    Training with class weights w makes p(k) proportional to w(k) times the true probability; subtracting log w(k)
    from the logit gives back the probability at the shares of the training images. Showing a class w(k) times as
    often does the same as weighing it.
    """
    net.head.bias.sub_(torch.from_numpy(np.log(shift)).to(net.head.bias))


def balanced_order(indices: Ints, targets: Ints, batch_size: int, *, seed: int, epoch: int) -> list[Ints]:
    """The batches of one epoch in which every class comes equally often; depends on (seed, epoch) alone.

    An epoch is as long as an ordinary one. Of a frequent class it shows a random choice; the images of a rare one
    come back, each as often as the others give or take once, every time in another view.

    Returns
    -------
    Keys of views, see `image_of`.
    """
    indices = np.sort(indices)
    present = np.unique(targets[indices])
    steps = steps_per_epoch(len(indices), batch_size)
    total = steps * batch_size
    keys: list[Ints] = []
    for position, kind in enumerate(present):
        rows = indices[targets[indices] == kind]
        # What does not divide evenly goes to other classes in other epochs.
        quota = total // len(present) + ((position + epoch) % len(present) < total % len(present))
        draw = stream(seed, Purpose.ORDER, epoch, 1 + int(kind))
        turns = -(-quota // len(rows))
        shown = [draw.permutation(rows) + turn * _REPEAT for turn in range(turns)]
        keys.append(np.concatenate(shown)[:quota])
    order = stream(seed, Purpose.ORDER, epoch).permutation(np.concatenate(keys))
    return list(order.reshape(steps, batch_size))


def image_of(keys: Ints) -> Ints:
    """The number of the image behind each key of a view. A plain number is its own key."""
    return keys % _REPEAT


def _labels(examples: Examples, soft: NDArray[np.float32] | None) -> Doubles:
    """A distribution over classes for each training image ``(len(train), K)``."""
    if soft is not None:
        return soft[examples.train].astype(np.float64)
    return np.eye(examples.classes)[examples.targets[examples.train]]
