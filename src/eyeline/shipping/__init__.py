"""From a trained network to one ``.onnx`` artifact that has proven to say the same."""

from eyeline.shipping.export import export_artifact, software_versions
from eyeline.shipping.golden import Reference, choose_golden
from eyeline.shipping.graph import OPSET, Exported, Inspection, to_onnx
from eyeline.shipping.proof import prove

__all__ = [
    "OPSET",
    "Exported",
    "Inspection",
    "Reference",
    "choose_golden",
    "export_artifact",
    "prove",
    "software_versions",
    "to_onnx",
]
