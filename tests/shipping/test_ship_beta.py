"""Beta calibration travels in the graph: what ONNX Runtime says is what `BetaCalibration` says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from eyeline.errors import GateError
from eyeline.runtime import Calibration, Threshold, load
from eyeline.shipping import Reference
from eyeline.verdicts import BetaCalibration

FIGURES = {"log_loss_before": 0.5, "log_loss_after": 0.4, "ece_before": 0.1, "ece_after": 0.05}
BETA = BetaCalibration(a=0.4, b=1.5, c=0.6, images=300, reason="for the test", **FIGURES)
CALIBRATION = Calibration(beta=(BETA.a, BETA.b, BETA.c), reason=BETA.reason, images=BETA.images)


def calibrated(reference: Reference, good: int) -> tuple[Reference, Threshold]:
    p = BETA.apply_logits(reference.logits, good)
    scores = np.sort(1 - p[:, good])
    cut = float(scores[len(scores) // 2 - 1 : len(scores) // 2 + 1].mean())
    return replace(reference, probabilities=p), Threshold(value=cut, rule="f1", part="validation", images=12)


@pytest.mark.parametrize("good", [0, 1])
def test_the_graph_says_what_the_calibration_says(
    net: nn.Module, reference: Reference, ship: Any, tmp_path: Path, good: int
) -> None:
    bent, threshold = calibrated(reference, good)
    artifact = ship(
        net,
        tmp_path / "m.onnx",
        reference=bent,
        threshold=threshold,
        calibration=CALIBRATION,
        good=("good", "crack")[good],
    )
    assert artifact.contract.calibration == CALIBRATION
    assert artifact.contract.proof.changed_decisions == 0
    said = [
        list(verdict.probabilities.values()) for verdict in load(artifact.data).predict(list(bent.pixels))
    ]
    np.testing.assert_allclose(np.array(said), bent.probabilities, atol=2e-6)
    assert np.abs(np.array(said) - np.asarray(reference.probabilities)).max() > 0.05


def test_a_graph_without_it_is_caught(
    net: nn.Module, reference: Reference, ship: Any, tmp_path: Path
) -> None:
    bent, threshold = calibrated(reference, 0)
    with pytest.raises(GateError):
        ship(net, tmp_path / "m.onnx", reference=bent, threshold=threshold, calibration=Calibration())
