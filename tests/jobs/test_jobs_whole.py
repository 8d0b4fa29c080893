"""The main job on real files: train, look at everything it wrote, then use the artifact on its own."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

import eyeline
from eyeline.errors import EyelineError
from eyeline.jobs import evaluate_model, explain_images, find_images, train
from eyeline.runtime import load, verify_artifact
from parts import write_parts

PATTERN = r"(?P<group>part\d+)_"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_parts(tmp_path_factory.mktemp("parts") / "photos")


@pytest.fixture(scope="module")
def run(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "parts"
    return train(photos, group_by=PATTERN, epochs=1, out=out)


def test_the_run_folder_is_complete(run, photos):
    names = {path.name for path in run.folder.iterdir()}
    assert {
        "run.json",
        "metrics.jsonl",
        "folds",
        "predictions.parquet",
        "model.onnx",
        "report.html",
    } <= names
    record = json.loads((run.folder / "run.json").read_text())
    assert record["finished"] is True
    assert record["decode"]["channels"] == 1
    assert record["decode"]["image_size"] == [64, 64]
    assert len(record["splits"]) == 96
    assert record["fingerprint"] == eyeline.read_images(photos).fingerprint()


def test_no_part_stands_on_both_sides(run):
    rows = pq.read_table(run.folder / "predictions.parquet").to_pylist()
    parts = {}
    for row in rows:
        parts.setdefault(row["group"], set()).add(row["split"])
    assert len(parts) == 16
    assert all(len(splits) == 1 for splits in parts.values())
    assert {next(iter(splits)) for splits in parts.values()} == {"train", "test"}


def test_the_artifact_says_what_the_run_says(run):
    """Every row of predictions.parquet again, from the file, through onnxruntime."""
    inspector = load(run.model)
    rows = pq.read_table(run.folder / "predictions.parquet").to_pylist()
    for row, verdict in zip(rows, inspector.predict([row["path"] for row in rows]), strict=True):
        assert verdict.decision == row["decision"]
        assert verdict.label == row["label"]
        assert abs(verdict.score - row["score"]) < 1e-4
    proof = inspector.contract.proof
    assert proof.images == run.evaluation.images
    assert proof.changed_decisions == 0
    assert proof.max_difference <= 1e-4
    assert all(check.ok for check in verify_artifact(run.model))


def test_the_figures_are_those_of_the_test_part(run):
    rows = [
        row for row in pq.read_table(run.folder / "predictions.parquet").to_pylist() if row["split"] == "test"
    ]
    defects = [row for row in rows if row["truth"] == "scratch"]
    missed = sum(row["decision"] == "pass" for row in defects)
    assert run.evaluation.images == len(rows)
    assert run.evaluation.escape_rate.value == pytest.approx(missed / len(defects))
    assert run.evaluation.groups == len({row["group"] for row in rows})
    assert {"run", "model", "report", "seconds", "test"} <= set(run.to_dict())
    json.dumps(run.to_dict(), allow_nan=False)


def test_both_protocols_are_compared(run):
    by = {protocol.by: protocol for protocol in run.protocols}
    assert set(by) == {"image", "group"}
    assert len(by["image"].auroc) == 3
    assert by["group"].groups == 16
    assert "Grouped against random" in run.report.read_text()


def test_evaluating_the_training_data_finds_the_held_out_part(run, photos):
    found = evaluate_model(run.model, photos, group_by=PATTERN)
    assert found.part == "test"
    assert found.evaluation.confusion == run.evaluation.confusion
    assert found.evaluation.claim == run.evaluation.claim
    for name in ("auroc", "escape_rate", "overkill_rate", "brier", "ece"):
        ours, theirs = getattr(found.evaluation, name), getattr(run.evaluation, name)
        assert (ours.value, ours.low, ours.high) == pytest.approx(
            (theirs.value, theirs.low, theirs.high), abs=1e-5
        )
    everything = evaluate_model(run.model, photos, group_by=PATTERN, split="all")
    assert everything.evaluation.images == 96
    assert "flatter" in everything.note


def test_evaluating_other_data_takes_all_of_it(run, tmp_path):
    other = write_parts(tmp_path / "other", parts=4, seed=9)
    found = evaluate_model(run.model, other)
    assert found.part == "all"
    assert found.evaluation.images == 24
    assert found.note == ""
    with pytest.raises(EyelineError, match="no test part"):
        evaluate_model(run.model, other, split="test")
    (other / "scratch").rename(other / "dent")
    with pytest.raises(EyelineError, match="'dent' is not one of the artifact's"):
        evaluate_model(run.model, other)


def test_explained_evidence_sums_to_the_logit(run, photos, tmp_path):
    shutil.copy(photos / "good" / "part00_0.png", tmp_path / "a.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    page, results = explain_images(run.model, [tmp_path], tmp_path / "out")
    good, broken = results
    assert good.evidence_sum == pytest.approx(good.logit, abs=1e-4)
    assert (tmp_path / "out" / "00000-a.png").stat().st_size > 100
    assert broken.error is not None
    assert broken.overlay is None
    assert "a.png" in page.read_text()
    with pytest.raises(EyelineError, match="exists already"):
        explain_images(run.model, [tmp_path / "a.png"], tmp_path / "out")


def test_a_finished_run_is_not_resumed_and_not_overwritten(run, photos):
    with pytest.raises(EyelineError, match="finished"):
        train(resume=run.folder)
    before = (run.folder / "run.json").read_bytes()
    with pytest.raises(EyelineError, match="exists already"):
        train(photos, out=run.folder)
    assert (run.folder / "run.json").read_bytes() == before


def test_a_few_bad_files_are_listed_and_many_stop_the_job(photos, tmp_path):
    bad = tmp_path / "bad"
    shutil.copytree(photos, bad)
    for number in range(3):
        (bad / "good" / f"part0{number}_9.png").write_bytes(b"")
    with pytest.raises(EyelineError, match=r"--max-bad|max_bad") as caught:
        train(bad, out=tmp_path / "out", group_by=PATTERN, epochs=0)
    assert "3 of 99" in str(caught.value)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_interrupted_training_goes_on_where_it_stopped(run, photos, tmp_path):
    """The same command as that of the module's run, which nobody interrupted."""
    import os
    import signal

    from eyeline.errors import Interrupted

    def interrupt(stage, done, total, note):
        if stage == "training" and done == 1:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        train(photos, out=tmp_path / "stopped", progress=interrupt, group_by=PATTERN, epochs=1)
    assert not (tmp_path / "stopped" / "model.onnx").exists()
    resumed = train(resume=tmp_path / "stopped")
    first, second = (
        pq.read_table(folder / "predictions.parquet").column("score").to_numpy()
        for folder in (resumed.folder, run.folder)
    )
    assert np.array_equal(first, second)
    for fold in ("1", "2", "3"):  # whichever way is chosen, these have learned
        network = f"folds/{fold}/network.safetensors"
        assert (resumed.folder / network).read_bytes() == (run.folder / network).read_bytes()


def test_changed_images_are_noticed_on_resume(photos, tmp_path):
    source = tmp_path / "photos"
    shutil.copytree(photos, source)
    out = tmp_path / "run"
    train(source, out=out, group_by=PATTERN, epochs=0)
    record = json.loads((out / "run.json").read_text())
    record["finished"] = False  # as if it had been stopped before the report
    (out / "run.json").write_text(json.dumps(record))
    shutil.copy(source / "good" / "part00_0.png", source / "good" / "part00_2.png")
    with pytest.raises(EyelineError, match="not those this run began with"):
        train(resume=out)


def test_files_are_found_in_order_and_links_do_not_lead_out(tmp_path):
    for name in ("b.png", "a.jpg", "sub/c.tif", ".hidden.png", "notes.txt"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "outside.png").write_bytes(b"x")
    (tmp_path / "in" / "link.png").symlink_to(tmp_path / "outside.png")
    found = find_images([tmp_path / "in", tmp_path / "in" / "notes.txt"])
    assert [path.rpartition("/")[2] for path in found] == ["a.jpg", "b.png", "c.tif", "notes.txt"]
    with pytest.raises(EyelineError, match="no such file"):
        find_images([tmp_path / "nothing"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(EyelineError, match="no images in this folder"):
        find_images([tmp_path / "empty"])
