"""From a file to the network's input. Training, prediction, server and archive all come through here.

The order is fixed: decode, turn upright, cut out the region, resize.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from PIL import Image

from eyeline.errors import EyelineError, nearest
from eyeline.images.decode import MAX_BYTES, MAX_PIXELS, ImageSource, Pixels, open_picture, pixels_of

RESIZES = ("squash", "letterbox", "fit")
_PILLOW_LIMIT = 178_956_970  # above this many pixels Pillow itself refuses


@dataclass(frozen=True, kw_only=True)
class DecodeOptions:
    """What turns a file into the network's input; it travels inside the artifact.

    Raises
    ------
    EyelineError : a value outside its allowed range (``code="bad_option"``).
    """

    image_size: tuple[int, int]
    """Height and width of the network's input, in pixels."""
    channels: int = 3
    """1 (grey) or 3 (RGB)."""
    resize: str = "squash"
    """``squash`` fills the input and ignores the aspect ratio; ``letterbox`` keeps it and adds bars; ``fit`` keeps it
    and fills the input, so that what is left over on both sides of the longer direction is not seen."""
    region: tuple[float, float, float, float] | None = None
    """What the network sees of the upright picture: left, top, right, bottom as shares 0..1 of its width and height,
    so that it holds for pictures of any size. None is everything."""
    range: tuple[float, float] | None = None
    """The sample values (low, high) that become 0 and 255 in 16-bit, 32-bit and floating-point files. None is the
    full range of 16 bits, and refuses the others."""
    background: int = 0
    """Grey level 0..255 of letterbox bars and under transparent pixels."""
    max_bytes: int = MAX_BYTES
    """Larger files are refused."""
    max_pixels: int = MAX_PIXELS
    """Larger pictures are refused."""

    def __post_init__(self) -> None:
        size = self.image_size
        if not isinstance(size, tuple) or len(size) != 2 or not all(_is_int(side, 1, 16384) for side in size):
            raise _bad_option("image_size", size, "two numbers from 1 to 16384, height and width")
        if not _is_int(self.channels, 1, 3) or self.channels == 2:
            raise _bad_option("channels", self.channels, "1 or 3")
        if self.resize not in RESIZES:
            raise _bad_option("resize", self.resize, "squash, letterbox or fit")
        if self.region is not None:
            region = _numbers("region", self.region, 4, "left, top, right and bottom as shares from 0 to 1")
            left, top, right, bottom = region
            if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
                raise _bad_option(
                    "region", region, "left, top, right, bottom in 0..1, left < right, top < bottom"
                )
            object.__setattr__(self, "region", region)
        if self.range is not None:
            low, high = limits = _numbers("range", self.range, 2, "two numbers, low and high")
            if not low < high:
                raise _bad_option("range", limits, "two numbers, the lower one first")
            object.__setattr__(self, "range", limits)
        if not _is_int(self.background, 0, 255):
            raise _bad_option("background", self.background, "a number from 0 to 255")
        if not _is_int(self.max_bytes, 1, 2**40):
            raise _bad_option("max_bytes", self.max_bytes, "a positive number")
        if not _is_int(self.max_pixels, 1, _PILLOW_LIMIT):
            raise _bad_option("max_pixels", self.max_pixels, f"a number from 1 to {_PILLOW_LIMIT:,}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> DecodeOptions:
        """The inverse of `to_dict`; every value is checked, unknown names are refused."""
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                raise EyelineError(
                    f"unknown decode option {name!r}", code="bad_option", hint=nearest(name, known)
                )
        if "image_size" not in values:
            raise EyelineError("decode options without image_size", code="bad_option")
        plain: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return cls(**plain)


def prepare_image(source: ImageSource, options: DecodeOptions) -> Pixels:
    """Decode and resize one image: uint8 ``(H, W, C)`` of `options.image_size` and `options.channels`.

    Bilinear interpolation with the support widened for shrinking, so that it is antialiased (Pillow's
    ``BILINEAR`` with ``reducing_gap=None``), and no scaled JPEG decoding, which would blur small defects.

    Raises
    ------
    ImageError : see `decode_image`.
    """
    return resize_picture(_region(source, options), options)


def decode_region(source: ImageSource, options: DecodeOptions) -> Pixels:
    """What `prepare_image` resizes: the region of one image at its own size, uint8 ``(H, W, C)``."""
    return pixels_of(_region(source, options))


def _region(source: ImageSource, options: DecodeOptions) -> Image.Image:
    return crop_region(open_upright(source, options), options)


def open_upright(source: ImageSource, options: DecodeOptions) -> Image.Image:
    """Decode one image at its own size: a Pillow image of mode ``L`` or ``RGB``, before the region is cut out."""
    return open_picture(
        source,
        channels=options.channels,
        background=options.background,
        range=options.range,
        max_bytes=options.max_bytes,
        max_pixels=options.max_pixels,
    )


def crop_region(picture: Image.Image, options: DecodeOptions) -> Image.Image:
    """The region of an upright picture; the picture itself when that is everything."""
    if options.region is None:
        return picture
    return picture.crop(region_box(picture.width, picture.height, options))


def region_box(width: int, height: int, options: DecodeOptions) -> tuple[int, int, int, int]:
    """The region in whole pixels of an upright picture: left, top, right, bottom; at least one pixel."""
    left, top, right, bottom = options.region or (0.0, 0.0, 1.0, 1.0)
    x, y = min(round(left * width), width - 1), min(round(top * height), height - 1)
    return x, y, max(x + 1, round(right * width)), max(y + 1, round(bottom * height))


def resize_picture(picture: Image.Image, options: DecodeOptions) -> Pixels:
    """The network's input from the region of a picture: uint8 ``(H, W, C)``."""
    height, width = options.image_size
    if options.resize == "squash":
        return pixels_of(_resize(picture, width, height))
    if options.resize == "fit":
        scale = max(width / picture.width, height / picture.height)
        # The part that is seen, in pixels of the picture; cut out while resizing, since a picture of 1 x 20,000
        # pixels would be huge when it is enlarged first.
        seen = min(width / scale, picture.width), min(height / scale, picture.height)
        left, top = (picture.width - seen[0]) / 2, (picture.height - seen[1]) / 2
        return pixels_of(_resize(picture, width, height, (left, top, left + seen[0], top + seen[1])))
    scale = min(width / picture.width, height / picture.height)
    inner = _resize(
        picture,
        min(width, max(1, round(picture.width * scale))),
        min(height, max(1, round(picture.height * scale))),
    )
    grey = options.background
    canvas = Image.new(picture.mode, (width, height), grey if options.channels == 1 else (grey, grey, grey))
    canvas.paste(inner, ((width - inner.width) // 2, (height - inner.height) // 2))
    return pixels_of(canvas)


def _resize(
    picture: Image.Image, width: int, height: int, box: tuple[float, float, float, float] | None = None
) -> Image.Image:
    whole = (0, 0, picture.width, picture.height)
    if picture.size == (width, height) and box in (None, whole):
        return picture
    return picture.resize((width, height), Image.Resampling.BILINEAR, box or whole, reducing_gap=None)


def _is_int(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _numbers(name: str, value: Any, count: int, allowed: str) -> tuple[Any, ...]:
    numbers = value if isinstance(value, tuple) and len(value) == count else ()
    if not numbers or not all(
        isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number)
        for number in numbers
    ):
        raise _bad_option(name, value, allowed)
    return tuple(float(number) for number in numbers)


def _bad_option(name: str, value: Any, allowed: str) -> EyelineError:
    return EyelineError(f"{name} is {value!r}; it must be {allowed}", code="bad_option")
