"""From a file to the network's input. Training, prediction, server and archive all come through here."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from PIL import Image

from eyeline.errors import EyelineError, nearest
from eyeline.images.decode import MAX_BYTES, MAX_PIXELS, ImageSource, Pixels, open_picture, pixels_of

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
    """``squash`` fills the input and ignores the aspect ratio; ``letterbox`` keeps it and adds bars."""
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
        if self.resize not in ("squash", "letterbox"):
            raise _bad_option("resize", self.resize, "squash or letterbox")
        if not _is_int(self.background, 0, 255):
            raise _bad_option("background", self.background, "a number from 0 to 255")
        if not _is_int(self.max_bytes, 1, 2**40):
            raise _bad_option("max_bytes", self.max_bytes, "a positive number")
        if not _is_int(self.max_pixels, 1, _PILLOW_LIMIT):
            raise _bad_option("max_pixels", self.max_pixels, f"a number from 1 to {_PILLOW_LIMIT:,}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {**asdict(self), "image_size": list(self.image_size)}

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
        size = values["image_size"]
        return cls(**{**values, "image_size": tuple(size) if isinstance(size, list) else size})


def prepare_image(source: ImageSource, options: DecodeOptions) -> Pixels:
    """Decode and resize one image: uint8 ``(H, W, C)`` of `options.image_size` and `options.channels`.

    Bilinear interpolation with the support widened for shrinking, so that it is antialiased (Pillow's
    ``BILINEAR`` with ``reducing_gap=None``), and no scaled JPEG decoding, which would blur small defects.

    Raises
    ------
    ImageError : see `decode_image`.
    """
    picture = open_picture(
        source,
        channels=options.channels,
        background=options.background,
        max_bytes=options.max_bytes,
        max_pixels=options.max_pixels,
    )
    height, width = options.image_size
    if options.resize == "squash":
        return pixels_of(_resize(picture, width, height))
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


def _resize(picture: Image.Image, width: int, height: int) -> Image.Image:
    if picture.size == (width, height):
        return picture
    return picture.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=None)


def _is_int(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _bad_option(name: str, value: Any, allowed: str) -> EyelineError:
    return EyelineError(f"{name} is {value!r}; it must be {allowed}", code="bad_option")
