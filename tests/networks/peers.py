"""torchvision and timm as oracles: the same network from other hands, with random weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

# torchvision registers fakes for two operators of its C++ extension when it is imported. Where the extension
# does not fit the installed torch, the operators must be known all the same; models never call them.
_library = torch.library.Library("torchvision", "FRAGMENT")
for _schema in (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
):
    if not hasattr(torch.ops.torchvision, _schema.partition("(")[0]):
        _library.define(_schema)

import timm  # noqa: E402
import torchvision  # noqa: E402
from torchvision.transforms import v2 as v2  # noqa: E402


def create(library: str, name: str, **options: Any) -> nn.Module:
    """A peer with 1000 classes, randomly initialised."""
    if library == "torchvision":
        return torchvision.models.get_model(name, weights=None, **options)
    return timm.create_model(name, pretrained=False, num_classes=1000, **options)


@torch.no_grad()
def randomise(net: nn.Module) -> None:
    """Make what initialisation leaves at 0 or 1 count: batch norm statistics, scales, zero heads and tokens."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    for name, parameter in net.named_parameters():
        if parameter.ndim == 1 or name.endswith(("gamma", "layer_scale")):
            parameter.add_(torch.empty_like(parameter).uniform_(-0.1, 0.1))
        elif not parameter.any():
            parameter.normal_(0, 0.02)


@torch.no_grad()
def damp(net: nn.Module) -> nn.Module:
    """Halve what batch norms put out.

    Untrained, EfficientNetV2-M and L grow their signal a millionfold over their hundred blocks, and with it every
    rounding: tests would compare noise. Trained weights do not.
    """
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.mul_(0.5)
    return net
