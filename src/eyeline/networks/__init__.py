"""The published families, LeNet-5 to ConvNeXt: one file each, in the order of history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eyeline.networks.registry import NetworkInfo, create_network, network_info, network_names

if TYPE_CHECKING:
    from eyeline.networks.blocks import DropPath, Network
    from eyeline.networks.efficientnet import Scaling, scale
    from eyeline.networks.folding import fold_batch_norm
    from eyeline.networks.views import VIEWS, Views
    from eyeline.networks.weights import LoadReport, find_weights, load_weights

__all__ = [
    "VIEWS",
    "DropPath",
    "LoadReport",
    "Network",
    "NetworkInfo",
    "Scaling",
    "Views",
    "create_network",
    "find_weights",
    "fold_batch_norm",
    "load_weights",
    "network_info",
    "network_names",
    "scale",
]

# These need torch, which takes a second to import; listing networks does not.
_LAZY = {
    "DropPath": "blocks",
    "Network": "blocks",
    "fold_batch_norm": "folding",
    "LoadReport": "weights",
    "find_weights": "weights",
    "load_weights": "weights",
    "VIEWS": "views",
    "Views": "views",
    "Scaling": "efficientnet",
    "scale": "efficientnet",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
