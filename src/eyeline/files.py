"""Writing files so that a reader never meets half of one."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from eyeline.errors import EyelineError


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`; on success fsync it and rename it to `path`.

    On any error the temporary file is removed and `path` keeps its previous content.

    Raises
    ------
    EyelineError : the folder is missing or not writable, or the disk is full (`code="write_failed"`).
    """
    path = Path(path)
    temporary: str | None = None
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:80]}.", suffix=".tmp")
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes private files; give the result the permissions an ordinary open() would.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
        temporary = None
        _fsync_folder(path.parent)
    except OSError as error:
        raise _write_failed(path, error) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def write_atomically(path: str | Path, data: bytes | str) -> None:
    """Write `data` whole or not at all."""
    with atomic_file(path) as file:
        file.write(data.encode("utf-8") if isinstance(data, str) else data)


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all. NaN and infinity are refused.

    Plain ASCII: odd bytes of file names (lone surrogates in Python) survive as escapes and come back.
    """
    write_atomically(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def append_line(path: str | Path, line: str) -> None:
    """Add one line to a log and see it to the disk; a crash leaves at most the last line unfinished.

    Raises
    ------
    EyelineError : as `atomic_file`.
    """
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise _write_failed(path, error) from error


def _write_failed(path: str | Path, error: OSError) -> EyelineError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return EyelineError(
        f"cannot write: {error.strerror or error}",
        code="write_failed",
        path=path,
        hint="free some space; what was written before is whole" if full else None,
    )


def _fsync_folder(folder: Path) -> None:
    # The rename itself must reach the disk; not every platform can open a folder.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
