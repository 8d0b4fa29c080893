"""One picture: its thumbnail, its digests, and the plain figures that the checks are made of."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eyeline.errors import ImageError
from eyeline.images import DecodeOptions, Pixels, decode_region, prepare_image, read_regular

SIDE = 64  # pixels of a thumbnail's side
SHARPNESS_SIDE = 256  # the longer side of the picture whose sharpness is measured
SHARPNESS_TILE = 16  # pixels of a side of the tiles whose variance it is compared with
DARK, BRIGHT = 2, 253  # grey levels at or beyond which a pixel counts as clipped
THUMBNAIL = DecodeOptions(image_size=(SIDE, SIDE), channels=1)

_GREY_MODES = ("1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I;16N", "I", "F")
_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP")


@dataclass(frozen=True)
class Measured:
    """What is known of a picture: nothing but the error when the file could not be read."""

    values: dict[str, Any] = field(default_factory=dict)
    """By the names of the columns of a scan."""
    thumbnail: Pixels | None = None
    """uint8 ``(64, 64)``; None when the picture could not be decoded."""
    error: ImageError | None = None


def measure_picture(source: Path | Pixels, options: DecodeOptions) -> Measured:
    """Read, decode and measure one picture as `options` say, at its own size. Never raises an ImageError."""
    try:
        data = read_regular(source, options.max_bytes) if isinstance(source, Path) else source
    except ImageError as error:
        return Measured(error=error)
    content = digest_of(data)
    format_name, mode = _header(data)
    try:
        pixels = decode_region(data, replace(options, channels=1) if mode in _GREY_MODES else options)
    except ImageError as error:
        return Measured({"content": content, "format": format_name, "mode": mode}, error=error)
    grey = pixels.shape[2] == 1 or bool(
        (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all()
    )
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).convert("L")
    levels = np.asarray(picture)
    count = np.array(picture.histogram(), dtype=np.float64) / levels.size
    mean = float(count @ np.arange(256))
    values = {
        "content": content,
        "format": format_name,
        "mode": mode,
        "width": picture.width,
        "height": picture.height,
        "grey": grey,
        "picture": digest_of(levels[:, :, None] if grey else pixels),
        "mean": mean,
        "deviation": float(np.sqrt(count @ (np.arange(256) - mean) ** 2)),
        "dark": float(count[: DARK + 1].sum()),
        "bright": float(count[BRIGHT:].sum()),
        "sharpness": sharpness_of(picture),
    }
    return Measured(values, thumbnail=prepare_image(levels, THUMBNAIL)[:, :, 0])


def _header(data: bytes | Pixels) -> tuple[str, str]:
    """Format and mode as the file states them; empty when nothing can be read."""
    if isinstance(data, np.ndarray):
        return "memory", "L" if data.shape[2] == 1 else "RGB"
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            # A stereo or burst file of a phone is a JPEG with more JPEGs behind it.
            return "JPEG" if image.format == "MPO" else image.format or "", image.mode
    except Exception:  # whatever it is, decode_image has the words for it
        return "", ""


def digest_of(data: bytes | Pixels) -> str:
    """sha256 (hex) of a file's bytes, or of pixels and their shape."""
    if isinstance(data, bytes):
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha256(repr(data.shape).encode() + data.tobytes()).hexdigest()


def sharpness_of(picture: Image.Image) -> float:
    """Variance of the Laplacian over the variance within tiles, of a grey picture shrunk to 256 pixels.

    The variance of the Laplacian is the focus measure of Pech-Pacheco et al. 2000 (ICPR, LAPV). Divided by the
    mean variance within tiles of 16 pixels it depends neither on contrast nor on how large structures differ in
    tone. It is taken where the longer side has 256 pixels (smaller pictures as they are), so that pictures of
    different size compare, and a blur counts when it would survive the way into a network. White noise has 20,
    a flat or tiny picture 0.
    """
    scale = SHARPNESS_SIDE / max(picture.size)
    if scale < 1:
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    grey = np.asarray(picture, dtype=np.float32)
    if min(grey.shape) < 3:
        return 0.0
    laplacian = -4 * grey[1:-1, 1:-1]
    for neighbour in (grey[:-2, 1:-1], grey[2:, 1:-1], grey[1:-1, :-2], grey[1:-1, 2:]):
        laplacian += neighbour
    rows, columns = (min(SHARPNESS_TILE, side) for side in grey.shape)
    whole = grey[: grey.shape[0] // rows * rows, : grey.shape[1] // columns * columns]
    means = whole.reshape(len(whole) // rows, rows, -1, columns).mean(axis=(1, 3), dtype=np.float64)
    spread = _mean_square(whole) - float((means**2).mean())
    detail = _mean_square(laplacian) - float(laplacian.mean(dtype=np.float64)) ** 2
    return detail / spread if spread > 1e-3 else 0.0  # below: flat, but for rounding


def _mean_square(values: NDArray[np.float32]) -> float:
    return float(np.square(values).mean(dtype=np.float64))
