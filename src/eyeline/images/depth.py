"""Samples deeper than 8 bits: to 8 bits by a declared range, never by clipping what happens to be large."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from eyeline.errors import ImageError

ValueRange = tuple[float, float]

_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # TIFF tags
_UNSIGNED, _SIGNED = 1, 2
_AT_ONCE = 2**20  # samples converted at a time, so that doubles of a whole picture never stand in memory


def check_depth(image: Image.Image, format_name: str, value_range: ValueRange | None) -> None:
    """Refuse samples whose range nobody declared, and those that cannot be read right.

    Raises
    ------
    ImageError : ``unsupported``.
    """
    if image.mode in ("LAB", "HSV"):
        raise ImageError(f"{format_name} pixels of kind {image.mode} are not supported", code="unsupported")
    bits = [int(value) for value in np.atleast_1d(_tiff_tag(image, _BITS, 8))]
    formats = {int(value) for value in np.atleast_1d(_tiff_tag(image, _SAMPLE_FORMAT, _UNSIGNED))}
    if value_range is None and (image.mode in ("I", "F") or not formats <= {_UNSIGNED, 4}):
        raise ImageError(
            f"{format_name} of signed, 32-bit or floating-point samples has no declared range",
            code="unsupported",
            hint="declare one (--range LOW,HIGH), or convert to unsigned 8 or 16 bits",
        )
    if _SIGNED in formats and image.mode != "I":  # Pillow reads them as if they were unsigned
        raise ImageError("TIFF of signed 8-bit samples is not supported", code="unsupported")
    is_grey = image.mode in ("I", "F") or image.mode.startswith("I;16")
    if value_range is not None and not is_grey and (max(bits) > 8 or _is_deep_png(image)):
        raise ImageError(
            "16-bit colour is read as its high byte: a declared range cannot be applied",
            code="unsupported",
            hint="convert to 16-bit grey",
        )


def deep_grey(image: Image.Image, background: int, value_range: ValueRange | None) -> Image.Image | None:
    """An ``L`` picture of deep grey samples; None when `image` has no such samples.

    Without `value_range`, 16-bit samples are scaled by the declared number of bits: a 12-bit TIFF by 4095, all others
    by 65535.
    """
    if image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.uint16)
        bits = int(np.atleast_1d(_tiff_tag(image, _BITS, 16))[0])
        table = to_eight_bits(np.arange(65536), value_range or (0, 2 ** min(bits, 16) - 1))
        grey = table[values]
    elif image.mode in ("I", "F") and value_range is not None:
        values = np.asarray(image)
        unsigned = _tiff_tag(image, _SAMPLE_FORMAT, _UNSIGNED)
        if image.mode == "I" and int(np.atleast_1d(unsigned)[0]) == _UNSIGNED:
            values = values.view(np.uint32)  # Pillow keeps them in signed integers
        grey = to_eight_bits(values, value_range)
    else:
        return None
    if _tiff_tag(image, _PHOTOMETRIC, 1) == 0:  # white is zero; Pillow inverts only 8-bit images
        grey = 255 - grey
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey[np.asarray(image) == transparent] = background
    return Image.fromarray(grey)


def to_eight_bits(values: NDArray[Any], value_range: ValueRange) -> NDArray[np.uint8]:
    """Map linearly: ``value_range[0]`` becomes 0, ``value_range[1]`` 255, what lies outside is clipped.

    Raises
    ------
    ImageError : ``unsupported``, for NaN or infinite values.
    """
    low, high = value_range
    flat = values.reshape(-1)
    grey = np.empty(flat.shape, np.uint8)
    for start in range(0, flat.size, _AT_ONCE):
        part = flat[start : start + _AT_ONCE].astype(np.float64)
        if not np.isfinite(part).all():
            raise ImageError("some values are NaN or infinite", code="unsupported")
        share = (part - low) / (high - low)
        grey[start : start + _AT_ONCE] = np.rint(np.clip(share, 0, 1) * 255)
    return grey.reshape(values.shape)


def _tiff_tag(image: Image.Image, tag: int, default: Any) -> Any:
    return image.tag_v2.get(tag, default) if isinstance(image, TiffImagePlugin.TiffImageFile) else default


def _is_deep_png(image: Image.Image) -> bool:
    """Pillow opens 16-bit colour as 8-bit; what it unpacks from is in the tile."""
    return image.format == "PNG" and any("16" in str(tile[3]) for tile in getattr(image, "tile", ()))
