"""The page of `eyeline explain`: every image, its evidence, and the sum that proves it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eyeline.reports import ExplainData, ExplainItem, explain_scale, write_explain

from .pages import Page

BIAS = (0.4, -0.3, 0.1)


def items(count: int, seed: int = 0) -> tuple[ExplainItem, ...]:
    rng = np.random.default_rng(seed)
    made = []
    for i in range(count):
        maps = rng.normal(size=(3, 4, 5))
        logits = maps.sum((1, 2)) + BIAS
        shares = np.exp(logits) / np.exp(logits).sum()
        fails = bool(1 - shares[0] >= 0.5)
        made.append(
            ExplainItem(
                path=f"photos/{i}.png",
                picture=rng.integers(0, 256, (100, 120, 1), dtype=np.uint8),
                label=("ok", "crack", "stain")[int(shares[1:].argmax()) + 1 if fails else 0],
                decision="fail" if fails else "pass",
                score=float(1 - shares[0]),
                probabilities=dict(zip(("ok", "crack", "stain"), shares.tolist(), strict=True)),
                evidence=maps,
                logits=logits,
            )
        )
    return tuple(made)


def data(*shown: ExplainItem, **changes: object) -> ExplainData:
    values = {"model": "model.onnx", "classes": ("ok", "crack", "stain"), "good": "ok", "threshold": 0.5}
    return ExplainData(**(values | {"items": shown, "bias": BIAS} | changes))  # type: ignore[arg-type]


def test_the_page_shows_every_image_with_its_sum(tmp_path: Path) -> None:
    shown = items(9)
    page = Page(write_explain(tmp_path / "e.html", data(*shown)))
    assert page.problems == []
    assert page.loads() == []
    assert f"{sum(item.decision == 'fail' for item in shown)} of 9 failed." in page.text
    assert len(page.attributes("img", "src")) == 18
    for item in shown:
        assert item.logits is not None
        defect = int(item.logits[1:].argmax()) + 1
        logit = f"{item.logits[defect] - item.logits[0]:+.2f}".replace("-", "−")
        assert logit in page.text
        assert f"{item.score:.3f}" in page.text
    assert page.text.count("✓") == 9


def test_a_sum_that_does_not_match_is_marked(tmp_path: Path) -> None:
    good, wrong = items(2)
    assert wrong.logits is not None
    page = Page(
        write_explain(
            tmp_path / "e.html", data(good, replace(wrong, logits=wrong.logits + np.array([0, 0.5, 0.5])))
        )
    )
    assert page.text.count("✓") == 1
    assert page.text.count("≠") == 1


def test_images_without_verdict_evidence_or_bias_are_shown_as_they_are(tmp_path: Path) -> None:
    first, second = items(2)
    unread = ExplainItem(path='photos/<b>"x".jpg', error="truncated: the file ends early")
    page = Page(
        write_explain(tmp_path / "e.html", data(replace(first, evidence=None), second, unread, bias=()))
    )
    assert page.problems == []
    assert "truncated: the file ends early" in page.text
    assert '<b>"x".jpg' in page.text
    assert "1 could not be judged." in page.text
    assert "✓" not in page.text
    assert len(page.attributes("img", "src")) == 3
    assert Page(write_explain(tmp_path / "none.html", data())).problems == []


def test_one_scale_serves_all(tmp_path: Path) -> None:
    shown = items(12)
    assert explain_scale(shown) == pytest.approx(
        np.quantile(
            np.abs([i.evidence[int(i.logits[1:].argmax()) + 1] - i.evidence[0] for i in shown]),  # type: ignore[index]
            0.99,
        )
    )
    assert explain_scale(()) == 1.0
    alone = Page(write_explain(tmp_path / "a.html", data(shown[0], scale=3.0))).attributes("img", "src")
    among = Page(write_explain(tmp_path / "b.html", data(*shown, scale=3.0))).attributes("img", "src")
    assert among[:2] == alone


def test_a_long_list_stays_a_light_page(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (224, 224, 1), dtype=np.uint8)  # noise: the worst there is to compress
    one = replace(items(1)[0], picture=picture)
    page = Page(write_explain(tmp_path / "e.html", data(*(replace(one, path=f"{i}") for i in range(420)))))
    assert len(page.source.encode()) < 6_000_000
    assert "20 more are not shown here." in page.text
