"""From a trained network to one ``.onnx`` artifact that has proven to say the same."""

from eyeline.shipping.answers import Answers, answer_all
from eyeline.shipping.calibrate import METHODS, measure_ranges
from eyeline.shipping.export import export_artifact, finish_artifact, software_versions
from eyeline.shipping.golden import Reference, choose_golden, make_golden
from eyeline.shipping.graph import OPSET, Exported, Inspection, to_onnx
from eyeline.shipping.int8 import Quantized, find_int8, measure_speedup, rank_layers, rounding_spread
from eyeline.shipping.proof import prove
from eyeline.shipping.quantize import layers_of, plain_graph, quantize_graph

__all__ = [
    "METHODS",
    "OPSET",
    "Answers",
    "Exported",
    "Inspection",
    "Quantized",
    "Reference",
    "answer_all",
    "choose_golden",
    "export_artifact",
    "find_int8",
    "finish_artifact",
    "layers_of",
    "make_golden",
    "measure_ranges",
    "measure_speedup",
    "plain_graph",
    "prove",
    "quantize_graph",
    "rank_layers",
    "rounding_spread",
    "software_versions",
    "to_onnx",
]
