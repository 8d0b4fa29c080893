"""Random damage: never a crash, never another error than ours, never a load."""

from __future__ import annotations

import hashlib

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eyeline.errors import EyelineError
from eyeline.runtime import Contract, load, open_artifact, read_contract, read_graph, seal

QUICK = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
    database=None,
)


@settings(QUICK, max_examples=300)
@given(position=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_every_flipped_bit_is_noticed(sealed: bytes, position: float, bit: int) -> None:
    damaged = bytearray(sealed)
    damaged[int(position * len(damaged))] ^= 1 << bit
    with pytest.raises(EyelineError):
        open_artifact(bytes(damaged))


def test_every_truncation_is_noticed(sealed: bytes) -> None:
    for end in [*range(0, 3000, 7), *range(3000, len(sealed), 331), *range(len(sealed) - 90, len(sealed))]:
        with pytest.raises(EyelineError) as caught:
            open_artifact(sealed[:end])
        assert caught.value.code in ("truncated", "corrupt", "no_contract", "checksum", "bad_input"), end


@settings(QUICK, max_examples=100)
@given(data=st.binary(max_size=300))
def test_noise_is_refused(data: bytes) -> None:
    with pytest.raises(EyelineError):
        open_artifact(data)


@settings(QUICK, max_examples=250)
@given(
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 7)), min_size=1, max_size=3),
    cut=st.floats(0, 0.3),
)
def test_damage_behind_a_right_seal_is_refused_or_harmless(
    model: onnx.ModelProto, contract: Contract, flips: list[tuple[float, int]], cut: float
) -> None:
    """An attacker can seal too: then the checks of the graph and the engine itself must hold."""
    graph = bytearray(model.SerializeToString())
    for position, bit in flips:
        graph[int(position * len(graph))] ^= 1 << bit
    if cut > 0.2:
        del graph[int(cut * len(graph)) :]
    error = None
    try:
        verdict = load(seal(bytes(graph), contract), verify=False).inspect(np.full((20, 24, 3), 7, np.uint8))
    except EyelineError as caught:
        error = caught
    if error is not None:
        assert error.code
        assert error.one_line().isprintable()
    elif verdict.error is None:
        assert abs(sum(verdict.probabilities.values()) - 1) < 1e-5


@settings(QUICK, max_examples=200)
@given(position=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255))
def test_a_damaged_contract_is_refused_or_a_contract(contract: Contract, position: float, byte: int) -> None:
    text = bytearray(contract.to_json().encode())
    text[int(position * len(text))] = byte
    code = None
    try:
        found = read_contract(text.decode("utf-8", "replace"))
    except EyelineError as error:
        code = error.code
    assert code in ("bad_contract", "schema_version") or isinstance(found, Contract)


@settings(QUICK, max_examples=150)
@given(st.data())
def test_the_reader_agrees_with_protobuf(model: onnx.ModelProto, data: st.DataObject) -> None:
    """Whatever our reader accepts, the real protobuf parser accepts and understands the same."""
    graph = bytearray(model.SerializeToString())
    for _ in range(data.draw(st.integers(0, 2))):
        graph[data.draw(st.integers(0, len(graph) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        ours = read_graph(bytes(graph))
    except EyelineError:
        return
    theirs = onnx.ModelProto.FromString(bytes(graph))
    assert ours.nodes == len(theirs.graph.node)
    assert ours.opset == theirs.opset_import[0].version
    dims = [d.dim_value for d in theirs.graph.input[0].type.tensor_type.shape.dim]
    assert (*ours.image_size, ours.channels) == tuple(dims[1:])
    numbers = sum(onnx.numpy_helper.to_array(t).size for t in theirs.graph.initializer)
    constants = sum(
        onnx.numpy_helper.to_array(a.t).size
        for n in theirs.graph.node
        for a in n.attribute
        if a.HasField("t")
    )
    assert ours.weights == numbers + constants


def test_the_seal_is_what_the_documentation_says(sealed: bytes, contract: Contract) -> None:
    entry = b"r\x52\n\x0eeyeline.sha256\x12\x40"
    assert sealed[-64 - len(entry) : -64] == entry
    assert sealed[-64:].decode() == hashlib.sha256(sealed[: -64 - len(entry)]).hexdigest()
    metadata = {p.key: p.value for p in onnx.load_model_from_string(sealed).metadata_props}
    assert read_contract(metadata["eyeline"]) == contract
    assert open_artifact(sealed).sha256 == hashlib.sha256(sealed).hexdigest()
