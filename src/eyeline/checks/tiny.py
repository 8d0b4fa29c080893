"""Defects that the resize loses, and masks that disagree with the labels. Needs masks."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eyeline.checks.findings import Finding
from eyeline.errors import ImageError
from eyeline.images import ImageTable, Pixels, decode_image

# Below three pixels an object is hardly more than the blur of the resize itself: antialiasing spreads a
# feature over two input pixels, and by Nyquist two samples are needed for its narrow side alone.
LOST_BELOW = 3.0
KEEP_AT, KEEP_SHARE = 4.0, 0.95  # the size to advise keeps this share of defects at this many pixels
_STEP = 32  # published networks shrink 32-fold, so sizes are multiples of it


@dataclass(frozen=True, eq=False)
class Components:
    """The connected parts (8-neighbourhood) of a mask, in the order in which they begin."""

    area: NDArray[np.float64]
    """Pixels of each, ``(K,)``."""
    covariance: NDArray[np.float64]
    """Second central moments ``(K, 2, 2)`` of the pixels' squares, in order (y, x): each pixel adds 1/12."""


def components(mask: NDArray[np.bool_]) -> Components:
    """Find the connected parts of `mask` ``(H, W)`` from its runs, row by row."""
    edge = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    y, start = np.nonzero(edge == 1)
    stop = np.nonzero(edge == -1)[1]
    # Along one line on which rows follow each other with a gap, the runs above that touch a run are a range.
    line = mask.shape[1] + 2
    first, last = y * line + start, y * line + stop
    low = np.searchsorted(last, first - line, side="left")
    high = np.searchsorted(first, last - line, side="right")
    touching = np.maximum(high - low, 0)
    below = np.repeat(np.arange(len(y)), touching)
    above = np.arange(len(below)) - np.repeat(np.cumsum(touching) - touching, touching) + low[below]
    part = _joined(len(y), below, above)

    n = (stop - start).astype(np.float64)
    count = int(part.max()) + 1 if len(part) else 0

    def total(values: NDArray[np.floating | np.integer]) -> NDArray[np.float64]:
        return np.bincount(part, weights=values, minlength=count).astype(np.float64)

    # About the means, so that nothing large cancels; a run of n pixels has a variance of (n^2 - 1) / 12 itself.
    middle = (start + stop - 1) / 2
    area = total(n)
    mean_y, mean_x = total(n * y) / area, total(n * middle) / area
    dy, dx = y - mean_y[part], middle - mean_x[part]
    covariance = np.empty((count, 2, 2))
    covariance[:, 0, 0] = total(n * dy**2) / area + 1 / 12
    covariance[:, 1, 1] = total(n * dx**2 + n * (n**2 - 1) / 12) / area + 1 / 12
    covariance[:, 0, 1] = covariance[:, 1, 0] = total(n * dy * dx) / area
    return Components(area, covariance)


def _joined(count: int, one: NDArray[np.intp], other: NDArray[np.intp]) -> NDArray[np.intp]:
    """Number the sets of 0..count-1 that the pairs (one, other) join, in the order of their first members."""
    root = np.arange(count)
    while True:
        least = np.minimum(root[one], root[other])
        before = root.copy()
        np.minimum.at(root, root[one], least)
        np.minimum.at(root, root[other], least)
        root = root[root]
        if np.array_equal(root, before):
            return np.unique(root, return_inverse=True)[1].reshape(-1)


def smaller_extents(parts: Components, scale: tuple[float, float]) -> NDArray[np.float64]:
    """Width of each part across its narrow side after scaling by (y, x), in pixels ``(K,)``.

    The minor axis of the ellipse with the same second moments: the diameter of a disc, and 1.15 times the
    width of a straight scratch.
    """
    factor = np.array(scale)
    moments = parts.covariance * factor[:, None] * factor[None, :]
    return np.asarray(4 * np.sqrt(np.maximum(np.linalg.eigvalsh(moments)[:, 0], 0)), dtype=np.float64)


def equivalent_diameters(parts: Components, scale: tuple[float, float]) -> NDArray[np.float64]:
    """Diameter of the disc of the same area, after scaling, in pixels ``(K,)``."""
    return np.asarray(np.sqrt(parts.area * (4 / math.pi * scale[0] * scale[1])), dtype=np.float64)


def tiny_defect_findings(
    table: ImageTable, image_size: tuple[int, int] | None = None, *, resize: str = "squash"
) -> list[Finding]:
    """Masks that cannot be read or disagree with the label, and defects too small for the network.

    Parameters
    ----------
    image_size : the planned input ``(H, W)`` of the network; None looks at the masks alone.
    resize : how pictures come to that size: ``squash``, ``letterbox`` or ``fit``.
    """
    rows = [row for row, mask in enumerate(table.masks or ()) if mask is not None]
    if not rows:
        return []
    bad: dict[int, str] = {}
    empty: list[int] = []
    unexpected: list[int] = []
    sizes: list[_Size] = []
    for row, mask in zip(rows, _read_masks(table, rows), strict=True):
        if isinstance(mask, ImageError):
            bad[row] = mask.code
        elif not mask.any():
            if table.is_defect[row]:
                empty.append(row)
        elif not table.is_defect[row]:
            unexpected.append(row)
        elif image_size is not None:
            sizes.append(_largest(row, mask, image_size, resize))
    return [
        *_unreadable_masks(bad, len(rows)),
        *_conflicts(empty, unexpected, len(table)),
        *(_lost(sizes, image_size) if image_size is not None else ()),
    ]


def _read_masks(table: ImageTable, rows: Sequence[int]) -> Iterator[NDArray[np.bool_] | ImageError]:
    def read(row: int) -> NDArray[np.bool_] | ImageError:
        try:
            return mask_of(decode_image(Path(str((table.masks or ())[row])), channels=1))
        except ImageError as error:
            return error

    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(rows), 8 * workers):  # a few at a time: masks may be large
            yield from pool.map(read, rows[start : start + 8 * workers])


def mask_of(pixels: Pixels) -> NDArray[np.bool_]:
    """Where a mask picture says defect. Few low values are class numbers; otherwise grey is cut in the middle,
    so that the ringing of a JPEG is no defect."""
    grey = pixels[:, :, 0]
    return np.asarray(grey > (0 if grey.max() < 32 else 127), dtype=np.bool_)


@dataclass(frozen=True)
class _Size:
    """The largest defect of an image in the network's input, in its pixels."""

    row: int
    extent: float
    diameter: float
    original: float
    """The smaller extent in the mask file's own pixels."""


def _largest(row: int, mask: NDArray[np.bool_], image_size: tuple[int, int], resize: str) -> _Size:
    scale = (image_size[0] / mask.shape[0], image_size[1] / mask.shape[1])
    if resize != "squash":
        factor = min(scale) if resize == "letterbox" else max(scale)
        scale = (factor, factor)
    parts = components(mask)
    extents = smaller_extents(parts, scale)
    best = int(extents.argmax())
    return _Size(
        row,
        float(extents[best]),
        float(equivalent_diameters(parts, scale)[best]),
        float(smaller_extents(parts, (1.0, 1.0))[best]),
    )


def _unreadable_masks(bad: dict[int, str], masks: int) -> Iterator[Finding]:
    if bad:
        yield Finding(
            kind="unreadable_mask",
            severity="warning",
            message=f"{len(bad)} of {masks} masks cannot be read ({', '.join(sorted(set(bad.values())))}).",
            advice="Write these masks again, as PNG; where they are missing no evidence can be judged.",
            effect=len(bad) / masks,
            rows=tuple(sorted(bad)),
            details={"codes": {str(row): code for row, code in sorted(bad.items())}},
        )


def _conflicts(empty: list[int], unexpected: list[int], images: int) -> Iterator[Finding]:
    if empty:
        yield Finding(
            kind="empty_mask",
            severity="warning",
            message=f"{len(empty)} images labelled as defects have a mask without a single defect pixel.",
            advice="Look at them: either the label is wrong or the mask was not drawn.",
            effect=len(empty) / images,
            rows=tuple(empty),
        )
    if unexpected:
        yield Finding(
            kind="mask_label_conflict",
            severity="warning",
            message=f"{len(unexpected)} images labelled as good have a mask that marks a defect.",
            advice="Look at them: label and mask contradict each other.",
            effect=len(unexpected) / images,
            rows=tuple(unexpected),
        )


def _lost(sizes: list[_Size], image_size: tuple[int, int]) -> Iterator[Finding]:
    sizes = sorted(sizes, key=lambda size: size.extent)
    lost = [size for size in sizes if size.extent < LOST_BELOW]
    if not lost:
        return
    extents = np.array([size.extent for size in sizes])
    # The smallest extent that must be kept at 4 pixels so that 95 % are; extents grow with the image size.
    kept = extents[int((1 - KEEP_SHARE) * len(extents))]
    advised = [_STEP * math.ceil(side * KEEP_AT / kept / _STEP) for side in image_size]
    height, width = image_size
    smallest = ", ".join(f"{size.extent:.1f} px" for size in lost[:3])
    yield Finding(
        kind="tiny_defect",
        severity="warning",
        message=f"At {height} x {width} pixels {len(lost)} of {len(sizes)} defects with a mask "
        f"({len(lost) / len(sizes):.0%}) are narrower than {LOST_BELOW:.0f} pixels, the smallest {smallest}.",
        advice=f"Train at {advised[0]} x {advised[1]} (--image-size {max(advised)}): it keeps "
        f"{KEEP_SHARE:.0%} of them {KEEP_AT:.0f} pixels wide or more. Or cut the images into tiles.",
        effect=len(lost) / len(sizes),
        rows=tuple(size.row for size in lost),
        details={
            "image_size": [height, width],
            "defects": len(sizes),
            "lost": len(lost),
            "advised_size": advised,
            "smallest": [
                {
                    "row": size.row,
                    "extent": round(size.extent, 2),
                    "equivalent_diameter": round(size.diameter, 2),
                    "original_extent": round(size.original, 2),
                }
                for size in lost[:20]
            ],
        },
    )
