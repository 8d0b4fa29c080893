"""Where the network looked, exactly: the logit taken apart by position.

For a network that ends in global average pooling and one linear layer,

    logit[k] = bias[k] + sum over y, x of  evidence[k, y, x],
    evidence[k, y, x] = sum over c of  W[k, c] * A[c, y, x] / (h * w)

with A the last map. This is CAM (Zhou et al. 2016, arXiv 1512.04150, section 2); for such a network Grad-CAM and
HiResCAM give the same map up to scale (Draelos and Carin, arXiv 2011.08891), at the price of a backward pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from eyeline.errors import EyelineError

if TYPE_CHECKING:
    from eyeline.networks import Network


def class_evidence(net: Network, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits `(N, K)` and evidence `(N, K, h, w)` of images `x` `(N, C, H, W)`, in one forward pass.

    The evidence of a class sums over positions to its logit less the bias of `net.head`. Dropout is left out,
    so the logits are those of ``net.eval()``. Differentiable; call it under ``torch.no_grad()``
    unless a gradient is wanted.

    Raises
    ------
    EyelineError : the network does not end in global average pooling and a linear layer (``code="no_evidence"``).
    """
    require_gap_head(net)
    maps = net.forward_features(x)
    logits: torch.Tensor = net.head(net.pool(maps))
    weight = net.head.weight[:, :, None, None]
    evidence = F.conv2d(maps, weight) / (maps.shape[2] * maps.shape[3])
    return logits, evidence


def require_gap_head(net: Network) -> None:
    """Raise EyelineError unless `net` ends in global average pooling and one linear layer."""
    if not net.gap_head:
        raise EyelineError(
            f"{net.name or type(net).__name__} does not end in global average pooling and a linear layer: "
            "its logits cannot be taken apart by position",
            code="no_evidence",
            hint="use a network such as efficientnet_lite0 or resnet18",
        )
