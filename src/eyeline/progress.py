"""How long work tells where it stands. Rooms report; only the command line draws."""

from __future__ import annotations

from collections.abc import Callable

# (stage, done, total, note): "decoding", 120, 2624, "" or "training", 3, 90, "loss 0.41".
Progress = Callable[[str, int, int, str], None]


def silent(stage: str, done: int, total: int, note: str) -> None:
    """The default: nobody is watching."""
