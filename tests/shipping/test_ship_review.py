"""A review band is exported, proven and replayed like the threshold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from eyeline.errors import GateError
from eyeline.runtime import Threshold, load
from eyeline.shipping import Reference, choose_golden, prove


def cuts_of(reference: Reference) -> tuple[float, float]:
    """Two cuts in gaps between the scores, a third of them to either side."""
    scores = np.sort(1 - np.asarray(reference.probabilities)[:, 0])
    third = len(scores) // 3
    return tuple(float(scores[i - 1 : i + 1].mean()) for i in (third, 2 * third))  # type: ignore[return-value]


def test_all_three_decisions_are_shipped_and_agree(
    net: nn.Module, reference: Reference, ship: Any, tmp_path: Path
) -> None:
    low, high = cuts_of(reference)
    threshold = Threshold(value=low, review=(low, high), rule="claim", part="validation", images=12)
    artifact = ship(net, tmp_path / "m.onnx", threshold=threshold, reference=reference)
    assert artifact.contract.threshold == threshold
    scores = 1 - np.asarray(reference.probabilities)[:, 0]
    words = ["pass" if s < low else "review" if s < high else "fail" for s in scores]
    word = dict(zip(reference.names, words, strict=True))
    assert [image.decision for image in artifact.contract.golden] == [
        word[image.name] for image in artifact.contract.golden
    ]
    assert {"review", "fail"} <= set(words)
    assert [verdict.decision for verdict in load(artifact.data).predict(list(reference.pixels))] == words


def test_a_review_that_becomes_a_fail_is_a_changed_decision(shipped: Any, reference: Reference) -> None:
    p = np.array(reference.probabilities)
    low, high = cuts_of(reference)
    assert prove(shipped.data, reference.pixels, p, low, high=high).changed_decisions == 0
    scores = 1 - p[:, 0]
    i = int(np.argmin(np.where(scores >= high, scores, np.inf)))
    p[i] += (1e-6, -1e-6)
    just_above = float(scores[i] - 5e-7)  # the graph says fail, the reference now says review
    with pytest.raises(GateError, match="changes 1 of 24 decisions"):
        prove(shipped.data, reference.pixels, p, low, high=just_above)
    assert prove(shipped.data, reference.pixels, p, low).changed_decisions == 0


def test_an_image_at_the_upper_cut_is_left_out_of_the_golden_ones(reference: Reference) -> None:
    scores = 1 - np.asarray(reference.probabilities)[:, 0]
    order = np.argsort(scores)
    low = float(scores[order[:2]].mean())
    at_upper = int(order[-3])
    inside = choose_golden(reference, threshold=low, good=0, count=16)
    outside = choose_golden(reference, threshold=low, high=float(scores[at_upper]) + 1e-4, good=0, count=16)
    assert len(inside) == len(outside) == 16
    assert at_upper not in outside
