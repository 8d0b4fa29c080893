"""`torchrun -m eyeline train` as a user types it: one run folder, one writer, stop and go on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from eyeline.errors import EyelineError
from eyeline.jobs import train
from eyeline.runtime import verify_artifact
from parts import write_parts

PATTERN = r"(?P<group>part\d+)_"
# A larger rate, on so few parts, enlarges rounding.
RECIPE = {"batch_size": 9, "dropout": 0.0, "learning_rate": 5e-5}
LAUNCH = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_parts(tmp_path_factory.mktemp("parts") / "photos")


def command(*words: object, processes: int = 2) -> list[str]:
    launch = LAUNCH if processes > 1 else []
    return [sys.executable, *launch, "-m", "eyeline", "train", *map(str, words)]


def options(folder: Path) -> list[object]:
    recipe = folder.parent / "recipe.toml"
    recipe.write_text("".join(f"{name} = {value}\n" for name, value in RECIPE.items()))
    return ["--group-by", PATTERN, "--epochs", 2, "--recipe", recipe, "--out", folder, "--json"]


def scores(folder: Path) -> np.ndarray:
    return pq.read_table(folder / "predictions.parquet").column("score").to_numpy()


def weights(folder: Path) -> bytes:
    """Of every fold's network, and of the last pass."""
    files = sorted(folder.glob("folds/*/network.safetensors"))
    assert [file.parent.name for file in files] == ["1", "2", "3", "all"]
    return b"".join(path.read_bytes() for path in files)


@pytest.mark.slow
def test_two_processes_make_the_same_inspector_as_one(photos, tmp_path):
    both = tmp_path / "both"
    done = subprocess.run(command(photos, *options(both)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)  # one object: the follower prints nothing
    assert result["run"] == str(both)
    assert done.stderr.count("exporting 1/1") == 1
    alone = tmp_path / "alone"
    train(photos, out=alone, group_by=PATTERN, epochs=2, recipe=RECIPE)
    # Losses agree to 1e-5 (tests/training/test_ranks.py); AdamW's first steps, and the temperature, enlarge rounding.
    np.testing.assert_allclose(scores(both), scores(alone), atol=5e-3)
    record = json.loads((both / "run.json").read_text())
    assert record["environment"]["processes"] == 2
    assert record["environment"]["threads"] == 1  # torchrun's default, unless OMP_NUM_THREADS is set
    assert all(check.ok for check in verify_artifact(both / "model.onnx"))


@pytest.mark.slow
def test_interrupted_killed_and_resumed_under_torchrun_ends_with_the_same_bits(photos, tmp_path):
    whole = tmp_path / "whole"
    subprocess.run(command(photos, *options(whole)), capture_output=True, check=True)
    folder = tmp_path / "run"
    assert stop(command(photos, *options(folder)), "training 1/", signal.SIGTERM) != 0
    assert list(folder.glob("folds/1/checkpoints/step-*.json"))
    assert not (folder / "model.onnx").exists()
    # Now one of the two is killed, without any warning; torchrun ends the other.
    assert stop(command("--resume", folder), "training ", signal.SIGKILL) != 0
    done = subprocess.run(command("--resume", folder), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert weights(folder) == weights(whole)
    assert np.array_equal(scores(folder), scores(whole))


def stop(words: list[str], at: str, number: signal.Signals) -> int:
    """Send a signal to one worker when the log says `at`; the exit code of the launcher."""
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    launcher = subprocess.Popen(
        words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert launcher.stderr is not None
    log = []
    for line in launcher.stderr:
        log.append(line)
        if f"] {at}" in line:
            os.kill(workers(launcher.pid)[-1], number)
            break
    else:
        raise AssertionError("".join(log))
    rest = launcher.communicate(timeout=120)[1]
    if number is signal.SIGTERM:
        assert rest.count("everything is saved") == 2, rest
        assert rest.count("exitcode  : 75") >= 1, rest
    return launcher.returncode


def workers(launcher: int) -> list[int]:
    """Children of the launcher that run eyeline."""
    for _ in range(100):
        found = [
            int(word)
            for word in Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
            if b"eyeline" in Path(f"/proc/{word}/cmdline").read_bytes()
        ]
        if len(found) == 2:
            return found
        time.sleep(0.05)
    raise AssertionError("the launcher has not started two workers")


def test_a_follower_does_not_lead(monkeypatch, photos):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(EyelineError, match="follow_training"):
        train(photos)
