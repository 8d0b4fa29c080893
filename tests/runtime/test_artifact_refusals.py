"""Every way an artifact can be wrong has its own reason (row by row), and nothing is ever half loaded."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from eyeline.errors import EyelineError
from eyeline.runtime import Contract, load, open_artifact, seal
from eyeline.runtime.graph import MAX_NODES


def clone(model: onnx.ModelProto) -> onnx.ModelProto:
    return onnx.ModelProto.FromString(model.SerializeToString())


def tensor(model: onnx.ModelProto, name: str) -> onnx.TensorProto:
    return next(t for t in model.graph.initializer if t.name == name)


def refuse(data: bytes | str | Path, code: str, says: str = "") -> None:
    with pytest.raises(EyelineError) as caught:
        load(data)
    assert caught.value.code == code, caught.value
    assert says in caught.value.message
    assert "\n" not in caught.value.one_line()


def external_weight(m: onnx.ModelProto) -> None:
    weight = tensor(m, "head.weight")
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="/etc/passwd")


def external_flag_alone(m: onnx.ModelProto) -> None:
    tensor(m, "head.weight").data_location = TensorProto.EXTERNAL


def external_in_attribute(m: onnx.ModelProto) -> None:
    value = numpy_helper.from_array(np.zeros(3, np.float32), "x")
    value.external_data.add(key="location", value="weights.bin")
    m.graph.node.append(helper.make_node("Constant", [], ["c"], value=value))


def foreign_import(m: onnx.ModelProto) -> None:
    m.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def foreign_node(m: onnx.ModelProto) -> None:
    m.graph.node[5].domain = "com.example"


def subgraph(m: onnx.ModelProto) -> None:
    body = helper.make_graph([helper.make_node("Identity", ["x"], ["z"])], "body", [], [])
    m.graph.node.append(helper.make_node("If", ["condition"], ["z"], then_branch=body, else_branch=body))


def control_flow_without_body(m: onnx.ModelProto) -> None:
    m.graph.node.append(helper.make_node("Scan", ["features"], ["z"], num_scan_inputs=1))


def function(m: onnx.ModelProto) -> None:
    body = [helper.make_node("Relu", ["a"], ["b"])]
    m.functions.append(helper.make_function("here", "F", ["a"], ["b"], body, [helper.make_opsetid("", 18)]))


def nan_weight(m: onnx.ModelProto) -> None:
    values = numpy_helper.to_array(tensor(m, "conv.weight")).copy()
    values[1, 2, 0, 1] = np.nan
    tensor(m, "conv.weight").CopyFrom(numpy_helper.from_array(values, "conv.weight"))


def infinite_weight(m: onnx.ModelProto) -> None:
    tensor(m, "head.bias").raw_data = np.array([np.inf, 0], np.float32).tobytes()


def nan_scalar(m: onnx.ModelProto) -> None:
    tensor(m, "temperature").raw_data = np.float32(np.nan).tobytes()


def huge_claim(m: onnx.ModelProto) -> None:
    tensor(m, "head.weight").dims[:] = [2**20, 2**20]


def overflowing_claim(m: onnx.ModelProto) -> None:
    tensor(m, "head.weight").dims[:] = [2**62, 0]


def negative_claim(m: onnx.ModelProto) -> None:
    tensor(m, "head.weight").dims[:] = [-2, -6]


def unpacked_weight(m: onnx.ModelProto) -> None:
    weight = tensor(m, "head.bias")
    weight.ClearField("raw_data")
    weight.float_data.extend([0.5, 0.5])


def text_weight(m: onnx.ModelProto) -> None:
    tensor(m, "head.bias").data_type = TensorProto.BFLOAT16


def sparse_weight(m: onnx.ModelProto) -> None:
    values = numpy_helper.from_array(np.ones(1, np.float32), "s")
    indices = numpy_helper.from_array(np.zeros(1, np.int64), "i")
    m.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))


def training_graph(m: onnx.ModelProto) -> None:
    m.training_info.add()


def dropout(m: onnx.ModelProto) -> None:
    m.graph.node.append(helper.make_node("Dropout", ["features"], ["z"]))


def batch_norm(m: onnx.ModelProto) -> None:
    m.graph.node.append(helper.make_node("BatchNormalization", ["features", *["head.bias"] * 4], ["z"]))


def random_operator(m: onnx.ModelProto) -> None:
    m.graph.node.append(helper.make_node("RandomNormal", [], ["z"], shape=[2]))


def newer_opset(m: onnx.ModelProto) -> None:
    m.opset_import[0].version = 99


def older_opset(m: onnx.ModelProto) -> None:
    m.opset_import[0].version = 7


def two_opsets(m: onnx.ModelProto) -> None:
    m.opset_import.append(helper.make_opsetid("ai.onnx", 17))


def newer_format(m: onnx.ModelProto) -> None:
    m.ir_version = 99


def cycle(m: onnx.ModelProto) -> None:
    m.graph.node[4].input[0] = "features"


def made_twice(m: onnx.ModelProto) -> None:
    m.graph.node.append(helper.make_node("Relu", ["y"], ["features"]))


def weight_without_name(m: onnx.ModelProto) -> None:
    tensor(m, "head.bias").name = ""


def float_input(m: onnx.ModelProto) -> None:
    m.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT


def flat_input(m: onnx.ModelProto) -> None:
    del m.graph.input[0].type.tensor_type.shape.dim[3]


def fixed_batch(m: onnx.ModelProto) -> None:
    m.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def free_size(m: onnx.ModelProto) -> None:
    m.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "H"


def other_input_name(m: onnx.ModelProto) -> None:
    m.graph.input[0].name = m.graph.node[0].input[0] = "picture"


def second_input(m: onnx.ModelProto) -> None:
    m.graph.input.append(helper.make_tensor_value_info("more", TensorProto.UINT8, ["N"]))


def missing_output(m: onnx.ModelProto) -> None:
    del m.graph.output[0]


def other_order(m: onnx.ModelProto) -> None:
    first = onnx.ValueInfoProto.FromString(m.graph.output[0].SerializeToString())
    del m.graph.output[0]
    m.graph.output.insert(1, first)


def integer_output(m: onnx.ModelProto) -> None:
    m.graph.output[1].type.tensor_type.elem_type = TensorProto.INT64


def one_class(m: onnx.ModelProto) -> None:
    for output in m.graph.output:
        output.type.tensor_type.shape.dim[1].dim_value = 1


def sequence_input(m: onnx.ModelProto) -> None:
    m.graph.input[0].type.sequence_type.elem_type.tensor_type.elem_type = TensorProto.UINT8


def many_nodes(m: onnx.ModelProto) -> None:
    for i in range(MAX_NODES):
        m.graph.node.append(helper.make_node("Relu", ["y"], [f"z{i}"]))


def own_metadata_twice(m: onnx.ModelProto) -> None:
    m.metadata_props.add(key="eyeline", value="{}")


def unknown_operator(m: onnx.ModelProto) -> None:
    m.graph.node[5].op_type = "Frobnicate"


def impossible_shapes(m: onnx.ModelProto) -> None:
    m.graph.node[8].input[0] = "features"


CASES: list[tuple[Callable[[onnx.ModelProto], None], str, str]] = [
    (external_weight, "external_data", "outside the file"),
    (external_flag_alone, "external_data", "outside the file"),
    (external_in_attribute, "external_data", "outside the file"),
    (foreign_import, "foreign_domain", "'com.microsoft'"),
    (foreign_node, "foreign_domain", "'com.example'"),
    (subgraph, "control_flow", "subgraph"),
    (control_flow_without_body, "control_flow", "Scan"),
    (function, "local_functions", "functions"),
    (nan_weight, "nan_weights", "'conv.weight'"),
    (infinite_weight, "nan_weights", "'head.bias'"),
    (nan_scalar, "nan_weights", "'temperature'"),
    (huge_claim, "corrupt", "size it claims"),
    (overflowing_claim, "corrupt", "size it claims"),
    (negative_claim, "corrupt", "size it claims"),
    (unpacked_weight, "unsupported", "raw bytes"),
    (text_weight, "unsupported", "element type"),
    (sparse_weight, "unsupported", "sparse"),
    (training_graph, "unsupported", "training graph"),
    (dropout, "training_mode", "Dropout"),
    (batch_norm, "training_mode", "BatchNormalization"),
    (random_operator, "random", "RandomNormal"),
    (newer_opset, "opset", "opset 99"),
    (older_opset, "opset", "opset 7"),
    (two_opsets, "corrupt", "2 versions"),
    (newer_format, "opset", "IR version 99"),
    (cycle, "corrupt", "before it is made"),
    (made_twice, "corrupt", "made twice"),
    (weight_without_name, "corrupt", "different names"),
    (float_input, "bad_input", "not uint8"),
    (flat_input, "bad_input", "(N, 20, 24)"),
    (fixed_batch, "bad_input", "(1, 20, 24, 3)"),
    (free_size, "bad_input", "(N, N, 24, 3)"),
    (other_input_name, "bad_input", "'picture'"),
    (second_input, "bad_input", "'more'"),
    (missing_output, "bad_output", "logits, evidence"),
    (other_order, "bad_output", "logits, probabilities"),
    (integer_output, "bad_output", "logits has element type 7"),
    (one_class, "bad_output", "1 classes"),
    (sequence_input, "unsupported", "plain tensors"),
    (many_nodes, "too_many_nodes", "10,000"),
    (own_metadata_twice, "corrupt", "twice"),
    (unknown_operator, "engine", "onnxruntime refuses"),
    (impossible_shapes, "engine", "onnxruntime refuses"),
]


@pytest.mark.parametrize(("spoil", "code", "says"), CASES, ids=[case[0].__name__ for case in CASES])
def test_a_spoiled_graph_is_refused_with_its_reason(
    model: onnx.ModelProto,
    contract: Contract,
    spoil: Callable[[onnx.ModelProto], None],
    code: str,
    says: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    broken = clone(model)
    spoil(broken)
    refuse(seal(broken.SerializeToString(), contract), code, says)
    assert capfd.readouterr() == ("", "")  # the engine complains only through us


def test_the_unspoiled_graph_is_accepted(model: onnx.ModelProto, contract: Contract) -> None:
    assert open_artifact(seal(clone(model).SerializeToString(), contract)).graph.nodes == 11


def test_a_million_nodes_are_refused_at_once(contract: Contract) -> None:
    node = helper.make_node("Relu", ["a"], ["b"]).SerializeToString()
    nodes = (b"\x0a" + bytes([len(node)]) + node) * 10**6
    length = len(nodes)
    size = bytearray()
    while length > 0x7F:
        size.append(length & 0x7F | 0x80)
        length >>= 7
    graph = b"\x3a" + bytes([*size, length]) + nodes
    data = seal(graph, contract)
    start = time.process_time()
    refuse(data, "too_many_nodes")
    assert time.process_time() - start < 2


def test_an_ort_format_file_in_disguise_is_not_taken_as_one(
    model: onnx.ModelProto, contract: Contract
) -> None:
    # producer_name comes first and puts the magic of the .ort format where onnxruntime looks for it.
    body = clone(model)
    body.ClearField("producer_name")
    graph = b"\x12\x06xxORTM" + body.SerializeToString()
    assert graph[4:8] == b"ORTM"
    inspector = load(seal(graph, contract))
    assert inspector.inspect(np.zeros((20, 24, 3), np.uint8)).error is None


def test_a_plain_onnx_file_is_named_as_such(model: onnx.ModelProto) -> None:
    refuse(model.SerializeToString(), "no_contract", "not an artifact of Eyeline")


def test_label_count_and_other_disagreements(model: onnx.ModelProto, contract: Contract) -> None:
    graph = model.SerializeToString()
    classes = ("good", "crack", "stain")
    golden = [
        image.model_copy(update={"probabilities": (0.5, 0.3, 0.2), "logits": (0.0, 0.0, 0.0)})
        for image in contract.golden
    ]
    three = contract.model_copy(
        update={
            "classes": classes,
            "golden": tuple(golden),
            "evidence": contract.evidence.model_copy(update={"bias": (0.0, 0.0, 0.0)}),
        }
    )
    refuse(seal(graph, three), "label_count", "2 classes apart, the contract names 3")
    other_opset = contract.model_copy(update={"opset": 17})
    refuse(seal(graph, other_opset), "contract_mismatch", "opset of the graph is 18")
    no_evidence = contract.model_copy(
        update={"evidence": contract.evidence.model_copy(update={"exact": False, "bias": ()})}
    )
    refuse(seal(graph, no_evidence), "contract_mismatch", "evidence")


def test_a_seal_that_is_missing_or_not_last(
    sealed: bytes, model: onnx.ModelProto, contract: Contract
) -> None:
    loose = onnx.load_model_from_string(sealed)
    del loose.metadata_props[1]
    refuse(loose.SerializeToString(), "checksum", "missing")
    refuse(sealed + b"\x28\x01", "checksum", "not at its end")  # a valid field, model_version
    refuse(sealed[:-1] + (b"0" if sealed[-1:] != b"0" else b"1"), "checksum", "changed after it was made")


def test_resaving_by_onnx_keeps_the_artifact(sealed: bytes, tmp_path: Path) -> None:
    path = tmp_path / "again.onnx"
    onnx.save(onnx.load_model_from_string(sealed), path)
    onnx.checker.check_model(path, full_check=True)
    assert load(path).contract.good == "good"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_what_is_not_a_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        refuse(tmp_path / "pipe", "unreadable", "not a regular file")
        refuse(tmp_path / "socket", "unreadable")
    refuse(tmp_path, "unreadable")
    refuse(tmp_path / "absent.onnx", "missing", "No such file")
    refuse("with\0zero", "unreadable")
    refuse(b"", "corrupt", "no graph")


def test_too_large_a_file(artifact_path: Path, sealed: bytes) -> None:
    for limit, ok in ((len(sealed), True), (len(sealed) - 1, False)):
        if ok:
            assert open_artifact(artifact_path, max_bytes=limit).sha256
        else:
            with pytest.raises(EyelineError, match="more than the limit") as caught:
                open_artifact(artifact_path, max_bytes=limit)
            assert (caught.value.code, caught.value.path) == ("too_large", str(artifact_path))
