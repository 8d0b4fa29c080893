"""The pages of appraise, monitor, pod and learn: whole, offline, and true to what was found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eyeline.reports import (
    AppraisalData,
    DetectionData,
    LearningData,
    MonitorData,
    write_appraisal,
    write_detection,
    write_learning,
    write_monitor,
)
from eyeline.verdicts import Baseline, GrowthCurve, Rate, appraise, fit_detection, watch_shift

from .pages import Page

NASTY = "</script><img src=x onerror=alert(1)>"


def appraisal(mistakes: int = 3, **changes: object) -> AppraisalData:
    rng = np.random.default_rng(0)
    part = np.repeat([f"{NASTY} {i}" if i == 0 else f"part {i:02d}" for i in range(50)], 3)
    reference = np.repeat(np.arange(50) < 16, 3).astype(int)

    def calls(count: int) -> np.ndarray:
        wrong = np.zeros(150, dtype=int)
        wrong[rng.permutation(150)[:count]] = 1
        return reference ^ wrong

    found = appraise(
        {"model": calls(mistakes), "Anna": calls(8), NASTY: calls(12), "Ben": reference}, reference, part
    )
    values: dict[str, object] = {
        "appraisal": found,
        "model": "model.onnx",
        "sha256": "ab" * 32,
        "study": "study.csv",
        "network": "efficientnet_lite0",
        "threshold": 0.41,
    }
    return AppraisalData(**(values | changes))  # type: ignore[arg-type]


def shift(moved: float = 0.0, **changes: object) -> MonitorData:
    rng = np.random.default_rng(1)

    def scores(n: int, by: float = 0.0) -> np.ndarray:
        defect = rng.random(n) < 0.2
        return np.asarray(1 / (1 + np.exp(-(rng.normal(size=n) + 3 * defect - 1.8 + by))))

    base, now = scores(800), scores(700, moved)
    baseline = Baseline(scores=base, stopped=base >= 0.5)
    drift = watch_shift(now, now >= 0.5, baseline=baseline, batches=[f"{i // 50:02d}:00" for i in range(700)])
    values: dict[str, object] = {
        "drift": drift,
        "model": "model.onnx",
        "log": NASTY,
        "baseline": "predictions.parquet",
        "void": drift.alarm,
        "promise": "Escape rate at most 5 %.",
        "text": drift.text,
        "threshold": 0.5,
        "shift_scores": now,
        "baseline_scores": base,
        "baseline_weights": baseline.weights,
    }
    return MonitorData(**(values | changes))  # type: ignore[arg-type]


def detection(largest: float = 3.0) -> DetectionData:
    rng = np.random.default_rng(2)
    sizes = np.exp(rng.uniform(0, largest, 200))
    caught = rng.random(200) < 1 / (1 + np.exp(-(-3 + 2.5 * np.log(sizes))))
    return DetectionData(
        detection=fit_detection(sizes, caught, unit=" px"),
        sizes=sizes,
        caught=caught,
        model="model.onnx",
        source=NASTY,
        part="test",
        size="diameter, pixels",
        unit=" px",
        false_calls=Rate(value=0.05, low=0.02, high=0.1, method="", n=100, count=5),
        left_out=2,
        threshold=0.4,
    )


def learning(scale: float = 0.6, *, images: bool = True) -> LearningData:
    rng = np.random.default_rng(3)
    sizes = np.array([4, 8, 16, 24, 32])
    errors = 0.05 + scale * sizes**-0.7 + rng.normal(0, 0.02, (8, 5))
    curve = GrowthCurve(sizes, errors, figure="1 - AUROC")
    flat = GrowthCurve(10 * sizes, 0.1 + rng.normal(0, 0.02, (8, 5)), figure="1 - AUROC", unit="image")
    return LearningData(
        title=NASTY,
        network="efficientnet_lite0",
        images=400,
        groups=43 if images else None,
        curves={"1 - AUROC": curve.result()},
        images_only={"1 - AUROC": flat.result()} if images else {},
        forecasts=(curve.forecast(16), curve.forecast(32)),
        points={"1 - AUROC": errors},
        text="More parts help.",
    )


PAGES = {
    "appraise": lambda path: write_appraisal(path, appraisal()),
    "appraise alone": lambda path: write_appraisal(path, alone()),
    "monitor": lambda path: write_monitor(path, shift()),
    "monitor void": lambda path: write_monitor(path, shift(1.5)),
    "pod": lambda path: write_detection(path, detection()),
    "pod beyond": lambda path: write_detection(path, detection(1.2)),
    "learn": lambda path: write_learning(path, learning()),
    "learn flat": lambda path: write_learning(path, learning(0.0, images=False)),
}


def alone() -> AppraisalData:
    """The model without people, on good parts only: most of the sheet is unknown."""
    zeros = np.zeros(6, dtype=int)
    return appraisal(
        appraisal=appraise({"model": zeros}, zeros, [f"p{i}" for i in range(6)]), errors={"a.png": "broken"}
    )


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_loads_nothing_and_runs_nothing(name: str, tmp_path: Path) -> None:
    page = Page(PAGES[name](tmp_path / "page.html"))
    assert page.problems == []
    assert page.loads() == []
    assert "x" not in page.attributes("img", "src")
    assert "nan" not in page.text.lower().split()
    for path in page.attributes("path", "d"):
        assert "nan" not in path
        assert "inf" not in path
    assert "@page" in page.source


def test_the_sheet_says_what_the_study_says(tmp_path: Path) -> None:
    data = appraisal()
    page = Page(write_appraisal(tmp_path / "a.html", data))
    machine = data.appraisal.appraisers[0]
    assert "Inconclusive; " in page.text
    assert f"{machine.miss_rate.count} of {machine.miss_rate.n}" in page.text
    assert "≥ 90" in page.text
    assert NASTY in page.text
    for pair in data.appraisal.pairs:
        assert f"{pair.kappa.value:.2f}" in page.text


def test_an_unacceptable_model_leads_with_it(tmp_path: Path) -> None:
    page = Page(write_appraisal(tmp_path / "a.html", appraisal(mistakes=60)))
    assert "Unacceptable as an appraiser." in page.text


def test_the_monitor_leads_with_the_promise(tmp_path: Path) -> None:
    calm, void = (Page(write_monitor(tmp_path / "m.html", shift(moved))) for moved in (0.0, 1.5))
    assert "The promise stands." in calm.text
    assert "The promise is void." in void.text
    assert void.text.count("rings") > calm.text.count("rings")
    assert calm.source.count('class="dot out"') == 0
    assert void.source.count('class="dot out"') > 3


def test_the_curve_shows_every_defect_once(tmp_path: Path) -> None:
    data = detection()
    page = Page(write_detection(tmp_path / "p.html", data))
    assert page.attributes("line", "class").count("hit") == data.detection.caught
    assert page.attributes("line", "class").count("missed") == 200 - data.detection.caught
    assert f"a90/95 {data.detection.bound:.3g}" in page.text
    beyond = Page(write_detection(tmp_path / "p.html", detection(1.2)))
    assert "No size to rely on yet." in beyond.text


def test_a_learning_curve_answers_and_says_how_sure_it_is(tmp_path: Path) -> None:
    page = Page(write_learning(tmp_path / "l.html", learning()))
    assert "32 more parts: 1 - AUROC" in page.text
    assert "More images of the same parts" in page.text
    flat = Page(write_learning(tmp_path / "l.html", learning(0.0, images=False)))
    assert "It is not sure that more parts help." in flat.text
    assert "More images of the same" not in flat.text
