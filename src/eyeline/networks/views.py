"""Several views of one image, averaged inside the network: what only one of them shows is noise.

A part on a conveyor has no up and down: mirrored and turned it is the same part. Averaging over such views at
inference (test-time augmentation; Krizhevsky et al. 2012, §4.1, averaged ten crops) costs one pass a view.
"""

from __future__ import annotations

import torch
from torch import Tensor

from eyeline.errors import EyelineError
from eyeline.networks.blocks import Network

VIEWS = (1, 2, 4, 8)


def view(x: Tensor, number: int) -> Tensor:
    """View `number` of ``(..., H, W)``: bit 0 turns by half, bit 1 mirrors left and right, bit 2 swaps the axes.

    So the first two are the image and its half turn, the first four its mirror images, all eight the symmetries
    of a square.
    """
    if number & 4:
        x = x.transpose(-1, -2)
    axes = [-2] * (number & 1) + [-1] * ((number & 1) ^ (number >> 1 & 1))
    return x.flip(axes) if axes else x


def unview(x: Tensor, number: int) -> Tensor:
    """Take back `view`."""
    axes = [-2] * (number & 1) + [-1] * ((number & 1) ^ (number >> 1 & 1))
    x = x.flip(axes) if axes else x
    return x.transpose(-1, -2) if number & 4 else x


class Views(Network):
    """A network that looks at each image from `views` sides and averages the logits.

    For a network that ends in global average pooling and one linear layer the mean of the logits is the logit of the
    mean map, each map turned back: the evidence stays exact.

    Raises
    ------
    EyelineError : `views` is not 1, 2, 4 or 8.
    """

    def __init__(self, net: Network, views: int) -> None:
        super().__init__()
        if views not in VIEWS:
            raise EyelineError(f"views is {views}; allowed: 1, 2, 4, 8", code="bad_option")
        self.net, self.views = net, views
        self.head, self.dropout = net.head, net.dropout
        self.name, self.gap_head, self.stage_names = net.name, net.gap_head, ("net",)
        self.in_channels, self.minimum_size, self.load_report = (
            net.in_channels,
            net.minimum_size,
            net.load_report,
        )

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """Every stage's output by name, of the image as it is."""
        return self.net.features(x)

    def forward_features(self, x: Tensor) -> Tensor:
        """The mean of the views' last maps ``(N, C, h, w)``, each turned back to the image."""
        if not self.gap_head:
            return self.net.forward_features(x)
        maps = self.net.forward_features(self._seen(x))
        parts = maps.reshape(self.views, x.shape[0], *maps.shape[1:])
        return torch.stack([unview(parts[k], k) for k in range(self.views)]).mean(0)

    def pool(self, x: Tensor) -> Tensor:
        """As the network inside."""
        return self.net.pool(x)

    def forward(self, x: Tensor) -> Tensor:
        """Mean logits ``(N, K)`` of images ``(N, C, H, W)``, which are square when there are eight views."""
        if self.gap_head:
            return super().forward(x)
        logits: Tensor = self.net(self._seen(x))
        return logits.reshape(self.views, x.shape[0], -1).mean(0)

    def _seen(self, x: Tensor) -> Tensor:
        """The views one after another, ``(views * N, C, H, W)``."""
        if self.views == 8 and x.shape[-1] != x.shape[-2]:
            raise EyelineError(
                f"eight views need square images, not {x.shape[-2]}x{x.shape[-1]}",
                code="bad_option",
                hint="--views 4",
            )
        return torch.cat([view(x, k) for k in range(self.views)])
