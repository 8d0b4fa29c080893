"""Small labelled pictures for small networks: each seed gets its own to train on and its own to be tested on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from eyeline.errors import EyelineError
from eyeline.images import ImageTable, read_images

SIDE = 28  # pixels
VALIDATION = 1000  # pictures that choose learning rates and do nothing else
TEST_SHARE = 0.25  # where the data does not say which pictures are for testing

Part = tuple[Tensor, Tensor]  # images (N, 1, H, W), class numbers (N,)


@dataclass(frozen=True, eq=False)
class Pictures:
    """Grey pictures ``(N, 1, 28, 28)`` in three parts that never mix."""

    name: str
    classes: int
    train: Part
    validation: Part
    test: Part

    def drawn(self, seed: int, seeds: int, count: int) -> Part:
        """`count` training pictures of this seed: no other of the `seeds` has any of them, if there are enough."""
        images, labels = self.train
        block = len(images) // seeds
        if count <= block:
            rows = torch.arange(seed * block, seed * block + count)
        else:
            rows = torch.from_numpy(np.random.default_rng(seed).permutation(len(images))[:count])
        return images[rows], labels[rows]

    def tested(self, seed: int, seeds: int) -> Part:
        """The test pictures of this seed, which no other seed has: so the seeds' differences are independent."""
        images, labels = self.test
        rows = slice(seed * len(images) // seeds, (seed + 1) * len(images) // seeds)
        return images[rows], labels[rows]


@lru_cache(maxsize=2)
def load_pictures(source: str) -> Pictures:
    """The pictures of a named data set or an IDX folder, shuffled once and for all.

    Raises
    ------
    EyelineError : the data is not here (the message says how to get it), or is not of equal grey pictures in
        memory (``code="bad_option"``).
    """
    named = source in ("fashion-mnist", "digits")
    table = read_images(source if named else Path(source))
    if table.pixels is None or table.pixels.shape[3] != 1:
        raise EyelineError(
            "claims are measured on grey pictures of one size in memory",
            code="bad_option",
            path=source,
            hint="fashion-mnist, digits, or a folder of IDX files",
        )
    targets = torch.from_numpy(table.targets)
    images = torch.from_numpy(table.pixels[:, :, :, 0]).float()[:, None] / 255
    if images.shape[2:] != (SIDE, SIDE):
        images = resized(images, SIDE)
    trained, tested = _rows(table)
    mean, std = images[trained].mean(), images[trained].std()
    images = (images - mean) / std
    held = min(VALIDATION, len(trained) // 4)

    def part(rows: NDArray[np.int64]) -> Part:
        return images[rows], targets[rows]

    return Pictures(
        name=table.name,
        classes=len(table.classes),
        train=part(trained[held:]),
        validation=part(trained[:held]),
        test=part(tested),
    )


def resized(images: Tensor, side: int) -> Tensor:
    """Pictures ``(N, 1, H, W)`` at another size, averaged over what one new pixel covers."""
    if images.shape[-1] == side:
        return images
    return F.interpolate(images, size=(side, side), mode="bilinear", antialias=True)


def permuted(images: Tensor) -> Tensor:
    """Every picture with its pixels in one and the same random order: all information kept, no neighbourhood."""
    pixels = images.shape[-2] * images.shape[-1]
    order = torch.from_numpy(np.random.default_rng(2021).permutation(pixels))
    return images.flatten(2)[:, :, order].view(images.shape)


def shifted(images: Tensor, rng: np.random.Generator, reach: int = 2) -> Tensor:
    """Each picture moved by up to `reach` pixels, the border repeated: what a photographer would vary."""
    count, side = len(images), images.shape[-1]
    padded = F.pad(images, (reach,) * 4, mode="replicate")
    offsets = torch.from_numpy(rng.integers(0, 2 * reach + 1, (2, count, 1)))
    rows, columns = offsets + torch.arange(side)
    return padded[torch.arange(count)[:, None, None], 0, rows[:, :, None], columns[:, None, :]][:, None]


def _rows(table: ImageTable) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows for training and for testing, in a random order that is always the same."""
    order = np.random.default_rng(0).permutation(len(table))
    if table.splits is None:
        held = round(TEST_SHARE * len(table))
        return order[held:], order[:held]
    tested = np.array(table.splits)[order] == "test"
    return order[~tested], order[tested]
