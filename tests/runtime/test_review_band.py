"""A review band in the artifact: strict in the contract, three decisions out, and nothing new without one."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest

from eyeline.errors import EyelineError
from eyeline.images import Tiling
from eyeline.runtime import (
    Contract,
    Inspector,
    load,
    open_artifact,
    read_contract,
    seal,
    verify_artifact,
    write_verdicts,
)

from .conftest import make_contract, random_images


def with_band(contract: Contract, width: float) -> Contract:
    """The contract with a band from its threshold up, and golden images that know of it."""
    value = contract.threshold.value
    threshold = contract.threshold.model_copy(update={"review": (value, value + width)})

    def again(image: Any) -> Any:
        score = 1 - image.probabilities[0]
        word = "pass" if score < value else "review" if score < value + width else "fail"
        return image.model_copy(update={"decision": word})

    return contract.model_copy(update={"threshold": threshold, "golden": tuple(map(again, contract.golden))})


@pytest.fixture(scope="module")
def three_way(model: onnx.ModelProto, contract: Contract) -> bytes:
    """The band reaches midway between the two golden scores above the threshold, so that all three occur."""
    scores = sorted(1 - image.probabilities[0] for image in contract.golden)
    width = (scores[2] + scores[3]) / 2 - contract.threshold.value
    return seal(model.SerializeToString(), with_band(contract, width))


def test_the_contract_comes_back_with_its_band(three_way: bytes) -> None:
    contract = open_artifact(three_way).contract
    assert read_contract(contract.to_json()) == contract
    value, high = contract.threshold.review
    assert (contract.threshold.value, contract.threshold.high) == (value, high)
    assert contract.schema_version == 1
    assert {image.decision for image in contract.golden} == {"pass", "review", "fail"}


def test_a_contract_of_before_has_no_band(contract: Contract) -> None:
    """Written by a version that knew nothing of bands: the fields are not there at all."""
    old = contract.to_dict()
    del old["threshold"]["review"]
    found = read_contract(json.dumps(old))
    assert found == contract
    assert found.threshold.review is None
    assert found.threshold.high is None


@pytest.mark.parametrize(
    "review", [[0.2, 0.9], [0.9, 0.2], "wide", [0.5], [0.1, 0.2, 0.3], 0.7, [None, 0.9], {"low": 0.1}]
)
def test_a_band_that_does_not_fit_is_refused(contract: Contract, review: Any) -> None:
    data = contract.to_dict()
    data["threshold"]["review"] = review
    with pytest.raises(EyelineError, match="threshold") as caught:
        read_contract(json.dumps(data))
    assert caught.value.code == "bad_contract"
    data["threshold"]["review"] = [contract.threshold.value, contract.threshold.value]
    with pytest.raises(EyelineError, match="must begin at the threshold"):
        read_contract(json.dumps(data))


def test_three_decisions_by_the_score_alone(three_way: bytes, contract: Contract) -> None:
    inspector = load(three_way)
    low, high = inspector.contract.threshold.review
    verdicts = list(inspector.predict(list(random_images(40, seed=5))))
    for verdict in verdicts:
        expected = "pass" if verdict.score < low else "fail" if verdict.score >= high else "review"
        assert verdict.decision == expected
        assert verdict.label == ("good" if expected == "pass" else "crack")
        assert verdict.to_dict()["decision"] == expected
    assert {verdict.decision for verdict in verdicts} == {"pass", "review", "fail"}


def test_without_a_band_everything_is_as_before(sealed: bytes, three_way: bytes) -> None:
    two, three = (load(data).predict(list(random_images(40, seed=5))) for data in (sealed, three_way))
    for plain, banded in zip(two, three, strict=True):
        assert plain.decision == ("pass" if banded.decision == "pass" else "fail")
        assert (plain.label, plain.score) == (banded.label, banded.score)


def test_verify_replays_reviews_and_names_the_band(
    three_way: bytes, model: onnx.ModelProto, contract: Contract
) -> None:
    checks = {check.name: check for check in verify_artifact(three_way)}
    assert all(check.ok for check in checks.values())
    assert ", review to below " in checks["contract"].detail
    wrong = open_artifact(three_way).contract
    golden = tuple(
        image.model_copy(update={"decision": "fail"}) if image.decision == "review" else image
        for image in wrong.golden
    )
    damaged = seal(model.SerializeToString(), wrong.model_copy(update={"golden": golden}))
    found = {check.name: check for check in verify_artifact(damaged)}["golden"]
    assert not found.ok
    assert found.detail.startswith("1 of 4 golden images change")


def test_tiles_are_decided_like_their_worst(three_way: bytes) -> None:
    inspector = load(three_way)
    pixels = np.concatenate(list(random_images(2, seed=8)), axis=1)
    verdict = inspector.inspect(pixels, tiling=Tiling(20, 0.0))
    low, high = inspector.contract.threshold.review
    assert verdict.decision == (
        "pass" if verdict.score < low else "fail" if verdict.score >= high else "review"
    )


def test_review_is_written_in_every_format(three_way: bytes, tmp_path: Any) -> None:
    inspector = Inspector(open_artifact(three_way))
    verdicts = list(inspector.predict(list(random_images(40, seed=5))))
    expected = [verdict.decision for verdict in verdicts]
    assert "review" in expected
    stream = io.BytesIO()
    write_verdicts(verdicts, stream, classes=("good", "crack"))
    assert [row["decision"] for row in csv.DictReader(io.StringIO(stream.getvalue().decode()))] == expected
    for ending in ("jsonl", "parquet"):
        write_verdicts(verdicts, tmp_path / f"v.{ending}", classes=("good", "crack"))
    lines = (tmp_path / "v.jsonl").read_text().splitlines()
    assert [json.loads(line)["decision"] for line in lines] == expected
    assert pq.read_table(tmp_path / "v.parquet")["decision"].to_pylist() == expected


def test_a_refused_claim_travels_too(model: onnx.ModelProto) -> None:
    from eyeline.verdicts import guaranteed_threshold

    refused = guaranteed_threshold([0.2, 0.9], [False, True], "escape<=0.05@0.95").to_dict()
    contract = make_contract(model)
    threshold = contract.threshold.model_copy(update={"guarantee": refused})
    data = seal(model.SerializeToString(), contract.model_copy(update={"threshold": threshold}))
    assert open_artifact(data).contract.threshold.guarantee == refused
    assert refused["granted"] is False
