"""Where the cells of the last map lie in the image: the centres of their receptive fields.

A map of 7x7 cells is not a grid laid over 224 pixels: ResNet's cells are centred at 0, 32, 64 ...; with
TensorFlow's SAME padding EfficientNet-Lite's are at 31, 63, 95 ... Drawing either stretched to the border moves
what the network saw by half a cell.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from eyeline.errors import EyelineError

Pair = tuple[float, float]
_WINDOWS = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)


def map_placement(
    net: nn.Module, image_size: tuple[int, int], *, in_channels: int | None = None
) -> tuple[Pair, Pair]:
    """Stride and offset, each (vertical, horizontal) in pixels, of the cells of ``net.forward_features``.

    Cell ``i`` is centred at ``offset + i * stride``; 0 is the centre of the first pixel. One forward pass on an
    empty image shows which windows lead from one grid to the next; a window's own shift is measured, so any
    padding will do. Where branches meet that are shifted against each other (by half a pixel in ResNet-D), the
    one that runs first counts.

    Parameters
    ----------
    net : a network of `eyeline.networks`, or any module, whose ``forward`` is then taken.
    image_size : height and width of the network's input.

    Raises
    ------
    EyelineError : the last map is no grid that windows lead to, such as a transformer's tokens.
    """
    channels = in_channels if in_channels is not None else int(getattr(net, "in_channels", 3))
    grids: tuple[dict[int, Pair], ...] = tuple({side: (1.0, 0.0)} for side in image_size)

    def follow(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        for axis, known in enumerate(grids):
            before, after = inputs[0].shape[2 + axis], output.shape[2 + axis]
            if before in known and after not in known:
                stride, offset = known[before]
                step, shift = _step_and_shift(module, before, axis)
                known[after] = (stride * step, offset + stride * shift)

    hooks = [m.register_forward_hook(follow) for m in net.modules() if isinstance(m, _WINDOWS)]
    training = net.training
    try:
        net.eval()
        forward: Callable[[torch.Tensor], Any] = getattr(net, "forward_features", net)
        device = next((p.device for p in net.parameters()), torch.device("cpu"))
        with torch.no_grad():
            last = forward(torch.zeros(1, channels, *image_size, device=device))
    finally:
        net.train(training)
        for hook in hooks:
            hook.remove()
    if last.ndim != 4 or any(last.shape[2 + axis] not in grids[axis] for axis in (0, 1)):
        raise EyelineError(
            f"the last map {tuple(last.shape)} is no grid over the image: its cells have no place",
            code="no_evidence",
        )
    (sy, oy), (sx, ox) = (grids[axis][last.shape[2 + axis]] for axis in (0, 1))
    return (sy, sx), (oy, ox)


def _step_and_shift(module: nn.Module, side: int, axis: int) -> Pair:
    """Stride of a window and the centre of its first position, in cells of its input of `side` cells."""
    step = _of_axis(module.stride, axis)
    if isinstance(module, nn.Conv2d):
        return float(step), _measured_shift(module, side, step, axis)
    kernel, padding = _of_axis(module.kernel_size, axis), _of_axis(module.padding, axis)
    dilation = _of_axis(getattr(module, "dilation", 1), axis)
    return float(step), dilation * (kernel - 1) / 2 - padding


def _measured_shift(conv: nn.Conv2d, side: int, step: int, axis: int) -> float:
    """The centre of position 0, from the pixels that a position in the middle of a large map depends on.

    Padding that follows the size, such as SAME, only depends on the remainder by the stride, which is kept.
    """
    probe = copy.deepcopy(conv)
    with torch.no_grad():
        probe.weight.fill_(1.0)
    reach = _of_axis(conv.kernel_size, axis) * _of_axis(conv.dilation, axis)
    sides = [4 * reach * max(conv.stride)] * 2
    sides[axis] = side % step + step * (4 * reach)
    weight = probe.weight
    with torch.enable_grad():
        x = torch.zeros(
            1, conv.in_channels, *sides, dtype=weight.dtype, device=weight.device, requires_grad=True
        )
        y = probe.forward(x)  # not probe(x): the copy has our hook too
        place = [n // 2 for n in y.shape[2:]]
        (gradient,) = torch.autograd.grad(y[0, :, place[0], place[1]].sum(), x)
    seen = gradient[0].abs().sum(dim=(0, 2 - axis)).nonzero().flatten()
    return (int(seen[0]) + int(seen[-1])) / 2 - place[axis] * step


def _of_axis(value: Any, axis: int) -> int:
    return int(value[axis] if isinstance(value, tuple) else value)
