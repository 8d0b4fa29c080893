"""The registry of rules: for each operator, the receptive field of its outputs from that of its inputs.

A rule is a function of a `Scope` and the operator's own arguments (with a `Value` where a tensor was). It
returns the `Place` of the output, a list with one per output, or None when it cannot tell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from eyeline.anatomy.graph import Op, Value
from eyeline.anatomy.place import Place

Result = Place | Sequence[Place | None] | None
Rule = Callable[..., Result]
RULES: dict[str, Rule] = {}


class Scope:
    """What a rule may ask: the places of the inputs, the shapes of the outputs."""

    def __init__(self, op: Op, places: dict[Value, Place]) -> None:
        self.op = op
        self._places = places

    def __call__(self, value: Value) -> Place | None:
        """The place of an input; None when it does not depend on the image."""
        return self._places.get(value)

    @property
    def inputs(self) -> list[Place]:
        """The places of the inputs that depend on the image."""
        places = self._places
        return [places[value] for value in self.op.inputs if value in places]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the first output."""
        return self.op.outputs[0].shape


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a rule for ATen operators, named as `Op.name`."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register


def per_axis(values: int | Sequence[int], axes: int) -> list[int]:
    """One number for all axes, or one each, as PyTorch's arguments have it."""
    values = [values] if isinstance(values, int) else list(values)
    return values * axes if len(values) == 1 else values
