"""From a trained network to a file on disk: whole and proven, or not there."""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from eyeline.errors import EyelineError, GateError
from eyeline.images import DecodeOptions
from eyeline.runtime import Artifact, load, open_artifact, verify_artifact
from eyeline.shipping import Reference, software_versions


def test_the_file_passes_every_check(shipped: Artifact) -> None:
    assert shipped.path is not None
    checks = verify_artifact(shipped.path, threads=1)
    assert [check.name for check in checks if not check.ok] == []
    assert len(checks) == 9
    onnx.checker.check_model(shipped.path, full_check=True)


def test_the_inspector_says_what_the_network_says(shipped: Artifact, reference: Reference) -> None:
    assert shipped.path is not None
    inspector = load(shipped.path, threads=1)
    for i, verdict in enumerate(inspector.predict(list(reference.pixels))):
        expected = np.asarray(reference.probabilities)[i]
        assert list(verdict.probabilities.values()) == pytest.approx(expected.tolist(), abs=1e-5)
        assert verdict.decision == (
            "fail" if 1 - expected[0] >= inspector.contract.threshold.value else "pass"
        )


def test_the_contract_tells_everything(shipped: Artifact, reference: Reference, net: nn.Module) -> None:
    c = shipped.contract
    assert (c.network, c.classes, c.good, c.opset) == ("small", ("good", "crack"), "good", 18)
    assert c.decode == DecodeOptions(image_size=(26, 30))
    assert (c.calibration.temperature, c.threshold.rule) == (1.3, "f1")
    assert (c.test, c.recipe, c.seeds) == ({"images": 24}, {"epochs": 3}, {"split": 0})
    assert (c.data.images, c.data.groups) == ({"train": 9, "test": 24}, 4)
    assert (c.licences.data, c.licences.weights) == ("CC0", "Apache-2.0")
    assert "licence of the data" in c.licences.golden
    assert c.proof.images == 24
    assert c.versions == software_versions()
    assert c.versions["torch"] == torch.__version__
    assert c.evidence.bias == pytest.approx(net.head.bias.tolist())
    assert 4 <= len(c.golden) <= 16
    for image in c.golden:
        i = list(reference.names).index(image.name)
        np.testing.assert_array_equal(image.pixels(3), reference.pixels[i])
        assert image.logits == pytest.approx(np.asarray(reference.logits)[i].tolist())
        assert image.label == reference.labels[i]


def test_the_same_training_gives_the_same_bytes_and_no_noise(
    shipped: Artifact, ship: Any, net: nn.Module, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    level = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = ship(net, tmp_path / "again.onnx")
    assert again.sha256 == shipped.sha256
    assert capfd.readouterr() == ("", "")
    assert logging.root.manager.disable == level


def test_the_gate_keeps_the_old_file(ship: Any, net: nn.Module, reference: Reference, tmp_path: Path) -> None:
    """A normalization that is not the one of training: nothing is written, what was there stays."""
    path = tmp_path / "model.onnx"
    path.write_bytes(b"old")
    with pytest.raises(GateError, match="probabilities by up to"):
        ship(net, path, reference=reference, mean=(0.5, 0.5, 0.5))
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


def test_one_channel_without_evidence(ship: Any, lab: SimpleNamespace, tmp_path: Path) -> None:
    events: list[str] = []
    net = lab.trained(lab.Flat())
    artifact = ship(
        net,
        tmp_path / "flat.onnx",
        decode=DecodeOptions(image_size=(26, 30), channels=1, resize="letterbox", background=99),
        progress=lambda stage, done, total, note: events.append(f"{stage} {done}/{total}"),
    )
    assert not artifact.contract.evidence.exact
    assert artifact.contract.decode.background == 99
    assert [o.name for o in onnx.load(artifact.path).graph.output] == ["probabilities", "logits"]
    assert events[:2] == ["exporting 0/1", "exporting 1/1"]
    assert events[-1] == "proving 24/24"
    verdict = load(tmp_path / "flat.onnx").inspect(np.zeros((50, 20, 3), np.uint8))
    assert verdict.error is None
    assert verdict.evidence is None
    assert [check.name for check in verify_artifact(artifact.data) if not check.ok] == []


def test_a_wrong_good_class_is_said_at_once(ship: Any, net: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(EyelineError, match="'fine' is not among the classes"):
        ship(net, tmp_path / "a.onnx", good="fine")


def test_metadata_is_plain_json_for_everybody(shipped: Artifact) -> None:
    model = onnx.load_model_from_string(shipped.data)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(metadata["eyeline"]) == shipped.contract.to_dict()
    assert open_artifact(shipped.data).contract == shipped.contract
