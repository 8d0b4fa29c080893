"""The benchmark runs, and what it writes is complete."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "networks.py"


@pytest.mark.slow
def test_the_benchmark_compares_twins(tmp_path):
    output = tmp_path / "networks.json"
    arguments = ["--only", "convnext_atto", "efficientnet_lite0", "--rounds", "4", "--threads", "1"]
    subprocess.run([sys.executable, SCRIPT, *arguments, "--output", output], check=True, capture_output=True)
    result = json.loads(output.read_text("utf-8"))
    assert [row["network"] for row in result["networks"]] == ["efficientnet_lite0", "convnext_atto"]
    for row in result["networks"]:
        assert row["max_relative_difference"] < 1e-5
        for mode in ("forward", "training_step"):
            assert row[mode]["milliseconds"] > 0
            assert 0.1 < row[mode]["ratio"]["median"] < 10
            assert set(result["families"][mode]["ratio"]) == {"efficientnet", "convnext"}
        assert 0 < row["forward"]["of_peak"] < 1
    assert result["limits"]["matmul_gflops"] > 1
