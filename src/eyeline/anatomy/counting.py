"""What each operator of a trace costs, by the conventions of `eyeline.convolution.cost`.

Multiply-accumulates come from convolutions and matrix products (attention included). An operator without a
rule here has no cost that could be stated: `operator_cost` returns None and the table lists it.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from eyeline.anatomy.graph import Op, Value
from eyeline.anatomy.spread import SHAPE_ONLY, is_elementwise
from eyeline.convolution import (
    Cost,
    convolution_cost,
    elementwise_cost,
    linear_cost,
    matmul_cost,
    norm_cost,
    pooling_cost,
)
from eyeline.errors import EyelineError

# Bookkeeping: no arithmetic. A copy is traffic without operations.
FREE = SHAPE_ONLY | frozenset(
    (
        *("view", "_unsafe_view", "reshape", "_reshape_alias", "as_strided", "permute", "transpose", "t"),
        *("squeeze", "unsqueeze", "expand", "select", "slice", "split", "split_with_sizes", "unsafe_split"),
        *(
            "unsafe_split_with_sizes",
            "chunk",
            "unbind",
            "alias",
            "detach",
            "lift_fresh",
            "diagonal",
            "unfold",
        ),
        *("view_as_real", "view_as_complex", "write", "arange", "zeros", "ones", "full", "linspace", "eye"),
        *("scalar_tensor", "rand", "randn", "randperm", "empty_strided", "_local_scalar_dense", "real"),
        *("flatten", "unflatten", "_conj", "imag", "_has_compatible_shallow_copy_type", "is_same_size"),
    )
)
MOVES = frozenset(
    (
        *("clone", "contiguous", "copy", "_to_copy", "cat", "stack", "repeat", "roll", "flip", "index"),
        *("constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "reflection_pad3d", "im2col", "gather"),
        *("replication_pad1d", "replication_pad2d", "replication_pad3d", "index_select", "embedding", "tril"),
        *(
            "pixel_shuffle",
            "pixel_unshuffle",
            "native_channel_shuffle",
            "channel_shuffle",
            "triu",
            "index_put",
        ),
        *("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "_upsample_nearest_exact2d"),
        *("meshgrid", "masked_fill", "where", "scatter"),
    )
)
REDUCTIONS = frozenset(
    (
        *("mean", "sum", "amax", "amin", "max", "min", "prod", "argmax", "argmin", "any", "all", "nansum"),
        *("cumsum", "linalg_vector_norm", "norm", "logsumexp", "var", "std", "var_mean", "std_mean"),
    )
)
# Operations an output element: exponent, sum, division and so on, as a straightforward kernel does them.
PER_OUTPUT = {
    "_softmax": 5,
    "_safe_softmax": 5,
    "_log_softmax": 5,
    "upsample_linear1d": 3,
    "upsample_bilinear2d": 7,
    "upsample_bicubic2d": 35,
    "_upsample_bilinear2d_aa": 7,
    "_upsample_bicubic2d_aa": 35,
    "col2im": 1,
    "upsample_trilinear3d": 15,
    "grid_sampler_2d": 15,
    "local_response_norm": 5,
}
# These have multiply-accumulates.
HEAVY = frozenset(
    (
        *("convolution", "mm", "addmm", "bmm", "baddbmm", "linear", "mv", "addmv", "dot"),
        *("_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_flash_attention"),
        *("_scaled_dot_product_efficient_attention", "_scaled_dot_product_cudnn_attention"),
    )
)


def operator_cost(op: Op) -> Cost | None:
    """The cost of one operator, parameters not included; None when it has no rule."""
    name = op.name
    if name in FREE:
        return Cost()
    output = op.outputs[0] if op.outputs else None
    if output is None:
        return None
    rule = _RULES.get(name)
    if rule is not None:
        try:
            return rule(op, output)
        except (EyelineError, TypeError, ValueError, IndexError, AttributeError):
            return None
    if name in MOVES:
        return elementwise_cost(output.numel, operations=0, itemsize=output.itemsize)
    if name in REDUCTIONS and isinstance(op.args[0], Value):
        source = op.args[0]
        return Cost(
            elementwise=source.numel,
            bytes_read=source.numel * source.itemsize,
            bytes_written=output.numel * output.itemsize,
        )
    if name in PER_OUTPUT:
        return elementwise_cost(output.numel, operations=PER_OUTPUT[name], itemsize=output.itemsize)
    if is_elementwise(op):
        inputs = sum(v.numel == output.numel for v in op.inputs)
        return elementwise_cost(output.numel, inputs=inputs, itemsize=output.itemsize)
    return None


def _without_parameters(cost: Cost) -> Cost:
    return Cost(0, cost.macs, cost.elementwise, cost.bytes_read, cost.bytes_written)


def _convolution(op: Op, output: Value) -> Cost:
    x, weight, bias = op.args[:3]
    transposed, groups = op.args[6], op.args[8]
    return _without_parameters(
        convolution_cost(
            x.shape[1],
            output.shape[1],
            x.shape[2:],
            output.shape[2:],
            weight.kernel,
            batch=x.shape[0],
            groups=groups,
            bias=bias is not None,
            transposed=transposed,
            itemsize=x.itemsize,
        )
    )


def _addmm(op: Op, output: Value) -> Cost:
    _, x, weight = op.args[:3]
    rows, inner = x.shape
    return _without_parameters(linear_cost(inner, weight.shape[1], rows=rows, itemsize=x.itemsize))


def _matmul(op: Op, output: Value) -> Cost:
    a, b = op.args[-2:] if op.name == "baddbmm" else op.args[:2]
    return matmul_cost(
        a.shape[-2], a.shape[-1], b.shape[-1], batch=prod(a.shape[:-2]), itemsize=output.itemsize
    )


def _vector_product(op: Op, output: Value) -> Cost:
    matrix = op.args[1] if op.name == "addmv" else op.args[0]
    rows = 1 if op.name == "dot" else matrix.shape[0]
    return matmul_cost(rows, matrix.shape[-1], 1, itemsize=output.itemsize)


def _linear(op: Op, output: Value) -> Cost:
    x, weight = op.args[:2]
    bias = len(op.args) > 2 and op.args[2] is not None
    rows = prod(x.shape[:-1])
    return _without_parameters(
        linear_cost(weight.shape[1], weight.shape[0], rows=rows, bias=bias, itemsize=x.itemsize)
    )


def _attention(op: Op, output: Value) -> Cost:
    """Q K^T, softmax, A V; the L x L matrix is never written."""
    query, key, value = op.args[:3]
    batch = prod(query.shape[:-2])
    length, width, keys = query.shape[-2], query.shape[-1], key.shape[-2]
    macs = batch * length * keys * (width + value.shape[-1])
    moved = (query.numel + key.numel + value.numel) * query.itemsize
    softmax = PER_OUTPUT["_softmax"] * batch * length * keys
    return Cost(0, macs, softmax, moved, output.numel * output.itemsize)


def _norm(statistics: Any) -> Callable[[Op, Value], Cost]:
    def cost(op: Op, output: Value) -> Cost:
        kind = statistics(op) if callable(statistics) else statistics
        weights = [v for v in op.inputs[1:3] if v.origin != "operator"]
        features = weights[0].numel if weights else 0
        return _without_parameters(
            norm_cost(features, output.numel, statistics=kind, affine=bool(weights), itemsize=output.itemsize)
        )

    return cost


def _batch_norm_statistics(op: Op) -> str:
    return "computed" if op.args[5] else "running"


def _pool(op: Op, output: Value) -> Cost:
    x, kernel = op.args[:2]
    axes = int(op.name[op.name.index("pool") + 4])
    kernel = list(kernel) * axes if len(kernel) == 1 else kernel
    return pooling_cost(
        x.shape[1],
        x.shape[2:],
        output.shape[2:],
        kernel,
        kind="max" if "max" in op.name else "average",
        batch=x.shape[0],
        itemsize=x.itemsize,
    )


def _adaptive_pool(op: Op, output: Value) -> Cost:
    """Windows overlap when the sides do not divide; what counts is what they read."""
    x, size = op.args[:2]
    taps = 1
    for source, target in zip(x.shape[-len(size) :], size, strict=True):
        taps *= sum(-(-(i + 1) * source // target) - i * source // target for i in range(target))
    lead = prod(x.shape[: -len(size)])
    return Cost(0, 0, lead * taps, x.numel * x.itemsize, output.numel * output.itemsize)


_RULES: dict[str, Callable[[Op, Value], Cost]] = {
    "convolution": _convolution,
    "addmm": _addmm,
    "linear": _linear,
    **dict.fromkeys(("mm", "bmm", "baddbmm", "matmul"), _matmul),
    **dict.fromkeys(("mv", "addmv", "dot"), _vector_product),
    **{name: _attention for name in HEAVY if "attention" in name},
    "native_batch_norm": _norm(_batch_norm_statistics),
    **dict.fromkeys(("_native_batch_norm_legit_no_training", "_batch_norm_no_update"), _norm("running")),
    **dict.fromkeys(
        ("native_layer_norm", "native_group_norm", "_fused_rms_norm", "_native_batch_norm_legit"),
        _norm("computed"),
    ),
    **dict.fromkeys(
        (
            *("max_pool1d", "max_pool2d", "max_pool3d", "max_pool2d_with_indices", "avg_pool1d"),
            *("max_pool3d_with_indices", "avg_pool2d", "avg_pool3d"),
        ),
        _pool,
    ),
    **dict.fromkeys(
        (
            *("_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_avg_pool2d"),
            *("adaptive_max_pool2d", "adaptive_max_pool3d"),
        ),
        _adaptive_pool,
    ),
}
