"""Parameters and MACs of every network. Run as a script it rewrites the registry's table, networks.json."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from eyeline.networks import Network, registry

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5,) * 3, (0.5,) * 3)
FREE = (nn.BatchNorm2d, nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish)
LITE = ((127 / 255,) * 3, (128 / 255,) * 3)  # TensorFlow's EfficientNet-Lite: (pixel - 127) / 128


def preprocessing(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if name.startswith("efficientnet_lite"):
        return LITE
    if name.startswith(
        ("efficientnet_v2_l", "efficientnet_v2_xl", "efficientnet_v2_b", "mobilenet_v1", "vit_")
    ):
        return HALF
    if name.startswith("lenet"):
        return (0.1307,), (0.3081,)  # of MNIST's training images
    return IMAGENET


def build(name: str, *, num_classes: int, in_channels: int, **options: Any) -> Network:
    """A network on the meta device: shapes without numbers."""
    family = next(family for family in registry.FAMILIES if name in module_of(family).ROWS)
    module = module_of(family)
    make: Callable[..., Network] = getattr(module, registry.FAMILIES[family])
    with torch.device("meta"):
        return make(module.ROWS[name], num_classes=num_classes, in_channels=in_channels, **options).eval()


def module_of(family: str) -> Any:
    return importlib.import_module(f"eyeline.networks.{family}")


def parameters(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def macs(net: nn.Module, channels: int, size: int) -> int:
    """Multiply-accumulates of convolutions, linear layers and attention for one square image."""
    for module in net.modules():
        for key, child in module.named_children():
            if isinstance(child, FREE):  # counted as nothing, and slow on the meta device
                setattr(module, key, nn.Identity())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.empty(1, channels, size, size, device="meta"))
    return counter.get_total_flops() // 2


def measure(family: str, name: str) -> dict[str, Any]:
    """The row of networks.json for one network."""
    from eyeline.networks.weights import PACKAGES

    row = module_of(family).ROWS[name]
    channels, classes = (1, 10) if family == "lenet" else (3, 10 if getattr(row, "cifar", False) else 1000)
    # Symmetric and SAME padding cost the same; SameConv2d's leading zeros would be counted as products.
    options = {"padding": "symmetric"} if family == "efficientnet" else {}
    net = build(name, num_classes=classes, in_channels=channels, **options)
    mean, std = preprocessing(name)
    return {
        "family": family,
        "year": row.year,
        "parameters": parameters(net),
        "macs": macs(net, channels, row.size),
        "input_size": [channels, row.size, row.size],
        "classes": classes,
        "weights": ["imagenet"] if name in PACKAGES else [],
        "mean": [round(value, 6) for value in mean],
        "std": [round(value, 6) for value in std],
    }


def measure_family(family: str) -> dict[str, dict[str, Any]]:
    """Every row of one family, in the order of its table."""
    return {name: measure(family, name) for name in module_of(family).ROWS}


if __name__ == "__main__":
    table = {name: row for family in registry.FAMILIES for name, row in measure_family(family).items()}
    lines = (f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in table.items())
    path = Path(registry.__file__).with_name("networks.json")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")
    print(f"{path}: written")
