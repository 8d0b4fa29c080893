"""Rows 1, 2, 3, 11, 13: files that are empty, cut short, damaged, hostile or something else."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from corpus.builders import (
    FORMATS,
    HEIGHT,
    MAGIC,
    WIDTH,
    as_rgb,
    encode,
    find_frame,
    grey,
    grey_tiff,
    patch,
    picture,
    png,
    tiff,
    valid,
)
from corpus.case import Case


def damaged_cases() -> Iterator[Case]:
    for row in (_empty, _truncated, _damaged_jpeg, _bombs, _disguised):
        yield from row()


def _empty() -> Iterator[Case]:
    yield Case(1, "zero.png", b"", "empty")
    for name, magic in MAGIC.items():
        yield Case(1, f"one-byte-of-{name.lower()}.bin", magic[:1], "truncated")
        yield Case(1, f"only-magic.{name.lower()}", magic, "truncated")
    yield Case(1, "one-strange-byte.jpg", b"\x07", "unsupported")


def _truncated() -> Iterator[Case]:
    for name in FORMATS:
        data = valid(name)
        for share in (10, 50, 95):
            yield Case(2, f"cut-at-{share}.{name.lower()}", data[: len(data) * share // 100], "truncated")
    for name, options in (("grey", {}), ("progressive", {"progressive": True})):
        source = grey(picture()) if name == "grey" else picture()
        data = encode(source, "JPEG", quality=95, **options)
        for share in (10, 50, 99):
            yield Case(2, f"{name}-cut-at-{share}.jpg", data[: len(data) * share // 100], "truncated")
    yield Case(2, "no-end-chunk.png", valid("PNG")[:-12], None, picture())
    yield Case(2, "no-end-marker.jpg", valid("JPEG")[:-2], None, picture(), 8)
    yield Case(2, "half-an-end-marker.jpg", valid("JPEG")[:-1], None, picture(), 8)
    yield Case(
        2,
        "grey-no-end-marker.jpg",
        encode(grey(picture()), "JPEG", quality=95)[:-2],
        None,
        as_rgb(grey(picture())),
        8,
    )
    progressive = encode(picture(), "JPEG", progressive=True)
    # Nobody can tell whether scans of a progressive file are missing.
    yield Case(2, "progressive-no-end-marker.jpg", progressive[:-2], "truncated")
    yield Case(
        2,
        "zeros-for-a-tail.jpg",
        valid("JPEG")[:400] + bytes(len(valid("JPEG")) - 400),
        "truncated|unreadable",
    )


def _damaged_jpeg() -> Iterator[Case]:
    data = valid("JPEG")
    scan = data.index(b"\xff\xda")
    frame = find_frame(data)
    tables = data.index(b"\xff\xc4")
    for at in (scan + 20, (scan + len(data)) // 2, len(data) - 20):
        yield Case(
            3, f"flipped-bit-{at}.jpg", patch(data, at, bytes([data[at] ^ 0x10])), "ok|unreadable|truncated"
        )
    yield Case(3, "bad-huffman.jpg", patch(data, tables + 5, b"\xff" * 16), "unreadable|truncated")
    yield Case(3, "no-width.jpg", patch(data, frame + 7, b"\0\0"), "unreadable|empty|truncated")
    yield Case(3, "no-height.jpg", patch(data, frame + 5, b"\0\0"), "unreadable|empty|truncated")
    segment = data[frame : frame + 2 + int.from_bytes(data[frame + 2 : frame + 4], "big")]
    yield Case(3, "two-frames.jpg", data[:frame] + segment + data[frame:], "ok|unreadable|truncated")
    restarts = encode(picture(), "JPEG", restart_marker_blocks=2)
    lost = restarts.index(b"\xff\xd1")
    yield Case(3, "lost-restart.jpg", restarts[:lost] + restarts[lost + 2 :], "unreadable")
    yield Case(3, "wrong-restart.jpg", patch(restarts, lost, b"\xff\xd5"), "unreadable")
    # A scan gone astray: half of it is there twice, so half is left over when the picture is full.
    middle = (scan + len(data)) // 2
    yield Case(3, "left-over.jpg", data[:-2] + data[middle:], "unreadable")
    yield Case(3, "marker-in-scan.jpg", patch(data, middle, b"\xff\xe5"), "unreadable")
    # Cameras fill up behind the scan; nothing of the picture is missing.
    for name, filling in (("zero", b"\0" * 100), ("one-byte", b"\x5a"), ("ff", b"\xff" * 8)):
        yield Case(3, f"filled-with-{name}.jpg", data[:-2] + filling + data[-2:], None, picture(), 8)
    followed = data[:-2] + bytes(100) + data[-2:] + data
    yield Case(3, "filled-and-followed.jpg", followed, None, picture(), 8)


def _bombs() -> Iterator[Case]:
    yield Case(11, "50000.png", png((50_000, 50_000, 1, 0), bytes(100_000)), "too_large")
    data = valid("JPEG")
    yield Case(11, "65535.jpg", patch(data, find_frame(data) + 5, b"\xff\xff\xff\xff"), "too_large")
    yield Case(11, "huge.bmp", patch(valid("BMP"), 18, struct.pack("<ii", 40_000, 40_000)), "too_large")
    chunk = b"VP8X" + struct.pack("<I", 10) + bytes(4) + (16383).to_bytes(3, "little") * 2
    webp = chunk + valid("WEBP")[12:]
    yield Case(
        11, "huge.webp", b"RIFF" + struct.pack("<I", len(webp) + 4) + b"WEBP" + webp, "too_large|unreadable"
    )
    small = np.zeros((1, 1))
    tags: dict[int, tuple[str, list[int]]] = {
        256: ("I", [2**31 - 1]),
        257: ("I", [2**31 - 1]),
        258: ("H", [8]),
        262: ("H", [1]),
        277: ("H", [1]),
        278: ("I", [1]),
    }
    yield Case(11, "huge.tiff", tiff("<", tags, b"\0"), "too_large")
    tags = {
        256: ("I", [1]),
        257: ("I", [1]),
        258: ("H", [8]),
        262: ("H", [1]),
        277: ("I", [2**32 - 1]),
        278: ("I", [1]),
    }
    yield Case(11, "samples.tiff", tiff("<", tags, b"\0"), "unreadable|unsupported")
    many = grey_tiff("<", small, 8, b"\0")
    at = many.index(struct.pack("<HHI", 273, 4, 1))
    yield Case(11, "strips.tiff", patch(many, at + 4, struct.pack("<I", 2**28)), "unreadable|truncated|ok")
    blast = zlib.compress(bytes(64 * 2**20), 9)
    lines = b"".join(b"\0" + line.tobytes() for line in picture())
    for kind, head in (
        (b"zTXt", b"Comment\0\0"),
        (b"iCCP", b"profile\0\0"),
        (b"iTXt", b"XML:com.adobe.xmp\0\x01\0\0\0"),
    ):
        data = png((WIDTH, HEIGHT, 8, 2), lines, (kind, head + blast))
        yield Case(11, f"blast-{kind.decode()}.png", data, "too_large|ok")


def _disguised() -> Iterator[Case]:
    yield Case(13, "really-a-png.jpg", valid("PNG"), None, picture())
    yield Case(13, "really-a-jpeg.png", valid("JPEG"), None, picture(), 8)
    yield Case(13, "jpeg-and-zip.jpg", valid("JPEG") + b"PK\x03\x04" + bytes(200), None, picture(), 8)
    html = b"<!DOCTYPE html><html><body>404 Not Found</body></html>"
    refused = {
        "error-page.jpg": html,
        "vector.svg": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
        "page.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "page.pdf": b"%PDF-1.7\n",
        "phone.heic": b"\0\0\0\x18ftypheic" + bytes(40),
        "modern.avif": b"\0\0\0\x1cftypavif" + bytes(40),
        "camera.raw": bytes(range(256)),
        "archive.jpg": b"PK\x03\x04" + bytes(40),
        "notes.png": b"just some words",
        "wave.webp": b"RIFF\x24\0\0\0WAVEfmt " + bytes(40),
        "icon.png": encode(picture(16, 16), "ICO"),
        "medical.jpg": encode(picture(), "JPEG2000"),
    }
    for name, data in refused.items():
        yield Case(13, name, data, "unsupported")
    yield Case(13, "bitmap-by-chance.bmp", b"BMW drives by" + bytes(100), "unreadable|truncated|unsupported")
