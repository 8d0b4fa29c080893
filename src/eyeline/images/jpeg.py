"""The scan of a JPEG to pixels, by the decoder that is exact and strict for its kind.

simplejpeg reports everything libjpeg notices (a broken code, a lost restart marker, a scan that ends early), and
such a file is refused; Pillow would pass it silently. It takes as long as Pillow does, so strictness costs nothing
where its pixels equal Pillow's bit for bit, which the tests show kind by kind. For all other kinds Pillow makes the
pixels and simplejpeg only looks for damage.
"""

from __future__ import annotations

import re

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from eyeline.errors import ImageError
from eyeline.images.formats import JpegFrame, jpeg_frame, sniff

# Sampling factors (horizontal, vertical) of Y, Cb and Cr: 4:4:4, 4:2:2, 4:2:0, 4:4:0 and 4:1:1.
_EXACT_COLOUR = frozenset(((h, v), (1, 1), (1, 1)) for h, v in ((1, 1), (2, 1), (2, 2), (1, 2), (4, 1)))
_END = b"\xff\xd9"
_EXTRANEOUS = re.compile(r"Corrupt JPEG data: (\d+) extraneous bytes before marker 0xd9")
_DAMAGE = ("Corrupt JPEG data", "Premature end", "Inconsistent progression")


def decoder_of(data: bytes) -> str:
    """Which library makes the pixels of this file: ``simplejpeg`` or ``pillow``."""
    frame = jpeg_frame(data) if sniff(data) == "JPEG" else None
    return "simplejpeg" if frame is not None and _is_exact(frame) else "pillow"


def decode_scan(image: Image.Image, data: bytes) -> Image.Image:
    """The loaded picture of `image`, which Pillow has opened from `data` but not loaded.

    Raises
    ------
    ImageError : ``truncated`` or ``unreadable``. Anything else that a decoder raises is left as it is.
    """
    frame = jpeg_frame(data)
    if frame is None:
        image.load()
        return image
    if _is_exact(frame) and frame.size == image.size:
        pixels = _strict(data, frame, "GRAY" if frame.components == 1 else "RGB")
        if pixels is not None:
            return Image.fromarray(pixels[:, :, 0] if frame.components == 1 else pixels)
    elif frame.size == image.size:
        _strict(data, frame, "CMYK" if frame.components == 4 else "GRAY")
    image.load()
    return image


def _is_exact(frame: JpegFrame) -> bool:
    return frame.components == 1 or frame.sampling in _EXACT_COLOUR


def _strict(data: bytes, frame: JpegFrame, colours: str) -> NDArray[np.uint8] | None:
    """The pixels; None when simplejpeg cannot tell for a reason that is no damage. Damage is an ImageError."""
    try:
        return _decode(data, colours)
    except ValueError as error:
        words = str(error)
    if words.startswith("Premature end"):
        # A strict decoder that finds every coefficient once the marker is there: only the marker was missing.
        if frame.sequential and (pixels := _or_none(data + _END, colours)) is not None:
            return pixels
        raise ImageError("the JPEG file is cut short", code="truncated")
    if (left := _EXTRANEOUS.search(words)) and _is_padding(data, frame, int(left[1])):
        return _decode(data, colours, strict=False)
    if words.startswith(_DAMAGE):
        reason = words.removeprefix("Corrupt JPEG data: ")
        raise ImageError(f"damaged JPEG file: {reason}", code="unreadable")
    return None


def _decode(data: bytes, colours: str, *, strict: bool = True) -> NDArray[np.uint8]:
    pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
        data, colours, fastdct=False, fastupsample=False, strict=strict
    )
    return pixels


def _or_none(data: bytes, colours: str) -> NDArray[np.uint8] | None:
    try:
        return _decode(data, colours)
    except ValueError:
        return None


def _is_padding(data: bytes, frame: JpegFrame, count: int) -> bool:
    """Cameras fill up behind the scan. One byte over and over is filling; anything else is a scan gone astray."""
    end = data.find(_END, frame.first_scan)  # the first one: another picture may follow
    return len(set(data[max(0, end - count) : end])) == 1
