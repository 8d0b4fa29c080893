"""Writing picture files with Pillow or byte by byte, and the pixels that they hold."""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
WIDTH, HEIGHT = 40, 24
FINE: dict[str, Any] = {"quality": 95, "subsampling": 0}  # a JPEG within a few grey levels of its source
FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP")
MAGIC = {
    "JPEG": b"\xff\xd8\xff",
    "PNG": b"\x89PNG\r\n\x1a\n",
    "TIFF": b"II*\x00",
    "BMP": b"BM",
    "WEBP": b"RIFF\x00\x00\x00\x00WEBP",
}


def picture(width: int = WIDTH, height: int = HEIGHT) -> Pixels:
    """A smooth RGB picture without any symmetry, ``(height, width, 3)``."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    red = 255 * x / max(width - 1, 1)
    green = 255 * y / max(height - 1, 1)
    blue = 128 + 100 * np.sin(x / 9 + y / 5)
    return np.rint(np.stack([red, green, blue], axis=-1)).astype(np.uint8)


def grey(rgb: Pixels) -> Pixels:
    """ITU-R 601 luma in Pillow's fixed point."""
    weighted = rgb.astype(np.uint32) @ np.array([19595, 38470, 7471], dtype=np.uint32)
    return ((weighted + 0x8000) >> 16).astype(np.uint8)


def encode(image: Image.Image | NDArray[Any], format_name: str, **options: Any) -> bytes:
    """The bytes of a picture in one of Pillow's formats."""
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    file = io.BytesIO()
    image.save(file, format_name, **options)
    return file.getvalue()


@cache
def valid(format_name: str) -> bytes:
    """A good file of `picture()` in each format of the allow-list."""
    options = {"JPEG": FINE, "WEBP": {"lossless": True}}
    return encode(picture(), format_name, **options.get(format_name, {}))


def png(ihdr: tuple[int, int, int, int], raw: bytes, *before: tuple[bytes, bytes]) -> bytes:
    """A PNG by hand: (width, height, bit depth, colour type), filtered scan lines, chunks before the data."""
    width, height, depth, colour = ihdr
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)), *before]
    chunks += [(b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return MAGIC["PNG"] + body


def tiff(order: str, tags: dict[int, tuple[str, list[int]]], strip: bytes, next_ifd: int = 0) -> bytes:
    """An uncompressed TIFF of one strip by hand; `tags` maps a tag to (``H`` or ``I``, values)."""
    head = (b"II*\x00" if order == "<" else b"MM\x00*") + struct.pack(order + "I", 8)
    tags = {**tags, 273: ("I", [0]), 279: ("I", [len(strip)]), 259: tags.get(259, ("H", [1]))}
    size = 2 + 12 * len(tags) + 4
    extra = b""
    entries = b""
    extra_start = 8 + size
    long_values = {tag: struct.pack(f"{order}{len(v)}{kind}", *v) for tag, (kind, v) in tags.items()}
    total_extra = sum(len(value) for value in long_values.values() if len(value) > 4)
    long_values[273] = struct.pack(order + "I", extra_start + total_extra)
    for tag in sorted(tags):
        kind, values = tags[tag]
        value = long_values[tag]
        if len(value) > 4:
            where = struct.pack(order + "I", extra_start + len(extra))
            extra += value
        else:
            where = value.ljust(4, b"\0")
        entries += struct.pack(order + "HHI", tag, {"H": 3, "I": 4}[kind], len(values)) + where
    return (
        head
        + struct.pack(order + "H", len(tags))
        + entries
        + struct.pack(order + "I", next_ifd)
        + extra
        + strip
    )


def grey_tiff(
    order: str,
    values: NDArray[Any],
    bits: int,
    strip: bytes,
    *,
    photometric: int = 1,
    sample_format: int = 1,
    next_ifd: int = 0,
) -> bytes:
    """A grey TIFF of `bits` a sample whose packed samples are `strip`."""
    height, width = values.shape
    tags: dict[int, tuple[str, list[int]]] = {
        256: ("I", [width]),
        257: ("I", [height]),
        258: ("H", [bits]),
        262: ("H", [photometric]),
        277: ("H", [1]),
        278: ("I", [height]),
        339: ("H", [sample_format]),
    }
    return tiff(order, tags, strip, next_ifd)


def as_rgb(values: NDArray[Any]) -> Pixels:
    """Grey ``(H, W)`` as RGB."""
    return np.repeat(values.astype(np.uint8)[:, :, None], 3, axis=2)


def find_frame(data: bytes) -> int:
    """Where the frame header of a JPEG starts."""
    return next(at for at in range(len(data)) if data[at] == 0xFF and data[at + 1] in (0xC0, 0xC1, 0xC2))


def patch(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def drop_segment(data: bytes, marker: int) -> bytes:
    at = data.index(bytes([0xFF, marker]))
    return data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]


# How a picture is stored so that the orientation tag brings it upright (EXIF 2.3, 4.6.4.A).
STORED = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: np.rot90(p, 1),
    7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
    8: lambda p: np.rot90(p, -1),
}
