"""Another artifact of a run: proven in fp32; in int8 only where it keeps its word."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest
from PIL import Image

from eyeline.cli.app import run as eyeline
from eyeline.errors import EyelineError, GateError
from eyeline.jobs import evaluate_model, export_run, train
from eyeline.jobs.export_int8 import Twin, check_gate
from eyeline.runtime import MAX_AUROC_LOSS, load, open_artifact, verify_artifact
from eyeline.verdicts import Wishes, choose_cuts, decisions, evaluate, judge_promises


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Uneven surfaces, and ones with a bright blob that nobody can miss."""
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    y, x = np.mgrid[:64, :64]
    for label in ("good", "blob"):
        (folder / label).mkdir()
    for number in range(160):
        coarse = Image.fromarray(rng.uniform(60, 160, (5, 5)).astype(np.float32))
        pixels = np.asarray(coarse.resize((64, 64), Image.Resampling.BICUBIC)) + rng.normal(0, 3, (64, 64))
        label = "blob" if number % 2 else "good"
        if label == "blob":
            cy, cx = rng.uniform(14, 50, 2)
            pixels = pixels + 95 * (((y - cy) ** 2 + (x - cx) ** 2) < rng.uniform(5, 9) ** 2)
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / label / f"{number:03d}.png")
    return folder


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(
        photos, epochs=0, claim="escape<=0.2@0.8", out=tmp_path_factory.mktemp("export") / "run"
    ).folder


@pytest.fixture(scope="module")
def timed() -> Iterator[None]:
    """Which of two tiny files is faster on a busy machine is chance: here the clock says 1.25."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("eyeline.jobs.export_int8.measure_speedup", lambda *_: 1.25)
        yield


@pytest.fixture(scope="module")
def int8(run: Path, timed: None) -> Any:
    return export_run(run, precision="int8", images=24)


def test_int8_that_is_not_faster_is_refused(run: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("eyeline.jobs.export_int8.measure_speedup", lambda *_: 0.97)
    with pytest.raises(GateError, match=r"not faster here: 0\.97 times") as caught:
        export_run(run, precision="int8", images=24, out=tmp_path / "m.onnx")
    assert caught.value.code == "slower"
    assert list(tmp_path.iterdir()) == []


def test_int8_says_how_fast_it_is_and_keeps_its_word(run: Path, int8: Any) -> None:
    assert int8.model == run / "model.int8.onnx"
    plain = json.loads(json.dumps(int8.to_dict(), allow_nan=False))
    assert {"model", "precision", "max_difference", "agreement", "speedup"} <= set(plain)
    assert plain["precision"] == "int8"
    assert plain["speedup"] == 1.25
    artifact, before = open_artifact(int8.model), open_artifact(run / "model.onnx")
    made = artifact.contract.quantization
    assert made is not None
    assert made.source == before.sha256
    assert made.images == 24
    assert made.fp32.auroc - made.int8.auroc <= MAX_AUROC_LOSS
    assert artifact.contract.threshold == before.contract.threshold  # kept, not chosen again
    assert "At most 20 % of defects escape" in made.int8.claim
    assert len(artifact.data) < 0.4 * len(before.data)
    onnx.checker.check_model(onnx.load_from_string(artifact.data))
    assert all(check.ok for check in verify_artifact(int8.model))


def test_both_figures_in_the_file_are_those_of_the_test_part(run: Path, int8: Any, photos: Path) -> None:
    """Measured again by `evaluate`, which knows nothing of the export."""
    made = open_artifact(int8.model).contract.quantization
    assert made is not None
    for path, figures in ((run / "model.onnx", made.fp32), (int8.model, made.int8)):
        found = evaluate_model(path, photos, split="test").evaluation
        assert found.auroc.value == pytest.approx(figures.auroc, abs=1e-9)
        assert found.escape_rate.value == pytest.approx(figures.escape_rate)
        assert found.overkill_rate.value == pytest.approx(figures.overkill_rate)
    assert open_artifact(int8.model).contract.test["auroc"]["value"] == made.int8.auroc
    table = pq.read_table(run / "predictions.parquet").to_pylist()
    test = [row for row in table if row["split"] == "test"]
    verdicts = load(int8.model).predict([row["path"] for row in test])
    differing = [
        (verdict.decision != row["decision"], abs(verdict.score - row["score"]))
        for verdict, row in zip(verdicts, test, strict=True)
    ]
    assert int8.agreement == pytest.approx(1 - np.mean([changed for changed, _ in differing]))
    assert int8.max_difference == pytest.approx(max(off for _, off in differing), abs=1e-6)


def test_made_for_openvino_it_holds_there_and_here(run: Path, timed: None, tmp_path: Path) -> None:
    """8-bit rounding differs between engines; the stated tolerance covers both, or the export is refused."""
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    made = export_run(run, precision="int8", images=24, engine="openvino", out=tmp_path / "m.onnx")
    assert open_artifact(made.model).contract.proof.engine.startswith("OpenVINO")
    for engine in ("openvino", "onnxruntime"):
        assert all(check.ok for check in verify_artifact(made.model, engine=engine)), engine


def test_fp32_is_proven_again_and_copied(run: Path, tmp_path: Path) -> None:
    made = export_run(run, out=tmp_path / "copy.onnx")
    assert (made.agreement, made.speedup, made.precision) == (1.0, 1.0, "fp32")
    assert made.max_difference <= 1e-4
    assert (tmp_path / "copy.onnx").read_bytes() == (run / "model.onnx").read_bytes()
    before = (run / "model.onnx").stat().st_mtime_ns
    assert export_run(run).model == run / "model.onnx"
    assert (run / "model.onnx").stat().st_mtime_ns == before


def test_a_model_that_no_longer_says_what_was_trained_is_refused(run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(run, tmp_path / "run")
    table = pq.read_table(folder / "predictions.parquet")
    row = table["split"].to_pylist().index("test")
    column = table["p_good"].to_numpy().copy()
    column[row] = 1 - column[row]
    changed = table.set_column(table.column_names.index("p_good"), "p_good", [column])
    pq.write_table(changed, folder / "predictions.parquet")
    with pytest.raises(GateError, match=r"changes 1 of 40 decisions"):
        export_run(folder, out=tmp_path / "x.onnx")
    assert not (tmp_path / "x.onnx").exists()


def test_other_images_or_no_run_at_all(run: Path, tmp_path: Path) -> None:
    with pytest.raises(EyelineError, match="not a run folder"):
        export_run(tmp_path)
    for wrong in ({"precision": "int4"}, {"recut": True}):
        with pytest.raises(EyelineError):
            export_run(run, **wrong)
    folder = shutil.copytree(run, tmp_path / "run")
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(record | {"fingerprint": "0" * 64}))
    with pytest.raises(EyelineError, match="not those of this run"):
        export_run(folder)
    (folder / "run.json").write_text(json.dumps(record | {"finished": False}))
    with pytest.raises(EyelineError, match="not finished"):
        export_run(folder)
    (folder / "run.json").write_text(json.dumps(record))
    (folder / "predictions.parquet").write_bytes(b"PAR1")
    with pytest.raises(EyelineError) as caught:
        export_run(folder)
    assert caught.value.code == "bad_run"


def test_on_the_command_line(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert eyeline(["export", str(run), "-o", str(tmp_path / "m.onnx"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == str(tmp_path / "m.onnx")
    assert eyeline(["export", str(run), "-o", str(tmp_path / "m.onnx")]) == 0
    assert "100.00 % of the decisions" in capsys.readouterr().out


# --- the gate on the test part, on scores made up to lie on either side of it ---------------------------------


def twin(scores: np.ndarray, is_defect: np.ndarray, claim: str | None = None, low: float = 0.5) -> Twin:
    wishes = Wishes.parse(claim)
    choice = choose_cuts(np.r_[np.zeros(200), np.ones(200)], np.repeat([False, True], 200), wishes)
    choice = choice.model_copy(update={"low": low})
    evaluation = evaluate(
        np.stack([1 - scores, scores], axis=1),
        is_defect.astype(int),
        classes=("good", "bad"),
        good="good",
        threshold=low,
        resamples=100,
    )
    promises = None if claim is None else judge_promises(choice, evaluation, scores, is_defect)
    return Twin(
        choice=choice,
        evaluation=evaluation,
        promises=promises,
        scores=scores,
        decisions=decisions(scores, low),
    )


DEFECT = np.repeat([False, True], 200)
CLEAR = np.r_[np.linspace(0.1, 0.4, 200), np.linspace(0.6, 0.9, 200)]


def test_the_gate_opens_for_equal_figures() -> None:
    for claim in (None, "escape<=0.05@0.95"):
        check_gate(twin(CLEAR, DEFECT, claim), twin(CLEAR + 0.01, DEFECT, claim), DEFECT)


def test_the_gate_on_auroc() -> None:
    """Of 40,000 pairs of a good and a defective image 200 in the wrong order are 0.005, 400 are 0.01."""
    for wrong, allowed in ((1, True), (2, False)):
        scores = CLEAR.copy()
        scores[:wrong] = 0.95  # goods above all defects: 200 pairs each
        if allowed:
            check_gate(twin(CLEAR, DEFECT), twin(scores, DEFECT), DEFECT)
        else:
            with pytest.raises(GateError, match=r"falls from 1\.0000 to 0\.9900"):
                check_gate(twin(CLEAR, DEFECT), twin(scores, DEFECT), DEFECT)


def test_the_gate_on_escapes() -> None:
    """All in one direction, five changes are not significant (p = 0.0625), six are (p = 0.03125): McNemar, exact."""
    for escapes, allowed in ((5, True), (6, False)):
        scores = CLEAR.copy()
        scores[200 : 200 + escapes] = 0.45  # still above every good part, below the threshold
        if allowed:
            check_gate(twin(CLEAR, DEFECT), twin(scores, DEFECT), DEFECT)
        else:
            with pytest.raises(GateError, match=r"0 became 6 of 200 \(p = 0.031\)"):
                check_gate(twin(CLEAR, DEFECT), twin(scores, DEFECT), DEFECT)


def test_the_gate_on_a_claim() -> None:
    """5 of 200 escapes have an upper bound of 5.2 % at 95 % (Clopper-Pearson), 4 have 4.5 %."""
    claim = "escape<=0.05@0.95"
    for escapes, allowed in ((4, True), (5, False)):
        scores = CLEAR.copy()
        scores[200 : 200 + escapes] = 0.45
        if allowed:
            check_gate(twin(CLEAR, DEFECT, claim), twin(scores, DEFECT, claim), DEFECT)
        else:
            with pytest.raises(GateError, match="no longer supports the claim"):
                check_gate(twin(CLEAR, DEFECT, claim), twin(scores, DEFECT, claim), DEFECT)
