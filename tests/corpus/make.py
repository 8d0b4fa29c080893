"""Bad, odd and hostile image files, generated: each with what must become of it.

The row numbers are those of the table "bad inputs" that every way into Eyeline is tested against.
Nothing here imports Eyeline: what is expected is computed with NumPy.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from corpus.case import Case
from corpus.damaged import damaged_cases
from corpus.kinds import ranged_cases, sound_cases
from corpus.names import AWKWARD_NAMES, special_files

__all__ = ["AWKWARD_NAMES", "Case", "cases", "ranged_cases", "special_files", "write_corpus"]


def cases() -> Iterator[Case]:
    """Every generated file of rows 1 to 14."""
    yield from damaged_cases()
    yield from sound_cases()


def write_corpus(folder: Path) -> dict[Path, Case]:
    """Write every case into `folder`; the files are called as the cases are."""
    folder.mkdir(parents=True, exist_ok=True)
    written = {folder / f"{case.row:02d}-{case.name}": case for case in cases()}
    for path, case in written.items():
        path.write_bytes(case.data)
    return written
