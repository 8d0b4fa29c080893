"""Pictures as part of the page: small JPEG or PNG data URIs."""

from __future__ import annotations

import base64
import io
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eyeline.errors import EyelineError

LIMIT = 60_000  # bytes of one picture, as base64 in the page
_SMALLEST = 32  # no picture is made smaller than this to keep the limit
_PIXELS_A_BYTE = 8  # of a photograph at decent quality: a larger picture would not fit anyway
PIXELATED = 64  # pictures up to this side are enlarged in whole pixels and stay sharp


def enlarged(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """A tiny picture `(H, W, C)` with every pixel repeated until its longer side comes near `side`."""
    longest = max(picture.shape[:2])
    if longest > PIXELATED:
        return picture
    times = max(1, side // longest)
    return picture.repeat(times, axis=0).repeat(times, axis=1)


def data_uri(picture: NDArray[np.uint8], *, side: int, limit: int = LIMIT) -> str:
    """A uint8 picture `(H, W)` or `(H, W, C)` as ``data:image/...``, at most `side` pixels long and `limit` bytes.

    Pictures of few colours, such as digits and drawings, become PNG; photographs JPEG, with as much quality as
    the limit allows.
    """
    image = as_image(picture)
    budget = limit * 3 // 4 - 32  # base64 makes four bytes of three
    side = min(side, max(_SMALLEST, math.isqrt(_PIXELS_A_BYTE * max(budget, 1))))
    if max(image.size) > side:
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
    if image.mode == "L" and len(image.getcolors(256) or ()) <= 32:
        png = _encoded(image, "PNG", optimize=True)
        if len(png) <= budget:
            return _uri("png", png)
    jpeg = b""
    while True:
        for quality in (86, 70, 45):
            jpeg = _encoded(image, "JPEG", quality=quality)
            if len(jpeg) <= budget:
                return _uri("jpeg", jpeg)
        if max(image.size) <= _SMALLEST:
            return _uri("jpeg", jpeg)
        image = image.resize((max(1, image.width * 2 // 3), max(1, image.height * 2 // 3)))


def png_bytes(picture: NDArray[np.uint8]) -> bytes:
    """A uint8 picture `(H, W)` or `(H, W, C)` as the bytes of a PNG file."""
    return _encoded(as_image(picture), "PNG")


def as_image(picture: NDArray[np.uint8]) -> Image.Image:
    """A uint8 array as a Pillow image of mode ``L`` or ``RGB``."""
    p = np.asarray(picture)
    if p.ndim == 3 and p.shape[2] == 1:
        p = p[:, :, 0]
    if p.dtype != np.uint8 or p.ndim not in (2, 3) or (p.ndim == 3 and p.shape[2] != 3) or p.size == 0:
        raise EyelineError(f"a picture of shape {p.shape}, {p.dtype}; allowed: uint8 (H, W), (H, W, 1 or 3)")
    return Image.fromarray(np.ascontiguousarray(p))


def _encoded(image: Image.Image, kind: str, **options: int | bool) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
