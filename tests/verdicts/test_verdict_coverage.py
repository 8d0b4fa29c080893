"""The simulation behind the page, with fewer plants: what is promised holds, and what is naive is seen to fail.

A guarantee is refuted when it holds so rarely that chance would do it in one of 1,000 simulations. The committed
results of 2,000 plants are held to the same.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom, norm

ROOT = Path(__file__).parents[2]


def load_benchmark(name):
    """A script of benchmarks/, which is no package."""
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", ROOT / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


coverage = load_benchmark("coverage")
PLANTS = {plant.name: plant for plant in coverage.CASES}
COMMITTED = json.loads(coverage.RESULTS.read_text("utf-8"))


def refuted(held, plants, promised=coverage.CONFIDENCE):
    """Too rare for chance, if the promise were kept: the exact binomial test at 0.001."""
    return binom.cdf(held, plants, promised) < 0.001


@pytest.mark.parametrize("plant", coverage.CASES, ids=lambda plant: plant.name)
def test_the_true_rates_are_those_of_very_many_images(plant):
    rng = np.random.default_rng(0)
    draws = [plant.draw(rng) for _ in range(400)]
    latent, defect = np.concatenate([d[0] for d in draws]), np.concatenate([d[1] for d in draws])
    cut = plant.cut_of(0.1)
    assert plant.escape(cut) == pytest.approx(0.1)
    assert np.mean(latent[defect] < cut) == pytest.approx(0.1, abs=0.012)
    assert np.mean(latent[~defect] >= cut) == pytest.approx(plant.overkill(cut), abs=0.012)
    pairs = rng.choice(latent[defect], 200_000) > rng.choice(latent[~defect], 200_000)
    assert pairs.mean() == pytest.approx(plant.auroc, abs=0.01)
    assert coverage.to_latent(float(coverage.to_score(cut))) == pytest.approx(cut)


@pytest.mark.parametrize("name", ["independent", "44 parts, correlation 0.3"])
def test_every_guarantee_holds(name):
    plants = 60
    found = coverage.simulate(PLANTS[name], plants, by_part=True, seed=10_000)
    for guarantee in coverage.SURE:
        assert not refuted(round(found[guarantee]["holds"] * plants), plants), guarantee
    for guarantee, promised in coverage.AVERAGE.items():
        row = found[guarantee]
        assert row["mean"] <= promised + 3 * row["standard_error"], guarantee
    assert found["claim"]["granted"] > 0.9  # not kept by refusing


def test_the_naive_interval_fails_with_parts():
    plants = 120
    rows = [
        coverage.one_plant(PLANTS["44 parts, correlation 0.3"], 10_000 + k, by_part=False)
        for k in range(plants)
    ]
    for guarantee in ("overkill", "auroc"):
        assert refuted(int(sum(row[guarantee] for row in rows)), plants), guarantee


def test_the_committed_results_keep_every_promise_but_those_the_page_names():
    assert COMMITTED["plants"] == 2000
    assert [row["case"] for row in COMMITTED["cases"]] == list(PLANTS)
    for row in COMMITTED["cases"]:
        ours = row["by_image" if row["case"] == "independent" else "by_part"]
        hard = "hard" in row["case"]
        for guarantee in coverage.SURE:
            # Data in which a tenth of the parts hold most misses cannot show them reliably: the page says so.
            if not (hard and guarantee in ("escape", "auroc")):
                held = round(ours[guarantee]["holds"] * COMMITTED["plants"])
                assert not refuted(held, COMMITTED["plants"]), (row["case"], guarantee)
        for guarantee, promised in coverage.AVERAGE.items():
            assert ours[guarantee]["mean"] <= promised + 3 * ours[guarantee]["standard_error"]
        if "0.3" in row["case"]:
            for guarantee in ("claim", "review", "escape", "overkill", "auroc"):
                held = round(row["by_image"][guarantee]["holds"] * COMMITTED["plants"])
                assert refuted(held, COMMITTED["plants"]), (row["case"], guarantee)


def test_the_picture_is_drawn_from_the_results():
    assert coverage.PICTURE.read_text("utf-8") == coverage.draw_picture(COMMITTED)


def test_claims_on_solar_cells_are_honest_on_other_modules():
    """The committed 200 splits: kept in at least 95 % of those in which the claim was granted."""
    results = json.loads((ROOT / "benchmarks" / "results" / "honesty.json").read_text("utf-8"))
    assert results["splits"] == 200
    sure = [row for row in results["demands"] if "@" in row["demand"]]
    assert len(sure) == 8
    for row in sure:
        assert row["by_module"]["granted"] >= 30
        assert row["by_module"]["kept"] >= 0.95
        assert row["by_module"]["not_contradicted"] >= 0.95
        assert row["by_image"]["kept"] < 0.8  # what a claim by image would be worth


def test_a_claim_is_judged_on_modules_that_had_no_part_in_it():
    """The benchmark of solar cells, on made-up modules whose truth is known: parts differ, features tell."""
    from eyeline.images import synthetic_images

    honesty = load_benchmark("honesty")
    table = synthetic_images(images=240, parts=40, burst=3, size=32)[0]
    rng = np.random.default_rng(0)
    part = np.unique(np.array(table.groups), return_inverse=True)[1]
    features = rng.normal(size=(len(table), 6)) + 0.7 * rng.normal(size=(part.max() + 1, 6))[part]
    features[:, 0] += 2.5 * table.is_defect
    found = honesty.measure(table, features, 12, ["escape<=0.3@0.9"])
    (row,) = found["demands"]
    assert found["modules"] == part.max() + 1
    assert 0.7 < found["auroc_new_modules"] < norm.cdf(2.5)
    assert row["by_module"]["granted"] >= 6
    assert row["by_module"]["kept"] >= 0.8
    assert row["by_module"]["escape"] < row["by_image"]["escape"]
    assert row["by_module"]["overkill"] > row["by_image"]["overkill"]
