"""The attachment for Netron: the format that its reader accepts, and names that its graph has."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from eyeline.anatomy import describe, netron_attachment
from eyeline.errors import EyelineError
from eyeline.networks import create_network


def small() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))


def test_every_entry_is_what_netron_reads() -> None:
    """view.js: the signature, and of each metric a kind, a target, a name, a value and a type."""
    attachment = json.loads(json.dumps(netron_attachment(describe(small(), (3, 8, 8)))))
    assert attachment["signature"] == "netron:attachment"
    for entry in attachment["metrics"]:
        assert set(entry) == {"kind", "target", "name", "type", "value"}
        assert entry["kind"] in ("model", "node")
        assert isinstance(entry["value"], int | str)
    model = {e["name"]: e["value"] for e in attachment["metrics"] if e["kind"] == "model"}
    assert model["multiply-accumulates"] == 4 * 27 * 36 + 288
    first = {e["name"]: e["value"] for e in attachment["metrics"] if e["target"] == "0"}
    assert first["parameters"] == 112
    assert first["receptive field"] == "3"
    assert first["output"] == "1x4x6x6"


def onnx_model(path: Path, *, scopes: bool) -> None:
    """Two nodes as PyTorch's exporter names them: by scope, or only by the weights that they read."""
    weights = [
        helper.make_tensor("0.weight", TensorProto.FLOAT, [4, 3, 3, 3], torch.zeros(108).tolist()),
        helper.make_tensor("0.bias", TensorProto.FLOAT, [4], [0.0] * 4),
    ]
    nodes = [
        helper.make_node("Conv", ["x", "0.weight", "0.bias"], ["y"], name="node_conv2d"),
        helper.make_node("Relu", ["y"], ["z"], name="node_relu"),
    ]
    if scopes:
        for node, name in zip(nodes, ("0", "1"), strict=True):
            entry = node.metadata_props.add()
            entry.key, entry.value = "pkg.torch.onnx.name_scopes", f"['', '{name}', 'op']"
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 4, 6, 6])],
        weights,
    )
    onnx.save(helper.make_model(graph), path)


@pytest.mark.parametrize("scopes", [True, False])
def test_nodes_of_an_onnx_file_are_found(tmp_path: Path, scopes: bool) -> None:
    onnx_model(tmp_path / "m.onnx", scopes=scopes)
    attachment = netron_attachment(describe(small(), (3, 8, 8)), tmp_path / "m.onnx")
    targets = {entry["target"]: entry for entry in attachment["metrics"] if entry["name"] == "layer"}
    assert targets["node_conv2d"]["value"] == "0"
    assert targets["node_relu"]["value"] == "1"  # by its scope, or as the next ReLU behind the convolution


def test_the_graph_of_an_artifact_is_matched(tmp_path: Path) -> None:
    """Names of its own, batch norms folded into convolutions, the weights under a prefix."""
    table = describe(create_network("resnet20"), (3, 32, 32))
    conv = [row for row in table.layers if row.kind == "Conv2d"]
    weights = [row.name for row in conv]
    nodes, value = [], "x"
    for number, name in enumerate(weights):
        nodes.append(
            helper.make_node(
                "Conv", [value, f"net.{name}.weight.normalized"], [f"c{number}"], f"Conv_{number}"
            )
        )
        value = f"c{number}"
    nodes.append(helper.make_node("ReduceMean", [value], ["mean"], "ReduceMean_9"))
    nodes.append(helper.make_node("Gemm", ["mean", "net.head.weight"], ["logits"], "Gemm_9"))
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "logits")]
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", info[:1], info[1:])), tmp_path / "a.onnx")
    attachment = netron_attachment(table, tmp_path / "a.onnx")
    found = {e["target"]: e["value"] for e in attachment["metrics"] if e["name"] == "layer"}
    assert [found[f"Conv_{i}"] for i in range(len(weights))] == weights
    assert found["Gemm_9"] == "head"
    assert found["ReduceMean_9"] == "mean"


@pytest.mark.slow
def test_an_exported_network_is_matched(tmp_path: Path) -> None:
    net = small().eval()
    path = tmp_path / "net.onnx"
    torch.onnx.export(net, (torch.rand(1, 3, 8, 8),), str(path), dynamo=True, external_data=False)
    table = describe(net, (3, 8, 8))
    nodes = {node.name: node.op_type for node in onnx.load(path).graph.node}
    attachment = netron_attachment(table, path)
    found = {e["value"]: nodes[e["target"]] for e in attachment["metrics"] if e["name"] == "layer"}
    assert found["0"] == "Conv"
    assert found["1"] == "Relu"
    assert found["3"] in ("Gemm", "MatMul", "Add")


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    table = describe(small(), (3, 8, 8))
    with pytest.raises(EyelineError, match="no such file"):
        netron_attachment(table, tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"not a model")
    with pytest.raises(EyelineError, match="not an ONNX model"):
        netron_attachment(table, tmp_path / "bad.onnx")
    onnx_model(tmp_path / "m.onnx", scopes=True)
    other = describe(nn.Sequential(nn.Identity(), nn.Identity(), nn.Conv2d(3, 4, 3)), (3, 8, 8))
    with pytest.raises(EyelineError, match="no node"):
        netron_attachment(other, tmp_path / "m.onnx")
