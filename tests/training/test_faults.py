"""What breaks while training: a full disk, damaged files, a loss that runs away. What was saved before survives."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal

import numpy as np
import pytest
import torch

from eyeline.errors import EyelineError, Interrupted
from eyeline.images import read_images
from eyeline.networks import create_network
from eyeline.training import Examples, Normalization, Recipe, fit, loop
from eyeline.training.checkpoint import load_checkpoint, read_tensors
from eyeline.training.divergence import EXPLODED, refuse_divergence

NORMALIZE = Normalization((0.5,), (0.5,))
QUICK = Recipe(epochs=2, batch_size=32, learning_rate=5e-3)


@pytest.fixture(scope="module")
def digits() -> Examples:
    table = read_images("digits")
    part = table.select(np.flatnonzero(np.isin(table.targets, [0, 8])))
    rows = np.arange(len(part))
    return Examples(
        pixels=np.ascontiguousarray(part.pixels.repeat(2, 1).repeat(2, 2)),
        targets=(part.targets > 0).astype(np.int64),
        classes=2,
        train=rows[:96],
        val=rows[96:160],
        folds=rows[:96] % 3,
    )


def network():
    torch.manual_seed(0)
    return create_network("resnet20", num_classes=2, in_channels=1)


def bits(net) -> bytes:
    return b"".join(value.contiguous().numpy().tobytes() for value in net.state_dict().values())


@pytest.fixture(scope="module")
def whole(digits, tmp_path_factory) -> bytes:
    """The weights of a run to which nothing happened."""
    return bits(fit(network(), digits, QUICK, NORMALIZE, folder=tmp_path_factory.mktemp("whole")).network)


@pytest.fixture
def a_checkpoint_a_step(monkeypatch):
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)


@contextlib.contextmanager
def small_files():
    """A function that limits how large a file of this process may grow; the system refuses the rest of a write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_no_room_for_a_checkpoint(digits, whole, tmp_path, a_checkpoint_a_step):
    with small_files() as limit, pytest.raises(EyelineError) as caught:
        fit(
            network(),
            digits,
            QUICK,
            NORMALIZE,
            folder=tmp_path,
            progress=lambda stage, done, total, note: limit(100_000) if done == 3 else None,
        )
    assert caught.value.code == "write_failed"
    assert caught.value.path == str(tmp_path / "checkpoints" / "step-00000003.safetensors")
    assert "File too large" in caught.value.message
    assert "free some space" in caught.value.hint
    assert "\n" not in str(caught.value)
    assert load_checkpoint(tmp_path / "checkpoints").step == 2
    assert not list((tmp_path / "checkpoints").glob(".*.tmp"))
    resumed = fit(network(), digits, QUICK, NORMALIZE, folder=tmp_path, resume=True)
    assert bits(resumed.network) == whole
    assert resumed.notes == ()
    left = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert len(left) == 6  # two checkpoints and the best, two files each


def test_no_room_for_a_line_of_metrics(digits, whole, tmp_path, monkeypatch, a_checkpoint_a_step):
    """Only appending is limited: the system looks at a file's end, and checkpoints are larger than the log."""
    metrics = tmp_path / "metrics.jsonl"
    append = loop.append_line

    def append_when_full(path, line):
        if len(path.read_text().splitlines()) < 2:
            return append(path, line)
        with small_files() as limit:
            limit(path.stat().st_size + 9)
            return append(path, line)

    monkeypatch.setattr(loop, "append_line", append_when_full)
    with pytest.raises(EyelineError) as caught:
        fit(network(), digits, QUICK, NORMALIZE, folder=tmp_path)
    monkeypatch.setattr(loop, "append_line", append)
    assert caught.value.code == "write_failed"
    assert caught.value.path == str(metrics)
    assert not metrics.read_text().endswith("\n")  # half a line was written
    resumed = fit(network(), digits, QUICK, NORMALIZE, folder=tmp_path, resume=True)
    assert bits(resumed.network) == whole
    assert [json.loads(line)["epoch"] for line in metrics.read_text().splitlines()] == [0, 1, 2]


def test_a_damaged_newest_checkpoint_costs_a_step_and_is_told(digits, whole, tmp_path, a_checkpoint_a_step):
    def interrupt(stage, done, total, note):
        if stage == "training" and done == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted):
        fit(network(), digits, QUICK, NORMALIZE, folder=tmp_path, progress=interrupt)
    newest = tmp_path / "checkpoints" / "step-00000005.safetensors"
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 4  # one bit of one weight
    newest.write_bytes(data)
    resumed = fit(network(), digits, QUICK, NORMALIZE, folder=tmp_path, resume=True)
    assert bits(resumed.network) == whole
    (note,) = resumed.notes
    assert "step-00000005" in note
    assert "its hash is wrong" in note


def test_a_loss_that_runs_away_stops_and_spoils_nothing(digits, tmp_path, a_checkpoint_a_step):
    """Real: steps of AdamW far too long for a network without norms, not clipped."""
    wild = QUICK.replace(learning_rate=0.1, clip=1e30, warmup=0.0, batch_norm="freeze")
    with pytest.raises(EyelineError) as caught:
        fit(network(), digits, wild, NORMALIZE, folder=tmp_path)
    assert caught.value.code == "diverged"
    assert "such as 0.033" in caught.value.hint
    assert "clip" in caught.value.hint
    saved = load_checkpoint(tmp_path / "checkpoints")
    assert saved.step == 1
    assert all(bool(value.isfinite().all()) for value in saved.tensors.values())
    best, about = read_tensors(tmp_path / "checkpoints" / "best.safetensors")
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert about["epoch"] == max(rows, key=lambda row: row["val_auroc"])["epoch"]
    assert all(bool(value.isfinite().all()) for value in best.values())


@pytest.mark.parametrize(
    ("loss", "norm", "words"),
    [
        (float("nan"), 1.0, "the loss is nan at step 7"),
        (float("inf"), 1.0, "the loss is inf at step 7"),
        (0.7, float("nan"), "the norm of the gradient is nan at step 7"),
        (EXPLODED * np.log(2) + 1, 1.0, "more than 693.1, at step 7"),
    ],
)
def test_what_counts_as_diverged(loss, norm, words):
    with pytest.raises(EyelineError, match=words):
        refuse_divergence(loss, norm, 7, 2, Recipe())


def test_a_bad_batch_is_not_a_divergence():
    refuse_divergence(50.0, 1e6, 7, 2, Recipe())
