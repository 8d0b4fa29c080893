"""Checkpoints: whole, verified, and the one before when the newest is damaged."""

from __future__ import annotations

import errno
import json
import os

import pytest
import torch

from eyeline.errors import EyelineError
from eyeline.training.checkpoint import (
    load_checkpoint,
    optimizer_tensors,
    read_tensors,
    restore_optimizer,
    save_checkpoint,
    write_tensors,
)


def save(folder, step):
    save_checkpoint(folder, step, {"w": torch.full((3, 4), float(step))}, {"note": f"at {step}"})


def test_round_trip_keeps_bits_and_only_the_newest_two(tmp_path):
    for step in (5, 100, 20):
        save(tmp_path, step)
    found = load_checkpoint(tmp_path)
    assert found.step == 100
    assert found.state == {"note": "at 100"}
    assert torch.equal(found.tensors["w"], torch.full((3, 4), 100.0))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "step-00000020.json",
        "step-00000020.safetensors",
        "step-00000100.json",
        "step-00000100.safetensors",
    ]


def test_no_folder_is_no_checkpoint(tmp_path):
    assert load_checkpoint(tmp_path / "none") is None


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "missing", "json"])
def test_a_damaged_newest_falls_back_and_says_so(tmp_path, damage):
    save(tmp_path, 1)
    save(tmp_path, 2)
    path = tmp_path / "step-00000002.safetensors"
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[-3] ^= 1  # one bit of one weight
        path.write_bytes(data)
    elif damage == "truncate":
        path.write_bytes(data[:-5])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "missing":
        path.unlink()
    else:
        path.with_suffix(".json").write_text("{")
    found = load_checkpoint(tmp_path)
    assert found.step == 1
    assert len(found.skipped) == 1
    assert "step-00000002" in found.skipped[0]


def test_nothing_usable_is_an_error(tmp_path):
    save(tmp_path, 1)
    (tmp_path / "step-00000001.safetensors").write_bytes(b"x")
    with pytest.raises(EyelineError, match="no usable checkpoint"):
        load_checkpoint(tmp_path)


def test_a_full_disk_leaves_the_one_before(tmp_path, monkeypatch):
    save(tmp_path, 1)

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EyelineError, match="No space left"):
        save(tmp_path, 2)
    monkeypatch.undo()
    assert load_checkpoint(tmp_path).step == 1
    assert not list(tmp_path.glob(".*.tmp"))


def test_the_hash_is_of_the_tensors(tmp_path):
    import hashlib

    path = tmp_path / "best.safetensors"
    write_tensors(path, {"w": torch.ones(2)}, {"epoch": 3})
    state = json.loads(path.with_suffix(".json").read_text())
    assert state["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert read_tensors(path)[1] == {"epoch": 3}


def test_an_optimizer_goes_on_as_if_never_stopped():
    def network():
        torch.manual_seed(0)
        return torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)

    def step(net, optimizer):
        optimizer.zero_grad()
        net(torch.ones(1, 3, 5, 5)).square().sum().backward()
        optimizer.step()

    a, b = network(), network()
    one, two = (torch.optim.AdamW(net.parameters(), lr=0.1, fused=True) for net in (a, b))
    step(a, one)
    b.load_state_dict(a.state_dict())
    restore_optimizer(
        two, {name: value.clone().contiguous() for name, value in optimizer_tensors(one).items()}
    )
    step(a, one)
    step(b, two)
    assert torch.equal(a.weight, b.weight)
