"""Which files are meant, and a verdict on each."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from eyeline.errors import EyelineError
from eyeline.progress import Progress, silent
from eyeline.runtime import Inspector, Tiling, Verdict

ENDINGS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")


def predictions(
    inspector: Inspector,
    files: Sequence[str],
    *,
    batch: int = 4,
    tiling: Tiling | None = None,
    progress: Progress = silent,
) -> Iterator[Verdict]:
    """Verdicts in order, reporting progress."""
    for number, verdict in enumerate(inspector.predict(files, batch=batch, tiling=tiling)):
        progress("judging", number + 1, len(files), "")
        yield verdict


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
