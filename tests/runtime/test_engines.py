"""Two engines behind one interface, and the choice between them that a measurement leaves behind."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eyeline.errors import EyelineError, GateError
from eyeline.jobs import bench_model
from eyeline.runtime import (
    Contract,
    Engine,
    EngineChoice,
    load,
    machine_key,
    open_artifact,
    open_engine,
    remember_choice,
    remembered_choice,
    seal,
    verify_artifact,
)

IMAGES = np.random.default_rng(3).integers(0, 256, (13, 20, 24, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EYELINE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def openvino(sealed: bytes) -> Engine:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    return open_engine(sealed, EngineChoice("openvino", 1))


def test_openvino_says_what_onnxruntime_says(openvino: Engine, sealed: bytes) -> None:
    expected, found = Engine(sealed, threads=1).run(IMAGES), openvino.run(IMAGES)
    for name in ("probabilities", "logits", "evidence"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=1e-5, rtol=1e-4)
    assert openvino.name.startswith("OpenVINO 20")
    assert (openvino.input_shape, openvino.outputs) == ((20, 24, 3), ["probabilities", "logits", "evidence"])


def test_openvino_computes_in_fp32_on_the_threads_it_is_given(openvino: Any) -> None:
    import openvino as package

    openvino.run(IMAGES[:4])
    assert set(openvino._compiled) <= {8, 4, 2, 1}  # every shape is fixed
    compiled = openvino._compiled[4]
    assert compiled.get_property("INFERENCE_PRECISION_HINT") == package.Type.f32
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 1


def test_many_runs_at_a_time_have_a_thread_each_and_answer_alike(openvino: Any, sealed: bytes) -> None:
    many = openvino.parallel(2)
    pixels = np.random.default_rng(1).integers(0, 256, (4, *openvino.input_shape), dtype=np.uint8)
    expected = Engine(sealed).run(pixels).probabilities
    with ThreadPoolExecutor(3) as pool:  # one more than there are streams
        for found in pool.map(lambda _: many.run(pixels), range(9)):
            assert found.probabilities == pytest.approx(expected, abs=1e-5)
    settings = many._compiled[4]
    assert settings.get_property("NUM_STREAMS") == 2
    assert settings.get_property("INFERENCE_NUM_THREADS") == 2
    assert settings.get_property("INFERENCE_PRECISION_HINT").to_string() == "f32"


def test_openvino_from_several_threads(openvino: Engine) -> None:
    expected = openvino.run(IMAGES).probabilities
    with ThreadPoolExecutor(6) as pool:
        for found in pool.map(lambda _: openvino.run(IMAGES).probabilities, range(24)):
            np.testing.assert_array_equal(found, expected)


def test_both_refuse_the_same_input(openvino: Engine, sealed: bytes) -> None:
    for engine in (openvino, Engine(sealed, threads=1)):
        for wrong in (IMAGES[:, :19], IMAGES.astype(np.float32), IMAGES[:0]):
            with pytest.raises(EyelineError, match=r"allowed: uint8 \(N, 20, 24, 3\)"):
                engine.run(wrong)


def test_openvino_in_a_process_of_its_own(artifact_path: Path, tmp_path: Path) -> None:
    """No telemetry is imported, nothing is printed, and without the package there is one line."""
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    script = (
        "import sys; from eyeline.runtime import load\n"
        f"inspector = load({str(artifact_path)!r}, engine='openvino', threads=1)\n"
        "assert inspector.engine.name.startswith('OpenVINO')\n"
        "assert not [name for name in sys.modules if name.startswith('openvino_telemetry')]\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    script = (
        "import sys; sys.modules['openvino'] = None\n"
        "from eyeline.cli.app import run\n"
        f'sys.exit(run(["predict", {str(artifact_path)!r}, {str(tmp_path / "x")!r}, "--engine", "openvino"]))'
    )
    (tmp_path / "x").touch()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 2
    assert "OpenVINO is not installed (pip install 'eyeline[openvino]')" in done.stderr


def test_verify_in_the_other_engine(openvino: Engine, artifact_path: Path) -> None:
    checks = verify_artifact(artifact_path, engine="openvino", threads=1)
    assert all(check.ok for check in checks)
    assert any(check.detail.startswith("OpenVINO") for check in checks)


def test_an_engine_that_changes_a_golden_image_is_refused(
    openvino: Engine, model: Any, contract: Contract
) -> None:
    """All golden images are replayed in another engine than onnxruntime, not only the first."""
    golden = list(contract.golden)
    flipped = "pass" if golden[-1].decision == "fail" else "fail"
    golden[-1] = golden[-1].model_copy(update={"decision": flipped})
    data = seal(model.SerializeToString(), contract.model_copy(update={"golden": tuple(golden)}))
    assert load(data, threads=1).engine.name.startswith("onnxruntime")
    with pytest.raises(GateError, match="golden image"):
        load(data, threads=1, engine="openvino")
    sha256 = open_artifact(data).sha256
    remember_choice(sha256, EngineChoice("openvino", 1), {})
    assert load(data).engine.name.startswith("onnxruntime")  # nobody asked for the other by name


def test_unknown_engine(artifact_path: Path) -> None:
    with pytest.raises(EyelineError, match="did you mean openvino"):
        load(artifact_path, engine="openvin")


def test_a_choice_is_kept_for_this_artifact_on_this_machine(artifact_path: Path, cache: Path) -> None:
    sha256 = open_artifact(artifact_path).sha256
    assert remembered_choice(sha256) is None
    path = remember_choice(sha256, EngineChoice("onnxruntime", 1), {"p50_ms": 1.0})
    assert path.parent == cache / "engines"
    assert machine_key() in path.name
    assert remembered_choice(sha256) == EngineChoice("onnxruntime", 1)
    assert remembered_choice("0" * 64) is None
    assert load(artifact_path).engine.threads == 1
    assert load(artifact_path, threads=2).engine.threads == 2  # a wish goes first


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"engine": "tensorflow", "threads": 1}',
        '{"engine": "onnxruntime", "threads": 0}',
        '{"engine": "onnxruntime", "threads": "1"}',
        '{"engine": "onnxruntime", "threads": true}',
    ],
)
def test_a_choice_that_cannot_be_read_is_none(artifact_path: Path, text: str) -> None:
    sha256 = open_artifact(artifact_path).sha256
    remember_choice(sha256, EngineChoice("onnxruntime", 1), {}).write_text(text)
    assert remembered_choice(sha256) is None
    assert load(artifact_path).inspect(b"").error is not None


def test_bench_measures_and_remembers(artifact_path: Path, tmp_path: Path) -> None:
    found = bench_model(artifact_path, seconds=0.02)
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert {"engine", "threads", "latency_ms", "images_per_second", "stages"} <= set(plain)
    assert set(plain["latency_ms"]) == {"p50", "p99"}
    assert list(plain["stages"]) == ["read", "decode", "resize", "infer"]
    assert all(ms > 0 for ms in plain["stages"].values())
    for run in found.runs:
        assert 0 < run.p50_ms <= run.p99_ms
        assert run.images_per_second == pytest.approx(1e3 * run.batch / run.p50_ms)
        assert run.runs >= 10
    assert {run.batch for run in found.runs} == {1, 4, 16}
    single = [run for run in found.runs if run.batch == 1]
    fastest = min(run.p50_ms for run in single)
    assert fastest <= found.latency_ms["p50"] <= fastest / 0.95
    assert remembered_choice(found.sha256) == EngineChoice(found.engine, found.threads)
    assert load(artifact_path).engine.threads == found.threads
    assert found.kept is not None
    assert Path(found.kept).is_file()


def test_bench_keeps_nothing_when_asked_and_refuses_a_stranger(
    artifact_path: Path, model: Any, contract: Contract, tmp_path: Path
) -> None:
    found = bench_model(artifact_path, engines=["onnxruntime"], seconds=0.02, keep=False)
    assert found.kept is None
    assert remembered_choice(found.sha256) is None
    other = contract.model_copy(update={"classes": ("good", "stain"), "golden": contract.golden})
    (tmp_path / "other.onnx").write_bytes(seal(model.SerializeToString(), other))
    with pytest.raises(EyelineError, match="not a twin"):
        bench_model(artifact_path, int8=tmp_path / "other.onnx", seconds=0.02)


def test_bench_on_the_command_line(artifact_path: Path) -> None:
    words = [sys.executable, "-m", "eyeline", "bench", artifact_path, "--seconds", "0.05", "--no-keep"]
    done = subprocess.run([*words, "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["precision"] == "fp32"
    done = subprocess.run(words, capture_output=True, text=True)
    assert "fastest for one image" in done.stdout
    assert "onnxruntime" in done.stdout
