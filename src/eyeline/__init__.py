"""Eyeline: a few hundred labelled photos in, one ``.onnx`` inspector you can trust out.

Names are imported when they are first used: ``import eyeline`` costs next to nothing and never imports torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from eyeline.anatomy import describe
    from eyeline.convolution import conv2d
    from eyeline.errors import EyelineError, GateError, ImageError, Interrupted
    from eyeline.images import ImageTable, read_images
    from eyeline.jobs import (
        appraise_model,
        check_images,
        detection_by_size,
        evaluate_model,
        explain_images,
        learning_curve,
        monitor_shift,
        train,
    )
    from eyeline.networks import create_network, network_names
    from eyeline.runtime import Inspector, Verdict, load, verify_artifact
    from eyeline.verdicts import Evaluation

_ROOMS = {
    "anatomy": ("describe",),
    "convolution": ("conv2d",),
    "errors": ("EyelineError", "GateError", "ImageError", "Interrupted"),
    "images": ("ImageTable", "read_images"),
    "jobs": (
        "appraise_model",
        "check_images",
        "detection_by_size",
        "evaluate_model",
        "explain_images",
        "learning_curve",
        "monitor_shift",
        "train",
    ),
    "networks": ("create_network", "network_names"),
    "runtime": ("Inspector", "Verdict", "load", "verify_artifact"),
    "verdicts": ("Evaluation",),
}

__all__ = [
    "Evaluation",
    "EyelineError",
    "GateError",
    "ImageError",
    "ImageTable",
    "Inspector",
    "Interrupted",
    "Verdict",
    "appraise_model",
    "check_images",
    "conv2d",
    "create_network",
    "describe",
    "detection_by_size",
    "evaluate_model",
    "explain_images",
    "learning_curve",
    "load",
    "monitor_shift",
    "network_names",
    "read_images",
    "train",
    "verify_artifact",
]


def __getattr__(name: str) -> Any:
    for room, names in _ROOMS.items():
        if name in names:
            return getattr(importlib.import_module(f"eyeline.{room}"), name)
    raise AttributeError(f"module 'eyeline' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
