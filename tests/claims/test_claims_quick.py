"""Every experiment from beginning to end, in seconds: on digits, with networks trained too short for a verdict."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from eyeline.claims import ClaimResult, Settings, batch_norm, measure_claim, pictures, random_split, residual
from eyeline.images import ImageTable, read_images

SETTINGS = Settings(budget=0.5, seeds=2, data="digits")
TRAINED = (
    "weight-sharing",
    "stacked-kernels",
    "batch-norm",
    "residual",
    "separable",
    "compound-scaling",
    "little-data",
)


@pytest.fixture(autouse=True)
def few_digits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Judged on few pictures: what takes time here is evaluation."""
    monkeypatch.setattr(pictures, "VALIDATION", 64)
    monkeypatch.setattr(pictures, "TEST_SHARE", 0.15)
    pictures.load_pictures.cache_clear()
    yield
    pictures.load_pictures.cache_clear()


@pytest.mark.parametrize("name", TRAINED)
def test_an_experiment_runs_and_is_judged(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eyeline.claims.bench.FEWEST", 2)
    monkeypatch.setattr("eyeline.claims.bench.PROBE", 1)
    monkeypatch.setattr("eyeline.claims.bench.MOST_LOSS", 64)
    monkeypatch.setattr(batch_norm, "STEPS", (5, 30))
    monkeypatch.setattr(batch_norm, "BATCHES", (4,))
    small = [
        residual.arm(depth, skip, norm)
        for norm in (True, False)
        for skip in (False, True)
        for depth in (8, 14)
    ]
    monkeypatch.setattr(residual, "MAIN", tuple(small[:4]))
    monkeypatch.setattr(residual, "BARE", tuple(small[4:]))
    stages: list[str] = []

    def progress(stage: str, done: int, total: int, note: str) -> None:
        assert 0 <= done <= total
        stages.append(stage)

    result = measure_claim(name, SETTINGS, progress=progress)
    assert all(check.holds for check in result.findings.checks)
    assert ClaimResult.model_validate(result.to_dict()) == result
    seeds = SETTINGS.seeds * (2 if name in ("batch-norm", "compound-scaling") else 1)
    timed = [c for c in result.findings.contrasts if c.name.startswith("time")]
    assert all(len(c.values) == seeds for c in result.findings.contrasts if c not in timed)
    for contrast in result.findings.contrasts:
        assert contrast.low <= contrast.effect <= contrast.high
    for chart in result.findings.charts:
        assert all(len(s.x) == len(s.values) for s in chart.series)
    assert result.findings.arms
    assert all(stage.startswith(f"{name}: ") for stage in stages)
    if name != "batch-norm":  # which takes a second a training and is not shortened
        assert result.share < 0.25
        assert result.verdict == "inconclusive"


# --- a random split flatters -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cells() -> ImageTable:
    return read_images("elpv")


def flattery(table: ImageTable, features: np.ndarray, seeds: int = 5) -> tuple[float, str]:
    scores = [
        [random_split.score(table, features, by, seed) for by in ("image", "group")] for seed in range(seeds)
    ]
    found = random_split.flattery("planted", *np.array(scores).T)
    return found.effect, found.verdict


def test_features_that_know_the_module_flatter(cells: ImageTable) -> None:
    """Which module a cell is of, and nothing about defects: a random split rewards it, a grouped one cannot."""
    modules = np.unique(np.array(cells.groups), return_inverse=True)[1]
    features = np.eye(modules.max() + 1)[modules] + np.random.default_rng(0).normal(0, 0.1, (len(cells), 44))
    effect, verdict = flattery(cells, features)
    assert effect > 0.1
    assert verdict == "holds"


def test_features_that_know_the_defect_alone_do_not(cells: ImageTable) -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(len(cells), 8)) + 0.8 * cells.is_defect[:, None]
    effect, verdict = flattery(cells, features)
    assert abs(effect) < 0.02
    assert verdict != "holds"
