"""One ``.onnx`` artifact to verdicts: numpy, pillow, onnxruntime and pydantic. Never torch."""

from eyeline.images import Tiling
from eyeline.runtime.artifact import Artifact, open_artifact, seal
from eyeline.runtime.contract import (
    MAX_AUROC_LOSS,
    SCHEMA_VERSION,
    TOLERANCE,
    Calibration,
    Contract,
    Data,
    DecodeProbe,
    Evidence,
    Figures,
    GoldenImage,
    Licences,
    Novelty,
    Proof,
    Quantization,
    Threshold,
    read_contract,
)
from eyeline.runtime.engine import Engine, Outputs
from eyeline.runtime.engines import (
    ENGINES,
    EngineChoice,
    open_engine,
    remember_choice,
    remembered_choice,
)
from eyeline.runtime.graph import MAX_OPSET, Graph, read_graph
from eyeline.runtime.inspector import Inspector, Source, load
from eyeline.runtime.machine import cores, machine_key, processor
from eyeline.runtime.output import FORMATS, format_of, write_verdicts
from eyeline.runtime.probe import make_probe, probe_agrees
from eyeline.runtime.resume import finished_rows, partial_path
from eyeline.runtime.signature import check_signature, new_key, sign_artifact
from eyeline.runtime.stopwatch import Timing, time_runs, time_stages
from eyeline.runtime.tiles import TILE_MERGE, TILE_NOTE, merge_tiles
from eyeline.runtime.verdict import Verdict
from eyeline.runtime.verify import Check, verify_artifact

__all__ = [
    "ENGINES",
    "FORMATS",
    "MAX_AUROC_LOSS",
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
    "EngineChoice",
    "Evidence",
    "Figures",
    "GoldenImage",
    "Graph",
    "Inspector",
    "Licences",
    "Novelty",
    "Outputs",
    "Proof",
    "Quantization",
    "Source",
    "Threshold",
    "Tiling",
    "Timing",
    "Verdict",
    "check_signature",
    "cores",
    "finished_rows",
    "format_of",
    "load",
    "machine_key",
    "make_probe",
    "merge_tiles",
    "new_key",
    "open_artifact",
    "open_engine",
    "partial_path",
    "probe_agrees",
    "processor",
    "read_contract",
    "read_graph",
    "remember_choice",
    "remembered_choice",
    "seal",
    "sign_artifact",
    "time_runs",
    "time_stages",
    "verify_artifact",
    "write_verdicts",
]
