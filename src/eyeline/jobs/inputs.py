"""From a source to pixels on the network's doorstep: which size, how many channels, which weights."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from eyeline.errors import EyelineError, ImageError
from eyeline.images import DecodeOptions, ImageTable, decode_region
from eyeline.networks import NetworkInfo, find_weights

LOOKED_AT = 48  # images, to see sizes and colours
SMALLEST, LARGEST = 64, 320  # pixels a side that are chosen without being asked
SAME_ASPECT = 1.15


def choose_decoding(
    table: ImageTable,
    image_size: int | None = None,
    *,
    resize: str | None = None,
    region: Sequence[float] | None = None,
    range: Sequence[float] | None = None,
) -> DecodeOptions:
    """How files become the network's input; what is None is chosen by looking at some of them.

    The size is the images' own (their median longer side, of the region) between 64 and 320 pixels: thin defects
    vanish when a picture is shrunk, and larger pictures cost time. Pictures of about one square shape are squashed
    onto it, others keep their aspect with bars. Grey pictures stay grey: one channel.

    Raises
    ------
    EyelineError : ``bad_option``, or none of the images looked at can be read (``too_many_bad``).
    """
    wanted = DecodeOptions(
        image_size=(SMALLEST, SMALLEST),
        resize=resize or "letterbox",
        region=None if region is None else tuple(region),  # type: ignore[arg-type]
        range=None if range is None else tuple(range),  # type: ignore[arg-type]
    )
    sides, aspects, grey = [], [], True
    for row in np.unique(np.linspace(0, len(table) - 1, LOOKED_AT).astype(int)):
        try:
            image = decode_region(table.source(int(row)), wanted)
        except ImageError:
            continue  # reported when everything is decoded
        height, width, _ = image.shape
        sides.append(max(height, width))
        aspects.append(width / height)
        grey = grey and bool((image == image[:, :, :1]).all())
    if not sides:
        raise EyelineError("none of the images looked at can be read", code="too_many_bad", path=table.name)
    size = image_size or int(np.clip(np.median(sides), SMALLEST, LARGEST))
    square = min(aspects) >= 1 / SAME_ASPECT and max(aspects) <= SAME_ASPECT
    return replace(
        wanted,
        image_size=(size, size),
        channels=1 if grey else 3,
        resize=resize or ("squash" if square else "letterbox"),
    )


def choose_weights(info: NetworkInfo, weights: str | None) -> str | None:
    """What `create_network` is to load: None asks for published weights where a package has them."""
    if weights == "none":
        return None
    if weights is not None:
        return weights
    try:
        find_weights(info.name, "imagenet")
    except EyelineError:  # no package ships them, or it is not installed
        return None
    return "imagenet"


def display_names(paths: Sequence[str]) -> tuple[str, ...]:
    """Paths without the folders that all of them share: what travels in artifacts and pages."""
    if len(paths) < 2:
        return tuple(os.path.basename(path) for path in paths)
    try:
        common = os.path.commonpath(paths)
    except ValueError:  # absolute and relative ones mixed
        return tuple(paths)
    return tuple(os.path.relpath(path, common) for path in paths) if common else tuple(paths)


def sample_rows(table: ImageTable, rows: NDArray[np.int64], most: int, seed: int = 0) -> NDArray[np.int64]:
    """All of `rows`, or where they are more than `most`, so many of them drawn by chance, whole groups at a time."""
    if len(rows) <= most:
        return rows
    rng = np.random.default_rng(seed)
    if table.groups is None:
        return np.sort(rng.permutation(rows)[:most])
    unit = np.unique(np.asarray(table.groups)[rows], return_inverse=True)[1]
    order = rng.permutation(unit.max() + 1)
    sizes = np.bincount(unit)[order]
    chosen = order[: max(2, int(np.searchsorted(np.cumsum(sizes), most, side="right")))]
    return rows[np.isin(unit, chosen)]
