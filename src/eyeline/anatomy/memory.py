"""Peak memory of activations, by liveness: when each block of memory is made and when it dies.

**Inference**: a trace runs the module's own Python code on tensors without data, so every tensor lives exactly
as long as it does with data: what the code still holds counts, what it dropped does not. The peak is the
largest `Op.live` (in-place results and views share storage and count once; the image counts, weights do not).

**Training**: one forward and one backward pass on meta tensors. PyTorch's autograd itself decides what is
saved for the backward pass and when it is freed.

What no trace can see: workspaces inside one operator (oneDNN's reordered weights), and what the allocator
keeps. `parameters`, `gradients` and `optimizer` are the other parts of training memory; Adam keeps two numbers
a parameter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from eyeline.anatomy.graph import Trace
from eyeline.anatomy.modes import training_mode_of
from eyeline.anatomy.recorder import Recorder
from eyeline.anatomy.trace import fused_attention_on_meta, tensors_of
from eyeline.errors import EyelineError


@dataclass(frozen=True, kw_only=True)
class TrainingMemory:
    """Bytes that one training step needs.

    Attributes
    ----------
    saved : alive when the forward pass has ended: the image, the loss, what autograd saved.
    peak : most alive at any time of forward and backward pass, gradients as they arise included, weights not.
    parameters, gradients, optimizer : of the trainable parameters, gradients of the same size, Adam's two
        moments.
    """

    batch: int
    saved: int
    peak: int
    parameters: int
    gradients: int
    optimizer: int

    @property
    def total(self) -> int:
        """Peak of the whole process: weights and optimizer state beside the peak of everything else."""
        return self.peak + self.parameters + self.optimizer

    def to_dict(self) -> dict[str, int]:
        names = ("batch", "saved", "peak", "parameters", "gradients", "optimizer", "total")
        return {name: getattr(self, name) for name in names}


def peak_bytes(trace: Trace) -> int:
    """Most bytes alive at any time of `trace`."""
    image = trace.image.numel * trace.image.itemsize
    return max((op.live for op in trace.ops), default=image)


def training_memory(net: nn.Module, input_size: Sequence[int], *, batch: int = 1) -> TrainingMemory:
    """Memory of one training step on `batch` images of `input_size` (C, H, W), without allocating it.

    Raises
    ------
    EyelineError : the module cannot be trained without data (`code="untraceable"`).
    """
    recorder = Recorder(net, fake=True)
    recorder.shortcuts = {}  # autograd saves what the real kernels return, statistics included
    twins = {}
    for name, tensor in (*net.named_parameters(), *net.named_buffers()):
        twin = torch.empty_like(tensor, device="meta")
        twins[name] = twin.requires_grad_(tensor.requires_grad)
        recorder.storages.add_constant(twin)
    trainable = [twins[name] for name, p in net.named_parameters() if p.requires_grad]
    dtype = next((p.dtype for p in net.parameters() if p.is_floating_point()), None)
    image = torch.empty((batch, *input_size), device="meta", dtype=dtype)
    recorder.track(image, "image")
    try:
        with training_mode_of(net), fused_attention_on_meta(), recorder:
            loss = _total(tensors_of(functional_call(net, twins, (image,))))
            recorder.storages.bury()
            saved = recorder.storages.live
            if trainable and loss.requires_grad:
                torch.autograd.grad(loss, trainable, allow_unused=True)
    except Exception as problem:  # foreign code; the reason becomes one line
        reason = (str(problem).strip().splitlines() or [type(problem).__name__])[0]
        raise EyelineError(f"no training step without data: {reason}", code="untraceable") from problem
    weights = sum(p.numel() * p.element_size() for p in net.parameters())
    gradients = sum(p.numel() * p.element_size() for p in trainable)
    return TrainingMemory(
        batch=batch,
        saved=saved,
        peak=max(op.live for op in recorder.ops),
        parameters=weights,
        gradients=gradients,
        optimizer=2 * gradients,
    )


def _total(outputs: Iterator[Tensor]) -> Tensor:
    sums = [output.float().sum() for output in outputs if output.is_floating_point()]
    return torch.stack(sums).sum()
