"""Killed without warning, at any moment, again and again: the run still ends with the very same bits."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

SCRIPT = """
import hashlib, sys
from pathlib import Path
import numpy as np, torch
torch.set_num_threads(1)
from eyeline.images import read_images
from eyeline.networks import create_network
from eyeline.training import Examples, Normalization, Recipe, fit
from eyeline.training import loop

loop.SAVE_SECONDS = 0.0  # a checkpoint a step, so that writing is what gets killed
table = read_images("digits")
part = table.select(np.flatnonzero(np.isin(table.targets, [0, 8])))
pixels = np.ascontiguousarray(part.pixels.repeat(2, 1).repeat(2, 2))
rows = np.arange(len(part))
examples = Examples(pixels=pixels, targets=(part.targets > 0).astype(np.int64), classes=2,
    train=rows[:64], val=rows[64:160], folds=rows[:64] % 3)
torch.manual_seed(0)
net = create_network("resnet20", num_classes=2, in_channels=1)
recipe = Recipe(epochs=8, batch_size=16, learning_rate=5e-3)

def say(stage, done, total, note):
    print(stage, done, flush=True)

found = fit(net, examples, recipe, Normalization((0.5,), (0.5,)), folder=Path(sys.argv[1]), resume=True, progress=say)
bits = b"".join(v.contiguous().numpy().tobytes() for v in found.network.state_dict().values())
print("finished", hashlib.sha256(bits).hexdigest(), flush=True)
"""


def start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder)], stdout=subprocess.PIPE, text=True)


def outcome(process: subprocess.Popen[str], kill_after: float | None) -> str | None:
    """The hash that a process ends with, or None when it was killed `kill_after` seconds into its training."""
    assert process.stdout is not None
    for line in process.stdout:
        word, _, rest = line.partition(" ")
        if word == "finished":
            process.wait()
            return rest.strip()
        if word == "training" and kill_after is not None:
            time.sleep(kill_after)
            process.kill()  # SIGKILL: nothing can be tidied up
            process.wait()
            return None
    raise AssertionError(f"ended with {process.wait()} and no result")


@pytest.mark.slow
def test_killed_twenty_times_is_never_killed(tmp_path: Path) -> None:
    whole = outcome(start(tmp_path / "whole"), None)
    rng = np.random.default_rng(0)
    kills, ends = 0, []
    for attempt in range(200):
        folder = tmp_path / f"run{len(ends)}"
        found = outcome(start(folder), float(rng.uniform(0, 0.12)) if kills < 24 else None)
        if found is None:
            kills += 1
            continue
        ends.append((folder, found))
        if kills >= 20:
            break
        assert attempt < 199
    assert kills >= 20
    assert {found for _, found in ends} == {whole}
    for folder, _ in ends:
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert [row["epoch"] for row in rows] == list(range(9))
        assert [path.name for path in (folder / "checkpoints").glob(".*.tmp")] == []


def test_a_run_that_has_no_checkpoint_yet_starts_over_and_says_each_epoch_once(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "metrics.jsonl").write_text('{"epoch": 0, "val_auroc": 0.5}\n')  # killed after its first line
    assert outcome(start(folder), None) is not None
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == list(range(9))
    assert hashlib.sha256((folder / "checkpoints" / "best.safetensors").read_bytes()).hexdigest() in (
        (folder / "checkpoints" / "best.json").read_text()
    )
