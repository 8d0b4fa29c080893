"""Receptive fields of operators that slide: convolution, pooling, resampling, padding, unfolding."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Literal

from eyeline.anatomy.graph import Value
from eyeline.anatomy.layout import axes_of, opaque
from eyeline.anatomy.place import Place, joined_places, mixed_over, windowed
from eyeline.anatomy.rules import Result, Scope, per_axis, rule
from eyeline.convolution import (
    Operation,
    Resampling,
    TransposedWindow,
    Window,
    adaptive_window,
    pad,
    resize,
    upsample,
)


def _slide(place: Place, operations: Sequence[Operation], shape: Sequence[int]) -> Place:
    """Each operation along one of the last dimensions."""
    for i, operation in enumerate(operations):
        dim = len(shape) - len(operations) + i
        place = windowed(place, dim, operation, shape[dim])
    return place


def _channels_mixed(place: Place, channels: int) -> Place:
    """Each output channel reads all input channels."""
    layout = (place.layout[0], opaque(channels), *place.layout[2:])
    return mixed_over(place, [1], layout) if place.placed([1]) else place.with_layout(layout)


@rule("convolution", "_convolution")
def convolution(
    of: Scope,
    x: Value,
    weight: Value,
    bias: Value | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    *_: Any,
) -> Result:
    place = of(x)
    if place is None or of(weight) is not None:
        return None  # a kernel computed from the image
    axes = len(weight.shape) - 2
    channels = of.shape[1]
    if not (groups == x.shape[1] == channels and place.placed([1])):
        place = _channels_mixed(place, channels)
    operations: list[Operation] = []
    settings = zip(
        range(2, axes + 2),
        weight.kernel,
        per_axis(stride, axes),
        per_axis(padding, axes),
        per_axis(dilation, axes),
        per_axis(output_padding, axes),
        strict=True,
    )
    for dim, kernel, s, p, d, extra in settings:
        before, behind = weight.zeros(dim)
        borders = (p - before * d, p - behind * d)
        if transposed:
            operations.append(
                TransposedWindow(kernel, stride=s, padding=borders, dilation=d, output_padding=extra)
            )
        else:
            operations.append(Window(kernel, stride=s, padding=borders, dilation=d))
    return _slide(place, operations, of.shape)


def _pool(
    of: Scope,
    x: Value,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> Result:
    place = of(x)
    axes = int(of.op.name[of.op.name.index("pool") + 4])
    kernels = per_axis(kernel, axes)
    strides = per_axis(stride, axes) if stride else kernels
    operations = [
        Window(k, stride=s, padding=(p, p), dilation=d, ceil_mode=ceil_mode)
        for k, s, p, d in zip(
            kernels, strides, per_axis(padding, axes), per_axis(dilation, axes), strict=True
        )
    ]
    pooled = None if place is None else _slide(place, operations, of.shape)
    return [pooled] * len(of.op.outputs)


@rule("max_pool1d", "max_pool2d", "max_pool3d", "max_pool2d_with_indices", "max_pool3d_with_indices")
def max_pool(
    of: Scope,
    x: Value,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    ceil_mode: bool = False,
) -> Result:
    return _pool(of, x, kernel, stride, padding, dilation, ceil_mode)


@rule("avg_pool1d", "avg_pool2d", "avg_pool3d")
def average_pool(
    of: Scope,
    x: Value,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    ceil_mode: bool = False,
    *_: Any,
) -> Result:
    return _pool(of, x, kernel, stride, padding, (1,), ceil_mode)


@rule(
    "_adaptive_avg_pool2d",
    "_adaptive_avg_pool3d",
    "adaptive_avg_pool2d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
)
def adaptive_pool(of: Scope, x: Value, size: Sequence[int]) -> Result:
    place = of(x)
    if place is None:
        return None
    for dim, target in zip(range(len(x.shape) - len(size), len(x.shape)), size, strict=True):
        if target == 1:
            layout = (*place.layout[:dim], (), *place.layout[dim + 1 :])
            place = mixed_over(place, [dim], layout)
        else:
            place = windowed(place, dim, adaptive_window(x.shape[dim], target), target)
    return [place] * len(of.op.outputs)


def _resized(of: Scope, x: Value, size: Sequence[int], rule_of: Any) -> Result:
    place = of(x)
    if place is None:
        return None
    sides = of.shape[2:]
    return _slide(place, [rule_of(a, b) for a, b in zip(x.shape[2:], sides, strict=True)], of.shape)


@rule("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d")
def nearest(of: Scope, x: Value, size: Sequence[int], *_: Any, **__: Any) -> Result:
    return _resized(of, x, size, resize)


@rule("_upsample_nearest_exact1d", "_upsample_nearest_exact2d", "_upsample_nearest_exact3d")
def nearest_exact(of: Scope, x: Value, size: Sequence[int], *_: Any, **__: Any) -> Result:
    return _resized(of, x, size, lambda a, b: resize(a, b, mode="nearest-exact"))


@rule("upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d", "upsample_bicubic2d")
def interpolate(
    of: Scope, x: Value, size: Sequence[int], align_corners: bool = False, *_: Any, **__: Any
) -> Result:
    mode: Literal["linear", "cubic"] = "cubic" if "cubic" in of.op.name else "linear"
    return _resized(of, x, size, lambda a, b: resize(a, b, mode=mode, align_corners=align_corners))


@rule("_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa")
def antialiased(
    of: Scope, x: Value, size: Sequence[int], align_corners: bool = False, *_: Any, **__: Any
) -> Result:
    """When it shrinks, the filter of radius 1 (linear) or 2 (cubic) widens with the step."""
    radius = 2 if "cubic" in of.op.name else 1

    def filtered(source: int, target: int) -> Resampling:
        step = Fraction(source, target)
        reach, shift = radius * max(step, Fraction(1)), (step - 1) / 2
        return Resampling(step, reach - shift, reach + shift, source, target)

    return _resized(of, x, size, filtered)


@rule("pixel_shuffle")
def pixel_shuffle(of: Scope, x: Value, factor: int) -> Result:
    place = of(x)
    if place is None:
        return None
    return _slide(_channels_mixed(place, of.shape[1]), [upsample(factor)] * 2, of.shape)


@rule("pixel_unshuffle")
def pixel_unshuffle(of: Scope, x: Value, factor: int) -> Result:
    place = of(x)
    if place is None:
        return None
    return _slide(_channels_mixed(place, of.shape[1]), [Window(factor, stride=factor)] * 2, of.shape)


@rule(
    "constant_pad_nd",
    "reflection_pad1d",
    "reflection_pad2d",
    "reflection_pad3d",
    "replication_pad1d",
    "replication_pad2d",
    "replication_pad3d",
)
def padding(of: Scope, x: Value, borders: Sequence[int], *_: Any) -> Result:
    """Borders come as (left, right) pairs from the last dimension on. What a reflection adds is ignored."""
    place = of(x)
    if place is None:
        return None
    for i in range(len(borders) // 2):
        dim = len(x.shape) - 1 - i
        left, right = borders[2 * i], borders[2 * i + 1]
        if left or right:
            place = windowed(place, dim, pad(left, right), of.shape[dim])
    return place


@rule("im2col")
def unfold_patches(
    of: Scope,
    x: Value,
    kernel: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
    stride: Sequence[int],
) -> Result:
    """``F.unfold``: every window's pixels become channels of one token."""
    place = of(x)
    if place is None:
        return None
    windows = [
        Window(k, stride=s, padding=(p, p), dilation=d)
        for k, d, p, s in zip(kernel, dilation, padding, stride, strict=True)
    ]
    sides = [w.output_side(side) for w, side in zip(windows, x.shape[2:], strict=True)]
    place = _slide(_channels_mixed(place, of.shape[1]), windows, (*of.shape[:2], *sides))
    return place.with_layout((place[0], place[1], (*place[2], *place[3])))


@rule("col2im")
def fold_patches(
    of: Scope,
    x: Value,
    size: Sequence[int],
    kernel: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
    stride: Sequence[int],
) -> Result:
    """``F.fold``: tokens spread over their windows and are summed, as by a transposed convolution."""
    place = of(x)
    if place is None or len(place[2]) != 2 or axes_of([place[2]]) != {0, 1}:
        return None
    rows, columns = place[2]
    place = place.with_layout((place[0], place[1], (rows,), (columns,)))
    windows = [
        TransposedWindow(k, stride=s, padding=(p, p), dilation=d)
        for k, d, p, s in zip(kernel, dilation, padding, stride, strict=True)
    ]
    return _slide(_channels_mixed(place, of.shape[1]), windows, of.shape)


@rule("unfold")
def unfold(of: Scope, x: Value, dim: int, size: int, step: int) -> Result:
    """``Tensor.unfold``: windows along `dim`, their content in a new last dimension."""
    place = of(x)
    if place is None:
        return None
    dim %= len(x.shape)
    place = windowed(place, dim, Window(size, stride=step), of.shape[dim])
    return place.with_layout((*place.layout, opaque(size)))


@rule("grid_sampler_2d", "grid_sampler_3d")
def grid_sample(of: Scope, x: Value, grid: Value, *_: Any) -> Result:
    """The grid says where to read, so it may be anywhere."""
    place = of(x)
    if place is None or of.shape[2:] != x.shape[2:]:
        return None
    spatial = range(2, len(x.shape))
    place = mixed_over(place, spatial, place.layout)
    other = of(grid)
    return place if other is None else joined_places([place, _as_map(other)], of.shape)


def _as_map(grid: Place) -> Place:
    """A grid (N, H, W, 2) seen as (N, 1, H, W)."""
    return grid.with_layout((grid[0], (), *grid.layout[1:-1]))
