"""Opening a file that a user named, without ever waiting for it."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from eyeline.errors import ImageError


def open_regular(path: str | Path) -> int:
    """A file descriptor of a regular file, for reading.

    A pipe, socket, device or folder is refused and never blocks: the file is opened without waiting and asked
    what it is only then, so it cannot be swapped between the question and the reading.

    Raises
    ------
    ImageError : ``missing`` or ``unreadable``.
    """
    flags = (
        os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    )
    try:
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
        if getattr(error, "errno", None) in (errno.ENOENT, errno.ENOTDIR):
            raise ImageError("no such file", code="missing", path=path) from error
        if getattr(error, "errno", None) == errno.ENXIO:  # a socket
            raise ImageError("not a regular file", code="unreadable", path=path) from error
        reason = getattr(error, "strerror", None) or str(error)
        raise ImageError(f"cannot be opened: {reason}", code="unreadable", path=path) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ImageError("not a regular file", code="unreadable", path=path)
    return descriptor


def read_regular(path: str | Path, max_bytes: int) -> bytes:
    """The whole content of a regular file of at most `max_bytes`.

    Raises
    ------
    ImageError : ``missing``, ``unreadable`` or ``too_large``.
    """
    with os.fdopen(open_regular(path), "rb") as file:
        try:
            # One byte more than allowed: the size on record may be stale while the file still grows.
            data = b"" if os.fstat(file.fileno()).st_size > max_bytes else file.read(max_bytes + 1)
            size = max(os.fstat(file.fileno()).st_size, len(data))
        except OSError as error:
            reason = error.strerror or str(error)
            raise ImageError(f"cannot be read: {reason}", code="unreadable", path=path) from error
    if size > max_bytes:
        raise ImageError(f"{size:,} bytes, more than the limit of {max_bytes:,}", code="too_large", path=path)
    return data
