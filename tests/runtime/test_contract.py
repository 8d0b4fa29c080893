"""The contract: strict, versioned, and it comes back as it went in."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from eyeline.errors import EyelineError
from eyeline.runtime import SCHEMA_VERSION, Contract, read_contract


def changed(contract: Contract, where: str, value: Any) -> str:
    """The JSON of `contract` with one value replaced, or removed when `value` is ..., at a dotted path."""
    data = contract.to_dict()
    *parents, last = where.split(".")
    target: Any = data
    for key in parents:
        target = target[int(key) if key.isdigit() else key]
    if value is ...:
        del target[last]
    else:
        target[last] = value
    return json.dumps(data)


def test_it_comes_back_as_it_went_in(contract: Contract) -> None:
    assert read_contract(contract.to_json()) == contract
    assert read_contract(json.dumps(contract.to_dict())) == contract
    assert contract.to_json() == read_contract(contract.to_json()).to_json()
    assert contract.schema_version == SCHEMA_VERSION == 1
    assert "\n" not in contract.to_json()


def test_it_is_frozen(contract: Contract) -> None:
    with pytest.raises(ValidationError):
        contract.good = "crack"  # type: ignore[misc]
    with pytest.raises(ValidationError):
        contract.threshold.value = 0.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("where", "value", "says"),
    [
        ("schema_version", 2, "schema version 2; this version of Eyeline reads 1"),
        ("schema_version", "1", "schema version '1'"),
        ("schema_version", ..., "schema version None"),
        ("surprise", 1, "surprise"),
        ("threshold.surprise", 1, "threshold.surprise"),
        ("decode.surprise", 1, "surprise"),
        ("decode.resize", "crop", "squash, letterbox or fit"),
        ("decode", 7, "decode"),
        ("classes", ["good"], "classes"),
        ("classes", ["good", "good"], "different"),
        ("classes", ["good", ""], "different and not empty"),
        ("good", "fine", "'fine' is not among the classes"),
        ("threshold.value", "high", "threshold.value"),
        ("calibration.temperature", 0, "calibration.temperature"),
        ("calibration.beta", [1.0, 1.0, 0.0], "the temperature must be 1"),
        ("calibration", {"beta": [-1.0, 1.0, 0.0]}, "calibration.beta"),
        ("mean", [0.5], "one value a channel"),
        ("std", [0.2, 0.2, 0.0], "positive"),
        ("evidence.bias", [1.0], "one bias a class"),
        ("golden", [], "golden"),
        ("golden.0.probabilities", [0.2, 0.3, 0.5], "'golden/0.png' does not have 2"),
        ("golden.0.label", "dust", "unknown label 'dust'"),
        ("golden.0.decision", "maybe", "golden.0.decision"),
        ("proof", ..., "proof"),
        ("proof.images", 0, "proof.images"),
        ("data.images", {"train": -1}, "data.images.train"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(contract: Contract, where: str, value: Any, says: str) -> None:
    with pytest.raises(EyelineError) as caught:
        read_contract(changed(contract, where, value))
    assert says in caught.value.message
    assert caught.value.code == ("schema_version" if where == "schema_version" else "bad_contract")


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "null", "[1]", '"text"', '{"schema_version": NaN}'])
def test_what_is_not_a_contract(text: str) -> None:
    with pytest.raises(EyelineError) as caught:
        read_contract(text)
    assert caught.value.code in ("bad_contract", "schema_version")


def test_numbers_must_be_finite(contract: Contract) -> None:
    with pytest.raises(EyelineError):
        read_contract(changed(contract, "threshold.value", float("nan")))
    with pytest.raises(EyelineError):
        read_contract(changed(contract, "test", {"auroc": float("inf")}))


def test_golden_images_hold_pixels_of_the_network(contract: Contract) -> None:
    for image in contract.golden:
        pixels = image.pixels(contract.decode.channels)
        assert (pixels.shape, pixels.dtype) == ((20, 24, 3), np.uint8)


def test_there_is_a_json_schema(contract: Contract) -> None:
    schema = Contract.model_json_schema()
    assert schema["additionalProperties"] is False
    assert set(contract.to_dict()) == set(schema["properties"])
    assert "golden" in schema["required"]


def test_there_is_room_for_a_guarantee(contract: Contract) -> None:
    promise = {"escape_rate": 0.05, "confidence": 0.95, "method": "Learn then Test"}
    found = read_contract(changed(contract, "threshold.guarantee", promise))
    assert found.threshold.guarantee == promise
