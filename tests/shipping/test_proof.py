"""The gate opens for the same answers and for nothing else."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from torch import nn

from eyeline.errors import EyelineError, GateError
from eyeline.runtime import Artifact
from eyeline.shipping import Exported, Reference, prove


def threshold_of(artifact: Artifact) -> float:
    return artifact.contract.threshold.value


def test_the_right_answers_pass(shipped: Artifact, reference: Reference) -> None:
    seen: list[tuple[str, int, int]] = []
    proof = prove(
        str(shipped.path),
        reference.pixels,
        np.asarray(reference.probabilities),
        threshold_of(shipped),
        progress=lambda stage, done, total, note: seen.append((stage, done, total)),
    )
    assert (proof.images, proof.changed_decisions) == (24, 0)
    assert proof.max_difference < 1e-5
    assert proof.engine.startswith("onnxruntime ")
    assert seen == [("proving", done, 24) for done in range(4, 25, 4)]


def test_a_memory_map_and_some_of_its_rows(shipped: Artifact, reference: Reference, tmp_path: Path) -> None:
    stored = np.memmap(tmp_path / "pixels", np.uint8, "w+", shape=reference.pixels.shape)
    stored[:] = reference.pixels
    rows = np.array([5, 1, 17])
    p = np.asarray(reference.probabilities)[rows]
    proof = prove(shipped.data, stored, p, threshold_of(shipped), rows=rows, threads=1)
    assert proof.images == 3
    with pytest.raises(GateError):  # other rows are other images
        prove(shipped.data, stored, p, threshold_of(shipped), rows=rows[::-1])


def test_a_difference_beyond_the_tolerance_is_refused_with_its_size(
    shipped: Artifact, reference: Reference
) -> None:
    p = np.array(reference.probabilities)
    p[7] += (2e-4, -2e-4) if p[7, 0] < 0.5 else (-2e-4, 2e-4)
    with pytest.raises(GateError, match=r"changes 0 of 24 decisions .* by up to 0\.0002") as caught:
        prove(shipped.data, reference.pixels, p, threshold_of(shipped))
    assert caught.value.code == "parity"
    p = np.array(reference.probabilities)
    p[7] += (5e-5, -5e-5) if p[7, 0] < 0.5 else (-5e-5, 5e-5)
    assert prove(shipped.data, reference.pixels, p, threshold_of(shipped)).max_difference > 4e-5


def test_one_changed_decision_is_refused_however_small_the_difference(
    shipped: Artifact, reference: Reference
) -> None:
    p = np.array(reference.probabilities)
    score = 1 - p[3, 0]
    p[3] += (1e-6, -1e-6)
    with pytest.raises(GateError, match="changes 1 of 24 decisions"):
        prove(shipped.data, reference.pixels, p, float(score - 5e-7))


def test_a_changed_class_of_defect_is_a_changed_decision(
    five: tuple[nn.Module, Exported, list[bool], list[bool]], lab: SimpleNamespace
) -> None:
    """Fail stays fail, but as another defect: that is another verdict."""
    net, exported, _, _ = five
    reference = lab.make_reference(net, lab.random_pixels(24, 1), 1.3, tuple("abcde"))
    data = exported.model.SerializeToString()
    p = np.array(reference.probabilities)
    assert prove(data, reference.pixels, p, 0.5).changed_decisions == 0
    failing = int(np.argmax(1 - p[:, 0]))
    largest = 1 + int(p[failing, 1:].argmax())
    other = 1 + largest % 4
    p[failing, [largest, other]] = p[failing, [other, largest]]
    with pytest.raises(GateError, match="changes 1 of 24"):
        prove(data, reference.pixels, p, 0.5)


def test_what_does_not_fit_together(shipped: Artifact, reference: Reference) -> None:
    p = np.asarray(reference.probabilities)
    for pixels, q in ((reference.pixels[:5], p), (reference.pixels, p[:, 0]), (reference.pixels[:0], p[:0])):
        with pytest.raises(EyelineError, match="do not fit together"):
            prove(shipped.data, pixels, q, 0.5)
    with pytest.raises(EyelineError, match="differ in their classes"):
        prove(shipped.data, reference.pixels, np.full((24, 3), 1 / 3), 0.5)
    with pytest.raises(EyelineError):
        prove(b"not a model", reference.pixels, p, 0.5)
