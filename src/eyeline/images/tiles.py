"""Large pictures in tiles, so that small defects reach the network at their own size."""

from __future__ import annotations

import math
from dataclasses import dataclass

from PIL import Image

from eyeline.errors import EyelineError, ImageError
from eyeline.images.decode import ImageSource, Pixels
from eyeline.images.prepare import DecodeOptions, open_upright, region_box, resize_picture

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; right and bottom are outside."""

SMALLEST_TILE, LARGEST_OVERLAP = 16, 0.9
MAX_TILES = 4096  # of one picture


@dataclass(frozen=True)
class Tiling:
    """How large pictures are cut.

    Raises
    ------
    EyelineError : a value outside its allowed range (``code="bad_option"``).
    """

    tile: int
    """Side of a tile in pixels of the upright picture, at least 16."""
    overlap: float = 0.25
    """Share of a tile's side that neighbours have in common at least, 0 to 0.9. A defect of up to ``overlap * tile``
    pixels is whole in at least one tile."""

    def __post_init__(self) -> None:
        tile, overlap = self.tile, self.overlap
        if isinstance(tile, bool) or not isinstance(tile, int) or not SMALLEST_TILE <= tile <= 65535:
            raise EyelineError(
                f"tile is {tile!r}; it must be a side of {SMALLEST_TILE} to 65535 pixels", code="bad_option"
            )
        is_number = isinstance(overlap, int | float) and not isinstance(overlap, bool)
        if not is_number or not 0 <= overlap <= LARGEST_OVERLAP:
            raise EyelineError(
                f"overlap is {overlap!r}; it must be a share from 0 to {LARGEST_OVERLAP}", code="bad_option"
            )


def tile_boxes(height: int, width: int, tile: int, overlap: float = 0.25) -> list[Box]:
    """Boxes of one size that cover every pixel, row by row; see `Tiling`.

    They are spread evenly: the first box lies at the one edge of the picture and the last at the other, so there
    are no narrow remainders and nothing is padded. Where the picture is smaller than a tile, the box is as high or
    wide as the picture.

    Raises
    ------
    EyelineError : ``bad_option``.
    ImageError : ``too_large``, for more than 4,096 tiles.
    """
    tiling = Tiling(tile, overlap)
    rows, columns = _starts(height, tiling), _starts(width, tiling)
    if len(rows) * len(columns) > MAX_TILES:
        raise ImageError(
            f"{width} x {height} pixels make {len(rows) * len(columns):,} tiles, more than the limit of {MAX_TILES:,}",
            code="too_large",
            hint="take larger tiles or less overlap",
        )
    side_y, side_x = min(tile, height), min(tile, width)
    return [(left, top, left + side_x, top + side_y) for top in rows for left in columns]


def _starts(length: int, tiling: Tiling) -> list[int]:
    room = length - tiling.tile
    if room <= 0:
        return [0]
    step = tiling.tile - math.ceil(tiling.overlap * tiling.tile)  # at least one pixel
    steps = math.ceil(room / step)
    return [round(i * room / steps) for i in range(steps + 1)]


@dataclass(frozen=True, eq=False)
class Tiles:
    """A decoded picture and where to cut it. A tile is cut and resized only when it is asked for."""

    picture: Image.Image
    options: DecodeOptions
    boxes: tuple[Box, ...]
    """Where the tiles lie in the upright picture."""

    def __len__(self) -> int:
        return len(self.boxes)

    def cut(self, index: int) -> Pixels:
        """Tile `index` as the network's input, uint8 ``(H, W, C)``."""
        return resize_picture(self.picture.crop(self.boxes[index]), self.options)


def open_tiles(source: ImageSource, options: DecodeOptions, tiling: Tiling) -> Tiles:
    """Decode one image and lay tiles over its region.

    Each tile is resized to the network's input as a whole picture would be. One tile that holds all of the region
    is what `prepare_image` gives.

    Raises
    ------
    ImageError : see `decode_image`; ``too_large`` for more than 4,096 tiles.
    """
    picture = open_upright(source, options)
    left, top, right, bottom = region_box(picture.width, picture.height, options)
    boxes = tile_boxes(bottom - top, right - left, tiling.tile, tiling.overlap)
    placed = tuple((x0 + left, y0 + top, x1 + left, y1 + top) for x0, y0, x1, y1 in boxes)
    return Tiles(picture, options, placed)
