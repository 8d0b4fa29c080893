"""The one exception family of Eyeline: what is wrong, where, and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class EyelineError(Exception):
    """Bad input or wrong use. The command line prints it as one line and exits with 2.

    Parameters
    ----------
    message : names the value and what is allowed.
    code : a stable word for programs, such as ``"unsupported"`` or ``"truncated"``.
    path : the file or folder concerned, if any; it leads the printed line.
    hint : what the user can do next.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "bad_input",
        path: str | Path | None = None,
        hint: str | None = None,
    ) -> None:
        self.message = message
        self.code = code
        self.path = None if path is None else str(path)
        self.hint = hint
        super().__init__(self.one_line())

    def one_line(self) -> str:
        """The error as one printable line; control characters of file names are escaped."""
        where = f"{self.path}: " if self.path else ""
        hint = f" ({self.hint})" if self.hint else ""
        return one_line(f"{where}{self.message}{hint}")


class ImageError(EyelineError):
    """One image cannot be used; `code` says why (``truncated``, ``unsupported``, ``too_large`` ...)."""


class GateError(EyelineError):
    """A promise was checked and did not hold (an export that changes a decision). Exit code 1."""


class Interrupted(EyelineError):
    """Stopped by the user with everything saved; the hint says how to go on. Exit code 75."""


def one_line(text: str) -> str:
    """Escape everything that could break out of one log line (newlines, escapes, lone surrogates)."""
    printable = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return printable.encode("utf-8", "backslashreplace").decode("utf-8")


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint that names the closest known names: ``"did you mean resnet18?"``."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    shown = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
    return f"known: {shown}"
