"""`verify_artifact` says what it looked at, and finds what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from eyeline.errors import EyelineError
from eyeline.images import DecodeOptions
from eyeline.runtime import Check, Contract, Proof, load, make_probe, probe_agrees, seal, verify_artifact

NAMES = ["file", "graph", "contract", "proof", "engine", "decoder", "golden", "evidence", "batch"]


def failed(checks: list[Check]) -> list[str]:
    return [check.name for check in checks if not check.ok]


def test_a_right_artifact_passes_every_check(artifact_path: Path, sealed: bytes) -> None:
    checks = verify_artifact(artifact_path, threads=1)
    assert [check.name for check in checks] == NAMES
    assert failed(checks) == []
    assert all(
        check.to_dict() == {"name": check.name, "ok": True, "detail": check.detail} for check in checks
    )
    assert verify_artifact(sealed, threads=1) == checks


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EyelineError) as caught:
        verify_artifact(tmp_path / "absent.onnx")
    assert caught.value.code == "missing"


@pytest.mark.parametrize(
    ("update", "name", "says"),
    [
        ({"proof": Proof(images=5, changed_decisions=1, max_difference=0, engine="e")}, "proof", "1 of 5"),
        ({"proof": Proof(images=5, changed_decisions=0, max_difference=2e-4, engine="e")}, "proof", "0.0002"),
        (
            {"decode_probe": make_probe(DecodeOptions(image_size=(20, 24), resize="letterbox"))},
            "decoder",
            "other pixels",
        ),
    ],
)
def test_what_the_contract_states_is_checked(
    model: onnx.ModelProto, contract: Contract, update: dict[str, Any], name: str, says: str
) -> None:
    data = seal(model.SerializeToString(), contract.model_copy(update=update))
    checks = verify_artifact(data, threads=1)
    assert failed(checks) == [name]
    assert says in next(check.detail for check in checks if not check.ok)


def test_other_weights_are_found_by_golden_images(model: onnx.ModelProto, contract: Contract) -> None:
    other = onnx.ModelProto.FromString(model.SerializeToString())
    bias = next(t for t in other.graph.initializer if t.name == "head.bias")
    moved = numpy_helper.to_array(bias) + np.array([0.002, 0], np.float32)
    bias.CopyFrom(numpy_helper.from_array(moved, "head.bias"))
    checks = verify_artifact(seal(other.SerializeToString(), contract), threads=1)
    assert failed(checks) == ["golden", "evidence"]


def test_a_golden_image_that_is_none_fails_its_check_alone(
    model: onnx.ModelProto, contract: Contract
) -> None:
    broken = contract.golden[1].model_copy(update={"png": "AAAA"})
    data = seal(
        model.SerializeToString(), contract.model_copy(update={"golden": (contract.golden[0], broken)})
    )
    assert failed(verify_artifact(data, threads=1)) == ["golden", "evidence", "batch"]


@pytest.mark.parametrize("text", ["", "AAAA", "not base64!", "é"])
def test_load_refuses_a_golden_image_that_is_none(
    model: onnx.ModelProto, contract: Contract, text: str
) -> None:
    broken = contract.golden[0].model_copy(update={"png": text})
    with pytest.raises(EyelineError, match=r"golden image 'golden/0\.png'") as caught:
        load(seal(model.SerializeToString(), contract.model_copy(update={"golden": (broken,)})))
    assert caught.value.code == "bad_contract"


def test_a_changed_decision_is_found(model: onnx.ModelProto, contract: Contract) -> None:
    first = contract.golden[0]
    turned = first.model_copy(update={"decision": "pass" if first.decision == "fail" else "fail"})
    data = seal(model.SerializeToString(), contract.model_copy(update={"golden": (turned,)}))
    checks = verify_artifact(data, threads=1)
    assert failed(checks) == ["golden"]
    assert "1 of 1 golden images change their decision" in checks[6].detail


def test_what_a_failed_check_makes_impossible_is_left_out(
    sealed: bytes, model: onnx.ModelProto, contract: Contract
) -> None:
    cases = {
        "file": sealed[:-100],
        "contract": model.SerializeToString(),
    }
    for name, data in cases.items():
        (check,) = verify_artifact(data)
        assert (check.name, check.ok) == (name, False)
    foreign = onnx.ModelProto.FromString(model.SerializeToString())
    foreign.graph.node[5].domain = "com.example"
    (check,) = verify_artifact(seal(foreign.SerializeToString(), contract))
    assert (check.name, check.ok) == ("graph", False)
    assert check.detail.startswith("foreign_domain: ")
    unknown = onnx.ModelProto.FromString(model.SerializeToString())
    unknown.graph.node[5].op_type = "Frobnicate"
    checks = verify_artifact(seal(unknown.SerializeToString(), contract))
    assert [check.name for check in checks] == NAMES[:5]
    assert failed(checks) == ["engine"]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(1, 1), (17, 200), (224, 224)])
def test_the_probe_notices_another_resize(channels: int, size: tuple[int, int]) -> None:
    options = DecodeOptions(image_size=size, channels=channels)
    probe = make_probe(options)
    assert probe_agrees(probe, options)
    assert probe == make_probe(options)
    other = DecodeOptions(image_size=(size[0], size[1] + 1), channels=channels)
    assert not probe_agrees(probe, other)
