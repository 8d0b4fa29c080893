"""Which images travel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyeline.errors import EyelineError
from eyeline.shipping import Reference, choose_golden
from eyeline.shipping.golden import make_golden


def reference_of(scores: list[float], labels: list[str], side: int = 4) -> Reference:
    p = np.array([[1 - s, s] for s in scores])
    rng = np.random.default_rng(0)
    return Reference(
        pixels=rng.integers(0, 256, (len(scores), side, side, 1), dtype=np.uint8),
        logits=np.log(np.clip(p, 1e-9, 1)),
        probabilities=p,
        names=[f"{i}.png" for i in range(len(scores))],
        labels=labels,
    )


@given(
    st.lists(st.tuples(st.floats(0, 1), st.sampled_from(["good", "crack"])), min_size=1, max_size=60),
    st.integers(4, 16),
    st.floats(0.05, 0.95),
)
def test_enough_different_and_of_every_class(
    rows: list[tuple[float, str]], count: int, threshold: float
) -> None:
    reference = reference_of([score for score, _ in rows], [label for _, label in rows])
    chosen = choose_golden(reference, threshold=threshold, good=0, count=count)
    scores = np.array([score for score, _ in rows])
    safe = np.abs(scores - threshold) >= 1e-3
    available = int(safe.sum()) if safe.sum() >= min(4, len(rows)) else len(rows)
    assert len(chosen) == len(set(chosen)) == min(count, available)
    if available == safe.sum():
        assert safe[chosen].all()
    labels = {rows[i][1] for i in range(len(rows)) if safe[i] or available == len(rows)}
    assert {rows[i][1] for i in chosen} == labels
    assert chosen == choose_golden(reference, threshold=threshold, good=0, count=count)


def test_the_nearest_and_the_farthest_of_each_class() -> None:
    scores = [0.1, 0.2, 0.3, 0.45, 0.55, 0.7, 0.8, 0.99]
    reference = reference_of(scores, ["good"] * 4 + ["crack"] * 4)
    assert choose_golden(reference, threshold=0.5, good=0, count=4) == [3, 4, 0, 7]


def test_an_image_at_the_very_threshold_is_left_out() -> None:
    reference = reference_of([0.1, 0.5001, 0.9, 0.2, 0.8], ["good", "crack", "crack", "good", "crack"])
    assert 1 not in choose_golden(reference, threshold=0.5, good=0, count=5)
    assert 1 in choose_golden(reference, threshold=0.4, good=0, count=5)


def test_large_pictures_are_fewer_but_never_below_four() -> None:
    reference = reference_of([0.1, 0.2, 0.3, 0.6, 0.7, 0.8], ["good"] * 3 + ["crack"] * 3, side=1200)
    golden = make_golden(reference, [0, 1, 2, 3, 4, 5], threshold=0.5, good=0)
    assert len(golden) == 4
    assert [image.decision for image in golden] == ["pass", "pass", "pass", "fail"]
    np.testing.assert_array_equal(golden[1].pixels(1), reference.pixels[1])


def test_rows_point_into_the_pixels() -> None:
    whole = reference_of([0.1, 0.2, 0.3, 0.6], ["good"] * 4)
    part = Reference(
        pixels=whole.pixels,
        rows=np.array([3, 0]),
        logits=np.asarray(whole.logits)[:2],
        probabilities=np.asarray(whole.probabilities)[:2],
        names=["a", "b"],
        labels=["good", "good"],
    )
    np.testing.assert_array_equal(part.image(0), whole.pixels[3])
    np.testing.assert_array_equal(part.image(1), whole.pixels[0])


def test_wrong_use() -> None:
    reference = reference_of([0.1], ["good"])
    for count in (3, 17):
        with pytest.raises(EyelineError, match="allowed: 4 to 16"):
            choose_golden(reference, threshold=0.5, good=0, count=count)
    with pytest.raises(EyelineError, match="the reference holds 1 images"):
        Reference(
            pixels=reference.pixels,
            logits=reference.logits,
            probabilities=reference.probabilities,
            names=["a", "b"],
            labels=["good"],
        )
