"""From a fp32 graph to one that computes in 8-bit integers, with standard operators only.

Static quantization in the QDQ form (QuantizeLinear and DequantizeLinear of ONNX around each layer): weights int8, one
scale a channel, symmetric; activations uint8, one scale a tensor, from calibration. Any runtime runs it; one that knows
8-bit kernels fuses the pairs away.

What follows the global pooling stays in fp32: it costs nothing, 8 bits are too few for the pooled features, and the
evidence still sums to the logits.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import onnx

from eyeline.errors import EyelineError
from eyeline.shipping.fold import strip

_WEIGHTED = ("Conv", "Gemm", "MatMul")
# Operators that run in integers beside the weighted ones; all others stay as they are.
_PLAIN = ("Add", "Clip", "Relu", "MaxPool")
_HEADS = ("Gemm", "MatMul")


def plain_graph(data: bytes) -> onnx.ModelProto:
    """The graph of an artifact without its contract, with the shape of every value."""
    model = onnx.load_from_string(data)
    del model.metadata_props[:]
    return onnx.shape_inference.infer_shapes(model)


def layers_of(model: onnx.ModelProto) -> list[str]:
    """Names of the layers that can be quantized, in the order of the graph: convolutions and matrix products with
    constant weights, all but the last one and what stands beside it."""
    constant = {tensor.name for tensor in model.graph.initializer}
    head = _head(model)
    return [
        node.name
        for node in model.graph.node
        if node.op_type in _WEIGHTED and node.input[1] in constant and node.name not in head
    ]


def quantize_graph(
    model: onnx.ModelProto, ranges: Any, *, kept: Collection[str] = (), reduce_range: bool = False
) -> bytes:
    """The int8 graph.

    Parameters
    ----------
    model : as `plain_graph` gives it; left as it is.
    ranges : as `measure_ranges` gives them.
    kept : names of layers that stay in fp32.
    reduce_range : weights of 7 bits, for processors without VNNI, whose 16-bit sums would overflow.

    Raises
    ------
    EyelineError : ``export`` when there is no layer to quantize.
    """
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    layers = [name for name in layers_of(model) if name not in kept]
    if not layers:
        raise EyelineError("no layer of this network can run in 8-bit integers", code="export")
    head = _head(model)
    plain = [
        node.name for node in model.graph.node if node.op_type in _PLAIN and node.name not in head | set(kept)
    ]
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    with _quiet():
        quantizer = QDQQuantizer(
            copy,
            per_channel=True,
            reduce_range=reduce_range,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=ranges,
            nodes_to_quantize=layers + plain,
            nodes_to_exclude=[],
            op_types_to_quantize=[*_WEIGHTED, *_PLAIN],
            extra_options={"ActivationSymmetric": False, "WeightSymmetric": True},
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()
    quantized: onnx.ModelProto = quantizer.model.model
    strip(quantized)
    del quantized.graph.value_info[:]
    del quantized.opset_import[:]
    quantized.opset_import.extend(model.opset_import)
    quantized.ir_version, quantized.producer_name = model.ir_version, "eyeline"
    quantized.producer_version, quantized.graph.name = "", model.graph.name
    serialized: bytes = quantized.SerializeToString(deterministic=True)
    return serialized


def needs_reduced_range() -> bool:
    """Is this an x86 processor whose 8-bit products may overflow (no VNNI)? Linux tells; elsewhere not known: False."""
    try:
        flags = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return False
    return "flags" in flags and not any(
        word in flags for word in ("avx512_vnni", "avx_vnni", "avx512vnni", "amx_int8")
    )


def _head(model: onnx.ModelProto) -> set[str]:
    """Names of the nodes from the last linear layer's input on, and of those that make an output themselves."""
    graph = model.graph
    maker = {output: node for node in graph.node for output in node.output}
    outputs = {value.name for value in graph.output}
    head = {node.name for node in graph.node if outputs & set(node.output)}
    start = maker.get("logits")
    while start is not None and start.op_type not in _HEADS:  # a bias of its own stands behind the product
        start = next((maker[name] for name in start.input if name in maker), None)
    if start is None:
        return head
    reached = {start.input[0]}
    for node in graph.node:  # in an order that can be run
        if reached & set(node.input):
            reached |= set(node.output)
            head.add(node.name)
    return head


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The quantizer advises on the root logger; the gate judges the result instead."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(level)
