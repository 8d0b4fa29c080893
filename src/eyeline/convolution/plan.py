"""What the arguments of a 2-D operation mean: one window a direction, checked shapes, the padded image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from eyeline.convolution.geometry import Window, same_padding
from eyeline.errors import EyelineError

Array = NDArray[Any]
Pair = int | tuple[int, int]
# One number for all four borders, (vertical, horizontal), or ((top, bottom), (left, right)).
Padding = int | tuple[int, int] | tuple[tuple[int, int], tuple[int, int]] | Literal["same", "valid"]


@dataclass(frozen=True)
class Plan:
    """A window that slides over the rows and one that slides over the columns of an (H, W) image."""

    rows: Window
    columns: Window
    size: tuple[int, int]

    @property
    def output_size(self) -> tuple[int, int]:
        return self.rows.output_side(self.size[0]), self.columns.output_side(self.size[1])

    def padded(self, image: Array, value: Any = 0, *, overhang: tuple[int, int] = (0, 0)) -> Array:
        """`image` (..., H, W) with its borders filled with `value`, and `overhang` more below and right."""
        borders = [(0, 0)] * (image.ndim - 2)
        for window, extra in zip((self.rows, self.columns), overhang, strict=True):
            borders.append((window.padding[0], window.padding[1] + extra))
        return np.pad(image, borders, constant_values=value)

    @property
    def overhang(self) -> tuple[int, int]:
        """How far the last windows of ceil mode reach beyond the padded image, below and right."""
        sides = zip((self.rows, self.columns), self.size, self.output_size, strict=True)
        return tuple(  # type: ignore[return-value]
            max((output - 1) * window.stride + window.extent - side - sum(window.padding), 0)
            for window, side, output in sides
        )


def plan(
    kernel: tuple[int, int],
    size: tuple[int, int],
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
) -> Plan:
    """The windows of a `kernel` (K_h, K_w) over an image of `size` (H, W).

    "valid" is no padding; "same" is `same_padding` in each direction (any stride, as in TensorFlow).

    Raises
    ------
    EyelineError : an argument is malformed, negative, or the window does not fit.
    """
    strides, dilations = pair("stride", stride), pair("dilation", dilation)
    if padding == "valid":
        borders = [(0, 0), (0, 0)]
    elif padding == "same":
        borders = [
            same_padding(k, stride=s, dilation=d, side=side)
            for k, s, d, side in zip(kernel, strides, dilations, size, strict=True)
        ]
    elif isinstance(padding, str):
        raise EyelineError(f"unknown padding {padding!r}", hint="a number, a pair, 'same' or 'valid'")
    else:
        both = padding if isinstance(padding, Sequence) else (padding, padding)
        if len(both) != 2:
            raise EyelineError(f"padding {padding!r} is neither a number nor a pair")
        borders = [pair("padding", border, least=0) for border in both]
    rows, columns = (
        Window(k, stride=s, padding=p, dilation=d, ceil_mode=ceil_mode)
        for k, s, p, d in zip(kernel, strides, borders, dilations, strict=True)
    )
    result = Plan(rows, columns, size)
    _ = result.output_size  # refuses a window that does not fit
    return result


def pair(name: str, value: object, *, least: int = 1) -> tuple[int, int]:
    """`value` as (vertical, horizontal) whole numbers of at least `least`; else an EyelineError."""
    both = tuple(value) if isinstance(value, Sequence) else (value, value)
    if len(both) != 2 or not all(isinstance(v, int | np.integer) and v >= least for v in both):
        raise EyelineError(f"{name} must be a whole number of at least {least} or a pair, not {value!r}")
    return int(both[0]), int(both[1])


def batched(image: Array, kernel: Array, groups: int, bias: Array | None) -> tuple[Array, Array, Array]:
    """Image, kernel and bias as (N, C, H, W), (C_out, C_in / groups, K_h, K_w) and (C_out,), checked.

    Integers become int64, so that no sum wraps around at 255.

    Raises
    ------
    EyelineError : wrong number of dimensions, unequal channels, groups or bias that do not fit, no numbers.
    """
    image, kernel = numeric("image", image), numeric("kernel", kernel)
    if image.ndim == 2 and kernel.ndim == 2:
        image, kernel = image[None, None], kernel[None, None]
    if image.ndim != 4 or kernel.ndim != 4:
        raise EyelineError(
            f"an image of shape {image.shape} does not go with a kernel of shape {kernel.shape}",
            hint="(H, W) with (K_h, K_w), or (N, C, H, W) with (C_out, C_in / groups, K_h, K_w)",
        )
    if 0 in kernel.shape:
        raise EyelineError(f"the kernel is empty: {kernel.shape}")
    channels, filters = image.shape[1], kernel.shape[0]
    if groups < 1 or channels % groups or filters % groups:
        raise EyelineError(f"{groups} groups do not divide {channels} and {filters} channels")
    if kernel.shape[1] != channels // groups:
        raise EyelineError(
            f"{channels} channels in {groups} groups need a kernel of shape "
            f"({filters}, {channels // groups}, K_h, K_w), not {kernel.shape}"
        )
    biases = np.zeros(filters, kernel.dtype) if bias is None else numeric("bias", bias)
    if biases.shape != (filters,):
        raise EyelineError(f"the bias must have shape ({filters},), not {biases.shape}")
    return image, kernel, biases


def numeric(name: str, array: Any) -> Array:
    """`array` as NumPy numbers; booleans and integers become int64.

    Raises
    ------
    EyelineError : not numbers, or integers that int64 cannot hold.
    """
    numbers: Array = np.asarray(array)
    if numbers.dtype.kind not in "biufc":
        raise EyelineError(f"{name} must hold numbers, not {numbers.dtype}")
    if numbers.dtype == np.uint64 and np.any(numbers > np.iinfo(np.int64).max):
        raise EyelineError(f"{name} holds integers beyond int64")
    return numbers.astype(np.int64) if numbers.dtype.kind in "biu" else numbers
