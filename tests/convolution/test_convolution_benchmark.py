"""The benchmark runs and its peers agree; its figures are another matter."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest
import torch

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "convolution.py"


def test_the_benchmark_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    out = tmp_path / "results" / "convolution.json"
    try:
        runpy.run_path(str(BENCHMARK))["main"](
            ["--quick", "--repeats", "2", "--threads", "1", "--out", str(out)]
        )
    finally:
        torch.set_num_threads(threads)
    result = json.loads(out.read_text())
    assert len(capsys.readouterr().out.splitlines()) == len(result["cases"])
    assert {case["name"] for case in result["cases"]} == {"one plain image", "grouped, strided"}
    for case in result["cases"]:
        assert set(case["seconds"]) == {"definition", "vectorised", "torch", "scipy"}
        assert all(value["min"] <= value["median"] <= value["max"] for value in case["seconds"].values())
        assert all(value < 1e-5 for value in case["relative_difference_from_definition"].values())
        assert case["ratio_to_vectorised"]["vectorised"] == 1
