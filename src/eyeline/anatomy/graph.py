"""What a trace is made of: tensors without data, operators, calls of modules."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from torch import nn

Origin = Literal["image", "parameter", "buffer", "constant", "operator"]


@dataclass(eq=False, slots=True)
class Value:
    """One tensor of the trace, without its data.

    `name` is that of a parameter or buffer, as `named_parameters` gives it. A kernel that was framed by zeros
    (TensorFlow's SAME padding with odd totals) has a `border`: the numbers of zeros as ``F.pad`` takes them.
    """

    shape: tuple[int, ...]
    itemsize: int
    origin: Origin
    name: str = ""
    border: tuple[int, ...] = ()

    def zeros(self, dim: int) -> tuple[int, int]:
        """Zeros before and behind the real content along `dim`."""
        i = 2 * (len(self.shape) - 1 - dim)
        return (self.border[i], self.border[i + 1]) if i < len(self.border) else (0, 0)

    @property
    def kernel(self) -> tuple[int, ...]:
        """Of a convolution's weight: sides without zeros."""
        return tuple(self.shape[d] - sum(self.zeros(d)) for d in range(2, len(self.shape)))

    @property
    def numel(self) -> int:
        count = 1
        for side in self.shape:
            count *= side
        return count


@dataclass(eq=False, slots=True)
class Call:
    """One call of a module: its name in the network (``layer1.0.conv1``) and the module."""

    name: str
    module: nn.Module


@dataclass(eq=False, slots=True)
class Op:
    """One operator call; in `args` and `kwargs` a `Value` stands where a tensor was.

    Attributes
    ----------
    name : the ATen operator without namespace, overload and in-place underscore, such as ``convolution``.
    outputs : the tensors returned; for an in-place operator, the new value of the tensor written.
    allocated : bytes of new storage that the outputs needed; 0 for views and in-place writes.
    live : bytes of all storages alive right after it: the image and activations, not parameters and buffers.
    """

    name: str
    target: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    call: Call
    allocated: int = 0
    live: int = 0


@dataclass(eq=False)
class Trace:
    """Every operator in order. `failure` tells where and why the run stopped, None when it came to its end."""

    net: nn.Module
    image: Value
    ops: list[Op] = field(default_factory=list)
    outputs: tuple[Value, ...] = ()
    notes: list[str] = field(default_factory=list)
    failure: tuple[Call, BaseException] | None = None
