"""A run folder: who may write there, and the record that lets a run be repeated or resumed."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eyeline.errors import EyelineError
from eyeline.files import write_json

RECORD = "run.json"


def create_run(out: str | Path | None, name: str) -> Path:
    """A new, empty run folder.

    Parameters
    ----------
    out : the folder; None takes ``runs/<name>``, or the first free ``runs/<name>-<number>``.

    Raises
    ------
    EyelineError : as `create_folder`.
    """
    if out is None:
        clean = "".join(c if c.isalnum() or c in "-_." else "-" for c in name).strip(".-") or "run"
        number, folder = 1, Path("runs") / clean
        while folder.exists():
            number += 1
            folder = Path("runs") / f"{clean}-{number}"
    else:
        folder = Path(out)
    return create_folder(folder, hint=f"choose another --out, or go on with: eyeline train --resume {folder}")


def create_folder(folder: Path, *, hint: str = "choose another --out") -> Path:
    """Make a folder that must be new or empty.

    Raises
    ------
    EyelineError : it exists and is not empty (``code="exists"``), or cannot be made.
    """
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise EyelineError("the output folder exists already", code="exists", path=folder, hint=hint)
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise EyelineError("no permission to write here", code="write_failed", path=folder)
    except OSError as error:
        raise EyelineError(
            f"cannot make the output folder: {error.strerror}", code="write_failed", path=folder
        ) from error
    return folder


def read_record(folder: str | Path) -> dict[str, Any]:
    """The record of a run.

    Raises
    ------
    EyelineError : no run folder, or its record is damaged.
    """
    path = Path(folder) / RECORD
    try:
        record = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise EyelineError(f"not a run folder: it has no {RECORD}", code="no_run", path=folder) from error
    except (OSError, ValueError) as error:
        raise EyelineError(f"unreadable: {error}", code="bad_run", path=path) from error
    if not isinstance(record, dict):
        raise EyelineError("not the record of a run", code="bad_run", path=path)
    return record


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Replace the record of a run."""
    write_json(folder / RECORD, record)


@contextmanager
def resumable() -> Iterator[None]:
    """When a file of a run cannot be written (a full disk), the error says how the run goes on."""
    try:
        yield
    except EyelineError as error:
        run = next((p for p in Path(error.path or "").parents if (p / RECORD).exists()), None)
        if error.code != "write_failed" or run is None:
            raise
        hint = f"free some space, then go on with: eyeline train --resume {run}"
        raise EyelineError(error.message, code=error.code, path=error.path, hint=hint) from error


def environment() -> dict[str, Any]:
    """Where a run took place: versions, processor, threads, time."""
    import torch

    from eyeline.runtime import processor
    from eyeline.shipping import software_versions
    from eyeline.training import told_rank

    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "processes": told_rank()[1],
        **software_versions(),
    }


def environment_notes(before: dict[str, Any]) -> tuple[str, ...]:
    """What is other here than where a run began, and takes the promise of the same bits away."""
    now = environment()
    names = {"threads": "threads", "processes": "processes", "torch": "PyTorch", "processor": "processor"}
    return tuple(
        f"resumed with other {text} ({now[key]}) than the run began with ({before[key]}): the result is as good, but "
        "not the same bits as without the interruption"
        for key, text in names.items()
        if key in before and key in now and before[key] != now[key]
    )
