"""The output `novelty`: the same distance as in NumPy, carried, proven, replayed and obeyed."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from eyeline.errors import EyelineError, GateError
from eyeline.images import Tiling
from eyeline.runtime import (
    Artifact,
    Novelty,
    Threshold,
    load,
    open_artifact,
    read_contract,
    read_graph,
    seal,
    verify_artifact,
    write_verdicts,
)
from eyeline.shipping import Reference, prove, to_onnx
from eyeline.verdicts import FeatureSpace, fit_space, unknown_rule


def pooled(net: Any, pixels: Any, lab: SimpleNamespace) -> Any:
    """The peer: features of plain PyTorch."""
    x = torch.from_numpy(np.asarray(pixels)).permute(0, 3, 1, 2).float() / 255
    x = (x - torch.tensor(lab.MEAN)[None, :, None, None]) / torch.tensor(lab.STD)[None, :, None, None]
    mode = net.training
    with torch.no_grad():
        found = net.eval().forward_features(x).mean((2, 3)).numpy()
    net.train(mode)
    return found


@pytest.fixture(scope="module")
def space(net: nn.Module, lab: SimpleNamespace) -> FeatureSpace:
    pixels = lab.random_pixels(200, seed=4)
    return fit_space(pooled(net, pixels, lab), np.arange(200) % 2, rank=6)


@pytest.fixture(scope="module")
def known(net: nn.Module, space: FeatureSpace, lab: SimpleNamespace, reference: Reference) -> Reference:
    return replace(reference, novelty=space.distances(pooled(net, reference.pixels, lab)))


@pytest.fixture(scope="module")
def rule(net: nn.Module, space: FeatureSpace, lab: SimpleNamespace) -> Novelty:
    found = unknown_rule(space.distances(pooled(net, lab.random_pixels(99, seed=5), lab)), 0.05)
    assert found.threshold is not None
    return Novelty(threshold=found.threshold, alpha=found.alpha, images=found.images)


@pytest.fixture(scope="module")
def artifact(
    net: nn.Module, known: Reference, space: FeatureSpace, rule: Novelty, ship: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Artifact:  # fmt: skip
    path = tmp_path_factory.mktemp("novelty") / "m.onnx"
    return ship(net, path, reference=known, space=space, novelty=rule)


@pytest.fixture(scope="module")
def foreign(lab: SimpleNamespace) -> Any:
    """Hard black and white stripes: nothing like the smooth and noisy pictures it knows."""
    stripes = (np.indices(lab.SIZE).sum(axis=0) // 3 % 2 * 255).astype(np.uint8)
    return np.repeat(stripes[None, :, :, None], 3, axis=3)


def test_the_graph_says_the_same_distance_as_numpy(
    artifact: Artifact, net: nn.Module, space: FeatureSpace, lab: SimpleNamespace
) -> None:
    pixels = lab.random_pixels(30, seed=6)
    found = load(artifact.data).run(pixels).novelty
    np.testing.assert_allclose(found, space.distances(pooled(net, pixels, lab)), rtol=1e-4)
    onnx.checker.check_model(onnx.load_model_from_string(artifact.data), full_check=True)
    assert artifact.graph.novelty


def test_the_rule_travels_and_is_obeyed(
    artifact: Artifact, rule: Novelty, foreign: Any, lab: SimpleNamespace
) -> None:
    contract = artifact.contract
    assert contract.novelty == rule
    assert read_contract(contract.to_json()) == contract
    inspector = load(artifact.data)
    for verdict in inspector.predict(list(lab.random_pixels(40, seed=7))):
        assert verdict.unknown == (verdict.novelty > rule.threshold)
        assert verdict.unknown or verdict.decision == (
            "fail" if verdict.score >= contract.threshold.value else "pass"
        )
    stranger = inspector.inspect(foreign[0])
    assert stranger.unknown is True
    assert stranger.decision == "fail"
    assert stranger.label == "crack"
    assert stranger.to_dict()["unknown"] is True
    assert all(check.ok for check in verify_artifact(artifact.data))
    assert any("unknown above" in check.detail for check in verify_artifact(artifact.data))


def test_known_images_are_rarely_taken_for_unknown(artifact: Artifact, lab: SimpleNamespace) -> None:
    alarms = np.mean(
        [verdict.unknown for verdict in load(artifact.data).predict(list(lab.random_pixels(200, seed=8)))]
    )
    assert alarms <= 0.05 + 4 * np.sqrt(2 * 0.05 * 0.95 / 99)


def test_with_a_band_the_unknown_goes_to_review(
    net: nn.Module,
    known: Reference,
    space: FeatureSpace,
    rule: Novelty,
    ship: Any,
    foreign: Any,
    tmp_path: Path,
) -> None:
    threshold = Threshold(value=0.3, review=(0.3, 0.9), rule="claim", part="validation", images=12)
    artifact = ship(net, tmp_path / "m.onnx", reference=known, space=space, novelty=rule, threshold=threshold)
    assert load(artifact.data).inspect(foreign[0]).decision == "review"


def test_one_unknown_tile_stops_the_picture(artifact: Artifact, foreign: Any, lab: SimpleNamespace) -> None:
    inspector = load(artifact.data)
    passes = next(
        pixels
        for pixels in lab.random_pixels(60, seed=9)
        if inspector.inspect(pixels).decision == "pass" and not inspector.inspect(pixels).unknown
    )
    square = slice(0, 26)
    picture = np.concatenate([passes[:, square], foreign[0][:, square]], axis=1)
    verdicts = [inspector.inspect(picture[:, x : x + 26]) for x in (0, 26)]
    found = inspector.inspect(picture, tiling=Tiling(26, 0.0))
    assert [v.unknown for v in verdicts][1]
    assert found.decision == "fail"


def test_a_picture_that_became_unknown_is_a_changed_decision(
    artifact: Artifact, known: Reference, rule: Novelty
) -> None:
    p, cut = np.asarray(known.probabilities), artifact.contract.threshold.value
    unknown = known.unknown(rule.threshold)
    right = prove(artifact.data, known.pixels, p, cut, novelty=rule.threshold, unknown=unknown)
    assert right.changed_decisions == 0
    wrong = unknown.copy()
    wrong[3] ^= True
    with pytest.raises(GateError, match="changes 1 of 24"):
        prove(artifact.data, known.pixels, p, cut, novelty=rule.threshold, unknown=wrong)


def test_columns_tell_the_unknown(
    artifact: Artifact, foreign: Any, lab: SimpleNamespace, tmp_path: Path
) -> None:
    pixels = [*lab.random_pixels(3), foreign[0]]
    verdicts = list(load(artifact.data).predict(pixels))
    stream = io.BytesIO()
    write_verdicts(verdicts, stream, classes=("good", "crack"), unknown=True)
    rows = list(csv.DictReader(io.StringIO(stream.getvalue().decode())))
    assert [row["unknown"] for row in rows] == [str(verdict.unknown) for verdict in verdicts]
    assert float(rows[3]["novelty"]) == pytest.approx(verdicts[3].novelty)
    for ending in ("jsonl", "parquet"):
        write_verdicts(
            verdicts, tmp_path / f"v.{ending}", classes=("good", "crack"), unknown=True, sha256=True
        )
    assert pq.read_table(tmp_path / "v.parquet").to_pylist() == [verdict.to_dict() for verdict in verdicts]
    assert json.loads((tmp_path / "v.jsonl").read_text().splitlines()[3])["unknown"] is True


def test_graph_and_contract_must_agree(artifact: Artifact, shipped: Artifact) -> None:
    graph = onnx.load_model_from_string(artifact.data)
    del graph.metadata_props[:]
    without = artifact.contract.model_copy(update={"novelty": None})
    with pytest.raises(EyelineError, match="novelty output of the graph is True") as caught:
        open_artifact(seal(graph.SerializeToString(), without))
    assert caught.value.code == "contract_mismatch"
    plain = onnx.load_model_from_string(shipped.data)
    del plain.metadata_props[:]
    asks = shipped.contract.model_copy(update={"novelty": artifact.contract.novelty})
    with pytest.raises(EyelineError, match="novelty output of the graph is False"):
        open_artifact(seal(plain.SerializeToString(), asks))


@pytest.mark.parametrize("change", ["shape", "type", "name"])
def test_another_output_in_its_place_is_refused(artifact: Artifact, change: str) -> None:
    graph = onnx.load_model_from_string(artifact.data)
    output = graph.graph.output[3]
    if change == "shape":
        output.type.tensor_type.shape.dim.add().dim_value = 2
    elif change == "type":
        output.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    else:
        output.name = "novel"
    with pytest.raises(EyelineError) as caught:
        read_graph(graph.SerializeToString())
    assert caught.value.code == "bad_output"


@pytest.mark.parametrize("change", [{"alpha": 0}, {"images": 0}, {"threshold": None}, {"surprise": 1}])
def test_a_rule_that_does_not_fit_is_refused(artifact: Artifact, change: dict[str, Any]) -> None:
    data = artifact.contract.to_dict()
    data["novelty"] |= change
    with pytest.raises(EyelineError, match="novelty"):
        read_contract(json.dumps(data))


def test_a_contract_of_before_tells_nothing_of_the_unknown(shipped: Artifact) -> None:
    old = shipped.contract.to_dict()
    del old["novelty"]
    assert read_contract(json.dumps(old)) == shipped.contract
    assert "unknown" not in load(shipped.data).inspect(np.zeros((30, 30, 3), np.uint8)).to_dict()


def test_networks_without_pooled_features_are_refused(lab: SimpleNamespace, space: FeatureSpace) -> None:
    with pytest.raises(EyelineError, match="exact evidence") as caught:
        to_onnx(lab.Flat(), image_size=lab.SIZE, mean=(0.5,), std=(0.5,), space=space)
    assert caught.value.code == "export"
