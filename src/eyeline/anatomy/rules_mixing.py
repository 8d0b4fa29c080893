"""Receptive fields of operators that mix positions: sums, norms, matrix products, attention."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from eyeline.anatomy.graph import Op, Value
from eyeline.anatomy.layout import Dim, axes_of, irregular
from eyeline.anatomy.place import Place, mixed_over, united
from eyeline.anatomy.rules import Result, Scope, rule
from eyeline.convolution import Field


def argument(op: Op, name: str) -> Any:
    """The argument of that name, or its default."""
    for position, declared in enumerate(op.target._schema.arguments):
        if declared.name == name:
            if position < len(op.args):
                return op.args[position]
            return op.kwargs.get(name, declared.default_value)
    return None


@rule(
    *("mean", "sum", "amax", "amin", "max", "min", "var", "std", "var_mean", "std_mean", "prod", "logsumexp"),
    *("linalg_vector_norm", "norm", "argmax", "argmin", "any", "all", "median", "nansum", "aminmax"),
)
def reduction(of: Scope, x: Value, *_: Any, **__: Any) -> Result:
    place = of(x)
    if place is None or len(of.inputs) > 1:  # max and min of two tensors are elementwise
        return None
    dims = argument(of.op, "dim")
    dims = [dims] if isinstance(dims, int) else list(dims or range(len(x.shape)))
    gone = sorted(d % len(x.shape) for d in dims)
    keep = bool(argument(of.op, "keepdim"))
    layout = tuple(() if d in gone else dim for d, dim in enumerate(place.layout) if keep or d not in gone)
    return [mixed_over(place, gone, layout)] * len(of.op.outputs)


@rule("_softmax", "_log_softmax", "_safe_softmax", "softmax", "cumsum", "cumprod", "logcumsumexp", "sort")
def along(of: Scope, x: Value, dim: int = -1, *_: Any, **__: Any) -> Result:
    """Every position reads the whole dimension, which stays."""
    place = of(x)
    if place is None:
        return None
    dim %= len(x.shape)
    elsewhere = axes_of(d for i, d in enumerate(place.layout) if i != dim)
    if of.op.name.endswith("softmax") and elsewhere and elsewhere == axes_of([place[dim]]):
        return place  # attention weights: the product with the values, which follows, mixes these positions
    return [mixed_over(place, [dim], place.layout)] * len(of.op.outputs)


@rule("native_batch_norm", "_native_batch_norm_legit", "cudnn_batch_norm", "_batch_norm_with_update")
def batch_norm(
    of: Scope, x: Value, weight: Any, bias: Any, mean: Any, var: Any, training: Any = True, *_: Any
) -> Result:
    """With running statistics a scale a channel; in training, and as instance norm, it reads everything."""
    place = of(x)
    if place is None:
        return None
    if training is False:
        return [place, None, None]
    return [mixed_over(place, [d for d in range(len(x.shape)) if d != 1], place.layout), None, None]


@rule("_native_batch_norm_legit_no_training", "_batch_norm_no_update")
def batch_norm_inference(of: Scope, x: Value, *_: Any) -> Result:
    return [of(x), None, None]


@rule("native_layer_norm", "_fused_rms_norm", "rms_norm")
def layer_norm(of: Scope, x: Value, normalized: Sequence[int], *_: Any) -> Result:
    place = of(x)
    if place is None:
        return None
    dims = range(len(x.shape) - len(normalized), len(x.shape))
    return [mixed_over(place, dims, place.layout), None, None][: len(of.op.outputs)]


@rule("native_group_norm")
def group_norm(of: Scope, x: Value, *_: Any) -> Result:
    place = of(x)
    if place is None:
        return None
    return [mixed_over(place, range(1, len(x.shape)), place.layout), None, None]


@rule("local_response_norm")
def response_norm(of: Scope, x: Value, *_: Any) -> Result:
    return of(x)


def product_fields(places: Sequence[Place]) -> tuple[Field, ...] | None:
    """The fields of a product: the union, or, where keys come from a coarser map, those of the queries, global.

    None when the second operand holds only a part of its map (local windows of another size than the
    queries'), for then nothing simple can be said.
    """
    fields = united(places)
    if fields is not None or len(places) < 2:
        return fields
    for place in places[1:]:
        for a, field in enumerate(place.fields):
            whole = [[f for f in dim if a in f.axes] for dim in place.layout]
            if not any(
                dim and (not dim[0].regular or prod(f.size for f in dim) == field.side) for dim in whole
            ):
                return None
    return tuple(field.mixed() for field in places[0].fields)


def product(a: Place | None, b: Place | None, b_rank: int) -> Result:
    """``(..., i, k) @ (..., k, j)``: positions i and j stay, everything along k is mixed."""
    if a is None and b is None:
        return None
    rank = len(a.layout) if a is not None else b_rank
    nothing: Dim = ()
    left = a.layout if a is not None else (nothing,) * rank
    right = b.layout if b is not None else (nothing,) * b_rank
    batch = tuple(x if axes_of([x]) else y for x, y in zip(left[:-2], right[:-2], strict=True))
    fields = product_fields([p for p in (a, b) if p is not None])
    if fields is None:
        return None
    known = all(p.known for p in (a, b) if p is not None)
    inner = left[-1] if axes_of([left[-1]]) else right[-2]
    both = Place((*batch, left[-2], right[-1], inner), fields, known)
    return mixed_over(both, [len(both.layout) - 1], both.layout[:-1])


@rule("mm", "bmm", "matmul")
def matrix_product(of: Scope, a: Value, b: Value, **_: Any) -> Result:
    return _shaped(of, product(of(a), of(b), len(b.shape)))


@rule("addmm", "baddbmm")
def added_product(of: Scope, bias: Value, a: Value, b: Value, **_: Any) -> Result:
    return _shaped(of, product(of(a), of(b), len(b.shape))) if of(bias) is None else None


def _shaped(of: Scope, result: Result) -> Result:
    """Dimensions that came from a weight get their size."""
    if not isinstance(result, Place):
        return result
    layout = tuple(
        dim if axes_of([dim]) else irregular((), side)
        for dim, side in zip(result.layout, of.shape, strict=True)
    )
    return result.with_layout(layout)


@rule("linear")
def linear(of: Scope, x: Value, *_: Any) -> Result:
    place = of(x)
    if place is None:
        return None
    layout = (*place.layout[:-1], irregular((), of.shape[-1]))
    return mixed_over(place, [len(place.layout) - 1], layout)


@rule(
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
)
def attention(of: Scope, query: Value, key: Value, value: Value, *_: Any, **__: Any) -> Result:
    """(B, heads, L, E): each query position reads all key positions of its batch entry."""
    places = [of(v) for v in (query, key, value)]
    fields = product_fields([p for p in places if p is not None])
    if fields is None:
        return None
    known = all(p.known for p in places if p is not None)
    sources = next((p for p in places[1:] if p is not None and p.placed([-2])), None)
    queries = places[0]
    batch = next(p for p in places if p is not None).layout[:-2]
    own: Dim = queries[-2] if queries is not None else irregular((), query.shape[-2])
    layout = (*batch, own, irregular((), value.shape[-1]))
    if sources is None:
        return [Place(layout, fields, known)] + [None] * (len(of.op.outputs) - 1)
    together = Place((*layout, sources[-2]), fields, known)
    return [mixed_over(together, [len(layout)], layout)] + [None] * (len(of.op.outputs) - 1)


@rule("_fft_r2c", "_fft_c2c", "_fft_c2r")
def fourier(of: Scope, x: Value, dims: Sequence[int], *_: Any) -> Result:
    place = of(x)
    if place is None:
        return None
    layout = list(place.layout)
    for d in dims:
        if of.shape[d] != x.shape[d]:  # half the spectrum
            layout[d] = irregular(axes_of([place[d]]), of.shape[d])
    return mixed_over(place, [d % len(x.shape) for d in dims], tuple(layout))
