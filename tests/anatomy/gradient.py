"""Where the gradient of one output is not zero, in float64: the receptive field without any theory."""

from __future__ import annotations

import torch
from torch import nn

from eyeline.anatomy import describe
from eyeline.anatomy.probe import as_map, capture, find_layer
from eyeline.anatomy.table import positions


def positive(net: nn.Module) -> nn.Module:
    """`net` with every influence positive, in double precision and inference mode."""
    for module in list(net.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.MaxPool2d):
                average = nn.AvgPool2d(child.kernel_size, child.stride, child.padding, child.ceil_mode)
                setattr(module, name, average)
            elif isinstance(child, nn.ReLU6):  # has no gradient above 6
                setattr(module, name, nn.ReLU())
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
    for parameter in net.parameters():
        parameter.data.abs_().add_(1e-3)
    return net.double().eval()


def support(
    net: nn.Module, module: nn.Module, sides: tuple[int, int], size: int, unit: tuple[int, int]
) -> list[tuple[int, int]]:
    """First and last row, then column, of the image with a gradient from one unit of `module`'s map."""
    image = torch.rand(1, 3, size, size, dtype=torch.float64, requires_grad=True)
    output = as_map(capture(net, [module], lambda: net(image))[0], sides)
    gradient = torch.autograd.grad(output[:, :, unit[0], unit[1]].sum(), image)[0]
    seen = gradient[0].abs().sum(0) > 0
    return [
        (int(hit[0]), int(hit[-1])) for hit in (seen.any(1).nonzero().ravel(), seen.any(0).nonzero().ravel())
    ]


def check(
    net: nn.Module, size: int, layer: str | None = None, *, slack: int = 0, borders: bool = True
) -> None:
    """Compare table and gradient for a unit in the middle and, with `borders`, for two at the edge.

    `slack` is how many pixels the table's interval may be larger on either side.
    """
    net = positive(net)
    table = describe(net, (3, size, size))
    row, module = find_layer(net, table, layer)
    field, sides = row.receptive_field, positions(row)
    assert field is not None
    assert sides is not None
    assert field.known
    assert not field.is_global
    h, w = sides
    for unit in {(h // 2, w // 2), *([(0, 0), (h - 1, w // 3)] if borders else [])}:
        found = support(net, module, (h, w), size, unit)
        for axis, (first, last), position in zip(field.axes, found, unit, strict=True):
            span = axis.at(position)
            assert span.start <= first <= span.start + slack
            # The last rows of an image may be left over by a stride and seen by nobody.
            cut = axis.stride - 1 if span.end == size - 1 else 0
            assert span.end - slack - cut <= last <= span.end
