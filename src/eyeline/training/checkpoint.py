"""Checkpoints: tensors as safetensors, everything else as JSON; written whole or not at all.

A checkpoint is complete when its JSON exists, which is written last and holds the hash of the tensors. Reading
takes the newest whose hash is right and says so when that is not the newest of all.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eyeline.errors import EyelineError
from eyeline.files import atomic_file, write_json

KEPT = 2  # newest checkpoints


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name and plain values, and notes on what had to be skipped to find them."""

    step: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]
    skipped: tuple[str, ...] = ()


def save_checkpoint(folder: Path, step: int, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
    """Write checkpoint number `step` and remove all but the newest two."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / f"step-{step:08d}.safetensors", tensors, {"step": step} | state)
    kept = {path.stem for path in _newest_first(folder)[:KEPT]}
    for path in folder.glob("step-*"):  # older ones, and tensors whose JSON was never written
        if path.stem not in kept:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()


def load_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest whole checkpoint of `folder`, or None when there is none.

    Half-written files that a killed process left are removed.
    """
    for left in folder.glob(".*.tmp"):
        left.unlink(missing_ok=True)
    skipped: list[str] = []
    for path in _newest_first(folder):
        try:
            tensors, state = read_tensors(path.with_suffix(".safetensors"))
        except EyelineError as error:
            skipped.append(error.one_line())
            continue
        return Checkpoint(int(state.pop("step")), tensors, state, tuple(skipped))
    if skipped:
        raise EyelineError(f"no usable checkpoint: {skipped[0]}", code="bad_checkpoint", path=folder)
    return None


def write_tensors(path: Path, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
    """Write ``path`` (safetensors), then the JSON beside it with `state` and the hash of the tensors."""
    from safetensors.torch import save

    data = save({name: tensor.detach().contiguous() for name, tensor in tensors.items()})
    with atomic_file(path) as file:
        file.write(data)
    write_json(path.with_suffix(".json"), state | {"sha256": hashlib.sha256(data).hexdigest()})


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `write_tensors` wrote.

    Raises
    ------
    EyelineError : missing, truncated or altered (``code="bad_checkpoint"``).
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        state = json.loads(path.with_suffix(".json").read_text("utf-8"))
        data = path.read_bytes()
        expected = state.pop("sha256")
        if hashlib.sha256(data).hexdigest() != expected:
            raise EyelineError(
                "the checkpoint was altered: its hash is wrong", code="bad_checkpoint", path=path
            )
        return load(data), state
    except (OSError, ValueError, KeyError, AttributeError, SafetensorError) as error:
        raise EyelineError(f"unreadable checkpoint: {error}", code="bad_checkpoint", path=path) from error


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's moments by parameter number and name."""
    return {
        f"optimizer.{number}.{name}": value
        for number, parameter in enumerate(_parameters(optimizer))
        for name, value in optimizer.state[parameter].items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put the moments of `optimizer_tensors` back."""
    for number, parameter in enumerate(_parameters(optimizer)):
        prefix = f"optimizer.{number}."
        state = {
            name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)
        }
        optimizer.state[parameter] = {
            # The moments lie in memory as their parameter does, or every later step pays for it.
            name: torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value
            for name, value in state.items()
        }


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.json"), reverse=True)
