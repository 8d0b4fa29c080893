"""Any torch.nn.Module, layer by layer: shapes, parameters, cost, memory, receptive field, and what they mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eyeline.anatomy.batchnorm import (
        BatchNormHealth,
        batch_norm_findings,
        batch_norm_health,
        reestimate_batch_norm,
    )
    from eyeline.anatomy.effective import EffectiveField, against_untrained, effective_field, untrained_copy
    from eyeline.anatomy.equivariance import (
        ShiftConsistency,
        ShiftError,
        equivariance_error,
        shift_consistency,
    )
    from eyeline.anatomy.insight import (
        DefectReport,
        Sight,
        defect_report,
        defect_sizes,
        insights,
        saturated_layers,
    )
    from eyeline.anatomy.measure import UntraceableError, describe
    from eyeline.anatomy.memory import TrainingMemory, training_memory
    from eyeline.anatomy.netron import netron_attachment
    from eyeline.anatomy.page import table_page
    from eyeline.anatomy.table import Layer, LayerTable, ReceptiveField, Uncounted
    from eyeline.anatomy.text import table_text

# All of these need torch, which takes a second to import; looking at the names does not.
_HOME = {
    "batchnorm": ("BatchNormHealth", "batch_norm_findings", "batch_norm_health", "reestimate_batch_norm"),
    "effective": ("EffectiveField", "against_untrained", "effective_field", "untrained_copy"),
    "equivariance": ("ShiftConsistency", "ShiftError", "equivariance_error", "shift_consistency"),
    "insight": ("DefectReport", "Sight", "defect_report", "defect_sizes", "insights", "saturated_layers"),
    "measure": ("UntraceableError", "describe"),
    "memory": ("TrainingMemory", "training_memory"),
    "netron": ("netron_attachment",),
    "page": ("table_page",),
    "table": ("Layer", "LayerTable", "ReceptiveField", "Uncounted"),
    "text": ("table_text",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "BatchNormHealth",
    "DefectReport",
    "EffectiveField",
    "Layer",
    "LayerTable",
    "ReceptiveField",
    "ShiftConsistency",
    "ShiftError",
    "Sight",
    "TrainingMemory",
    "Uncounted",
    "UntraceableError",
    "against_untrained",
    "batch_norm_findings",
    "batch_norm_health",
    "defect_report",
    "defect_sizes",
    "describe",
    "effective_field",
    "equivariance_error",
    "insights",
    "netron_attachment",
    "reestimate_batch_norm",
    "saturated_layers",
    "shift_consistency",
    "table_page",
    "table_text",
    "training_memory",
    "untrained_copy",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
