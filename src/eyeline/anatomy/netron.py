"""Figures for the Netron viewer: an attachment that shows them beside the model it opens.

Netron (8.2 and later) takes a JSON file dropped onto an open model when its `signature` is
``netron:attachment``; each entry of `metrics` names a node (or the whole model) and one figure, which then
stands in the node's sidebar. Nodes are found by name. A TorchScript or ``.pt2`` file has the module names; an
ONNX graph has names of its own, so give its file: layers are matched by the module path that PyTorch's exporter
writes into each node, by the names of the weights that a node reads, and between those by kind and order.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from eyeline.anatomy.table import Layer, LayerTable
from eyeline.anatomy.text import field_text
from eyeline.errors import EyelineError

# Kinds of rows, in lower case without underscores, that an ONNX operator without a weight can stand for.
KINDS = {
    "Relu": ("relu", "relu6"),
    "Clip": ("relu6", "hardtanh"),
    "Sigmoid": ("sigmoid", "silu"),
    "HardSwish": ("hardswish",),
    "HardSigmoid": ("hardsigmoid",),
    "Gelu": ("gelu",),
    "Add": ("add",),
    "Mul": ("mul", "silu"),
    "Concat": ("cat",),
    "Softmax": ("softmax",),
    "MaxPool": ("maxpool2d",),
    "AveragePool": ("avgpool2d",),
    "GlobalAveragePool": ("mean", "adaptiveavgpool2d"),
    "ReduceMean": ("mean", "adaptiveavgpool2d"),
}


def netron_attachment(table: LayerTable, model: str | Path | None = None) -> dict[str, Any]:
    """The attachment as a JSON object; write it to a file that ends in ``.json``.

    Parameters
    ----------
    model : the ONNX file that will be viewed; None when its nodes are called as the modules are.

    Raises
    ------
    EyelineError : the file is no ONNX model, or none of its nodes belongs to a layer.
    """
    targets = {layer.name: [layer.name] for layer in table.layers} if model is None else _nodes(table, model)
    metrics = [
        _metric("model", "", name, value)
        for name, value in (
            ("parameters", table.parameters),
            ("multiply-accumulates", table.macs),
            ("peak activation bytes", table.peak_activation_bytes),
        )
    ]
    for layer in table.layers:
        for target in targets.get(layer.name, ()):
            metrics += [_metric("node", target, name, value) for name, value in _figures(layer)]
    return {"signature": "netron:attachment", "metrics": metrics}


def _metric(kind: str, target: str, name: str, value: Any) -> dict[str, Any]:
    return {"kind": kind, "target": target, "name": name, "type": "attribute", "value": value}


def _figures(layer: Layer) -> list[tuple[str, Any]]:
    figures: list[tuple[str, Any]] = [
        ("layer", layer.name),
        ("output", "x".join(map(str, layer.output))),
        ("parameters", layer.parameters),
        ("multiply-accumulates", layer.macs),
        ("activation bytes", layer.activation_bytes),
    ]
    if layer.receptive_field is not None:
        figures += [
            ("receptive field", field_text(layer.receptive_field)),
            ("stride", "x".join(dict.fromkeys(f"{s:g}" for s in layer.receptive_field.stride))),
        ]
    return figures


def _nodes(table: LayerTable, path: str | Path) -> dict[str, list[str]]:
    """Layer name to the names of the nodes of an ONNX file."""
    import onnx

    try:
        graph = onnx.load(str(path), load_external_data=False).graph
    except FileNotFoundError:
        raise EyelineError("no such file", code="missing", path=path) from None
    except Exception as problem:  # protobuf's own errors have no common base
        raise EyelineError("not an ONNX model", code="bad_model", path=path) from problem
    rows = {layer.name: i for i, layer in enumerate(table.layers)}
    anchors = [_row(node, rows) for node in graph.node]
    names: dict[str, list[str]] = {}
    here = 0  # rows before this one have had their node
    for i, node in enumerate(graph.node):
        row = anchors[i]
        if row is None:  # no name leads to it: the next row of that kind before the next one that is certain
            ahead = next((a for a in anchors[i + 1 :] if a is not None and a >= here), len(rows))
            kinds = KINDS.get(node.op_type, ())
            between = range(here, ahead)
            row = next((r for r in between if table.layers[r].kind.lower().replace("_", "") in kinds), None)
        if row is not None and node.name:
            names.setdefault(table.layers[row].name, []).append(node.name)
            here = max(here, row + 1)
    if not names:
        raise EyelineError(
            f"no node of this model belongs to a layer of {table.network}", code="bad_model", path=path
        )
    return names


def _row(node: Any, rows: dict[str, int]) -> int | None:
    """The row that the node's module path, or else the name of a weight that it reads, contains."""
    scopes = next((p.value for p in node.metadata_props if p.key == "pkg.torch.onnx.name_scopes"), "")
    paths = [*reversed(re.findall(r"'([^']*)'", scopes)[:-1]), *(i for i in node.input if "." in i)]
    for path in paths:
        parts = path.split(".")
        for start in range(len(parts)):
            for end in range(len(parts), start, -1):
                found = rows.get(".".join(parts[start:end]))
                if found is not None:
                    return found
    return None
