"""Simplifications of an exported graph that change nothing but rounding; what must not travel is removed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

_PREPROCESSING = ("Transpose", "Cast", "Sub", "Mul", "Conv")


def fold_normalization(model: onnx.ModelProto) -> None:
    """Move ``(x - mean) * scale`` into the convolution that follows, as far as that is exact.

    The scale always moves: a padded zero stays zero. The mean moves only into a convolution without padding,
    since a normalized zero at the border is not a zero of the picture; otherwise its subtraction stays.
    """
    graph = model.graph
    chain = _chain(graph, "image", _PREPROCESSING)
    weights = {tensor.name: tensor for tensor in graph.initializer}
    if len(chain) < len(_PREPROCESSING) or not _is_plain(chain[-1], weights):
        return
    _, cast, centring, scaling, conv = chain
    scale, mean = _array(weights[scaling.input[1]]), _array(weights[centring.input[1]])
    kernel = _array(weights[conv.input[1]]) * scale
    conv.input[1] = _constant(graph, f"{conv.input[1]}.normalized", kernel)
    conv.input[0] = centring.output[0]
    graph.node.remove(scaling)
    if any(value for a in conv.attribute if a.name == "pads" for value in a.ints):
        return
    shift = -(kernel * mean).sum(axis=(1, 2, 3))
    if len(conv.input) == 3:
        shift += _array(weights[conv.input[2]])
        del conv.input[2]
    conv.input.append(_constant(graph, f"{conv.input[1]}.bias", shift))
    conv.input[0] = cast.output[0]
    graph.node.remove(centring)


def replace_batch_norm(model: onnx.ModelProto) -> None:
    """Turn each batch norm that no convolution took in (pre-activation networks) into scale and shift."""
    graph, nodes = model.graph, []
    weights = {tensor.name: tensor for tensor in graph.initializer}
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in graph.value_info}
    for node in graph.node:
        if node.op_type != "BatchNormalization":
            nodes.append(node)
            continue
        name, output = node.input[0], node.output[0]
        gamma, beta, mean, variance = (_array(weights[parameter]) for parameter in node.input[1:5])
        epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
        shape = (-1, *[1] * (ranks.get(name, 4) - 2))
        scale = gamma / np.sqrt(variance + epsilon)
        factor = _constant(graph, f"{output}.scale", scale.reshape(shape))
        offset = _constant(graph, f"{output}.shift", (beta - mean * scale).reshape(shape))
        nodes.append(helper.make_node("Mul", [name, factor], [f"{output}.scaled"]))
        nodes.append(helper.make_node("Add", [f"{output}.scaled", offset], [output]))
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def strip(model: onnx.ModelProto) -> None:
    """Remove what is not needed to run: traces with the paths of this machine, notes, unused weights."""
    graph = model.graph
    used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    made = {name for node in graph.node for name in node.output}
    for repeated, kept in ((graph.initializer, used), (graph.value_info, made)):
        for part in [part for part in repeated if part.name not in kept]:
            repeated.remove(part)
    for part in (*graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output):
        part.doc_string = ""
        del part.metadata_props[:]
    for tensor in graph.initializer:  # one way to store numbers
        if not tensor.HasField("raw_data"):
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))
    for number, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{number}"
    model.doc_string = graph.doc_string = ""
    del model.metadata_props[:], graph.metadata_props[:]


def operator_counts(model: onnx.ModelProto) -> Counter[str]:
    """How often each operator occurs."""
    return Counter(node.op_type for node in model.graph.node)


def _chain(graph: onnx.GraphProto, name: str, operators: Sequence[str]) -> list[onnx.NodeProto]:
    """The nodes that lead on from `name`, while each is the only reader and of the operator expected."""
    chain: list[onnx.NodeProto] = []
    for operator in operators:
        readers = [node for node in graph.node if name in node.input]
        if len(readers) != 1 or readers[0].op_type != operator or readers[0].input[0] != name:
            break
        chain.append(readers[0])
        name = readers[0].output[0]
    return chain


def _is_plain(conv: onnx.NodeProto, weights: dict[str, onnx.TensorProto]) -> bool:
    """A convolution over all channels with constant kernel and stated padding."""
    attributes = {a.name: a for a in conv.attribute}
    automatic = attributes["auto_pad"].s if "auto_pad" in attributes else b"NOTSET"
    groups = attributes["group"].i if "group" in attributes else 1
    constant = all(name in weights for name in conv.input[1:])
    return constant and groups == 1 and automatic in (b"", b"NOTSET", b"VALID")


def _array(tensor: onnx.TensorProto) -> NDArray[np.float64]:
    return numpy_helper.to_array(tensor).astype(np.float64)


def _constant(graph: onnx.GraphProto, name: str, values: NDArray[np.float64]) -> str:
    """Add a weight under a new name: the old one may serve other nodes too."""
    graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))
    return name
