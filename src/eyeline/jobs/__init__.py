"""The whole job behind each verb: the rooms, called in order."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eyeline.jobs.anatomy import describe_network
    from eyeline.jobs.check import Check, check_images
    from eyeline.jobs.evaluate import Measured, evaluate_model
    from eyeline.jobs.explain import Explained, explain_images
    from eyeline.jobs.predict import find_images, predictions
    from eyeline.jobs.run import Run, TrainOptions, train

# Imported when used: predicting must not pay for what only training needs.
_MODULES = {
    "anatomy": ("describe_network",),
    "check": ("Check", "check_images"),
    "evaluate": ("Measured", "evaluate_model"),
    "explain": ("Explained", "explain_images"),
    "predict": ("find_images", "predictions"),
    "run": ("Run", "TrainOptions", "train"),
}

__all__ = [
    "Check",
    "Explained",
    "Measured",
    "Run",
    "TrainOptions",
    "check_images",
    "describe_network",
    "evaluate_model",
    "explain_images",
    "find_images",
    "predictions",
    "train",
]


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
