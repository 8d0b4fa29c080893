"""Numbers and names as a reader should see them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from eyeline.verdicts import Rate

DASH = "–"
NARROW = "\N{NARROW NO-BREAK SPACE}"
THIN = "\N{THIN SPACE}"
MINUS = "\N{MINUS SIGN}"


def shown(text: str) -> str:
    """A name that cannot break the line or the page: control and direction characters are spelled out.

    File names may hold newlines, bytes that are no text, or marks that turn the writing direction around.
    """
    spelled = (
        c
        if c.isprintable() or (c.isspace() and c not in "\t\n\r\v\f\x1c\x1d\x1e\x1f\x85\u2028\u2029")
        else c.encode("unicode_escape", "surrogatepass").decode("ascii")
        for c in text
    )
    return "".join(spelled)


def percent(value: float | None, digits: int = 1) -> str:
    """``9.8 %``, a dash for None."""
    return DASH if value is None else f"{100 * value:.{digits}f}{NARROW}%"


def decimal(value: float | None, digits: int = 3) -> str:
    """``0.894``, a dash for None."""
    if value is None or not math.isfinite(value):
        return DASH
    return f"{value:.{digits}f}".replace("-", MINUS)


def signed(value: float, digits: int = 2) -> str:
    """``+0.31`` or ``−0.31``."""
    return f"{value:+.{digits}f}".replace("-", MINUS)


def percent_interval(rate: Rate) -> str:
    """``4.1 – 17.3 %``."""
    if rate.low is None or rate.high is None:
        return "no interval"
    return f"{100 * rate.low:.1f}{THIN}{DASH}{THIN}{100 * rate.high:.1f}{NARROW}%"


def decimal_interval(rate: Rate) -> str:
    """``0.851 – 0.932``."""
    if rate.low is None or rate.high is None:
        return "no interval"
    return f"{rate.low:.3f}{THIN}{DASH}{THIN}{rate.high:.3f}"


def last_part(path: str) -> str:
    """The file name of a path of any system."""
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1] or path


def tight(text: str) -> str:
    """No line break between a number and its percent sign."""
    return re.sub(r"(?<=\d) %", f"{NARROW}%", text)


def sentence(text: str) -> str:
    """With a capital at the start and a full stop at the end."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def power_of_ten(value: float) -> str:
    """``3.1 × 10⁻⁷``, plain 0 for 0."""
    if value == 0:
        return "0"
    digits, exponent = f"{value:.1e}".split("e")
    raised = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{digits}{NARROW}×{NARROW}10{raised}"


def counted(n: int, noun: str) -> str:
    """``1 image``, ``2,624 images``."""
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + ("es" if noun.endswith("s") else "s")
    return f"{n:,} {noun if n == 1 else plural}"


def duration(seconds: float) -> str:
    """``8 s``, ``4 min 12 s``, ``2 h 05 min``."""
    total = round(seconds)
    if total < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{total} s"
    if total < 3600:
        return f"{total // 60} min {total % 60:02d} s"
    return f"{total // 3600} h {total % 3600 // 60:02d} min"


def file_size(size: int) -> str:
    """``13.2 MB``."""
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"


def plain(value: Any) -> str:
    """Any setting as a short text."""
    if value is None:
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(plain(part) for part in value) or DASH
    return str(value) or DASH


def flattened(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested mappings as ``optimizer.lr``, ``0.0003``."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", plain(value)
