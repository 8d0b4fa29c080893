"""Images: from a folder, a table or a named data set to decoded pixels, groups and an honest split."""

from eyeline.images.cache import PixelCache, cache_folder, open_cache
from eyeline.images.decode import ImageSource, Pixels, decode_image
from eyeline.images.jpeg import decoder_of
from eyeline.images.opening import read_regular
from eyeline.images.prepare import (
    DecodeOptions,
    crop_region,
    decode_region,
    open_upright,
    prepare_image,
    resize_picture,
)
from eyeline.images.sources import GOOD_WORDS, read_images
from eyeline.images.split import make_folds, split_images
from eyeline.images.synthetic import synthetic_images, write_synthetic
from eyeline.images.table import SPLITS, ImageTable
from eyeline.images.tiles import Box, Tiles, Tiling, open_tiles, tile_boxes

__all__ = [
    "GOOD_WORDS",
    "SPLITS",
    "Box",
    "DecodeOptions",
    "ImageSource",
    "ImageTable",
    "PixelCache",
    "Pixels",
    "Tiles",
    "Tiling",
    "cache_folder",
    "crop_region",
    "decode_image",
    "decode_region",
    "decoder_of",
    "make_folds",
    "open_cache",
    "open_tiles",
    "open_upright",
    "prepare_image",
    "read_images",
    "read_regular",
    "resize_picture",
    "split_images",
    "synthetic_images",
    "tile_boxes",
    "write_synthetic",
]
