"""Pictures whose truth is known: a bright bar at one of ten places, in noise."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from eyeline.claims.pictures import Part, Pictures

CLASSES = 10


def planted(count: int = 1200, strength: float = 1.0, seed: int = 0) -> Pictures:
    """A test part as large as the training part; `strength` is that of the bar in spreads of the noise."""
    rng = np.random.default_rng(seed)

    def part(n: int) -> Part:
        labels = rng.integers(0, CLASSES, n)
        images = rng.normal(size=(n, 1, 28, 28))
        for row, label in enumerate(labels):
            images[row, 0, :, 2 * label + 4 : 2 * label + 6] += strength
        return torch.from_numpy(images).float(), torch.from_numpy(labels)

    return Pictures("planted", CLASSES, part(count), part(300), part(count))


class Columns(nn.Module):
    """The mean of every column, and a linear layer; `blind` sees half of the columns only."""

    def __init__(self, blind: bool = False, other: bool = False) -> None:
        super().__init__()
        if other:  # other initial weights from the same seed
            torch.rand(7)
        self.sees = 14 if blind else 28
        self.linear = nn.Linear(self.sees, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.linear(x.mean((1, 2))[:, : self.sees])
        return logits
