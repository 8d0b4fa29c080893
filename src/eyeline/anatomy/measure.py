"""`describe`: any module, layer by layer, without running it on data."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from eyeline.anatomy.graph import Trace
from eyeline.anatomy.layers import layer_rows, used_parameters
from eyeline.anatomy.memory import peak_bytes, training_memory
from eyeline.anatomy.spread import spread
from eyeline.anatomy.table import LayerTable
from eyeline.anatomy.trace import record
from eyeline.errors import EyelineError


class UntraceableError(EyelineError):
    """The module stopped before its end; `table` holds the layers up to there."""

    def __init__(self, message: str, *, table: LayerTable, code: str, hint: str | None = None) -> None:
        super().__init__(message, code=code, hint=hint)
        self.table = table


def describe(
    net: nn.Module, input_size: Sequence[int], *, batch: int = 1, training: bool = False
) -> LayerTable:
    """Measure `net` for images of `input_size` (C, H, W): shapes, cost, memory and receptive field by layer.

    The module is not run on data and not changed. 1-D and 3-D inputs, (C, L) and (C, D, H, W), work as well.

    Parameters
    ----------
    batch : images in one pass.
    training : also measure the memory of a training step (see `memory`); takes a few times as long.

    Raises
    ------
    EyelineError : `net` is no module, its parameters have no shape yet, or `input_size` is not a shape.
    UntraceableError : an EyelineError; the module refuses this input (wrong number of channels, too small an
        image) or fails. It names the layer and carries the table up to there.
    """
    net = getattr(net, "_orig_mod", net)  # what torch.compile wraps
    shape = _checked(net, input_size, batch)
    trace = record(net, shape)
    table = _table(net, trace, shape)
    if trace.failure is not None:
        raise _failed(trace, table)
    if training:
        memory = training_memory(net, shape[1:], batch=batch)
        table = LayerTable(**{**vars(table), "training": memory})
    return table


def _checked(net: Any, input_size: Sequence[int], batch: int) -> tuple[int, ...]:
    if not isinstance(net, nn.Module):
        raise EyelineError(f"describe takes a torch.nn.Module, not {type(net).__name__}", code="bad_network")
    lazy = (UninitializedParameter, UninitializedBuffer)
    if any(isinstance(p, lazy) for p in (*net.parameters(), *net.buffers())):
        raise EyelineError(
            f"{network_name(net)} has lazy parameters without a shape",
            code="bad_network",
            hint="run it once on an image first",
        )
    shape = (batch, *input_size)
    if len(shape) < 3 or any(not isinstance(side, int) or side < 1 for side in shape):
        raise EyelineError(
            f"input size {tuple(input_size)} with batch {batch}: allowed are whole numbers from 1, (C, H, W)",
            code="bad_input_shape",
        )
    return shape


def network_name(net: nn.Module) -> str:
    """The registry's name when it has one, else its class."""
    name = getattr(net, "name", None)
    return name if isinstance(name, str) and name else type(net).__name__


def _table(net: nn.Module, trace: Trace, shape: tuple[int, ...]) -> LayerTable:
    rows, uncounted = layer_rows(trace, spread(trace))
    used = used_parameters(trace)
    named = dict(net.named_parameters())
    return LayerTable(
        network=network_name(net),
        input=shape[1:],
        batch=shape[0],
        layers=tuple(rows),
        parameters=sum(p.numel() for p in named.values()),
        unused={name: p.numel() for name, p in named.items() if name not in used},
        buffers=sum(b.numel() for b in net.buffers()),
        macs=sum(row.macs for row in rows),
        elementwise=sum(row.elementwise for row in rows),
        activation_bytes=sum(row.activation_bytes for row in rows),
        peak_activation_bytes=peak_bytes(trace),
        training=None,
        uncounted=tuple(uncounted),
        notes=tuple(trace.notes),
    )


# How PyTorch's own operators say that nothing is left of the image.
_TOO_SMALL = re.compile(
    r"too small|greater than actual input|smaller than kernel|(padding|kernel) size should be (less|at most|smaller)"
    r"|non-?zero|negative dimension|invalid for input of size|must be (greater|larger)",
    re.IGNORECASE,
)


def _failed(trace: Trace, table: LayerTable) -> UntraceableError:
    assert trace.failure is not None
    call, problem = trace.failure
    where = f"layer {call.name} ({type(call.module).__name__})" if call.name else "its own forward"
    size = "x".join(map(str, table.input))
    if isinstance(problem, EyelineError):
        reason, code, hint = problem.message, problem.code, problem.hint
    else:
        reason = (str(problem).strip().splitlines() or [""])[0] or type(problem).__name__
        code = "too_small" if _TOO_SMALL.search(reason) else "untraceable"
        hint = "try a larger image" if code == "too_small" else None
    return UntraceableError(
        f"{table.network} stopped in {where} for an input of {size}: {reason}",
        table=table,
        code=code,
        hint=hint,
    )
