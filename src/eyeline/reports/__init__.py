"""Results as pages: one self-contained HTML file, and evidence drawn on pictures.

`overlay` needs NumPy and Pillow only; the pages need Jinja2, which is imported when one is written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eyeline.reports.appraise import AppraisalData, write_appraisal
    from eyeline.reports.check import CheckData, Comparison, Proposal, Suspect, write_check
    from eyeline.reports.claims import write_claims
    from eyeline.reports.data import (
        EvidenceMaps,
        ExplainData,
        ExplainItem,
        Protocol,
        ReportData,
        ShippedModel,
    )
    from eyeline.reports.detection import DetectionData, write_detection
    from eyeline.reports.embed import png_bytes
    from eyeline.reports.explain import explain_scale, write_explain
    from eyeline.reports.learning import LearningData, write_learning
    from eyeline.reports.monitor import MonitorData, write_monitor
    from eyeline.reports.overlay import (
        Placement,
        SignedEvidence,
        draw_overlay,
        evidence_scale,
        signed_evidence,
    )
    from eyeline.reports.report import write_report

_MODULES = {
    "appraise": ("AppraisalData", "write_appraisal"),
    "check": ("CheckData", "Comparison", "Proposal", "Suspect", "write_check"),
    "claims": ("write_claims",),
    "data": ("EvidenceMaps", "ExplainData", "ExplainItem", "Protocol", "ReportData", "ShippedModel"),
    "detection": ("DetectionData", "write_detection"),
    "embed": ("png_bytes",),
    "explain": ("explain_scale", "write_explain"),
    "learning": ("LearningData", "write_learning"),
    "monitor": ("MonitorData", "write_monitor"),
    "overlay": ("Placement", "SignedEvidence", "draw_overlay", "evidence_scale", "signed_evidence"),
    "report": ("write_report",),
}

__all__ = [
    "AppraisalData",
    "CheckData",
    "Comparison",
    "DetectionData",
    "EvidenceMaps",
    "ExplainData",
    "ExplainItem",
    "LearningData",
    "MonitorData",
    "Placement",
    "Proposal",
    "Protocol",
    "ReportData",
    "ShippedModel",
    "SignedEvidence",
    "Suspect",
    "draw_overlay",
    "evidence_scale",
    "explain_scale",
    "png_bytes",
    "signed_evidence",
    "write_appraisal",
    "write_check",
    "write_claims",
    "write_detection",
    "write_explain",
    "write_learning",
    "write_monitor",
    "write_report",
]


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            import importlib

            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
