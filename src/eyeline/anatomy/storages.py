"""Which blocks of memory are alive: the ledger behind every memory figure."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from eyeline.anatomy.graph import Value


class Storage:
    """A block of memory, held weakly, and the values that are views of it."""

    __slots__ = ("bytes", "views", "weak")

    def __init__(self, storage: torch.UntypedStorage) -> None:
        self.weak = storage._weak_ref()  # does not keep it alive, but keeps its address from being reused
        self.bytes = storage.nbytes()
        self.views: dict[Any, Value] = {}

    def expired(self) -> bool:
        return bool(torch.UntypedStorage._expired(self.weak))

    def __del__(self) -> None:
        torch.UntypedStorage._free_weak_ref(self.weak)  # type: ignore[no-untyped-call]


class Storages:
    """The blocks of memory that tensors of a run live in.

    `live` sums the bytes of those alive now; `constant` ones (weights) are known but never counted.
    """

    def __init__(self) -> None:
        self.live = 0
        self._alive: dict[int, Storage] = {}
        self._constant: dict[int, Storage] = {}

    def find(self, tensor: Tensor) -> Storage | None:
        key = tensor.untyped_storage()._cdata
        return self._alive.get(key) or self._constant.get(key)

    def add(self, tensor: Tensor) -> Storage:
        """The storage of `tensor`, counted from now on if it is new."""
        found = self.find(tensor)
        if found is None:
            storage = tensor.untyped_storage()
            found = self._alive[storage._cdata] = Storage(storage)
            self.live += found.bytes
        return found

    def add_constant(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        self._constant[storage._cdata] = Storage(storage)

    def bury(self) -> None:
        """Take those that died out of the count."""
        for key in [key for key, storage in self._alive.items() if storage.expired()]:
            self.live -= self._alive.pop(key).bytes


def geometry(tensor: Tensor) -> Any:
    """Where a view lies in its storage: offset, shape, strides."""
    return tensor.storage_offset(), tensor.shape, tensor.stride()


def same_order(first: Any, second: Any) -> bool:
    """Do two geometries run over the same stretch of memory, front to back?"""
    return (
        bool(first[0] == second[0])
        and bool(first[1].numel() == second[1].numel())
        and all(_contiguous(shape, stride) for _, shape, stride in (first, second))
    )


def _contiguous(shape: Any, stride: Any) -> bool:
    expected = 1
    for side, step in zip(reversed(shape), reversed(stride), strict=True):
        if side != 1 and step != expected:
            return False
        expected *= side
    return True
