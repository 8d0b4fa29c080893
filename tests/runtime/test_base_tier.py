"""The factory PC: an environment that holds the base tier and nothing else, built here for real.

A new virtual environment gets exactly the packages that eyeline's own metadata requires without extras, and
what those require in turn. Torch, onnx, SciPy and the like do not exist in it.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from PIL import Image

import eyeline.errors

FORBIDDEN = (
    "torch",
    "onnx",
    "scipy",
    "sklearn",
    "matplotlib",
    "safetensors",
    "torchvision",
    "timm",
)

SCRIPT = """
import importlib.util, io, json, sys
import eyeline.runtime
quick = sorted(name for name in ("torch", "onnx", "scipy", "pyarrow", "typer") if name in sys.modules)
from eyeline.runtime import load, verify_artifact, write_verdicts
model, folder = sys.argv[1], sys.argv[2]
inspector = load(model, threads=1)
verdicts = list(inspector.predict([f"{folder}/a.png", f"{folder}/b.jpg", f"{folder}/c.png"]))
for ending in ("csv", "jsonl", "parquet"):
    write_verdicts(verdicts, f"{folder}/out.{ending}", classes=inspector.contract.classes)
print(json.dumps({
    "early": quick,
    "there": [name for name in sys.argv[3].split(",") if importlib.util.find_spec(name)],
    "checks": [check.to_dict() for check in verify_artifact(model)],
    "verdicts": [verdict.to_dict() for verdict in verdicts],
    "sums": [None if v.evidence is None else v.evidence.sum((1, 2)).tolist() for v in verdicts],
}))
"""


def base_tier() -> list[importlib.metadata.Distribution]:
    """The distributions that an installation of eyeline without extras brings."""
    wanted, found = ["eyeline"], {}
    while wanted:
        name = re.sub(r"[-_.]+", "-", wanted.pop()).lower()
        if name in found:
            continue
        found[name] = importlib.metadata.distribution(name)
        for line in found[name].requires or []:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                wanted.append(requirement.name)
    del found["eyeline"]
    return list(found.values())


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("base") / "venv"
    venv.create(root, with_pip=False, symlinks=True)
    python = root / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    ask = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    site = Path(subprocess.check_output([python, "-c", ask], text=True).strip())
    for distribution in base_tier():
        for top in {Path(file).parts[0] for file in distribution.files or []} - {"..", "__pycache__"}:
            original = Path(str(distribution.locate_file(top)))
            if original.exists() and not (site / top).exists():
                (site / top).symlink_to(original)
    (site / "eyeline.pth").write_text(str(Path(eyeline.errors.__file__).parents[1]))
    return python


def test_predict_and_verify_without_torch(python: Path, artifact_path: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.jpg"):
        Image.fromarray(rng.integers(0, 256, (31, 44, 3), dtype=np.uint8)).save(tmp_path / name)
    (tmp_path / "c.png").write_bytes(b"\x89PNG")
    (tmp_path / "script.py").write_text(SCRIPT)
    arguments = [python, "-I", tmp_path / "script.py", artifact_path, tmp_path, ",".join(FORBIDDEN)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert found["there"] == []
    assert found["early"] == []  # start-up pays for nothing it does not need
    assert all(check["ok"] for check in found["checks"])
    assert len(found["checks"]) == 9
    assert [verdict["error"] is None for verdict in found["verdicts"]] == [True, True, False]

    here = [eyeline_inspect(artifact_path, tmp_path / name) for name in ("a.png", "b.jpg")]
    assert [v["probabilities"] for v in found["verdicts"][:2]] == [v["probabilities"] for v in here]
    for ending in ("csv", "jsonl", "parquet"):
        assert (tmp_path / f"out.{ending}").stat().st_size > 100


def eyeline_inspect(artifact: Path, picture: Path) -> dict[str, object]:
    from eyeline.runtime import load

    return load(artifact, threads=1).inspect(picture).to_dict()
