"""Rows 4 to 10, 12, 14: sound files of every kind, and what their pixels must be."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from corpus.builders import (
    FINE,
    HEIGHT,
    STORED,
    WIDTH,
    as_rgb,
    drop_segment,
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


def sound_cases() -> Iterator[Case]:
    for row in (_kinds_of_jpeg, _orientation, _cmyk, _modes, _deep, _colour, _many_frames, _shapes, _flat):
        yield from row()


def _kinds_of_jpeg() -> Iterator[Case]:
    data = valid("JPEG")
    frame = find_frame(data)
    progressive = encode(picture(), "JPEG", **FINE, progressive=True)
    yield Case(4, "progressive.jpg", progressive, None, picture(), 8)
    yield Case(
        4, "restarts.jpg", encode(picture(), "JPEG", **FINE, restart_marker_blocks=2), None, picture(), 8
    )
    second = Image.fromarray(picture()[::-1].copy())
    mpo = encode(picture(), "MPO", save_all=True, append_images=[second], **FINE)
    yield Case(4, "two-pictures.mpo.jpg", mpo, None, picture(), 8)
    app0 = data.index(b"\xff\xe0")
    thumb = b"JFIF\0\1\2\0\0\1\0\1\2\2" + bytes(12)  # a thumbnail of 2 x 2
    segment = b"\xff\xe0" + struct.pack(">H", len(thumb) + 2) + thumb
    plain = drop_segment(data, 0xE0)
    for name, oddity in {
        "thumbnail": data[:app0] + segment + plain[app0:],
        "no-jfif": plain,
        "fill-bytes": data[:app0] + b"\xff" * 5 + data[app0:],
        "comment": data[:app0] + b"\xff\xfe\0\6\xff\xd9\xff\xda" + data[app0:],
        "late-jfif": plain[:app0] + b"\xff\xfe\0\4ok" + segment + plain[app0:],
    }.items():
        yield Case(4, f"jfif-{name}.jpg", oddity, None, picture(), 8)
    motion = data
    while b"\xff\xc4" in motion[: motion.index(b"\xff\xda")]:
        motion = drop_segment(motion, 0xC4)  # frames of Motion JPEG rely on the usual Huffman tables
    yield Case(4, "motion.jpg", motion, None, picture(), 8)
    for marker, name in (
        (0xC3, "lossless"),
        (0xC9, "arithmetic"),
        (0xCA, "arithmetic-progressive"),
        (0xC5, "hierarchical"),
    ):
        yield Case(4, f"{name}.jpg", patch(data, frame + 1, bytes([marker])), "unsupported")
    yield Case(4, "12-bit.jpg", patch(data, frame + 4, b"\x0c"), "unsupported")
    scan = progressive.index(b"\xff\xda")
    yield Case(
        4, "endless-scans.jpg", progressive[:-2] + progressive[scan:-2] * 200 + b"\xff\xd9", "unsupported"
    )


def _orientation() -> Iterator[Case]:
    options: dict[str, dict[str, Any]] = {
        "JPEG": FINE,
        "PNG": {},
        "WEBP": {"lossless": True},
        "TIFF": {},
    }
    for orientation in (*range(1, 9), 0, 9, 65535):
        stored = np.ascontiguousarray(STORED.get(orientation, STORED[1])(picture()))
        exif = Image.Exif()
        exif[0x0112] = orientation
        for name, extra in options.items():
            data = encode(stored, name, exif=exif, **extra)
            yield Case(
                5,
                f"orientation-{orientation}.{name.lower()}",
                data,
                None,
                picture(),
                8 if name == "JPEG" else 0,
            )
        if orientation in STORED:
            packed = encode(stored, "TIFF", exif=exif, compression="tiff_lzw")
            yield Case(5, f"orientation-{orientation}-lzw.tiff", packed, None, picture())
    for name in ("JPEG", "PNG", "WEBP"):
        data = encode(
            picture(), name, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xee" * 30, **options[name]
        )
        yield Case(5, f"broken-exif.{name.lower()}", data, None, picture(), 8 if name == "JPEG" else 0)

    lines = b"".join(b"\0" + line.tobytes() for line in picture())
    garbage = (b"tEXt", b"Raw profile type exif\0\nexif\n  9\nno hex at all")
    yield Case(5, "broken-raw-exif.png", png((WIDTH, HEIGHT, 8, 2), lines, garbage), None, picture())


def _cmyk() -> Iterator[Case]:
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    stored = encode(cyan, "JPEG", quality=100)
    yield Case(6, "cyan-adobe.jpg", stored, None, np.full((16, 16, 3), (0, 255, 255), np.uint8), 3)
    half = Image.new("CMYK", (16, 16), (0, 100, 200, 50))
    # (255 - ink) * (255 - black) / 255
    expected = np.full((16, 16, 3), (205, 125, 44), np.uint8)
    adobe = encode(half, "JPEG", quality=100)
    yield Case(6, "inks-adobe.jpg", adobe, None, expected, 3)
    # Without Adobe's marker most programs, Pillow among them, take the inks for inverted all the same.
    yield Case(6, "inks-plain.jpg", drop_segment(adobe, 0xEE), None, expected, 3)
    # Adobe's transform 2: the first three components are YCbCr of the (inverted) inks.
    at = adobe.index(b"Adobe") + 11
    y, cb, cr, k = 255.0, 155.0, 55.0, 205.0
    inks = (y + 1.402 * (cr - 128), y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128), y + 1.772 * (cb - 128))
    # libjpeg turns YCCK into CMYK as 255 - RGB, and the file's values are inverted inks
    golden = [(255 - min(max(ink, 0), 255)) * k / 255 for ink in inks]
    yield Case(
        6, "ycck.jpg", patch(adobe, at, b"\x02"), None, np.full((16, 16, 3), np.rint(golden), np.uint8), 4
    )


def _modes() -> Iterator[Case]:
    rgb, luma = picture(), grey(picture())
    alpha = np.zeros((HEIGHT, WIDTH), np.uint8)
    alpha[:, WIDTH // 2 :] = 255
    laid = np.where(alpha[:, :, None] == 255, rgb, 0).astype(np.uint8)
    yield Case(7, "grey.png", encode(luma, "PNG"), None, as_rgb(luma))
    bits = luma > 128
    yield Case(7, "one-bit.png", encode(Image.fromarray(bits), "PNG"), None, as_rgb(bits * 255))
    yield Case(7, "one-bit.bmp", encode(Image.fromarray(bits), "BMP"), None, as_rgb(bits * 255))
    yield Case(
        7,
        "one-bit.tiff",
        encode(Image.fromarray(bits), "TIFF", compression="group4"),
        None,
        as_rgb(bits * 255),
    )
    grey_alpha = Image.merge("LA", [Image.fromarray(luma), Image.fromarray(alpha)])
    yield Case(7, "grey-alpha.png", encode(grey_alpha, "PNG"), None, as_rgb(np.where(alpha == 255, luma, 0)))
    rgba = Image.fromarray(np.dstack([rgb, alpha]))
    for name in ("PNG", "TIFF"):
        yield Case(7, f"transparent.{name.lower()}", encode(rgba, name), None, laid)
    yield Case(7, "transparent.webp", encode(rgba, "WEBP", lossless=True, exact=True), None, laid)
    half = np.full((HEIGHT, WIDTH), 128, np.uint8)
    faint = np.rint(rgb.astype(np.float64) * 128 / 255).astype(np.uint8)
    yield Case(
        7, "half-transparent.png", encode(Image.fromarray(np.dstack([rgb, half])), "PNG"), None, faint, 1
    )
    palette = Image.fromarray(rgb).quantize(64)
    expanded = np.array(palette.convert("RGB"))
    for name in ("PNG", "BMP", "TIFF"):
        yield Case(7, f"palette.{name.lower()}", encode(palette, name), None, expanded)
    index = np.array(palette)
    clear = expanded.copy()
    clear[index == index[0, 0]] = 0
    yield Case(
        7, "palette-transparent.png", encode(palette, "PNG", transparency=int(index[0, 0])), None, clear
    )
    key = tuple(int(v) for v in rgb[3, 5])
    keyed = rgb.copy()
    keyed[(rgb == rgb[3, 5]).all(axis=2)] = 0
    yield Case(7, "colour-key.png", encode(rgb, "PNG", transparency=key), None, keyed)
    pa = tiff(
        "<",
        {
            256: ("I", [2]),
            257: ("I", [1]),
            258: ("H", [8, 8]),
            262: ("H", [3]),
            277: ("H", [2]),
            278: ("I", [1]),
            338: ("H", [2]),
            320: ("H", [v * 257 for v in (10, 20, *[0] * 254)] * 3),
        },
        bytes([0, 255, 1, 0]),
    )
    yield Case(7, "palette-alpha.tiff", pa, None, np.array([[[10] * 3, [0] * 3]], np.uint8))
    yield Case(7, "lab.tiff", encode(Image.new("LAB", (4, 4)), "TIFF"), "unsupported")


def _deep() -> Iterator[Case]:
    ramp = (np.arange(HEIGHT * WIDTH, dtype=np.uint32) * 65535 // (HEIGHT * WIDTH - 1)).reshape(HEIGHT, WIDTH)
    ramp16 = ramp.astype(np.uint16)
    scaled = as_rgb(np.rint(ramp / 257))
    yield Case(8, "16-bit.png", encode(Image.fromarray(ramp16), "PNG"), None, scaled)
    yield Case(
        8, "16-bit-little.tiff", grey_tiff("<", ramp16, 16, ramp16.astype("<u2").tobytes()), None, scaled
    )
    yield Case(8, "16-bit-big.tiff", grey_tiff(">", ramp16, 16, ramp16.astype(">u2").tobytes()), None, scaled)
    yield Case(
        8, "16-bit-lzw.tiff", encode(Image.fromarray(ramp16), "TIFF", compression="tiff_lzw"), None, scaled
    )
    yield Case(
        8,
        "16-bit-white-is-zero.tiff",
        grey_tiff("<", ramp16, 16, ramp16.tobytes(), photometric=0),
        None,
        255 - scaled,
    )
    turned = Image.fromarray(np.ascontiguousarray(np.rot90(ramp16)))
    exif = Image.Exif()
    exif[0x0112] = 6
    yield Case(8, "16-bit-turned.png", encode(turned, "PNG", exif=exif), None, scaled)
    yield Case(8, "16-bit-turned.tiff", encode(turned, "TIFF", exif=exif), None, scaled)
    twelve = ramp16 >> 4  # a 12-bit camera in a 16-bit file: the declared range is 65535
    yield Case(8, "12-in-16.png", encode(Image.fromarray(twelve), "PNG"), None, as_rgb(np.rint(twelve / 257)))
    first, second = twelve.reshape(-1, 2).T
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=1).astype(np.uint8)
    yield Case(
        8,
        "12-bit.tiff",
        grey_tiff("<", twelve, 12, packed.tobytes()),
        None,
        as_rgb(np.rint(twelve * (255 / 4095))),
    )
    key = int(ramp16[3, 5])
    keyed = scaled.copy()
    keyed[ramp16 == key] = 0
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in ramp16)
    yield Case(
        8,
        "16-bit-key.png",
        png((WIDTH, HEIGHT, 16, 0), lines, (b"tRNS", struct.pack(">H", key))),
        None,
        keyed,
    )
    colour = (picture().astype(np.uint16) << 8) + 77
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in colour)
    yield Case(8, "16-bit-colour.png", png((WIDTH, HEIGHT, 16, 2), lines), None, picture(), 1)
    yield Case(
        8, "32-bit-integer.tiff", encode(Image.fromarray(ramp.astype(np.int32)), "TIFF"), "unsupported"
    )
    nan = np.where(ramp > 100, ramp, np.nan).astype(np.float32)
    yield Case(8, "float-nan.tiff", encode(Image.fromarray(nan), "TIFF"), "unsupported")
    yield Case(8, "float.tiff", encode(Image.fromarray(ramp.astype(np.float32)), "TIFF"), "unsupported")
    for bits in (8, 16):
        raw = ramp16.astype(f"u{bits // 8}").tobytes()
        yield Case(
            8, f"signed-{bits}.tiff", grey_tiff("<", ramp16, bits, raw, sample_format=2), "unsupported"
        )


def ranged_cases() -> Iterator[Case]:
    """Row 8 under a declared range."""
    ramp = (np.arange(HEIGHT * WIDTH, dtype=np.uint32) * 65535 // (HEIGHT * WIDTH - 1)).reshape(HEIGHT, WIDTH)
    full, scaled = (0.0, 65535.0), as_rgb(np.rint(ramp / 257))
    floats, integers = ramp.astype(np.float32), ramp.astype(np.int32)
    yield Case(8, "float.tiff", encode(Image.fromarray(floats), "TIFF"), None, scaled, range=full)
    yield Case(8, "32-bit.tiff", encode(Image.fromarray(integers), "TIFF"), None, scaled, range=full)
    for value in (np.nan, np.inf, -np.inf):
        spoiled = floats.copy()
        spoiled[3, 5] = value
        yield Case(8, f"{value}.tiff", encode(Image.fromarray(spoiled), "TIFF"), "unsupported", range=full)
    share = floats / np.float32(65535)
    yield Case(8, "share.tiff", encode(Image.fromarray(share), "TIFF"), None, scaled, 1, range=(0.0, 1.0))
    signed = (ramp.astype(np.int32) - 32768).astype(np.int16)
    for order, name in (("<", "little"), (">", "big")):
        strip = signed.astype(f"{order}i2").tobytes()
        data = grey_tiff(order, signed, 16, strip, sample_format=2)
        yield Case(8, f"signed-{name}.tiff", data, None, scaled, range=(-32768.0, 32767.0))
    large = (ramp.astype(np.uint64) * 65537).astype(np.uint32)
    data = grey_tiff("<", large, 32, large.astype("<u4").tobytes())
    yield Case(8, "unsigned-32.tiff", data, None, scaled, range=(0.0, 2.0**32 - 1))
    ramp16 = ramp.astype(np.uint16)
    twelve = ramp16 >> 4
    bright = as_rgb(np.rint(twelve * (255 / 4095)))
    yield Case(8, "12-in-16.png", encode(Image.fromarray(twelve), "PNG"), None, bright, range=(0.0, 4095.0))
    clipped = as_rgb(np.rint(np.clip((ramp16 - 10_000.0) / 20_000, 0, 1) * 255))
    window = (10_000.0, 30_000.0)
    yield Case(8, "window.png", encode(Image.fromarray(ramp16), "PNG"), None, clipped, range=window)
    strip = ramp16.astype(">u2").tobytes()
    yield Case(8, "window.tiff", grey_tiff(">", ramp16, 16, strip), None, clipped, range=window)
    inverse = grey_tiff("<", ramp16, 16, ramp16.tobytes(), photometric=0)
    yield Case(8, "window-white-is-zero.tiff", inverse, None, 255 - clipped, range=window)
    turned = Image.fromarray(np.ascontiguousarray(np.rot90(floats)))
    exif = Image.Exif()
    exif[0x0112] = 6
    yield Case(8, "float-turned.tiff", encode(turned, "TIFF", exif=exif), None, scaled, range=full)
    colour = (picture().astype(np.uint16) << 8) + 77
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in colour)
    deep = png((WIDTH, HEIGHT, 16, 2), lines)
    yield Case(8, "16-bit-colour.png", deep, "unsupported", range=full)
    eight = grey_tiff("<", ramp16, 8, (ramp16 >> 8).astype(np.uint8).tobytes(), sample_format=2)
    yield Case(8, "signed-8.tiff", eight, "unsupported", range=(-128.0, 127.0))
    yield Case(8, "8-bit.png", encode(picture(), "PNG"), None, picture(), range=(0.0, 4095.0))
    yield Case(8, "8-bit.jpg", encode(picture(), "JPEG", **FINE), None, picture(), 8, range=(0.0, 4095.0))


def _colour() -> Iterator[Case]:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    yield Case(9, "profile.png", encode(picture(), "PNG", icc_profile=profile), None, picture())
    yield Case(9, "profile.jpg", encode(picture(), "JPEG", **FINE, icc_profile=profile), None, picture(), 8)
    lines = b"".join(b"\0" + line.tobytes() for line in picture())
    yield Case(
        9,
        "gamma.png",
        png((WIDTH, HEIGHT, 8, 2), lines, (b"gAMA", struct.pack(">I", 100_000))),
        None,
        picture(),
    )


def _many_frames() -> Iterator[Case]:
    first, second = Image.fromarray(picture()), Image.fromarray(picture()[::-1].copy())
    for name, extra in (("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True})):
        data = encode(first, name, save_all=True, append_images=[second], **extra)
        yield Case(10, f"two-frames.{name.lower()}", data, None, picture())
    luma = grey(picture())
    yield Case(10, "endless.tiff", grey_tiff("<", luma, 8, luma.tobytes(), next_ifd=8), None, as_rgb(luma))
    yield Case(10, "animated.gif", encode(first, "GIF", save_all=True, append_images=[second]), "unsupported")


def _shapes() -> Iterator[Case]:
    for width, height in ((1, 1), (1, 20_000), (20_000, 1), (2, 2000), (3, 2)):
        pixels = picture(width, height)
        yield Case(12, f"{width}x{height}.png", encode(pixels, "PNG"), None, pixels)


def _flat() -> Iterator[Case]:
    for level in (0, 255):
        pixels = np.full((HEIGHT, WIDTH, 3), level, np.uint8)
        yield Case(14, f"flat-{level}.png", encode(pixels, "PNG"), None, pixels)
