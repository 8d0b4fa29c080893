"""Which files are meant, and a verdict on each; a run that was stopped goes on where it was."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from eyeline.errors import EyelineError, Interrupted
from eyeline.interruption import catch_interruption
from eyeline.progress import Progress, silent
from eyeline.runtime import (
    Inspector,
    Tiling,
    Verdict,
    finished_rows,
    format_of,
    partial_path,
    write_verdicts,
)

ENDINGS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")


def predictions(
    inspector: Inspector,
    files: Sequence[str],
    *,
    batch: int = 4,
    tiling: Tiling | None = None,
    before: int = 0,
    progress: Progress = silent,
) -> Iterator[Verdict]:
    """Verdicts in order, reporting progress; `before` images were judged earlier."""
    # The rest of a stopped run goes the way that the whole went, however little it is: equal to the last bit.
    workers = inspector.cores + 1 if before else None
    verdicts = inspector.predict(files, batch=batch, workers=workers, tiling=tiling)
    for number, verdict in enumerate(verdicts, start=before + 1):
        progress("judging", number, before + len(files), "")
        yield verdict


@dataclass(frozen=True, kw_only=True)
class Written:
    """What a table of verdicts holds."""

    verdicts: int
    failed: int  # images that could not be judged
    resumed: int  # rows that were there before


def write_predictions(
    inspector: Inspector,
    files: Sequence[str],
    target: Path | BinaryIO,
    *,
    format: str | None = None,
    batch: int = 4,
    tiling: Tiling | None = None,
    resume: bool = False,
    progress: Progress = silent,
) -> Written:
    """Judge `files` and write a row each, in order.

    A file gets its content when everything is judged. After SIGINT or SIGTERM the rows finished so far are a whole
    table of their own beside it (see `partial_path`); with `resume` they are kept, and what comes out in the end is
    what a run without a stop gives. An open stream gets every row at once.

    Raises
    ------
    Interrupted : by a signal.
    EyelineError : as `write_verdicts` and `finished_rows`.
    """
    kind = format_of(target, format)
    partial = partial_path(target) if isinstance(target, Path) else None
    done, failed, judged = 0, 0, 0
    if resume and partial is not None and partial.exists():
        done, failed = finished_rows(partial, kind, files, inspector.sha256)
    with catch_interruption() as interrupted:

        def verdicts() -> Iterator[Verdict]:
            nonlocal failed, judged
            for verdict in predictions(
                inspector, files[done:], batch=batch, tiling=tiling, before=done, progress=progress
            ):
                failed += verdict.error is not None
                judged += 1
                yield verdict
                # Between two batches: resumed, every image meets the same company, and rounds the same.
                if interrupted and (done + judged) % batch == 0:
                    return

        count = write_verdicts(
            verdicts(),
            partial or target,
            classes=inspector.contract.classes,
            format=kind,
            tiled=tiling is not None,
            unknown=inspector.contract.novelty is not None,
            sha256=True,
            before=partial if done else None,
        )
        if count < len(files):
            kept = "" if partial is None else f"; they are in {partial}"
            raise Interrupted(
                f"stopped after {count} of {len(files)} images{kept}",
                code="interrupted",
                hint=None if partial is None else "go on with the same words and --resume",
            )
        if partial is not None:
            os.replace(partial, target)  # type: ignore[arg-type]
    return Written(verdicts=count, failed=failed, resumed=done)


def find_images(paths: Sequence[str | Path]) -> list[str]:
    """The image files behind files and folders, folders in sorted order and with everything below them.

    Files that are named are taken whatever they are called; in folders the ending decides, hidden files and
    links that lead out of the folder are left out.

    Raises
    ------
    EyelineError : a path that does not exist, or a folder without images.
    """
    found: list[str] = []
    for path in paths:
        if os.path.isdir(path):
            inside = list(_walk(Path(path)))
            if not inside:
                raise EyelineError(
                    "no images in this folder",
                    code="empty",
                    path=path,
                    hint=f"looked for {', '.join(ENDINGS)}",
                )
            found += inside
        elif os.path.lexists(path):
            found.append(str(path))
        else:
            raise EyelineError("no such file or folder", code="missing", path=path)
    return found


def _walk(folder: Path) -> Iterator[str]:
    root = os.path.realpath(folder)
    for base, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(base) / name
            if name.startswith(".") or path.suffix.lower() not in ENDINGS:
                continue
            # realpath, since Path.resolve raises for a link that leads to itself; that one is an error of its own row
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(root):
                continue
            yield str(path)
