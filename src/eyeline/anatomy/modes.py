"""Training and inference mode for a while, each module put back exactly as it was."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator

from torch import nn


@contextlib.contextmanager
def inference_mode_of(net: nn.Module) -> Iterator[None]:
    """Every part of `net` in inference mode."""
    with training_mode_of(net, only=()):
        yield


@contextlib.contextmanager
def training_mode_of(net: nn.Module, *, only: Collection[nn.Module] | None = None) -> Iterator[None]:
    """The modules `only` (default: all) of `net` in training mode, the others in inference mode.

    The flags are set one by one: `train()` of some modules does more than that.
    """
    chosen = None if only is None else set(map(id, only))
    before = [(module, module.training) for module in net.modules()]
    for module, _ in before:
        module.training = chosen is None or id(module) in chosen
    try:
        yield
    finally:
        for module, training in before:
            module.training = training
