"""A network by name, or the one inside an artifact, measured layer by layer."""

from __future__ import annotations

from pathlib import Path

from eyeline.anatomy import LayerTable, describe
from eyeline.errors import EyelineError
from eyeline.networks import create_network, network_info


def describe_network(name: str | Path, *, input_size: tuple[int, int, int] | None = None) -> LayerTable:
    """The layer table of a registry network or of an artifact's network.

    Parameters
    ----------
    name : from `network_names()`, or the path of an ``.onnx`` artifact: the network that it was made from, at its
        image size, channels and classes.
    input_size : (C, H, W); None takes the published one, or the artifact's.

    Raises
    ------
    EyelineError : unknown network, or a size that it does not take.
    """
    classes: int | None = None
    network = str(name)
    if network.endswith(".onnx"):
        from eyeline.runtime import open_artifact

        contract = open_artifact(network).contract
        network, classes = contract.network, len(contract.classes)
        input_size = input_size or (contract.decode.channels, *contract.decode.image_size)
    channels, height, width = input_size or network_info(network).input_size
    if channels < 1 or channels > 4096:
        raise EyelineError(f"{channels} channels; allowed: 1 to 4096", code="bad_option")
    net = create_network(network, num_classes=classes, in_channels=channels, image_size=(height, width))
    return describe(net.eval(), (channels, height, width))
