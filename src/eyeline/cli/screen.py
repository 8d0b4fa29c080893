"""What a person sees: progress on standard error, and one JSON object on standard output when asked."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from eyeline.progress import Progress, silent


def print_json(value: Any) -> None:
    """One machine-readable object on standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=True, allow_nan=False) + "\n")


def print_line(text: str = "") -> None:
    """A line for a person, on standard output."""
    sys.stdout.write(text.encode("utf-8", "backslashreplace").decode("utf-8") + "\n")


def print_note(text: str) -> None:
    """A line that a person should not miss, on standard error."""
    sys.stderr.write("note: " + text.encode("utf-8", "backslashreplace").decode("utf-8") + "\n")


@contextmanager
def progress_bars(quiet: bool = False) -> Iterator[Progress]:
    """A bar a stage on standard error: how far, how long yet, and what the stage has to say.

    Without a terminal (a log file, a pipe) a line at the start of a stage and every ten seconds. Of several
    processes that train together only the first one shows anything.
    """
    if quiet or os.environ.get("RANK", "0") != "0":
        yield silent
    elif not sys.stderr.isatty():
        yield _log_lines()
    else:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bars

        bars = Bars(
            TextColumn("{task.description:<22}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", style="dim"),
            console=Console(stderr=True),
        )
        tasks: dict[str, Any] = {}

        def report(stage: str, done: int, total: int, note: str) -> None:
            if stage not in tasks:
                for task in tasks.values():  # a new stage begins when the one before is over
                    bars.update(task, completed=bars.tasks[task].total)
                tasks[stage] = bars.add_task(stage, total=max(total, 1), note="")
            bars.update(tasks[stage], completed=done, total=max(total, 1), note=note)

        with bars:
            yield report
            for task in tasks.values():
                bars.update(task, completed=bars.tasks[task].total)


def _log_lines(every: float = 10.0) -> Progress:
    started = time.monotonic()
    last: dict[str, float] = {}

    def report(stage: str, done: int, total: int, note: str) -> None:
        now = time.monotonic()
        if stage in last and now - last[stage] < every and done != total:
            return
        last[stage] = now
        rest = f" {note}" if note else ""
        sys.stderr.write(f"[{now - started:6.1f}s] {stage} {done}/{total}{rest}\n")
        sys.stderr.flush()

    return report
