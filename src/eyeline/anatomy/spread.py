"""The receptive field of every tensor of a trace, pushed from the image through the operators."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from eyeline.anatomy import rules_mixing, rules_views, rules_windows
from eyeline.anatomy.graph import Op, Trace, Value
from eyeline.anatomy.layout import image_layout
from eyeline.anatomy.place import Place, joined_places, unknown
from eyeline.anatomy.rules import RULES, Scope
from eyeline.convolution import Field
from eyeline.errors import EyelineError

# Importing these modules filled RULES.
_ = rules_mixing, rules_views, rules_windows

# Elementwise operators that PyTorch does not tag as such.
ELEMENTWISE = frozenset(
    (
        *("_to_copy", "clone", "alias", "detach", "contiguous", "lift_fresh", "hardswish", "hardtanh"),
        *("_prelu_kernel", "native_dropout", "rrelu_with_noise", "log_sigmoid_forward", "celu", "selu"),
        *("native_channel_shuffle", "channel_shuffle", "masked_fill", "where", "addcmul", "floor_divide"),
    )
)
# The result has the shape of the input and nothing else of it.
SHAPE_ONLY = frozenset(
    (
        *("empty_like", "zeros_like", "ones_like", "full_like", "rand_like", "randn_like", "bernoulli"),
        *("new_empty", "new_zeros", "new_ones", "new_full", "new_empty_strided", "fill", "zero"),
        *("uniform", "normal", "empty", "sym_size", "randint_like"),
    )
)


@dataclass(eq=False)
class Spread:
    """The place of every value that depends on the image, and the operators that had no rule."""

    places: dict[Value, Place] = field(default_factory=dict)
    unknown: list[Op] = field(default_factory=list)


def spread(trace: Trace) -> Spread:
    """Receptive fields of all values of `trace`."""
    shape = trace.image.shape
    fields = tuple(Field(side=side) for side in shape[2:])
    result = Spread({trace.image: Place(image_layout(shape), fields)})
    for op in trace.ops:
        scope = Scope(op, result.places)
        if op.name in SHAPE_ONLY or not scope.inputs or not op.outputs:
            continue
        outputs = _outputs(op, scope)
        if outputs is None:
            result.unknown.append(op)
            outputs = [unknown(scope.inputs, output.shape) for output in op.outputs]
        for value, place in zip(op.outputs, outputs, strict=False):
            if place is not None:
                result.places[value] = place
    return result


def _outputs(op: Op, scope: Scope) -> Sequence[Place | None] | None:
    found = RULES.get(op.name)
    outcome = None
    if found is not None:
        # Foreign code can call an operator in ways that its rule does not expect; then it has no rule.
        with contextlib.suppress(TypeError, ValueError, IndexError, EyelineError):
            outcome = found(scope, *op.args, **op.kwargs)
    if outcome is None and is_elementwise(op):
        outcome = joined_places(scope.inputs, scope.shape)
    if isinstance(outcome, Place):
        return [outcome]
    return outcome


def is_elementwise(op: Op) -> bool:
    """Each output position reads the same position of the inputs."""
    return op.name in ELEMENTWISE or (op.target is not None and _tagged(op.target.namespace, op.name))


@functools.cache
def _tagged(namespace: str, name: str) -> bool:
    """Does PyTorch call any form of the operator pointwise? In-place forms often lack the tag."""
    packet = getattr(getattr(torch.ops, namespace), name.rpartition("::")[2], None)
    overloads = [] if packet is None else packet.overloads()
    return any(torch.Tag.pointwise in getattr(packet, overload).tags for overload in overloads)
