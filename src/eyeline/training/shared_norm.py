"""Batch norm over the whole batch when several processes hold a share of it each.

`torch.nn.SyncBatchNorm` does the same, but on GPUs only.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from eyeline.training.ranks import sum_over_ranks


class SharedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm whose mean and variance in training mode are those of all processes' images together."""

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` of this process's share, normalised by the statistics of the whole batch."""
        if not self.training:
            return super().forward(x)
        axes, shape = (0, 2, 3), (1, -1, 1, 1)
        count = sum_over_ranks(torch.tensor([x.numel() / x.shape[1]], dtype=torch.float64, device=x.device))
        mean = _total(x.sum(axes, dtype=torch.float64)) / count
        centred = x - mean.to(x.dtype).view(shape)
        variance = _total(centred.square().sum(axes, dtype=torch.float64)) / count
        if self.running_mean is not None and self.running_var is not None:
            with torch.no_grad():
                assert self.num_batches_tracked is not None
                self.num_batches_tracked += 1
                weight = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
                self.running_mean.lerp_(mean.to(x.dtype), weight)
                self.running_var.lerp_((variance * count / (count - 1)).to(x.dtype), weight)
        y: Tensor = centred * (variance + self.eps).rsqrt().to(x.dtype).view(shape)
        return y if self.weight is None else y * self.weight.view(shape) + self.bias.view(shape)


class _Sum(torch.autograd.Function):
    """The sum over all processes. Every process's loss depends on it, so its gradient is a sum over them too."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return sum_over_ranks(x.clone())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return sum_over_ranks(gradients[0].clone())


def _total(x: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(x)  # type: ignore[no-untyped-call]
    return total


def share_batch_norm(net: nn.Module) -> None:
    """Let every batch norm of `net` look at all processes' images; parameters and names stay as they are."""
    for module in net.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SharedBatchNorm2d


def unshare_batch_norm(net: nn.Module) -> None:
    """Take `share_batch_norm` back."""
    for module in net.modules():
        if type(module) is SharedBatchNorm2d:
            module.__class__ = nn.BatchNorm2d  # type: ignore[assignment]
