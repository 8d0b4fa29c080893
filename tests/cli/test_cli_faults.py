"""Stopped, or out of disk, on the command line: one line, an exit code, and `--resume` ends with the same bits."""

from __future__ import annotations

import resource
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from eyeline.errors import EyelineError
from eyeline.jobs import train
from eyeline.runtime import verify_artifact
from parts import write_parts

PATTERN = r"(?P<group>part\d+)_"
BATCH = "batch_size = 9\n"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_parts(tmp_path_factory.mktemp("parts") / "photos")


@pytest.fixture(scope="module")
def whole(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "run"
    return train(photos, out=out, group_by=PATTERN, epochs=2, recipe={"batch_size": 9}).folder


def same(folder, whole) -> bool:
    scores = [
        pq.read_table(each / "predictions.parquet").column("score").to_numpy() for each in (folder, whole)
    ]
    best = [(each / "checkpoints" / "best.safetensors").read_bytes() for each in (folder, whole)]
    return np.array_equal(*scores) and best[0] == best[1]


@pytest.mark.slow
def test_sigterm_inside_an_epoch_is_exit_code_75_and_resume_goes_on(photos, whole, tmp_path):
    recipe, folder = tmp_path / "recipe.toml", tmp_path / "run"
    recipe.write_text(BATCH)
    words = ["train", photos, "--group-by", PATTERN, "--epochs", 2, "--recipe", recipe, "--out", folder]
    process = subprocess.Popen(
        [sys.executable, "-m", "eyeline", *map(str, words)], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "] training 1/" in line:
            process.terminate()
            break
    rest = process.communicate(timeout=120)[1]
    assert process.returncode == 75
    assert "everything is saved" in rest
    assert f"eyeline train --resume {folder}" in rest
    assert "Traceback" not in rest
    assert not (folder / "model.onnx").exists()
    resumed = subprocess.run(
        [sys.executable, "-m", "eyeline", "train", "--resume", str(folder)], capture_output=True, check=False
    )
    assert resumed.returncode == 0, resumed.stderr
    assert same(folder, whole)


@pytest.mark.slow
def test_no_room_for_the_artifact(photos, whole, tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(stage, done, total, note):
        if stage == "proving":
            resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))

    folder = tmp_path / "run"
    try:
        with pytest.raises(EyelineError) as caught:
            train(photos, out=folder, group_by=PATTERN, epochs=2, recipe={"batch_size": 9}, progress=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.code == "write_failed"
    assert caught.value.path == str(folder / "model.onnx")
    assert caught.value.hint == f"free some space, then go on with: eyeline train --resume {folder}"
    assert not (folder / "model.onnx").exists()
    assert not list(folder.glob(".*.tmp"))
    train(resume=folder)
    assert same(folder, whole)
    assert all(check.ok for check in verify_artifact(folder / "model.onnx"))
