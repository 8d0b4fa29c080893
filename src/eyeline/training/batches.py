"""From decoded pixels to what a network reads, and the order in which it reads them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eyeline.training.randomness import Purpose, stream

Ints = NDArray[np.int64]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Normalization:
    """Grey levels to the range of the network: ``(x / 255 - mean) / std`` a channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    device: str = "cpu"

    def for_channels(self, channels: int) -> Normalization:
        """The same for another number of channels: the average of each, repeated."""
        if channels == len(self.mean):
            return self
        mean, std = float(np.mean(self.mean)), float(np.mean(self.std))
        return Normalization((mean,) * channels, (std,) * channels, self.device)

    def __call__(self, pixels: Pixels, gain: Tensor | None = None, offset: Tensor | None = None) -> Tensor:
        """uint8 ``(N, H, W, C)`` to float32 ``(N, C, H, W)``, channels last in memory: nothing is moved."""
        x = torch.from_numpy(np.array(pixels)).to(self.device).permute(0, 3, 1, 2).float()
        if gain is not None and offset is not None:
            x.mul_(gain.to(x.device)).add_(offset.to(x.device)).clamp_(0, 255)
        mean = torch.tensor(self.mean, device=x.device).view(1, -1, 1, 1)
        std = torch.tensor(self.std, device=x.device).view(1, -1, 1, 1)
        return x.sub_(255 * mean).div_(255 * std)


def epoch_order(indices: Ints, batch_size: int, *, seed: int, epoch: int) -> list[Ints]:
    """The batches of one epoch: every image once, in an order that depends on (seed, epoch) alone.

    The last, smaller batch is filled up with images of the same epoch's beginning, so that all steps weigh the
    same; fewer images than a batch are repeated (as in Big Transfer, arXiv 1912.11370).
    """
    order = stream(seed, Purpose.ORDER, epoch).permutation(np.sort(indices))
    steps = steps_per_epoch(len(order), batch_size)
    order = np.resize(order, steps * batch_size)  # repeats from the beginning
    return list(order.reshape(steps, batch_size))


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Batches of an epoch, the last one filled up."""
    return max(1, -(-images // batch_size))
