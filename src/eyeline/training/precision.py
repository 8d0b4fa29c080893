"""Mixed precision: dense convolutions and matrix products in bfloat16, weights and everything else in float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from eyeline.training.recipe import Recipe


def use_bfloat16(recipe: Recipe, device: str) -> bool:
    """Whether passes run in bfloat16: as the recipe says, or where the machine multiplies it natively."""
    if recipe.precision != "auto":
        return recipe.precision == "bfloat16"
    if device != "cpu":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # PyTorch 2.11 has it
    return able.get("avx512_bf16", False) or able.get("amx_bf16", False)


@contextmanager
def in_bfloat16(device: str, enabled: bool) -> Iterator[None]:
    """Within it, what pays runs in bfloat16: all that autocast takes, but on a processor no grouped convolution.

    Depthwise convolutions are bound by memory and have no bfloat16 kernel there that is as fast as that of float32.
    """
    if not enabled:
        yield
        return
    with torch.autocast(device, torch.bfloat16):
        if device != "cpu":
            yield
            return
        with _GroupedInFloat32():
            yield


class _GroupedInFloat32(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.conv2d and kwargs.get("groups", args[6] if len(args) > 6 else 1) > 1:
            with torch.autocast("cpu", enabled=False):
                return func(args[0].float(), *args[1:], **kwargs)
        return func(*args, **kwargs)
