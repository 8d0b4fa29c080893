"""Which ONNX graphs an artifact may hold, checked on the bytes before any engine parses them.

The fields are those of onnx/onnx.proto3. Everything that could reach outside the file (external data), run a
loop or code of others (control flow, functions, foreign operators), differ from run to run (random operators)
or depend on a forgotten mode (dropout, batch norm) is refused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from eyeline.errors import EyelineError
from eyeline.runtime.protobuf import BYTES, FLOAT, INT, TEXT, Field, Message, Reader, Refused, corrupt

MAX_NODES = 10_000
MIN_OPSET, MAX_OPSET = 13, 21  # the newest that onnxruntime 1.20, the oldest Eyeline allows, can run
MAX_IR_VERSION = 10  # likewise

CONTROL_FLOW = frozenset({"If", "Loop", "Scan", "SequenceMap"})
RANDOM = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"}
)
TRAINING = frozenset({"BatchNormalization", "Dropout"})

_UINT8, _FLOAT = 2, 1
# TensorProto.DataType: the NumPy type of each kind of weight that may occur (bfloat16 and the like may not).
_DTYPES = {1: "<f4", 2: "|u1", 3: "|i1", 6: "<i4", 7: "<i8", 9: "|b1", 10: "<f2", 11: "<f8"}

_EXTERNAL = Refused("external_data", "a weight lies outside the file")
_FLOW = Refused("control_flow", "the graph holds a subgraph (If, Loop or Scan)")
_FUNCTIONS = Refused("local_functions", "the file defines functions of its own")
_SPARSE = Refused("unsupported", "sparse weights are not allowed")
_NOT_RAW = Refused("unsupported", "a weight is not stored as raw bytes")
_NOT_TENSOR = Refused("unsupported", "only plain tensors are allowed")
_MULTI = Refused("unsupported", "settings for several devices are not allowed")

_ENTRY = Message("StringStringEntryProto", {1: Field("key", TEXT), 2: Field("value", TEXT)})
_METADATA = Field("metadata_props", _ENTRY, limit=1000)
_TENSOR = Message(
    "TensorProto",
    {
        1: Field("dims", INT, limit=64),
        2: Field("data_type", INT),
        3: _NOT_RAW, 4: _NOT_RAW, 5: _NOT_RAW, 6: _NOT_RAW, 7: _NOT_RAW, 10: _NOT_RAW, 11: _NOT_RAW,
        8: Field("name", TEXT),
        9: Field("raw_data", BYTES),
        12: Field("doc_string", TEXT),
        13: _EXTERNAL,
        14: Field("data_location", INT),
        16: _METADATA,
    },
)  # fmt: skip
_ATTRIBUTE = Message(
    "AttributeProto",
    {
        1: Field("name", TEXT),
        2: Field("f", FLOAT),
        3: Field("i", INT),
        4: Field("s", BYTES),
        5: Field("t", _TENSOR),
        6: _FLOW, 11: _FLOW,
        7: Field("floats", FLOAT, limit=100_000),
        8: Field("ints", INT, limit=100_000),
        9: Field("strings", BYTES, limit=1000),
        10: Field("tensors", _TENSOR, limit=1000),
        13: Field("doc_string", TEXT),
        14: _NOT_TENSOR, 15: _NOT_TENSOR,
        20: Field("type", INT),
        21: _FUNCTIONS,
        22: _SPARSE, 23: _SPARSE,
    },
)  # fmt: skip
_NODE = Message(
    "NodeProto",
    {
        1: Field("input", TEXT, limit=1000),
        2: Field("output", TEXT, limit=1000),
        3: Field("name", TEXT),
        4: Field("op_type", TEXT),
        5: Field("attribute", _ATTRIBUTE, limit=100),
        6: Field("doc_string", TEXT),
        7: Field("domain", TEXT),
        8: _FUNCTIONS,
        9: _METADATA,
        10: _MULTI,
    },
)
_DIMENSION = Message(
    "Dimension", {1: Field("value", INT), 2: Field("param", TEXT), 3: Field("denotation", TEXT)}
)
_SHAPE = Message("TensorShapeProto", {1: Field("dim", _DIMENSION, limit=64)})
_TENSOR_TYPE = Message("TypeProto.Tensor", {1: Field("elem_type", INT), 2: Field("shape", _SHAPE)})
_TYPE = Message(
    "TypeProto",
    {
        1: Field("tensor_type", _TENSOR_TYPE),
        4: _NOT_TENSOR, 5: _NOT_TENSOR, 7: _NOT_TENSOR, 8: _NOT_TENSOR, 9: _NOT_TENSOR,
        6: Field("denotation", TEXT),
    },
)  # fmt: skip
_VALUE = Message(
    "ValueInfoProto",
    {1: Field("name", TEXT), 2: Field("type", _TYPE), 3: Field("doc_string", TEXT), 4: _METADATA},
)
_GRAPH = Message(
    "GraphProto",
    {
        1: Field("node", _NODE, limit=MAX_NODES),
        2: Field("name", TEXT),
        5: Field("initializer", _TENSOR, limit=4 * MAX_NODES),
        10: Field("doc_string", TEXT),
        11: Field("input", _VALUE, limit=100),
        12: Field("output", _VALUE, limit=100),
        13: Field("value_info", _VALUE, limit=10 * MAX_NODES),
        14: Refused("unsupported", "annotations of quantization are not allowed"),
        15: _SPARSE,
        16: _METADATA,
    },
)
_OPSET = Message("OperatorSetIdProto", {1: Field("domain", TEXT), 2: Field("version", INT)})
_MODEL = Message(
    "ModelProto",
    {
        1: Field("ir_version", INT),
        2: Field("producer_name", TEXT),
        3: Field("producer_version", TEXT),
        4: Field("domain", TEXT),
        5: Field("model_version", INT),
        6: Field("doc_string", TEXT),
        7: Field("graph", _GRAPH),
        8: Field("opset_import", _OPSET, limit=100),
        14: _METADATA,
        20: Refused("unsupported", "the file holds a training graph"),
        25: _FUNCTIONS,
        26: _MULTI,
    },
)


@dataclass(frozen=True)
class Graph:
    """What the checked bytes hold."""

    opset: int
    nodes: int
    weights: int  # numbers in all tensors
    image_size: tuple[int, int]
    channels: int
    classes: int
    evidence: bool
    novelty: bool
    metadata: dict[str, str]


def read_graph(data: bytes) -> Graph:
    """Check an ONNX file and say what it is.

    Raises
    ------
    EyelineError : with one of the codes ``truncated``, ``corrupt``, ``external_data``, ``foreign_domain``,
        ``control_flow``, ``local_functions``, ``random``, ``training_mode``, ``too_many_nodes``, ``opset``,
        ``nan_weights``, ``bad_input``, ``bad_output`` and ``unsupported``.
    """
    model = Reader(data).read(_MODEL)
    if "graph" not in model:
        raise corrupt("it holds no graph")
    graph = model["graph"]
    opset = _check_versions(model)
    weights = sum(_check_tensor(tensor) for tensor in graph["initializer"])
    weights += _check_nodes(graph)
    image_size, channels = _check_input(graph)
    classes, extra = _check_outputs(graph)
    return Graph(
        opset=opset,
        nodes=len(graph["node"]),
        weights=weights,
        image_size=image_size,
        channels=channels,
        classes=classes,
        evidence="evidence" in extra,
        novelty="novelty" in extra,
        metadata=_metadata(model),
    )


def _metadata(model: dict[str, Any]) -> dict[str, str]:
    entries: dict[str, str] = {}
    for entry in model["metadata_props"]:
        key = entry.get("key", "")
        if key in entries:
            raise corrupt(f"metadata {key!r} occurs twice")
        entries[key] = entry.get("value", "")
    return entries


def _check_versions(model: dict[str, Any]) -> int:
    if not 3 <= model.get("ir_version", 0) <= MAX_IR_VERSION:
        raise EyelineError(
            f"ONNX IR version {model.get('ir_version', 0)}; allowed: 3 to {MAX_IR_VERSION}", code="opset"
        )
    versions = []
    for opset in model["opset_import"]:
        _check_domain(opset.get("domain", ""))
        versions.append(opset.get("version", 0))
    if len(versions) != 1:
        raise corrupt(f"{len(versions)} versions of the standard operators are imported")
    if not MIN_OPSET <= versions[0] <= MAX_OPSET:
        raise EyelineError(
            f"opset {versions[0]}; this version of Eyeline runs {MIN_OPSET} to {MAX_OPSET}", code="opset"
        )
    return int(versions[0])


def _check_domain(domain: str) -> None:
    if domain not in ("", "ai.onnx"):
        raise EyelineError(f"operators of the domain {domain!r} are not allowed", code="foreign_domain")


def _check_nodes(graph: dict[str, Any]) -> int:
    """Standard operators in an order that can be run, each value made once; how many numbers they hold."""
    made = {value.get("name", "") for value in graph["input"]}
    made |= {tensor.get("name", "") for tensor in graph["initializer"]}
    if "" in made or len(made) != len(graph["input"]) + len(graph["initializer"]):
        raise corrupt("inputs and weights need different names")
    numbers = 0
    for node in graph["node"]:
        op = node.get("op_type", "")
        _check_domain(node.get("domain", ""))
        if op in CONTROL_FLOW:
            raise EyelineError(f"control flow ({op}) is not allowed", code="control_flow")
        if op in RANDOM:
            raise EyelineError(f"the random operator {op} is not allowed", code="random")
        if op in TRAINING:
            raise EyelineError(f"{op} has a training mode and is not allowed", code="training_mode")
        for name in node["input"]:
            if name and name not in made:
                raise corrupt(f"{op} reads {name!r} before it is made (a cycle, or wrong order)")
        for name in filter(None, node["output"]):
            if name in made:
                raise corrupt(f"{name!r} is made twice")
            made.add(name)
        for attribute in node["attribute"]:
            tensors = attribute["tensors"] + ([attribute["t"]] if "t" in attribute else [])
            numbers += sum(_check_tensor(tensor) for tensor in tensors)
    return numbers


def _check_tensor(tensor: dict[str, Any]) -> int:
    """Inside the file, of the size it claims, finite. Returns how many numbers it holds."""
    name = tensor.get("name", "")
    if tensor.get("data_location", 0) != 0:
        raise EyelineError(_EXTERNAL.reason, code=_EXTERNAL.code)
    dtype = _DTYPES.get(tensor.get("data_type", 0))
    if dtype is None:
        raise EyelineError(f"the weight {name!r} has an element type that is not allowed", code="unsupported")
    raw, dims = tensor.get("raw_data", b""), tensor["dims"]
    sane = all(0 <= side < 2**31 for side in dims)
    if not sane or len(raw) != math.prod(dims) * np.dtype(dtype).itemsize:
        raise corrupt(f"the weight {name!r} does not have the size it claims")
    values = np.frombuffer(raw, dtype)
    if values.dtype.kind == "f":
        # A scalar, such as the upper bound of a Clip, may be infinite; a weight may not.
        fine = np.isfinite(values) if dims else ~np.isnan(values)
        if not fine.all():
            raise EyelineError(f"the weight {name!r} holds values that are not finite", code="nan_weights")
    return values.size


def _check_input(graph: dict[str, Any]) -> tuple[tuple[int, int], int]:
    inputs = graph["input"]
    wanted = "one input named image, uint8 of shape (N, H, W, C)"
    if len(inputs) != 1 or inputs[0]["name"] != "image":
        names = ", ".join(repr(value["name"]) for value in inputs)
        raise EyelineError(f"inputs {names or 'missing'}; allowed: {wanted}", code="bad_input")
    element, shape = _tensor_type(inputs[0])
    if element != _UINT8:
        raise EyelineError(
            f"the input has element type {element}, not uint8; allowed: {wanted}", code="bad_input"
        )
    if len(shape) != 4 or shape[0] is not None or any(side is None or side < 1 for side in shape[1:]):
        raise EyelineError(f"the input has shape {_words(shape)}; allowed: {wanted}", code="bad_input")
    _, height, width, channels = (side or 0 for side in shape)
    return (height, width), channels


_OUTPUTS = ("probabilities", "logits", "evidence", "novelty")  # the last one never without the third
_SHAPES = {"evidence": "(N, K, h, w)", "novelty": "(N)"}


def _check_outputs(graph: dict[str, Any]) -> tuple[int, list[str]]:
    """How many classes, and the names of the outputs."""
    found = {value.get("name", ""): _tensor_type(value) for value in graph["output"]}
    if not 2 <= len(found) <= len(_OUTPUTS) or tuple(found) != _OUTPUTS[: len(found)]:
        raise EyelineError(
            f"outputs {', '.join(found) or 'missing'}; allowed: probabilities, logits, evidence and novelty",
            code="bad_output",
        )
    classes = found["probabilities"][1][-1:]
    for name, (element, shape) in found.items():
        wanted = _SHAPES.get(name, "(N, K)")
        rank = wanted.count(",") + 1
        same = rank == 1 or shape[1:2] == classes
        if element != _FLOAT or len(shape) != rank or shape[0] is not None or not same:
            raise EyelineError(
                f"the output {name} has element type {element} and shape {_words(shape)}; "
                f"allowed: float32 {wanted} with the same K",
                code="bad_output",
            )
    if not classes or classes[0] is None or classes[0] < 2:
        raise EyelineError(
            f"{classes[0] if classes else 0} classes; at least 2 are needed", code="bad_output"
        )
    return classes[0], list(found)


def _tensor_type(value: dict[str, Any]) -> tuple[int, list[int | None]]:
    """Element type and shape; a dimension without a fixed size is None."""
    tensor = value.get("type", {}).get("tensor_type", {})
    dims = tensor.get("shape", {}).get("dim", [])
    return tensor.get("elem_type", 0), [None if "value" not in dim else int(dim["value"]) for dim in dims]


def _words(shape: list[int | None]) -> str:
    return "(" + ", ".join("N" if side is None else str(side) for side in shape) + ")"
