"""Where the axes of the image are in a tensor, and how reshaping moves them.

A feature map carries the rows of the image in one of its dimensions and the columns in another. Views and
permutations move, merge and split these dimensions: tokens are ``rows x columns`` in one dimension, window
attention splits rows into ``windows x rows inside``. A `Layout` keeps track: each dimension is a product of
`Factor`s, outermost first. A factor of axis a with `step` s counts every s-th position of that axis, so
splitting 56 rows into 8 windows of 7 gives ``Factor(a, 8, 7)`` and ``Factor(a, 7, 1)``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Factor:
    """A run of `size` indices that counts positions of the image's `axes`.

    No axis: channels, batch, heads. One axis and a `step`: every step-th position of it. Several axes, or step
    0: positions in no regular order, such as tokens with a class token before them; `parts` then says which
    stretch (start, size) is made of which factors.
    """

    axes: tuple[int, ...]
    size: int
    step: int = 0
    parts: tuple[tuple[int, int, Dim], ...] = ()

    @property
    def regular(self) -> bool:
        return self.step > 0


Dim = tuple[Factor, ...]
Layout = tuple[Dim, ...]


def opaque(size: int) -> Dim:
    """A dimension without place: channels, batch, heads."""
    return (Factor((), size),) if size != 1 else ()


def axis(index: int, size: int) -> Dim:
    """A whole axis of the image; kept at size 1 too, for a later kernel may still widen its field."""
    return (Factor((index,), size, 1),)


def irregular(axes: Iterable[int], size: int, parts: tuple[tuple[int, int, Dim], ...] = ()) -> Dim:
    """Positions of `axes` in no regular order."""
    axes = tuple(sorted(set(axes)))
    return (Factor(axes, size, 0, parts),) if axes else opaque(size)


def plain(shape: Sequence[int]) -> Layout:
    """A tensor of `shape` without any place."""
    return tuple(opaque(side) for side in shape)


def image_layout(shape: Sequence[int]) -> Layout:
    """An image (N, C, H, W): the spatial dimensions are axes 0, 1, ..."""
    return (*plain(shape[:2]), *(axis(i, side) for i, side in enumerate(shape[2:])))


def axes_of(dims: Iterable[Dim]) -> set[int]:
    """The image axes that occur in `dims`."""
    return {a for dim in dims for factor in dim for a in factor.axes}


def whole_axis(dim: Dim) -> int | None:
    """The axis whose positions `dim` counts one by one; None for anything else."""
    placed = [factor for factor in dim if factor.axes]
    if len(placed) == 1 and len(dim) == 1 and placed[0].step == 1:
        return placed[0].axes[0]
    return None


def reshaped(layout: Layout, shape: Sequence[int]) -> Layout:
    """The layout after a view to `shape`. A factor that the new sides cut unevenly becomes irregular."""
    queue = [factor for dim in layout for factor in dim if factor.size != 1]
    result: list[Dim] = []
    for side in shape:
        dim: list[Factor] = []
        remaining = side
        while remaining > 1 and queue:
            factor = queue.pop(0)
            if remaining % factor.size == 0:
                dim.append(factor)
                remaining //= factor.size
            elif factor.size % remaining == 0 and (factor.regular or not factor.axes):
                inner = factor.size // remaining
                dim.append(Factor(factor.axes, remaining, factor.step * inner))
                queue.insert(0, Factor(factor.axes, inner, factor.step))
                remaining = 1
            else:
                return _uneven(layout, shape)
        result.append(_merged(dim))
    return tuple(result)


def _uneven(layout: Layout, shape: Sequence[int]) -> Layout:
    axes = axes_of(layout)
    return tuple(irregular(axes if side > 1 else (), side) for side in shape)


def _merged(dim: Sequence[Factor]) -> Dim:
    """Neighbouring factors that continue each other become one."""
    result: list[Factor] = []
    for factor in dim:
        last = result[-1] if result else None
        ordered = factor.regular or not factor.axes
        if last and ordered and last.axes == factor.axes and last.step == factor.step * factor.size:
            result[-1] = Factor(factor.axes, last.size * factor.size, factor.step)
        else:
            result.append(factor)
    return tuple(result)


def sliced(dim: Dim, start: int, length: int) -> Dim:
    """A stretch of a dimension that is not a whole axis (whole axes are windows with crops)."""
    size = 1
    for factor in dim:
        size *= factor.size
    if length == size:
        return dim
    for factor in dim:
        for first, stretch, part in factor.parts:
            if (first, stretch) == (start, length):
                return part
    return irregular(axes_of([dim]), length)


def joined(dims: Sequence[Dim], sizes: Sequence[int]) -> Dim:
    """Dimensions put one behind the other, as by ``cat``."""
    axes = axes_of(dims)
    if not axes:
        return opaque(sum(sizes))
    parts, start = [], 0
    for dim, size in zip(dims, sizes, strict=True):
        parts.append((start, size, dim))
        start += size
    return irregular(axes, start, tuple(parts))


def broadcast(layouts: Sequence[Layout], shape: Sequence[int]) -> Layout | None:
    """The layout of an elementwise result of `shape`; None when two inputs disagree on a dimension."""
    result: list[Dim] = []
    for d, side in enumerate(reversed(shape), start=1):
        placed: list[Dim] = []
        for layout in layouts:
            dim = layout[-d] if len(layout) >= d else ()
            if dim not in placed and any(factor.axes for factor in dim):
                placed.append(dim)
        if len(placed) > 1:  # an irregular order gives way to the regular one of the same axes
            placed = [dim for dim in placed if all(f.regular for f in dim if f.axes)] or placed[:1]
        if len(placed) > 1:
            return None
        result.append(placed[0] if placed else opaque(side))
    return tuple(reversed(result))
