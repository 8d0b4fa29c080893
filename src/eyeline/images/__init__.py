"""Images: from a folder, a table or a named data set to decoded pixels, groups and an honest split."""

from eyeline.images.cache import PixelCache, cache_folder, open_cache
from eyeline.images.decode import ImageSource, Pixels, decode_image
from eyeline.images.prepare import DecodeOptions, prepare_image
from eyeline.images.sources import GOOD_WORDS, read_images
from eyeline.images.split import make_folds, split_images
from eyeline.images.table import SPLITS, ImageTable

__all__ = [
    "GOOD_WORDS",
    "SPLITS",
    "DecodeOptions",
    "ImageSource",
    "ImageTable",
    "PixelCache",
    "Pixels",
    "cache_folder",
    "decode_image",
    "make_folds",
    "open_cache",
    "prepare_image",
    "read_images",
    "split_images",
]
