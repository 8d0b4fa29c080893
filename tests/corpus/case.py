"""What a generated file is and what must become of it."""

from __future__ import annotations

from dataclasses import dataclass

from corpus.builders import Pixels


@dataclass(frozen=True, eq=False)
class Case:
    """One file: its bytes and what decoding it must give."""

    row: int
    name: str
    data: bytes
    code: str | None = None
    """None: it decodes. Otherwise the error's code; several allowed ones are separated by ``|``, and ``ok``
    among them means that decoding it is fine as well."""
    pixels: Pixels | None = None
    """Expected RGB ``(H, W, 3)`` on a black background, where it is known."""
    tolerance: int = 0
    """Grey levels by which `pixels` may differ (JPEG is lossy)."""
    range: tuple[float, float] | None = None
    """The value range that is declared when the file is read."""

    @property
    def codes(self) -> frozenset[str]:
        return frozenset((self.code or "ok").split("|"))
