"""Counter-based random numbers: what is drawn depends on what it is for, never on what was drawn before.

An ordinary generator remembers; stop and resume, or change the order of work, and every later number differs.
Philox (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") is a function of a key and a counter,
so the augmentation of image 17 in epoch 3 is the same however training got there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from enum import IntEnum

import numpy as np
import torch


class Purpose(IntEnum):
    """What a stream is for; streams of different purposes never meet."""

    ORDER = 1  # of the images in an epoch
    AUGMENTATION = 2  # of one image in one epoch
    DROPOUT = 3  # in one step
    INITIALISATION = 4  # of a network's weights
    MIXING = 5  # of the images of one step
    ERASING = 6  # in one image in one epoch
    OPERATIONS = 7  # of RandAugment on one image in one epoch


def stream(seed: int, purpose: Purpose, *counters: int) -> np.random.Generator:
    """A generator that depends on its arguments alone. At most two `counters`, each below 2**64."""
    first, second = (*counters, 0, 0)[:2]
    key = np.array([seed, purpose], dtype=np.uint64)
    # The lowest counter word counts the draws themselves; ours sit above it.
    return np.random.Generator(np.random.Philox(key=key, counter=np.array([0, 0, first, second], np.uint64)))


def torch_seed(seed: int, purpose: Purpose, *counters: int) -> int:
    """A seed for torch's own generator, drawn from the stream."""
    return int(stream(seed, purpose, *counters).integers(2**63))


@contextlib.contextmanager
def seeded_weights(seed: int) -> Iterator[None]:
    """Networks built inside get initial weights that depend on `seed` alone; torch's generator is put back after."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_seed(seed, Purpose.INITIALISATION))
        yield
