"""The receptive fields of one tensor: a field for each axis of the image, and where that axis is.

See `layout` for the where and `eyeline.convolution.fields` for the fields. The functions here say what happens
to both when positions are joined, windowed or mixed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from eyeline.anatomy.layout import (
    Dim,
    Factor,
    Layout,
    axes_of,
    axis,
    broadcast,
    irregular,
    opaque,
    whole_axis,
)
from eyeline.convolution import Field, Operation, Resampling, Window
from eyeline.errors import EyelineError


@dataclass(frozen=True, slots=True)
class Place:
    """`known` is False when an operator was crossed whose field is not known: the fields are then a guess."""

    layout: Layout
    fields: tuple[Field, ...]
    known: bool = True

    def __getitem__(self, dim: int) -> Dim:
        return self.layout[dim]

    def placed(self, dims: Sequence[int]) -> bool:
        """Does any of `dims` hold positions of the image?"""
        return any(factor.axes for d in dims for factor in self.layout[d])

    def with_layout(self, layout: Layout) -> Place:
        return Place(layout, self.fields, self.known)


def unknown(places: Sequence[Place], shape: Sequence[int]) -> Place:
    """After an operator without a rule: every position may see the whole image."""
    fields = tuple(field.mixed() for field in places[0].fields)
    spatial = range(len(fields))
    dims = [irregular(spatial if d >= 2 and side > 1 else (), side) for d, side in enumerate(shape)]
    return Place(tuple(dims), fields, known=False)


def joined_places(places: Sequence[Place], shape: Sequence[int]) -> Place:
    """The result of an elementwise operation of `shape`: position by position the union of the inputs."""
    first = places[0]
    if len(places) == 1 and len(first.layout) == len(shape):
        return first
    layout = broadcast([place.layout for place in places], shape)
    fields = united(places)
    if layout is None or fields is None:
        return unknown(places, shape)
    return Place(layout, fields, all(place.known for place in places))


def united(places: Sequence[Place]) -> tuple[Field, ...] | None:
    """The union of the fields, axis by axis; None when sides differ.

    A tensor without an axis (a gate, a class token) that meets one with it only adds that every position may
    have seen all.
    """
    fields: list[Field] = []
    for a in range(len(places[0].fields)):
        here = [a in axes_of(place.layout) for place in places]
        vectors = any(here) and not all(here)
        branches = [p.fields[a] for p, spatial in zip(places, here, strict=True) if spatial or not vectors]
        try:
            distinct = list(dict.fromkeys(branches))
            field = distinct[0] if len(distinct) == 1 else Field.union(distinct)
        except EyelineError:
            if any(here):
                return None
            widest = max(branches, key=lambda branch: branch.max_size)  # vectors from maps of two scales
            field = replace(widest, is_global=any(branch.is_global for branch in branches))
        fields.append(field.mixed() if vectors else field)
    return tuple(fields)


def windowed(place: Place, dim: int, operation: Operation, side: int) -> Place:
    """After `operation` along `dim`, which gives `side` positions.

    A dimension without place only changes its size. One that holds place in another way than as a whole axis
    loses its order: every position may then see all.
    """
    current = place.layout[dim]
    a = whole_axis(current)
    if len(current) == 1 and current[0].regular and current[0].size != place.fields[current[0].axes[0]].side:
        # Inside the windows of a split axis: neighbours are `step` positions apart, or in another window.
        factor, inside = current[0], place.fields[current[0].axes[0]]
        if operation.step == 1 and side == factor.size:
            before, after = operation.before * factor.step, operation.after * factor.step
            stay = Resampling(1, before, after, inside.side, inside.side)
            fields = list(place.fields)
            fields[factor.axes[0]] = inside.through(stay)
            return Place(place.layout, tuple(fields), place.known)
        a = None
    if a is not None:
        fields = list(place.fields)
        try:
            fields[a] = fields[a].through(operation)
        except EyelineError:
            return Place(_with(place.layout, dim, axis(a, side)), place.fields, known=False)
        known = place.known and fields[a].side == side
        return Place(_with(place.layout, dim, axis(a, side)), tuple(fields), known)
    axes = axes_of([current])
    if not axes:
        return place.with_layout(_with(place.layout, dim, opaque(side)))
    mixed = tuple(field.mixed() if i in axes else field for i, field in enumerate(place.fields))
    return Place(_with(place.layout, dim, irregular(axes, side)), mixed, place.known)


def mixed_over(place: Place, gone: Sequence[int], layout: Layout) -> Place:
    """Every position of the result reads all positions along the dimensions `gone` of `place`.

    `layout` is the layout of the result: without these dimensions for a sum, with them for a softmax.
    """
    fields = list(place.fields)
    for a in axes_of([place.layout[d] for d in gone]):
        sources = [f for d in gone for f in place.layout[d] if a in f.axes]
        left = [f for dim in layout for f in dim if a in f.axes]
        fields[a], divisor = _mixed(fields[a], sources, left)
        if divisor > 1:
            layout = tuple(
                tuple(replace(f, step=f.step // divisor) if f.axes == (a,) else f for f in dim)
                for dim in layout
            )
    return Place(layout, tuple(fields), place.known)


def _mixed(field: Field, gone: Sequence[Factor], left: Sequence[Factor]) -> tuple[Field, int]:
    """The field after reading all of `gone`, and by how much the steps of `left` shrink."""
    if not left:
        return field.pooled(), 1
    if not all(f.regular for f in (*gone, *left)) or field.side is None:
        return field.mixed(), 1
    overlap = [f for f in gone if any(f.step == other.step and f.size == other.size for other in left)]
    if len(overlap) == len(gone):
        # Each position keeps its own place and sees its window (or, for outermost factors, the whole axis).
        for factor in gone:
            if factor.size * factor.step >= field.side:
                return field.mixed(), 1
            reach = (factor.size - 1) * factor.step
            window = Window(2 * factor.size - 1, dilation=factor.step, padding=(reach, reach))
            field = field.through(window)
        return field, 1
    if len(gone) == 1 and gone[0].step == 1 and all(f.step % gone[0].size == 0 for f in left):
        # The inner part of a split axis is summed (space to depth, patch merging): a window with a stride.
        return field.through(Window(gone[0].size, stride=gone[0].size)), gone[0].size
    side = 1
    for factor in left:
        side *= factor.size
    return replace(field.mixed(), side=side), 1


def _with(layout: Layout, dim: int, new: Dim) -> Layout:
    dim %= len(layout)
    return (*layout[:dim], new, *layout[dim + 1 :])
