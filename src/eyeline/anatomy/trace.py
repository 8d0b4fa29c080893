"""Running a module without data: every operator it calls, on which tensors, inside which layer.

The module's own Python code runs once on **meta** tensors, which have a shape but no memory. A dispatch mode
sees each ATen operator after PyTorch has resolved it, so functional calls, reused modules, shared parameters,
operators inside fused attention and third-party layers are all seen, and nothing is patched: parameters are
replaced by meta twins on their way into an operator and the module itself is never touched.

Tensors live and die in the trace exactly as they would with data, because the same Python frames hold them.
That is what makes `Op.live` the memory of a real run (see `memory`).

A module that needs the *values* (data-dependent branches, operators without a meta kernel) is run once on an
image of zeros instead, and the trace says so.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules import module as module_hooks

from eyeline.anatomy.graph import Trace
from eyeline.anatomy.modes import inference_mode_of
from eyeline.anatomy.recorder import Recorder
from eyeline.errors import EyelineError

_general_attention = F.scaled_dot_product_attention


def _attention(*args: Any, **kwargs: Any) -> Tensor:
    """On the CPU attention is one fused operator that never stores the L x L matrix; on meta, by itself, not."""
    fused = None
    with contextlib.suppress(TypeError):  # arguments that only the general path takes
        fused = _fused_attention(*args, **kwargs)
    return _general_attention(*args, **kwargs) if fused is None else fused


def _fused_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
) -> Tensor | None:
    if query.device.type != "meta" or query.ndim != 4:
        return None
    same_heads = query.shape[:2] == key.shape[:2] and query.shape[-1] == value.shape[-1]
    if not same_heads or dropout_p or (attn_mask is not None and attn_mask.ndim not in (2, 4)):
        return None
    fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    result: Tensor = fused(query, key, value, 0.0, is_causal, attn_mask=attn_mask, scale=scale)[0]
    return result


@contextlib.contextmanager
def fused_attention_on_meta() -> Iterator[None]:
    # The dispatcher takes attention apart before a mode can see it, so the Python entry is the place to step
    # in. Other threads are not disturbed: anything but meta tensors goes the usual way.
    F.scaled_dot_product_attention = _attention
    try:
        yield
    finally:
        F.scaled_dot_product_attention = _general_attention


def record(net: nn.Module, shape: Sequence[int]) -> Trace:
    """Trace ``net(image)`` in inference mode for an image of `shape` (N, C, H, W).

    The module is left as it was. An exception inside it ends the trace early; see `Trace.failure`.
    """
    trace, problem = _run(net, shape, fake=True)
    if problem is None or isinstance(problem, EyelineError):
        return trace
    real, _ = _run(net, shape, fake=False)
    if real.failure is None or len(real.ops) >= len(trace.ops):
        reason = str(problem).strip().splitlines() or [type(problem).__name__]
        real.notes.append(f"traced with one image of zeros, because without data: {reason[0]}")
        return real
    return trace


def _run(net: nn.Module, shape: Sequence[int], *, fake: bool) -> tuple[Trace, Exception | None]:
    weight = next((p for p in net.parameters() if p.is_floating_point()), None)
    device = "meta" if fake else ("cpu" if weight is None else weight.device)
    make: Callable[..., Tensor] = torch.empty if fake else torch.zeros
    image = make(tuple(shape), device=device, dtype=None if weight is None else weight.dtype)
    recorder = Recorder(net, fake=fake)
    trace = Trace(net, recorder.track(image, "image"), recorder.ops)
    with contextlib.ExitStack() as stack:
        stack.enter_context(inference_mode_of(net))
        stack.enter_context(torch.no_grad())
        stack.callback(module_hooks.register_module_forward_pre_hook(recorder.enter).remove)
        stack.callback(module_hooks.register_module_forward_hook(recorder.leave, always_call=True).remove)
        fast_path = torch.backends.mha.get_fastpath_enabled()
        stack.callback(torch.backends.mha.set_fastpath_enabled, fast_path)
        torch.backends.mha.set_fastpath_enabled(False)  # one opaque operator for a whole encoder layer
        stack.enter_context(fused_attention_on_meta())
        stack.enter_context(recorder)
        try:
            result = net(image)
        except Exception as problem:  # whatever foreign code raises; it becomes one clear line later
            found = recorder.failed
            trace.failure = found if found and found[1] is problem else (recorder.stack[0], problem)
            return trace, problem
    trace.outputs = tuple(recorder.value_of(tensor) for tensor in tensors_of(result))
    return trace, None


def tensors_of(result: Any) -> Iterator[Tensor]:
    if isinstance(result, Tensor):
        yield result
    elif isinstance(result, dict):
        for part in result.values():
            yield from tensors_of(part)
    elif isinstance(result, list | tuple):
        for part in result:
            yield from tensors_of(part)
