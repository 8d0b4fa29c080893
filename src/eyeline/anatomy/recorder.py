"""The dispatch mode behind `trace.record`: sees every operator, runs it on meta tensors, follows storages."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from eyeline.anatomy.graph import Call, Op, Origin, Value
from eyeline.anatomy.shortcuts import SHORTCUTS
from eyeline.anatomy.storages import Storages, geometry, same_order

_PLAIN = frozenset((int, float, bool, str, type(None), torch.dtype, torch.device))


@dataclass(frozen=True)
class _Schema:
    """What the recorder needs to know of an operator, looked up once."""

    name: str
    written: tuple[int, ...]  # positions of the arguments written in place


@functools.cache
def _schema(target: Any) -> _Schema:
    arguments = target._schema.arguments
    written = tuple(i for i, a in enumerate(arguments) if a.alias_info is not None and a.alias_info.is_write)
    name = target._overloadpacket.__name__
    if len(name) > 1 and name.endswith("_") and not name.endswith("__"):
        name = name[:-1]
    return _Schema(name if target.namespace == "aten" else f"{target.namespace}::{name}", written)


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes down operators. With `fake`, tensors of the module become meta tensors on their way in."""

    def __init__(self, net: nn.Module, *, fake: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.fake = fake
        self.ops: list[Op] = []
        self.stack: list[Call] = [Call("", net)]
        self.names = {id(module): name for name, module in net.named_modules()}
        # Tensors that are not activations, by id: their value, the tensor and its meta twin.
        self.fixed: dict[int, tuple[Value, Tensor, Tensor | None]] = {}
        for name, parameter in net.named_parameters():
            self._fix(parameter, "parameter", name)
        for name, buffer in net.named_buffers():
            self._fix(buffer, "buffer", name)
        self.failed: tuple[Call, BaseException] | None = None  # where the latest exception came from
        self.storages = Storages()
        self.shortcuts = SHORTCUTS

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # its wrapper would import torch._dynamo: seconds, for a compiler that is not used

    # ------------------------------------------------------------------------------------------ tensors

    def _fix(self, tensor: Tensor, origin: Origin, name: str = "") -> tuple[Value, Tensor, Tensor | None]:
        value = Value(tuple(tensor.shape), tensor.element_size(), origin, name)
        entry = self.fixed[id(tensor)] = (value, tensor, None)
        return entry

    def _twin(self, tensor: Tensor) -> Tensor:
        """The meta tensor that stands for a tensor of the module."""
        value, original, twin = self.fixed.get(id(tensor)) or self._fix(tensor, "constant")
        if twin is None:
            size, stride = tensor.shape, tensor.stride()
            twin = torch.empty_strided(size, stride, dtype=tensor.dtype, device="meta")
            self.fixed[id(tensor)] = (value, original, twin)
            self.storages.add_constant(twin)
        return twin

    def value_of(self, tensor: Tensor) -> Value:
        """The value that `tensor` holds now."""
        fixed = self.fixed.get(id(tensor))
        if fixed is not None:
            return fixed[0]
        if self.fake and tensor.device.type != "meta":
            return self._fix(tensor, "constant")[0]
        storage = self.storages.find(tensor)
        value = None if storage is None else storage.views.get(geometry(tensor))
        return value if value is not None else self.track(tensor, "constant")

    def track(self, tensor: Tensor, origin: Origin) -> Value:
        """A new value for `tensor`; counts its storage as live when that is new too."""
        value = Value(tuple(tensor.shape), tensor.element_size(), origin)
        self.storages.add(tensor).views[geometry(tensor)] = value
        return value

    # ---------------------------------------------------------------------------------------- operators

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.storages.bury()
        kwargs = kwargs or {}
        schema = _schema(func)
        inputs: list[Value] = []

        def noted(argument: Any) -> Any:
            if type(argument) in _PLAIN:
                return argument
            if isinstance(argument, Tensor):
                inputs.append(self.value_of(argument))
                return inputs[-1]
            return [noted(a) for a in argument] if isinstance(argument, list | tuple) else argument

        recorded = tuple([noted(a) for a in args])
        options = {key: noted(a) for key, a in kwargs.items()}
        op = Op(schema.name, func, recorded, options, tuple(inputs), (), self.stack[-1])

        before = self.storages.live
        result = self._execute(func, args, kwargs, inputs)
        written = [args[i] for i in schema.written if i < len(args) and isinstance(args[i], Tensor)]
        outputs = [self._rewrite(tensor) for tensor in written]
        if not schema.written:
            self._collect(result, outputs)
        op.outputs = tuple(outputs)
        if schema.name == "constant_pad_nd" and inputs[0].origin == "parameter":
            fill = args[2] if len(args) > 2 else 0
            outputs[0].border = tuple(args[1]) if fill == 0 and min(args[1]) >= 0 else ()
        op.allocated, op.live = self.storages.live - before, self.storages.live
        self.ops.append(op)
        for tensor, output in zip(written, outputs, strict=False):
            self._propagate_write(tensor, output, op)
        return result

    def _execute(self, func: Any, args: Any, kwargs: dict[str, Any], inputs: list[Value]) -> Any:
        # Constants are computed for real, for code may branch on them; so may it on a number in a buffer.
        fake = self.fake and any(value.origin != "constant" for value in inputs)
        if not fake or func is torch.ops.aten._local_scalar_dense.default:
            return func(*args, **kwargs)
        args = [self._meta(a) for a in args]
        kwargs = {key: self._meta(a) for key, a in kwargs.items()}
        if "device" in kwargs:
            kwargs["device"] = torch.device("meta")
        shortcut = self.shortcuts.get(func)
        result = None if shortcut is None else shortcut(*args, **kwargs)
        return func(*args, **kwargs) if result is None else result

    def _meta(self, argument: Any) -> Any:
        if type(argument) in _PLAIN:
            return argument
        if isinstance(argument, Tensor):
            return argument if argument.device.type == "meta" else self._twin(argument)
        return [self._meta(a) for a in argument] if isinstance(argument, list | tuple) else argument

    def _collect(self, result: Any, outputs: list[Value]) -> None:
        if isinstance(result, Tensor):
            if self.fake and result.device.type != "meta":
                outputs.append(self._fix(result, "constant")[0])
            else:
                outputs.append(self.track(result, "operator"))
        elif isinstance(result, list | tuple):
            for part in result:
                self._collect(part, outputs)

    def _rewrite(self, tensor: Tensor) -> Value:
        """The value of `tensor` after it was written."""
        fixed = self.fixed.get(id(tensor))
        if fixed is None:
            return self.track(tensor, "operator")
        value = Value(fixed[0].shape, fixed[0].itemsize, "operator", fixed[0].name)
        self.fixed[id(tensor)] = (value, *fixed[1:])
        return value

    def _propagate_write(self, tensor: Tensor, written: Value, op: Op) -> None:
        """Other views of memory that was written hold something new as well: note it as operator `write`."""
        storage = self.storages.find(tensor)
        if storage is None or len(storage.views) == 1:
            return
        mine = geometry(tensor)
        for other, old in list(storage.views.items()):
            if old is not written:
                new = storage.views[other] = Value(old.shape, old.itemsize, "operator")
                args = (old, written, same_order(mine, other))
                self.ops.append(Op("write", None, args, {}, (old, written), (new,), op.call, 0, op.live))

    # ------------------------------------------------------------------------------------------ modules

    def enter(self, module: nn.Module, _: Any) -> None:
        name = self.names.get(id(module))
        if name is not None:
            self.stack.append(Call(name, module))

    def leave(self, module: nn.Module, *_: Any) -> None:
        """Also called while an exception passes through a module, from the innermost outwards."""
        if id(module) not in self.names:
            return
        call, problem = self.stack.pop(), sys.exc_info()[1]
        if problem is not None and (self.failed is None or self.failed[1] is not problem):
            self.failed = (call, problem)
