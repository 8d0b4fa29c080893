"""Looking inside a module while it runs: the output of a layer as a map (N, C, h, w)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from torch import Tensor, nn

from eyeline.anatomy.table import Layer, LayerTable, positions
from eyeline.errors import EyelineError, nearest


def mapped_modules(net: nn.Module, table: LayerTable) -> dict[str, Layer]:
    """Modules that output a map, and the row that shows it: the last one of a block or a reused module."""
    modules = dict(net.named_modules())
    rows: dict[str, Layer] = {}
    for layer in table.layers:
        if positions(layer) is None:
            continue
        base = layer.name if layer.name in modules else re.sub(r"_\d+$", "", layer.name)
        parts = base.split(".")
        for end in range(1, len(parts) + 1):
            name = ".".join(parts[:end])
            if name in modules:
                rows.pop(name, None)  # the order is that of the last use
                rows[name] = layer
    return rows


def find_layer(net: nn.Module, table: LayerTable, name: str | None) -> tuple[Layer, nn.Module]:
    """The row and the module called `name`, a layer or a block; without a name, the last map of the network.

    Raises
    ------
    EyelineError : no such module, or its output is no map.
    """
    mapped = mapped_modules(net, table)
    if name is None and mapped:
        name = next(reversed(mapped))
    if name not in mapped:
        raise EyelineError(
            f"{table.network} has no layer {name!r} with a map" if name else f"{table.network} has no map",
            code="unknown_layer",
            hint=nearest(name or "", mapped),
        )
    return mapped[name], net.get_submodule(name)


def capture(net: nn.Module, modules: Sequence[nn.Module], run: Callable[[], Any]) -> list[Tensor]:
    """The last output of each of `modules` while ``run()`` runs `net`."""
    outputs: dict[int, Tensor] = {}

    def keep(module: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            outputs[id(module)] = output

    with ExitStack() as stack:
        for module in modules:
            stack.callback(module.register_forward_hook(keep).remove)
        run()
    missing = [type(module).__name__ for module in modules if id(module) not in outputs]
    if missing:
        raise EyelineError(f"{missing[0]} gave no tensor in this pass", code="unknown_layer")
    return [outputs[id(module)] for module in modules]


def as_map(output: Tensor, sides: tuple[int, ...]) -> Tensor:
    """A layer's output as (N, C, h, w), whatever its order: channels first, channels last, or tokens.

    Tokens before the map (class tokens) are left out.

    Raises
    ------
    EyelineError : `output` does not hold a map of these sides.
    """
    h, w = sides
    if output.ndim == 4 and tuple(output.shape[2:]) == (h, w):
        return output
    if output.ndim == 4 and tuple(output.shape[1:3]) == (h, w):
        return output.permute(0, 3, 1, 2)
    if output.ndim == 3 and h * w <= output.shape[1] <= h * w + 8:
        tokens = output[:, output.shape[1] - h * w :].transpose(1, 2)
        return tokens.reshape(*tokens.shape[:2], h, w)
    raise EyelineError(
        f"an output of shape {tuple(output.shape)} holds no map of {h}x{w} cells", code="unknown_layer"
    )
