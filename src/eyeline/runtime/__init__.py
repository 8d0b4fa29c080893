"""One ``.onnx`` artifact to verdicts: numpy, pillow, onnxruntime and pydantic. Never torch."""

from eyeline.images import Tiling
from eyeline.runtime.artifact import Artifact, open_artifact, seal
from eyeline.runtime.contract import (
    SCHEMA_VERSION,
    Calibration,
    Contract,
    Data,
    DecodeProbe,
    Evidence,
    GoldenImage,
    Licences,
    Novelty,
    Proof,
    Threshold,
    read_contract,
)
from eyeline.runtime.engine import Engine, Outputs
from eyeline.runtime.graph import MAX_OPSET, Graph, read_graph
from eyeline.runtime.inspector import TOLERANCE, Inspector, Source, load
from eyeline.runtime.output import FORMATS, format_of, write_verdicts
from eyeline.runtime.probe import make_probe, probe_agrees
from eyeline.runtime.tiles import TILE_MERGE, TILE_NOTE, merge_tiles
from eyeline.runtime.verdict import Verdict
from eyeline.runtime.verify import Check, verify_artifact

__all__ = [
    "FORMATS",
    "MAX_OPSET",
    "SCHEMA_VERSION",
    "TILE_MERGE",
    "TILE_NOTE",
    "TOLERANCE",
    "Artifact",
    "Calibration",
    "Check",
    "Contract",
    "Data",
    "DecodeProbe",
    "Engine",
    "Evidence",
    "GoldenImage",
    "Graph",
    "Inspector",
    "Licences",
    "Novelty",
    "Outputs",
    "Proof",
    "Source",
    "Threshold",
    "Tiling",
    "Verdict",
    "format_of",
    "load",
    "make_probe",
    "merge_tiles",
    "open_artifact",
    "probe_agrees",
    "read_contract",
    "read_graph",
    "seal",
    "verify_artifact",
    "write_verdicts",
]
