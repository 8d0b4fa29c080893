"""The document on the artifact: its example runs, and its tables are those of the code."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from eyeline.runtime import Contract, load, seal

DOCUMENT = (Path(__file__).parents[2] / "docs" / "artifact.md").read_text(encoding="utf-8")


def example() -> str:
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT, re.S)
    assert len(code.strip().splitlines()) <= 15
    return code


def test_the_example_gives_the_verdict_of_the_inspector(artifact_path: Path, tmp_path: Path) -> None:
    picture = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[0x0112] = 8
    pixels = np.random.default_rng(2).integers(0, 256, (70, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(picture, exif=exif)
    (tmp_path / "example.py").write_text(example())
    arguments = [sys.executable, "-I", tmp_path / "example.py", artifact_path, picture]
    decision, score = subprocess.check_output(arguments, text=True, timeout=60).split()
    verdict = load(artifact_path, threads=1).inspect(picture)
    assert decision == verdict.decision
    assert float(score) == pytest.approx(verdict.score, abs=1e-6)


def test_both_decisions_come_out_of_the_example(
    model: onnx.ModelProto, contract: Contract, tmp_path: Path
) -> None:
    Image.new("RGB", (30, 30), "gray").save(tmp_path / "a.png")
    (tmp_path / "example.py").write_text(example())
    for value, expected in ((0.0, "fail"), (1.0, "pass")):
        threshold = contract.threshold.model_copy(update={"value": value})
        data = seal(model.SerializeToString(), contract.model_copy(update={"threshold": threshold}))
        (tmp_path / "m.onnx").write_bytes(data)
        arguments = [sys.executable, "-I", tmp_path / "example.py", tmp_path / "m.onnx", tmp_path / "a.png"]
        assert subprocess.check_output(arguments, text=True, timeout=60).split()[0] == expected


def test_every_field_and_every_code_is_documented() -> None:
    named = set(re.findall(r"`([a-z_]+)`", DOCUMENT))
    assert set(Contract.model_fields) <= named
    source = Path(sys.modules["eyeline.runtime"].__file__ or "").parent
    codes: set[str] = set()
    for file in ("artifact", "contract", "graph", "protobuf"):
        text = (source / f"{file}.py").read_text()
        codes |= set(re.findall(r'code="([a-z_]+)"', text)) | set(
            re.findall(r'Refused\(\s*"([a-z_]+)"', text)
        )
    assert codes - named == set()
