"""The list of networks, and the one way to build any of them."""

from __future__ import annotations

import functools
import importlib
import inspect
import json
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eyeline.errors import EyelineError, nearest

if TYPE_CHECKING:
    from eyeline.networks.blocks import Network

# Module and class of each family, in the order of history; imported when one of its networks is built.
FAMILIES = {
    "lenet": "LeNet",
    "alexnet": "AlexNet",
    "vgg": "VGG",
    "resnet": "ResNet",
    "mobilenet": "MobileNet",
    "efficientnet": "EfficientNet",
    "vit": "VisionTransformer",
    "convnext": "ConvNeXt",
}


@dataclass(frozen=True, kw_only=True)
class NetworkInfo:
    """What is known of a network without building it.

    `parameters` and `macs` (multiply-accumulates of convolutions, linear layers and attention, one image of
    `input_size`) are those of the published network with `classes` classes. `mean` and `std`, a value a
    channel in units of [0, 1], are the preprocessing of the published weights; `weights` names what
    `weights=` can load without a file.
    """

    name: str
    family: str
    year: int
    parameters: int
    macs: int
    input_size: tuple[int, int, int]  # (C, H, W)
    classes: int
    weights: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def network_names() -> list[str]:
    """Every name that `create_network` takes, in the order of history."""
    return list(_catalogue())


def network_info(name: str) -> NetworkInfo:
    """Year, cost, input and weights of one network. Reads a table; builds nothing and needs no torch."""
    if name not in _catalogue():
        raise EyelineError(
            f"unknown network {name!r}", code="unknown_network", hint=nearest(name, _catalogue())
        )
    return _catalogue()[name]


def create_network(
    name: str,
    *,
    num_classes: int | None = None,
    in_channels: int | None = None,
    image_size: int | tuple[int, int] | None = None,
    weights: str | Path | None = None,
    middle: bool = False,
    **options: Any,
) -> Network:
    """Build one network; a plain ``torch.nn.Module`` from ``(N, C, H, W)`` to logits ``(N, K)``.

    Parameters
    ----------
    name : from `network_names()`.
    num_classes, in_channels : None for the published ones.
    image_size : pixels, one number or (height, width): checked against the strides, and the grid of a vision
        transformer's position embedding. Convolutional networks take any larger size later on.
    weights : None (initialised as published), "imagenet" where an installed package ships them, the path of a
        ``.safetensors`` or ``.pth`` file, or ``timm/<model>`` from the local Hugging Face cache.
    middle : let the last layer, which is then new, read two middle stages too (`Network.read_middle`).
    options : of the family, such as ``dropout``, ``drop_path`` and ``small_stem``; see its class.

    The parameters are laid out channels-last, which is the fast layout of convolutions on the CPU;
    ``net.to(memory_format=torch.contiguous_format)`` undoes it.

    Raises
    ------
    EyelineError : unknown name or option, an image size that the strides do not allow, or unusable weights.
    """
    import torch

    info = network_info(name)
    module = importlib.import_module(f"eyeline.networks.{info.family}")
    family = getattr(module, FAMILIES[info.family])
    known = [key for key in inspect.signature(family).parameters if key != "row"]

    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    if "image_size" in known:
        options["image_size"] = size
    if weights is not None:
        from eyeline.networks.weights import published_numerics

        options = published_numerics(name, weights) | options
    for option, value in options.items():
        if option not in known:
            hint = f"allowed: {', '.join(known)}"
            raise EyelineError(f"{name} has no option {option!r}", code="bad_option", hint=hint)
        if option in ("dropout", "drop_path") and value is not None and not 0 <= value < 1:
            raise EyelineError(f"{option} is {value}; allowed: 0 to below 1", code="bad_option")
    classes = info.classes if num_classes is None else num_classes
    channels = info.input_size[0] if in_channels is None else in_channels
    for label, value in (("num_classes", classes), ("in_channels", channels)):
        if value < 1:
            raise EyelineError(f"{label} is {value}; allowed: 1 or more", code="bad_option")

    net: Network = family(module.ROWS[name], num_classes=classes, in_channels=channels, **options)
    net.name = name
    if size is not None:
        net.check_size(*size)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if weights is not None:
        from eyeline.networks.weights import load_weights

        load_weights(net, weights)
    if middle:
        net.read_middle()
    return net


@functools.cache
def _catalogue() -> dict[str, NetworkInfo]:
    text = resources.files("eyeline.networks").joinpath("networks.json").read_text("utf-8")
    table: dict[str, dict[str, Any]] = json.loads(text, object_hook=_lists_to_tuples)
    return {name: NetworkInfo(name=name, **row) for name, row in table.items()}


def _lists_to_tuples(row: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
