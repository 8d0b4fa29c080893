"""Batch-norm health: do the statistics that inference uses describe the data?

In inference a batch norm uses running averages gathered in training, ``running = (1 - m) running + m batch``.
Two things go wrong with few images: after k steps a share ``(1 - m)^k`` of the initial values (mean 0, variance
1) is still in there, and the averages belong to other data or to augmented pictures. Either shows as a network
that is good in training mode and bad in inference.
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from eyeline.anatomy.modes import training_mode_of
from eyeline.errors import EyelineError

# A share of 1 % of the initial statistics, or a mean off by half a standard deviation, is worth a word.
LARGEST_SHARE = 0.01
LARGEST_SHIFT = 0.5
LARGEST_RATIO = 2.0


@dataclass(frozen=True, kw_only=True)
class BatchNormHealth:
    """One batch norm.

    Attributes
    ----------
    steps : batches it has seen in training.
    initial_share : share of the initial statistics left in the running ones.
    mean_shift : median over channels of the difference between running and re-estimated mean, in re-estimated
        standard deviations; worst_shift : the largest.
    variance_ratio : median over channels of running over re-estimated variance.
    dead : channels that do not vary at all on the images.
    """

    name: str
    channels: int
    steps: int
    initial_share: float
    mean_shift: float
    worst_shift: float
    variance_ratio: float
    dead: int

    @property
    def healthy(self) -> bool:
        ratio = max(self.variance_ratio, 1 / max(self.variance_ratio, 1e-12))
        return (
            self.initial_share <= LARGEST_SHARE
            and self.mean_shift <= LARGEST_SHIFT
            and ratio <= LARGEST_RATIO
        )

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "healthy": self.healthy}


def initial_share(momentum: float | None, steps: int) -> float:
    """Share of the initial statistics left after `steps` batches: ``(1 - momentum)^steps``.

    With momentum None PyTorch averages all batches equally and the first one replaces the initial values.

    >>> round(initial_share(0.1, 44), 3)
    0.01
    """
    if momentum is None:
        return 1.0 if steps == 0 else 0.0
    return float((1 - momentum) ** steps)


def batch_norm_health(net: nn.Module, images: Tensor, *, batch: int = 32) -> list[BatchNormHealth]:
    """Compare the running statistics of every batch norm of `net` with those of `images` (N, C, H, W).

    `net` is not changed. Batch norms without running statistics are left out, as they always use the batch's.

    Raises
    ------
    EyelineError : fewer than two images.
    """
    fresh = copy.deepcopy(net)
    reestimate_batch_norm(fresh, images, batch=batch)
    estimated = dict(fresh.named_modules())
    rows = []
    for name, norm in net.named_modules():
        if not isinstance(norm, _BatchNorm) or norm.running_mean is None or norm.running_var is None:
            continue
        assert norm.num_batches_tracked is not None
        other = estimated[name]
        mean, variance = other.running_mean, other.running_var
        assert isinstance(mean, Tensor)
        assert isinstance(variance, Tensor)
        varies = variance > 1e-12
        deviation = variance.clamp_min(norm.eps).sqrt()
        shift = ((norm.running_mean - mean).abs() / deviation)[varies]
        ratio = (norm.running_var / variance.clamp_min(1e-12))[varies]
        steps = int(norm.num_batches_tracked)
        rows.append(
            BatchNormHealth(
                name=name,
                channels=norm.num_features,
                steps=steps,
                initial_share=initial_share(norm.momentum, steps),
                mean_shift=float(shift.median()) if len(shift) else 0.0,
                worst_shift=float(shift.max()) if len(shift) else 0.0,
                variance_ratio=float(ratio.median()) if len(ratio) else 1.0,
                dead=int((~varies).sum()),
            )
        )
    return rows


def reestimate_batch_norm(net: nn.Module, images: Tensor, *, batch: int = 32) -> None:
    """Give every batch norm of `net` the statistics of `images` (N, C, H, W), an equal average over batches.

    Changes running statistics and nothing else; the rest of the network runs in inference mode.

    Raises
    ------
    EyelineError : fewer than two images (a batch of one has no variance).
    """
    if images.ndim != 4 or len(images) < 2:
        raise EyelineError(
            f"images of shape {tuple(images.shape)}: allowed are (N, C, H, W) with N at least 2",
            code="too_few_images",
        )
    norms = [m for m in net.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    # A last batch of one image joins the one before it.
    starts = list(range(0, len(images) - 1, batch)) or [0]
    ends = [*starts[1:], len(images)]
    try:
        with training_mode_of(net, only=norms), torch.no_grad():
            for start, end in zip(starts, ends, strict=True):
                net(images[start:end])
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def batch_norm_findings(rows: list[BatchNormHealth]) -> list[str]:
    """What is wrong, a sentence each; empty when nothing is."""
    sentences = []
    unsettled = [r for r in rows if r.initial_share > LARGEST_SHARE]
    if unsettled:
        worst = max(unsettled, key=lambda r: r.initial_share)
        sentences.append(
            f"{len(unsettled)} of {len(rows)} batch norms still hold up to {worst.initial_share:.0%} of their "
            f"initial statistics after {worst.steps} steps: train longer or raise the momentum"
        )
    shifted = [r for r in rows if not r.healthy and r not in unsettled]
    if shifted:
        worst = max(shifted, key=lambda r: r.mean_shift)
        sentences.append(
            f"{len(shifted)} of {len(rows)} batch norms were made for other data: {worst.name} is off by "
            f"{worst.mean_shift:.1f} standard deviations, variance ratio {worst.variance_ratio:.2f}; "
            "re-estimate them or freeze them in training"
        )
    dead = sum(r.dead for r in rows)
    if dead:
        sentences.append(f"{dead} of {sum(r.channels for r in rows)} normalised channels never vary")
    return sentences
