"""The whole job behind each verb: the rooms, called in order."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eyeline.jobs.anatomy import describe_network
    from eyeline.jobs.appraise import Appraised, appraise_model
    from eyeline.jobs.bench import Bench, bench_model
    from eyeline.jobs.check import Check, check_images
    from eyeline.jobs.claims import MeasuredClaims, measure_claims
    from eyeline.jobs.detection import Detected, detection_by_size
    from eyeline.jobs.evaluate import Measured, evaluate_model
    from eyeline.jobs.explain import Explained, explain_images
    from eyeline.jobs.export import Exported, export_run
    from eyeline.jobs.follow import follow_training, is_follower
    from eyeline.jobs.learning import Learned, learning_curve
    from eyeline.jobs.learning_rate import suggest_learning_rate
    from eyeline.jobs.monitor import Monitored, monitor_shift
    from eyeline.jobs.options import TrainOptions
    from eyeline.jobs.predict import Written, find_images, predictions, write_predictions
    from eyeline.jobs.run import Run, train

# Imported when used: predicting must not pay for what only training needs.
_MODULES = {
    "anatomy": ("describe_network",),
    "appraise": ("Appraised", "appraise_model"),
    "bench": ("Bench", "bench_model"),
    "check": ("Check", "check_images"),
    "claims": ("MeasuredClaims", "measure_claims"),
    "detection": ("Detected", "detection_by_size"),
    "evaluate": ("Measured", "evaluate_model"),
    "explain": ("Explained", "explain_images"),
    "export": ("Exported", "export_run"),
    "follow": ("follow_training", "is_follower"),
    "learning": ("Learned", "learning_curve"),
    "learning_rate": ("suggest_learning_rate",),
    "monitor": ("Monitored", "monitor_shift"),
    "options": ("TrainOptions",),
    "predict": ("Written", "find_images", "predictions", "write_predictions"),
    "run": ("Run", "train"),
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
    "MeasuredClaims",
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
    "follow_training",
    "is_follower",
    "learning_curve",
    "measure_claims",
    "monitor_shift",
    "predictions",
    "suggest_learning_rate",
    "train",
    "write_predictions",
]


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
