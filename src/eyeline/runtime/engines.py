"""Which engine runs an artifact: the one that is asked for, or the one `eyeline bench` found fastest on this machine.

A choice is a small JSON in the folder for caches, under the SHA-256 of the artifact and the kind of machine: it belongs
to the two together, never travels with the artifact, and may be deleted at any time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from eyeline.errors import EyelineError, nearest
from eyeline.files import write_json
from eyeline.images import cache_folder
from eyeline.runtime.engine import MAX_THREADS, Engine
from eyeline.runtime.machine import machine_key

ENGINES = ("onnxruntime", "openvino")


@dataclass(frozen=True)
class EngineChoice:
    """An engine and its threads."""

    engine: str
    threads: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def open_engine(data: bytes, choice: EngineChoice) -> Engine:
    """The engine of a choice on checked bytes.

    Raises
    ------
    EyelineError : as `Engine`; ``bad_option`` for a name that is not among `ENGINES`.
    """
    if choice.engine == "onnxruntime":
        return Engine(data, threads=choice.threads)
    if choice.engine == "openvino":
        from eyeline.runtime.engine_openvino import OpenVinoEngine

        return OpenVinoEngine(data, threads=choice.threads)
    raise EyelineError(
        f"the engine {choice.engine!r} is not known", code="bad_option", hint=nearest(choice.engine, ENGINES)
    )


def remember_choice(sha256: str, choice: EngineChoice, measured: Mapping[str, Any]) -> Path:
    """Keep a choice for this artifact on this kind of machine, with what it was based on."""
    path = _path(sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {**choice.to_dict(), "measured": dict(measured)})
    return path


def remembered_choice(sha256: str) -> EngineChoice | None:
    """The choice for this artifact on this kind of machine; None when there is none that can be read."""
    try:
        found = json.loads(_path(sha256).read_text("utf-8"))
        engine, threads = found["engine"], found["threads"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    right = engine in ENGINES and isinstance(threads, int) and not isinstance(threads, bool)
    return EngineChoice(engine, threads) if right and 1 <= threads <= MAX_THREADS else None


def _path(sha256: str) -> Path:
    return cache_folder() / "engines" / f"{sha256}-{machine_key()}.json"
