"""What the first bytes of a file say it is. File names and extensions are never asked."""

from __future__ import annotations

import struct
from dataclasses import dataclass

# The allow-list: format name as Pillow spells it, and how such a file begins.
MAGIC: tuple[tuple[str, bytes], ...] = (
    ("JPEG", b"\xff\xd8\xff"),
    ("PNG", b"\x89PNG\r\n\x1a\n"),
    ("TIFF", b"II*\x00"),
    ("TIFF", b"MM\x00*"),
    ("TIFF", b"II+\x00"),
    ("TIFF", b"MM\x00+"),
    ("BMP", b"BM"),
    ("WEBP", b"RIFF"),
)

# Common things that are not on the list, named so that the message helps.
_REFUSED: tuple[tuple[bytes, str], ...] = (
    (b"GIF8", "a GIF"),
    (b"%PDF", "a PDF"),
    (b"%!PS", "PostScript"),
    (b"\xc5\xd0\xd3\xc6", "PostScript"),
    (b"8BPS", "a Photoshop file"),
    (b"\x00\x00\x01\x00", "an icon"),
    (b"icns", "an icon"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"SIMPLE  =", "a FITS file"),
    (b"P1", "a PNM"),
    (b"P2", "a PNM"),
    (b"P3", "a PNM"),
    (b"P4", "a PNM"),
    (b"P5", "a PNM"),
    (b"P6", "a PNM"),
    (b"\x93NUMPY", "a NumPy file"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
)

_JPEG_BASELINE = (0xC0, 0xC1)
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_PROGRESSIVE = 0xC2


def sniff(data: bytes) -> str | None:
    """The format of the allow-list that `data` begins with, or None."""
    for name, magic in MAGIC:
        if data.startswith(magic) and (name != "WEBP" or data[8:12] == b"WEBP"):
            return name
    return None


def starts_like_an_image(data: bytes) -> bool:
    """True when `data` is too short to tell, but agrees with one of the formats so far."""
    return any(len(data) < max(len(magic), 12) and magic.startswith(data[: len(magic)]) for _, magic in MAGIC)


def describe(data: bytes) -> str:
    """What a file outside the allow-list seems to be, for a message: ``"a PDF"``."""
    for magic, name in _REFUSED:
        if data.startswith(magic):
            return name
    if data[4:8] == b"ftyp":
        return "AVIF" if data[8:12] in (b"avif", b"avis") else "HEIC or a video"
    text = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "an HTML page"
    if b"<svg" in text:
        return "an SVG"
    if text.startswith((b"<?xml", b"<", b"{")):
        return "text"
    return "an unknown kind of file"


@dataclass(frozen=True)
class JpegFrame:
    """The frame header of a JPEG (ITU-T T.81, B.2.2) and the components of its first scan."""

    marker: int
    precision: int
    size: tuple[int, int]
    """Width and height."""
    sampling: tuple[tuple[int, int], ...]
    """Horizontal and vertical sampling factor of each component."""
    first_scan_components: int
    first_scan: int
    """Where the header of the first scan begins in the file."""

    @property
    def components(self) -> int:
        """1 for grey, 3 for colour, 4 for CMYK and YCCK."""
        return len(self.sampling)

    @property
    def sequential(self) -> bool:
        """One scan holds everything, Huffman-coded: when the scan is whole, the picture is."""
        return self.marker in _JPEG_BASELINE and self.first_scan_components == self.components

    @property
    def refusal(self) -> str | None:
        """Why this kind of JPEG is not read, if it is not."""
        if self.precision != 8:
            return f"{self.precision}-bit JPEG"
        if self.marker >= 0xC9:
            return "arithmetic-coded JPEG"
        if self.marker not in (*_JPEG_BASELINE, _JPEG_PROGRESSIVE):
            return "lossless or hierarchical JPEG"
        return None


def jpeg_frame(data: bytes) -> JpegFrame | None:
    """Walk the segments up to the first scan; None when the data ends or breaks before it."""
    position = 2
    frame: tuple[int, bytes] | None = None
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            return None
        code = data[position + 1]
        if code == 0xFF:  # fill byte
            position += 1
            continue
        if code == 0x01 or 0xD0 <= code <= 0xD7:  # markers without a segment
            position += 2
            continue
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        body = data[position + 4 : position + 2 + length]
        if code in _JPEG_FRAMES and frame is None:
            if len(body) < 6:
                return None
            frame = code, body
        elif code == 0xDA:
            return _frame(*frame, body[0], position) if frame is not None and body else None
        position += 2 + length
    return None


def _frame(marker: int, body: bytes, scan_components: int, scan: int) -> JpegFrame:
    height, width = struct.unpack_from(">HH", body, 1)
    factors = [body[6 + 3 * i + 1] if 6 + 3 * i + 1 < len(body) else 0 for i in range(body[5])]
    sampling = tuple((factor >> 4, factor & 15) for factor in factors)
    return JpegFrame(marker, body[0], (width, height), sampling, scan_components, scan)


def is_cut_short(format_name: str, data: bytes) -> bool:
    """Does the file end before its own structure says it should? Asked only once decoding has failed."""
    try:
        if format_name == "JPEG":
            return jpeg_frame(data) is None or b"\xff\xd9" not in data[-64:]
        if format_name == "PNG":
            return b"IEND" not in data[-64:]
        if format_name == "WEBP":
            return len(data) < 30 or int(struct.unpack_from("<I", data, 4)[0]) + 8 > len(data)
        if format_name == "BMP":
            return int(struct.unpack_from("<I", data, 2)[0]) > len(data)
        order = "<" if data[:2] == b"II" else ">"
        big = data[2:4] in (b"+\x00", b"\x00+")
        offset = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0]
        return int(offset) >= len(data)
    except struct.error:
        return True
