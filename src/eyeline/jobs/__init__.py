"""The whole job behind each verb: the rooms, called in order."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eyeline.jobs.anatomy import describe_network
    from eyeline.jobs.appraise import Appraised, appraise_model
    from eyeline.jobs.bench import Bench, bench_model
    from eyeline.jobs.check import Check, check_images
    from eyeline.jobs.detection import Detected, detection_by_size
    from eyeline.jobs.evaluate import Measured, evaluate_model
    from eyeline.jobs.explain import Explained, explain_images
    from eyeline.jobs.export import Exported, export_run
    from eyeline.jobs.learning import Learned, learning_curve
    from eyeline.jobs.monitor import Monitored, monitor_shift
    from eyeline.jobs.predict import Written, find_images, predictions, write_predictions
    from eyeline.jobs.run import Run, TrainOptions, train

# Imported when used: predicting must not pay for what only training needs.
_MODULES = {
    "anatomy": ("describe_network",),
    "appraise": ("Appraised", "appraise_model"),
    "bench": ("Bench", "bench_model"),
    "check": ("Check", "check_images"),
    "detection": ("Detected", "detection_by_size"),
    "evaluate": ("Measured", "evaluate_model"),
    "explain": ("Explained", "explain_images"),
    "export": ("Exported", "export_run"),
    "learning": ("Learned", "learning_curve"),
    "monitor": ("Monitored", "monitor_shift"),
    "predict": ("Written", "find_images", "predictions", "write_predictions"),
    "run": ("Run", "TrainOptions", "train"),
}

__all__ = [
    "Appraised",
    "Bench",
    "Check",
    "Detected",
    "Explained",
    "Exported",
    "Learned",
    "Measured",
    "Monitored",
    "Run",
    "TrainOptions",
    "Written",
    "appraise_model",
    "bench_model",
    "check_images",
    "describe_network",
    "detection_by_size",
    "evaluate_model",
    "explain_images",
    "export_run",
    "find_images",
    "learning_curve",
    "monitor_shift",
    "predictions",
    "train",
    "write_predictions",
]


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
