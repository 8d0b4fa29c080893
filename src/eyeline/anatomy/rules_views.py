"""Receptive fields of operators that only move data: views, slices, concatenation, copies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from eyeline.anatomy.graph import Value
from eyeline.anatomy.layout import Dim, axes_of, irregular, joined, opaque, reshaped, sliced, whole_axis
from eyeline.anatomy.place import Place, joined_places, mixed_over, united, unknown, windowed
from eyeline.anatomy.rules import Result, Scope, rule
from eyeline.convolution import Window


@rule("view", "_unsafe_view", "reshape", "_reshape_alias", "flatten", "unflatten")
def view(of: Scope, x: Value, *_: Any) -> Result:
    place = of(x)
    return None if place is None else place.with_layout(reshaped(place.layout, of.shape))


@rule("squeeze", "unsqueeze")
def squeeze(of: Scope, x: Value, *dims: Any) -> Result:
    """Dimensions of size 1 hold no position unless they are an axis that shrank to 1."""
    place = of(x)
    if place is None:
        return None
    if of.op.name == "unsqueeze":
        dim = dims[0] % (len(x.shape) + 1)
        return place.with_layout((*place.layout[:dim], (), *place.layout[dim:]))
    chosen = range(len(x.shape)) if not dims else [dims[0]] if isinstance(dims[0], int) else dims[0]
    dropped = {d % len(x.shape) for d in chosen if x.shape[d] == 1}
    return place.with_layout(tuple(dim for d, dim in enumerate(place.layout) if d not in dropped))


@rule("permute")
def permute(of: Scope, x: Value, dims: Sequence[int]) -> Result:
    place = of(x)
    return None if place is None else place.with_layout(tuple(place[d] for d in dims))


@rule("transpose")
def transpose(of: Scope, x: Value, first: int, second: int) -> Result:
    place = of(x)
    if place is None:
        return None
    layout = list(place.layout)
    layout[first], layout[second] = layout[second], layout[first]
    return place.with_layout(tuple(layout))


@rule("t")
def matrix_transpose(of: Scope, x: Value) -> Result:
    return transpose(of, x, 0, -1)


@rule("expand", "repeat")
def expand(of: Scope, x: Value, sizes: Sequence[int], **_: Any) -> Result:
    place = of(x)
    if place is None:
        return None
    lead = len(of.shape) - len(x.shape)
    layout: list[Dim] = [opaque(side) for side in of.shape[:lead]]
    for dim, before, after in zip(place.layout, x.shape, of.shape[lead:], strict=True):
        if before == after:
            layout.append(dim)
        else:
            layout.append(opaque(after) if before == 1 else irregular(axes_of([dim]), after))
    return place.with_layout(tuple(layout))


@rule("select")
def select(of: Scope, x: Value, dim: int, index: int) -> Result:
    """One position: of a whole axis, the fields become those of this position."""
    place = of(x)
    if place is None:
        return None
    dim %= len(x.shape)
    fields = list(place.fields)
    a = whole_axis(place[dim])
    if a is not None:
        field, distance = fields[a], (index % x.shape[dim]) * fields[a].stride
        spans = {name: getattr(field, name).shifted(distance) for name in ("reach", "shortest", "longest")}
        fields[a] = replace(field, side=1, **spans)
    return Place((*place.layout[:dim], *place.layout[dim + 1 :]), tuple(fields), place.known)


@rule("slice")
def slice_(
    of: Scope, x: Value, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Result:
    place = of(x)
    if place is None:
        return None
    dim %= len(x.shape)
    first, last, step = slice(start, end, step).indices(x.shape[dim])
    return stretch(place, dim, x.shape[dim], first, last, step)


def stretch(place: Place, dim: int, side: int, first: int, last: int, step: int = 1) -> Place:
    """Positions ``first:last:step`` along `dim` of `side` positions."""
    length = len(range(first, last, step))
    if length == side:
        return place
    if whole_axis(place[dim]) is not None:
        return windowed(place, dim, Window(1, stride=step, padding=(-first, last - side)), length)
    part = sliced(place[dim], first, length) if step == 1 else irregular(axes_of([place[dim]]), length)
    return place.with_layout((*place.layout[:dim], part, *place.layout[dim + 1 :]))


@rule("split", "split_with_sizes", "unsafe_split", "unsafe_split_with_sizes", "chunk", "tensor_split")
def split(of: Scope, x: Value, sizes: Any, dim: int = 0) -> Result:
    place = of(x)
    if place is None:
        return None
    dim %= len(x.shape)
    results, start = [], 0
    for output in of.op.outputs:
        results.append(stretch(place, dim, x.shape[dim], start, start + output.shape[dim]))
        start += output.shape[dim]
    return results


@rule("unbind")
def unbind(of: Scope, x: Value, dim: int = 0) -> Result:
    results = [select(of, x, dim, index) for index in range(len(of.op.outputs))]
    return [place if isinstance(place, Place) else None for place in results]


@rule("cat")
def cat(of: Scope, tensors: Sequence[Value], dim: int = 0) -> Result:
    tensors = [t for t in tensors if len(t.shape) == len(of.shape)]  # legacy: empty tensors of one dimension
    dim %= len(of.shape)
    places = of.inputs
    fields = united(places)
    if fields is None:
        return unknown(places, of.shape)
    dims = [p[dim] if (p := of(t)) is not None else opaque(t.shape[dim]) for t in tensors]
    behind = joined(dims, [t.shape[dim] for t in tensors])
    blank = [p.with_layout((*p.layout[:dim], (), *p.layout[dim + 1 :])) for p in places]
    rest = joined_places(blank, (*of.shape[:dim], 1, *of.shape[dim + 1 :]))
    known = rest.known and all(place.known for place in places)
    return Place((*rest.layout[:dim], behind, *rest.layout[dim + 1 :]), fields, known)


@rule("stack")
def stack(of: Scope, tensors: Sequence[Value], dim: int = 0) -> Result:
    dim %= len(of.shape)
    together = joined_places(of.inputs, (*of.shape[:dim], *of.shape[dim + 1 :]))
    layout = (*together.layout[:dim], opaque(of.shape[dim]), *together.layout[dim:])
    return together.with_layout(layout)


@rule("roll")
def roll(of: Scope, x: Value, shifts: Sequence[int], dims: Sequence[int] = ()) -> Result:
    """A cyclic shift is a crop on one side and padding on the other; what wraps around is not followed."""
    place = of(x)
    if place is None or not dims:
        return None
    for shift, dim in zip(shifts, dims, strict=True):
        if shift and place.placed([dim]):
            dim %= len(x.shape)
            place = windowed(place, dim, Window(1, padding=(shift, -shift)), x.shape[dim])
    return place


@rule("flip")
def flip(of: Scope, x: Value, dims: Sequence[int]) -> Result:
    """Position u reads side - 1 - u: no interval moves like that, so every position may see all."""
    place = of(x)
    return None if place is None else mixed_over(place, dims, place.layout)


@rule("index_select", "gather")
def pick(of: Scope, x: Value, dim: int, index: Value, **_: Any) -> Result:
    place = of(x)
    if place is None or of(index) is not None:
        return None
    dim %= len(x.shape)
    layout = (*place.layout[:dim], irregular(axes_of([place[dim]]), of.shape[dim]), *place.layout[dim + 1 :])
    return mixed_over(place, [dim], layout) if place.placed([dim]) else place.with_layout(layout)


@rule("index")
def index(of: Scope, x: Value, indices: Sequence[Value | None]) -> Result:
    """``x[:, idx]``: free along channels; along an axis of the image the order is lost."""
    place = of(x)
    chosen = [d for d, i in enumerate(indices) if i is not None]
    if place is None or any(i is not None and of(i) is not None for i in indices) or not chosen:
        return None
    extra = len(of.shape) - (len(x.shape) - len(chosen))  # dimensions that the indices bring
    at = chosen[0] if chosen == list(range(chosen[0], chosen[-1] + 1)) else 0
    axes = axes_of([place[d] for d in chosen])
    brought = of.shape[at : at + extra]
    new = [irregular(axes if side > 1 else (), side) for side in brought]
    kept = [dim for d, dim in enumerate(place.layout) if d not in chosen]
    layout = (*kept[:at], *new, *kept[at:])
    return mixed_over(place, chosen, layout) if axes else place.with_layout(layout)


@rule("copy")
def copy(of: Scope, target: Value, source: Value, *_: Any) -> Result:
    place = of(source)
    return None if place is None else joined_places([place], of.shape)


@rule("write")
def write(of: Scope, old: Value, written: Value, in_order: bool) -> Result:
    """A view of memory that was written through another view: both contents, where positions correspond.

    They do when both views run over the same memory `in_order`, or when their placed dimensions agree (other
    channels of the same positions).
    """
    before, after = of(old), of(written)
    if after is None:
        return before
    if in_order:
        layout = reshaped(after.layout, old.shape)
    else:
        placed = [d for d in range(len(after.layout)) if after.placed([d])]
        if len(after.layout) != len(old.shape) or any(old.shape[d] != written.shape[d] for d in placed):
            return None
        layout = tuple(after[d] if d in placed else opaque(side) for d, side in enumerate(old.shape))
    seen = after.with_layout(layout)
    return seen if before is None or in_order else joined_places([before, seen], old.shape)


@rule("as_strided")
def as_strided(of: Scope, x: Value, size: Sequence[int], *_: Any) -> Result:
    """A view of any shape. Only the one of a pooled vector, whose strides change and nothing else, is followed."""
    vector = sum(side > 1 for side in x.shape) <= 1 and tuple(size) == x.shape
    return of(x) if vector else None


@rule("view_as_real")
def view_as_real(of: Scope, x: Value) -> Result:
    place = of(x)
    return None if place is None else place.with_layout((*place.layout, opaque(2)))


@rule("view_as_complex")
def view_as_complex(of: Scope, x: Value) -> Result:
    place = of(x)
    return None if place is None else place.with_layout(place.layout[:-1])
