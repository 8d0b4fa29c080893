"""Batch norm folded into the convolution before it: the same numbers, one layer less."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves


@torch.no_grad()
def fold_batch_norm(net: nn.Module, example: Tensor) -> int:
    """Fold every batch norm that directly follows a convolution, in place; returns how many were folded.

    With running statistics, ``gamma * (conv(x) - mean) / sqrt(var + eps) + beta`` is a convolution with the
    kernel scaled by ``gamma / sqrt(var + eps)`` and one bias (Ioffe and Szegedy 2015, arXiv 1502.03167, §3.1).
    The statistics are then part of the weights: no training mode is left that could move them, and fine-tuning
    saves the layer's time and memory.

    What follows what is read off one pass of `example` ``(N, C, H, W)`` in evaluation mode. A convolution whose
    output goes elsewhere too, and a batch norm without running statistics, are left alone.
    """
    follows: dict[nn.Module, nn.Module] = {}  # convolution -> the batch norm that reads its output
    outputs: dict[int, nn.Module] = {}  # id of an output -> its convolution

    def after(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        outputs[id(output)] = module
        readers.follow(output)

    def before(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if id(inputs[0]) in outputs:
            follows[outputs[id(inputs[0])]] = module

    readers = _Readers()
    hooks = []
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(after))
        elif isinstance(module, nn.BatchNorm2d) and module.running_var is not None:
            hooks.append(module.register_forward_pre_hook(before))
    training = net.training
    try:
        with readers:
            net.eval()(example)
    finally:
        net.train(training)
        for hook in hooks:
            hook.remove()

    alone = {outputs[key] for key, count in readers.counts.items() if count == 1 and key in outputs}
    folded = {conv: norm for conv, norm in follows.items() if conv in alone}
    for conv, norm in folded.items():
        _fold(conv, norm)
    identities = set(folded.values())
    for module in net.modules():
        for name, child in module.named_children():
            if child in identities:
                setattr(module, name, nn.Identity())
    return len(folded)


class _Readers(TorchFunctionMode):
    """Counts how many operations read each tensor that is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Tensor] = []
        self.counts: Counter[int] = Counter()  # by id

    def follow(self, tensor: Tensor) -> None:
        """Count from here on; the tensor is kept alive, so that no other one takes its id."""
        self.kept.append(tensor)
        self.counts[id(tensor)] = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):  # asking for a shape reads nothing
            self.counts.update(
                id(value) for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)
            )
        return result


def _fold(conv: nn.Module, norm: nn.Module) -> None:
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_var is not None
    assert norm.running_mean is not None
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.affine:
        scale = scale * norm.weight.double()
    shift = -norm.running_mean.double() * scale
    if norm.affine:
        shift = shift + norm.bias.double()
    if conv.bias is not None:
        shift = shift + conv.bias.double() * scale
    weight = conv.weight.double() * scale.view(-1, 1, 1, 1)
    conv.weight.copy_(weight.to(conv.weight.dtype))
    conv.bias = nn.Parameter(shift.to(conv.weight.dtype))
