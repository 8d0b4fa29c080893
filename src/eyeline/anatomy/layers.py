"""From operators to rows: which operators make one layer, what it is called, what it costs and sees."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from eyeline.anatomy.counting import FREE, HEAVY, operator_cost
from eyeline.anatomy.graph import Call, Op, Trace, Value
from eyeline.anatomy.spread import Spread
from eyeline.anatomy.table import Layer, ReceptiveField, Uncounted
from eyeline.convolution import Cost

# What an operator is called outside of its module.
NAMES = {
    "convolution": "conv",
    "mm": "matmul",
    "bmm": "matmul",
    "baddbmm": "matmul",
    "addmm": "linear",
    "clone": "copy",
    "constant_pad_nd": "pad",
    "im2col": "unfold",
    "col2im": "fold",
}


@dataclass
class _Group:
    """Consecutive operators of one row."""

    call: Call
    whole_module: bool  # all operators of a call of a module without children
    ops: list[Op] = field(default_factory=list)


def layer_rows(trace: Trace, spread: Spread) -> tuple[list[Layer], list[Uncounted]]:
    """The rows of a trace, and what no rule could count."""
    rows: list[Layer] = []
    names = _Names()
    weights = _Weights()
    uncounted: dict[tuple[str, str, str], int] = {}
    no_field = set(map(id, spread.unknown))
    total_parameters = total_macs = 0
    for group in _groups(trace.ops):
        costs = [operator_cost(op) for op in group.ops]
        cost = sum((c for c in costs if c is not None), Cost())
        arithmetic = [op for op in group.ops if op.name not in FREE]
        sees = any(value in spread.places for op in group.ops for value in op.outputs)
        if not arithmetic or not (sees or cost.macs):
            weights.pass_on(group.ops, spread)
            continue
        main = _main(arithmetic)
        name = names.give(group, main)
        parameters = weights.take(group.ops, spread)
        total_parameters += parameters
        total_macs += cost.macs
        output = next(op for op in reversed(group.ops) if op.outputs and op.name != "write").outputs[0]
        window, before = _context(main, spread)
        rows.append(
            Layer(
                name=name,
                kind=type(group.call.module).__name__ if group.whole_module else operator_name(main),
                output=output.shape,
                weight=weights.shape(group, main),
                parameters=parameters,
                macs=cost.macs,
                elementwise=cost.elementwise,
                activation_bytes=_kept_bytes(group.ops, output),
                cumulative_parameters=total_parameters,
                cumulative_macs=total_macs,
                receptive_field=ReceptiveField.of(spread.places.get(output)),
                window=window,
                sees_before=before,
            )
        )
        for op, c in zip(group.ops, costs, strict=True):
            for what in ["cost"] * (c is None) + ["receptive field"] * (id(op) in no_field):
                key = (name, op.name, what)
                uncounted[key] = uncounted.get(key, 0) + 1
    return rows, [Uncounted(*key, times) for key, times in uncounted.items()]


def used_parameters(trace: Trace) -> set[str]:
    """Names of the parameters that any operator read."""
    return {value.name for op in trace.ops for value in op.inputs if value.origin == "parameter"}


# ------------------------------------------------------------------------------------------------- grouping


def _groups(ops: Iterable[Op]) -> list[_Group]:
    """One group a call of a module without children, unless it computes several layers by itself."""
    groups: list[_Group] = []
    for op in ops:
        leaf = next(op.call.module.children(), None) is None
        if leaf and groups and groups[-1].call is op.call:
            groups[-1].ops.append(op)
        else:
            groups.append(_Group(op.call, leaf, [op]))
    result: list[_Group] = []
    for group in groups:
        heavy = sum(op.name in HEAVY for op in group.ops)
        arithmetic = sum(op.name not in FREE for op in group.ops)
        if heavy > 1 or (not group.call.name and arithmetic > 1):
            result += [_Group(group.call, False, [op]) for op in group.ops]
        else:
            result.append(group)
    return result


def _main(ops: Sequence[Op]) -> Op:
    """The operator that a row is about: the one with multiply-accumulates, else the first."""
    return next((op for op in ops if op.name in HEAVY), ops[0])


def _kept_bytes(ops: Sequence[Op], output: Value) -> int:
    if not any(op.allocated for op in ops):
        return 0
    return output.numel * output.itemsize


class _Names:
    """Unique names in the manner of torchvision's feature extraction: ``relu``, ``relu_1``, ``relu_2``."""

    def __init__(self) -> None:
        self.given: dict[str, int] = {}

    def give(self, group: _Group, main: Op) -> str:
        own = "" if group.whole_module and group.call.name else operator_name(main)
        name = ".".join(part for part in (group.call.name, own) if part)
        times = self.given.get(name, 0)
        self.given[name] = times + 1
        return f"{name}_{times}" if times else name


def operator_name(op: Op) -> str:
    """The everyday name of an operator."""
    if "attention" in op.name:
        return "attention"
    name = NAMES.get(op.name, op.name)
    name = re.sub(r"^_*(native_)?", "", name.rsplit("::", 1)[-1])
    return re.sub(r"_(with_indices|legit|legit_no_training)$", "", name)


# ------------------------------------------------------------------------------------------------- weights


class _Weights:
    """Which parameters stand behind a tensor, and which were counted already."""

    def __init__(self) -> None:
        self.sources: dict[Value, dict[str, Value]] = {}
        self.counted: set[str] = set()

    def behind(self, value: Value) -> dict[str, Value]:
        if value.origin == "parameter":
            return {value.name: value}
        return self.sources.get(value, {})

    def pass_on(self, ops: Iterable[Op], spread: Spread) -> None:
        """Operators on weights alone (transposed, padded, standardised): the results stand for the weights."""
        for op in ops:
            merged = {name: w for value in op.inputs for name, w in self.behind(value).items()}
            if merged:
                self.sources.update((v, merged) for v in op.outputs if v not in spread.places)

    def take(self, ops: Iterable[Op], spread: Spread) -> int:
        """Parameters that these operators are the first to use."""
        count = 0
        for op in ops:
            for value in op.inputs:
                for name, weight in self.behind(value).items():
                    if name not in self.counted:
                        self.counted.add(name)
                        count += weight.numel
        self.pass_on(ops, spread)
        return count

    def shape(self, group: _Group, main: Op) -> tuple[int, ...] | None:
        if group.whole_module:
            weight = group.call.module._parameters.get("weight")
            if weight is not None:
                return tuple(weight.shape)
        found = [w for value in main.inputs for w in self.behind(value).values()]
        return max((w.shape for w in found), key=lambda shape: (len(shape), shape), default=None)


# ------------------------------------------------------------------------------------------------- context


def _context(op: Op, spread: Spread) -> tuple[tuple[int, ...] | None, tuple[int, ...] | None]:
    """How many positions a kernel spans, and how many pixels each of them has seen along the shortest path."""
    window = _window(op)
    place = next((spread.places[value] for value in op.inputs if value in spread.places), None)
    if window is None or place is None or max(window) == 1 or len(window) != len(place.fields):
        return None, None
    return window, tuple(axis.min_size for axis in place.fields)


def _window(op: Op) -> tuple[int, ...] | None:
    args: Sequence[Any] = op.args
    if op.name == "convolution":
        if args[6]:
            return None
        dilation = args[5] if len(args[5]) == len(args[1].shape) - 2 else args[5] * (len(args[1].shape) - 2)
        return tuple(d * (k - 1) + 1 for k, d in zip(args[1].kernel, dilation, strict=True))
    if re.fullmatch(r"(max|avg)_pool\dd(_with_indices)?", op.name):
        axes = len(op.outputs[0].shape) - 2
        return tuple(args[1] * axes if len(args[1]) == 1 else args[1])
    return None
