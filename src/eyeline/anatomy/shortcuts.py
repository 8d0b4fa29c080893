"""Output shapes of the operators whose meta kernels are slow, so that tracing a network takes milliseconds.

A shortcut takes the operator's arguments (meta tensors) and returns what the operator would: tensors of the
same shape, type and memory format; or None, and the operator's own meta kernel decides. Tests compare them
with the real operators.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from eyeline.convolution import TransposedWindow, Window
from eyeline.errors import EyelineError

aten = torch.ops.aten


def convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Tensor | None:
    axes = weight.ndim - 2
    if x.ndim != weight.ndim or axes < 1:
        return None
    channels = weight.shape[0] if transposed else weight.shape[1] * groups
    if x.shape[1] != channels:
        raise EyelineError(
            f"it takes {channels} channels, not {x.shape[1]} (weight {tuple(weight.shape)}, groups {groups})",
            code="wrong_channels",
        )

    def per_axis(values: Sequence[int]) -> Sequence[int]:
        return values if len(values) == axes else [values[0]] * axes

    sides = []
    settings = zip(
        per_axis(stride), per_axis(padding), per_axis(dilation), per_axis(output_padding), strict=True
    )
    for side, kernel, (s, p, d, extra) in zip(x.shape[2:], weight.shape[2:], settings, strict=True):
        if transposed:
            window = TransposedWindow(kernel, stride=s, padding=(p, p), dilation=d, output_padding=extra)
            sides.append(window.output_side(side))
        else:
            sides.append(Window(kernel, stride=s, padding=(p, p), dilation=d).output_side(side))
    filters = weight.shape[1] * groups if transposed else weight.shape[0]
    shape = (x.shape[0], filters, *sides)
    if axes == 2 and (_channels_last(x) or _channels_last(weight)):
        return torch.empty(shape, dtype=x.dtype, device="meta", memory_format=torch.channels_last)
    return x.new_empty(shape)


def _channels_last(x: Tensor) -> bool:
    return x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def same_shape(x: Tensor, *_: Any, **__: Any) -> Tensor | None:
    """As ``empty_like`` does it for dense tensors."""
    if not (x.is_contiguous() or _channels_last(x)):
        return None
    return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device="meta")


def batch_norm(x: Tensor, weight: Any, bias: Any, mean: Any, var: Any, training: bool, *_: Any) -> Any:
    y = None if training else same_shape(x)
    return None if y is None else (y, x.new_empty(0), x.new_empty(0))


def layer_norm(x: Tensor, normalized: Sequence[int], *_: Any) -> Any:
    if not x.is_contiguous():
        return None
    lead = [*x.shape[: x.ndim - len(normalized)], *[1] * len(normalized)]
    return same_shape(x), x.new_empty(lead), x.new_empty(lead)


def in_place(x: Tensor, *_: Any, **__: Any) -> Tensor:
    return x


def binary(x: Tensor, y: Any, **_: Any) -> Tensor | None:
    alike = isinstance(y, Tensor) and x.shape == y.shape and x.dtype == y.dtype and x.stride() == y.stride()
    return same_shape(x) if alike and x.is_floating_point() else None


def binary_in_place(x: Tensor, y: Any, **_: Any) -> Tensor | None:
    return x if isinstance(y, Tensor) and x.shape == y.shape and x.dtype == y.dtype else None


def addmm(bias: Tensor, x: Tensor, weight: Tensor, **_: Any) -> Tensor | None:
    if x.shape[1] != weight.shape[0]:
        raise EyelineError(
            f"it takes {weight.shape[0]} features, not {x.shape[1]}",
            code="wrong_size",
            hint="it was made for another image size",
        )
    if bias.shape != weight.shape[1:]:
        return None
    return x.new_empty((x.shape[0], weight.shape[1]))


SHORTCUTS: dict[Any, Callable[..., Any]] = {
    aten.convolution.default: convolution,
    aten.native_batch_norm.default: batch_norm,
    aten.native_layer_norm.default: layer_norm,
    aten.addmm.default: addmm,
    aten.gelu.default: same_shape,
    aten.relu.default: same_shape,
    aten.silu.default: same_shape,
    aten.relu_.default: in_place,
    aten.silu_.default: in_place,
    aten.hardtanh_.default: in_place,
    aten.add.Tensor: binary,
    aten.mul.Tensor: binary,
    aten.add_.Tensor: binary_in_place,
    aten.mul_.Tensor: binary_in_place,
}
