"""One file to pixels: the only place in Eyeline that decodes a picture.

What is done, for every caller alike:

- The format comes from the first bytes (JPEG, PNG, TIFF, BMP, WebP), never from the name.
- Limits on bytes and pixels are checked before anything is decompressed.
- The EXIF orientation is applied exactly once; an invalid value counts as 1 (upright).
- Of an animation or a file of many pages, the first picture is taken.
- 16-bit grey is scaled by its declared range, never clipped: by `range` where the caller gives one, else 65535
  becomes 255; 16-bit colour keeps its high byte. 32-bit integers, signed integers and floats declare no range
  themselves and are refused unless the caller gives one.
- Transparent pixels are laid over `background`; palettes are expanded; CMYK and YCCK become RGB (a CMYK JPEG
  holds inverted inks, as Adobe writes them, with or without Adobe's marker).
- Grey is ITU-R 601 luma (Pillow's ``L``). ICC profiles and gAMA are ignored: values are taken as stored.
- A damaged file is refused, never filled up with grey, and in a JPEG also what libjpeg only warns of. Only a
  JPEG whose scan is whole may lack its end marker.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# The plugins are imported here once, so that no thread meets Pillow half registered.
from PIL import (
    BmpImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from eyeline.errors import EyelineError, ImageError
from eyeline.images.depth import ValueRange, check_depth, deep_grey, to_eight_bits
from eyeline.images.formats import describe, is_cut_short, jpeg_frame, sniff, starts_like_an_image
from eyeline.images.jpeg import decode_scan
from eyeline.images.opening import read_regular

Pixels = NDArray[np.uint8]
ImageSource = str | Path | bytes | NDArray[Any]

MAX_BYTES = 64 * 2**20
MAX_PIXELS = 50_000_000

_PLUGINS = (BmpImagePlugin, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin)
_MAX_SCANS = 500  # a progressive JPEG with more is an attack on our time, not a picture
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode_image(
    source: ImageSource,
    *,
    channels: int = 3,
    background: int = 0,
    range: ValueRange | None = None,
    max_bytes: int = MAX_BYTES,
    max_pixels: int = MAX_PIXELS,
) -> Pixels:
    """Decode one image at its own size: uint8 ``(H, W, channels)``.

    Parameters
    ----------
    source : a path, the bytes of a file, or pixels ``(H, W)``, ``(H, W, 1)`` or ``(H, W, 3)``: uint8, or with a
        `range` any integers or floats.
    channels : 1 for grey, 3 for RGB.
    background : grey level 0..255 under transparent pixels.
    range : the values (low, high) that become 0 and 255, for samples of more than 8 bits; 8-bit samples are
        taken as they are.

    Raises
    ------
    ImageError : with code ``missing``, ``empty``, ``truncated``, ``unsupported``, ``too_large`` or
        ``unreadable``.
    """
    picture = open_picture(
        source,
        channels=channels,
        background=background,
        range=range,
        max_bytes=max_bytes,
        max_pixels=max_pixels,
    )
    return pixels_of(picture)


def open_picture(
    source: ImageSource,
    *,
    channels: int,
    background: int,
    range: ValueRange | None,
    max_bytes: int,
    max_pixels: int,
) -> Image.Image:
    """As `decode_image`, but a Pillow image of mode ``L`` or ``RGB``, upright and fully loaded."""
    if channels not in (1, 3):
        raise EyelineError(f"channels is {channels!r}; 1 (grey) and 3 (RGB) are possible", code="bad_option")
    path = source if isinstance(source, str | Path) else None
    try:
        if isinstance(source, np.ndarray):
            return _from_array(source, channels, range, max_pixels)
        data = bytes(source) if path is None else read_regular(path, max_bytes)  # type: ignore[arg-type]
        _check_bytes(data, max_bytes)
        return _from_bytes(data, channels, background, range, max_pixels)
    except ImageError as error:
        if error.path is not None or path is None:
            raise
        raise ImageError(error.message, code=error.code, path=path, hint=error.hint) from error.__cause__


def pixels_of(picture: Image.Image) -> Pixels:
    """The pixels of an ``L`` or ``RGB`` image, uint8 ``(H, W, C)``."""
    array: Pixels = np.array(picture, dtype=np.uint8)
    return array[:, :, None] if array.ndim == 2 else array


def _check_bytes(data: bytes, max_bytes: int) -> None:
    if len(data) > max_bytes:
        raise ImageError(f"{len(data):,} bytes, more than the limit of {max_bytes:,}", code="too_large")
    if not data:
        raise ImageError("the file is empty", code="empty")


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width < 1 or height < 1:
        raise ImageError(f"has no pixels ({width} x {height})", code="empty")
    if width * height > max_pixels:
        raise ImageError(
            f"{width} x {height} pixels, more than the limit of {max_pixels:,}", code="too_large"
        )


def _from_array(array: NDArray[Any], channels: int, range: ValueRange | None, max_pixels: int) -> Image.Image:
    is_deep = range is not None and array.dtype.kind in "iuf"
    if (
        not (array.dtype == np.uint8 or is_deep)
        or array.ndim not in (2, 3)
        or (array.ndim == 3 and array.shape[2] not in (1, 3))
    ):
        shape = ", ".join(map(str, array.shape))
        raise ImageError(
            f"an array of {array.dtype} and shape ({shape}) is not an image",
            code="unsupported",
            hint="give uint8 of shape (H, W), (H, W, 1) or (H, W, 3); other numbers need a declared range",
        )
    _check_size(array.shape[1], array.shape[0], max_pixels)
    if range is not None and array.dtype != np.uint8:
        array = to_eight_bits(array, range)
    flat = array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array
    return Image.fromarray(np.ascontiguousarray(flat)).convert("L" if channels == 1 else "RGB")


def _from_bytes(
    data: bytes, channels: int, background: int, range: ValueRange | None, max_pixels: int
) -> Image.Image:
    format_name = sniff(data)
    if format_name is None:
        if starts_like_an_image(data):
            raise ImageError(f"the file ends after {len(data)} bytes", code="truncated")
        raise ImageError(f"{describe(data)}, not one of JPEG, PNG, TIFF, BMP, WebP", code="unsupported")
    if format_name == "JPEG":
        _check_jpeg(data)
    try:
        # Opening reads the header alone; the pixels are decompressed by load().
        image = Image.open(io.BytesIO(data), formats=[format_name])
        _check_size(image.width, image.height, max_pixels)
        check_depth(image, format_name, range)
        picture = decode_scan(image, data) if format_name == "JPEG" else _loaded(image)
        turn = _UPRIGHT.get(_orientation(image))
        picture = _eight_bit(picture, channels, background, range)
        return picture if turn is None else picture.transpose(turn)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(f"more pixels than the limit of {max_pixels:,}", code="too_large") from error
    except MemoryError as error:
        raise ImageError("does not fit into memory", code="too_large") from error
    except Exception as error:
        # A parser given hostile bytes raises whatever it likes: OSError, SyntaxError, struct.error ...
        if is_cut_short(format_name, data) or "truncated" in str(error).lower():
            raise ImageError(f"the {format_name} file is cut short", code="truncated") from error
        if "too large" in str(error).lower():  # a compressed text or profile chunk that would blow up
            raise ImageError(f"{format_name}: {error}", code="too_large") from error
        # Pillow's words for an unreadable header quote the address of a buffer.
        reason = "no readable header" if isinstance(error, UnidentifiedImageError) else str(error)
        raise ImageError(f"damaged {format_name} file: {reason}", code="unreadable") from error


def _check_jpeg(data: bytes) -> None:
    frame = jpeg_frame(data)
    if frame is not None and frame.refusal is not None:
        raise ImageError(f"a {frame.refusal} is not supported", code="unsupported")
    if data.count(b"\xff\xda") > _MAX_SCANS:
        raise ImageError(f"a JPEG of more than {_MAX_SCANS} scans is not supported", code="unsupported")


def _loaded(image: Image.Image) -> Image.Image:
    image.load()
    return image


def _eight_bit(image: Image.Image, channels: int, background: int, range: ValueRange | None) -> Image.Image:
    picture = deep_grey(image, background, range)
    if picture is not None:
        pass
    elif image.has_transparency_data:
        layer = image.convert("LA") if image.mode == "La" else image
        layer = layer.convert("RGBA")
        picture = Image.new("RGB", layer.size, (background, background, background))
        picture.paste(layer, mask=layer.getchannel("A"))
    elif image.mode in ("1", "L"):
        picture = image.convert("L")
    else:
        picture = image.convert("RGB")
    return picture.convert("L" if channels == 1 else "RGB")


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8. Pillow turns TIFF upright while loading and drops the tag, so TIFF answers 1."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # broken EXIF must not cost the picture
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1
