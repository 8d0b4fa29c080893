"""What the table means for an inspection: layers that see nothing new, and layers that see the defect."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeline.anatomy.table import Layer, LayerTable, positions, resolutions
from eyeline.errors import EyelineError
from eyeline.images import decode_image

# Rule of thumb: a defect narrower than a third of a cell is averaged with so much of its surroundings that the
# cell hardly differs from its neighbours. One side, so about a tenth of the cell's area.
SMALLEST_SHARE = 1 / 3
_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True, kw_only=True)
class Sight:
    """How one resolution of the network sees the defects.

    Attributes
    ----------
    layer : the last layer of this stride.
    stride : pixels between its cells.
    cells : sides of its map.
    cells_per_defect : side of the median defect in cells.
    seen : share of the defects that are at least a third of a cell wide.
    whole : the median defect fits into the receptive field.
    """

    layer: str
    stride: float
    cells: tuple[int, ...]
    cells_per_defect: float
    seen: float
    whole: bool

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "cells": list(self.cells)}


@dataclass(frozen=True, kw_only=True)
class DefectReport:
    """`sizes` are sides in pixels of the network's input; `verdict` says in words what to do."""

    defects: int
    median: float
    smallest: float  # 10th percentile
    largest: float  # 90th percentile
    sights: tuple[Sight, ...]
    verdict: str

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "sights": [sight.to_dict() for sight in self.sights]}


def saturated_layers(table: LayerTable) -> list[Layer]:
    """Layers that look at nothing new: each position of their input already sees the whole image.

    Judged along the **shortest** path, the one that predicts which layers can be left out (Richter, Byttner,
    Krumnack, Wiedenroth, Schallner, Shenk, arXiv 2106.12307). Layers that read one position (1x1 kernels,
    norms, activations) never gather context and are not judged.
    """
    return [
        layer
        for layer in table.layers
        if layer.sees_before is not None
        and all(seen >= side for seen, side in zip(layer.sees_before, table.input[1:], strict=True))
    ]


def defect_sizes(
    masks: Iterable[str | Path | NDArray[Any] | None], image_size: tuple[int, int]
) -> NDArray[np.float64]:
    """Sides of all defects, in pixels of an input of `image_size` (H, W).

    Every connected region of a mask that is not 0 (its corners count as connected) is a defect; its side is
    the square root of its area. `masks` are files or arrays (H, W) of any size, None for images without one:
    ``table.masks`` of an ImageTable.

    Raises
    ------
    EyelineError : an array that is not two-dimensional. ImageError : a file that cannot be read.
    """
    from scipy import ndimage

    sizes: list[float] = []
    for mask in masks:
        if mask is None:
            continue
        region = np.asarray(mask) if isinstance(mask, np.ndarray) else decode_image(mask, channels=1)[..., 0]
        if region.ndim != 2:
            raise EyelineError(f"a mask must have shape (H, W), not {region.shape}", code="bad_input_shape")
        labels, count = ndimage.label(region != 0, structure=np.ones((3, 3), dtype=int))
        areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
        sizes += list(np.sqrt(areas * (prod(image_size) / prod(region.shape))))
    return np.array(sizes, dtype=np.float64)


def defect_report(table: LayerTable, sizes: Sequence[float] | NDArray[Any]) -> DefectReport:
    """Which layers of `table` see defects of `sizes` (sides in pixels at the table's input size).

    Raises
    ------
    EyelineError : no defect, a size that is not positive, or a network without any map.
    """
    sides = np.asarray(sizes, dtype=np.float64).ravel()
    if len(sides) == 0 or not np.all(np.isfinite(sides)) or np.any(sides <= 0):
        raise EyelineError("defect sizes must be positive numbers, at least one", code="bad_input")
    median = float(np.median(sides))
    sights = tuple(_sight(layer, sides, median) for layer in resolutions(table))
    if not sights:
        raise EyelineError(f"{table.network} has no layer with positions of the image", code="bad_network")
    return DefectReport(
        defects=len(sides),
        median=median,
        smallest=float(np.percentile(sides, 10)),
        largest=float(np.percentile(sides, 90)),
        sights=sights,
        verdict=_verdict(table, median, sights[-1].stride),
    )


def insights(table: LayerTable) -> list[str]:
    """What stands out, a sentence each."""
    sentences = []
    size = "x".join(map(str, table.input[1:]))
    saturated = saturated_layers(table)
    if saturated:
        first = saturated[0]
        share = sum(layer.macs for layer in saturated) / max(table.macs, 1)
        more = f" and {len(saturated) - 1} later layers look" if len(saturated) > 1 else " looks"
        sentences.append(
            f"{first.name}{more} at nothing new at {size}: what comes in already sees "
            f"{'x'.join(map(str, first.sees_before or ()))} pixels along the shortest path "
            f"({share:.0%} of the MACs)"
        )
    last = table.last_map
    if last is not None and last.receptive_field is not None:
        field = last.receptive_field
        sides = positions(last) or ()
        reach = "the whole image" if field.is_global else f"{'x'.join(map(str, field.max))} pixels"
        sentences.append(
            f"the last map, {last.name}, has {'x'.join(map(str, sides))} cells {_plain(max(field.stride))} "
            f"pixels apart; each can see {reach}"
        )
    if table.unused:
        sentences.append(
            f"{sum(table.unused.values()):,} parameters are never used in inference "
            f"({', '.join(sorted({name.split('.')[0] for name in table.unused}))})"
        )
    return sentences


def _sight(layer: Layer, sides: NDArray[np.float64], median: float) -> Sight:
    field = layer.receptive_field
    assert field is not None
    stride = max(field.stride)
    return Sight(
        layer=layer.name,
        stride=stride,
        cells=positions(layer) or (),
        cells_per_defect=median / stride,
        seen=float(np.mean(sides >= SMALLEST_SHARE * stride)),
        whole=field.is_global or min(field.max) >= median,
    )


def _verdict(table: LayerTable, median: float, stride: float) -> str:
    size = max(table.input[1:])
    sentence = (
        f"at {size} px your median defect is {_plain(median)} px; the final map has stride {_plain(stride)}: "
    )
    covered = stride / median
    if covered < 1:
        return sentence + f"a defect spans {_plain(1 / covered)} cells"
    if covered < 2:
        return sentence + "a cell and a defect are about the same size"
    count = int(covered)
    sentence += f"one cell covers {_WORDS[count] if count < len(_WORDS) else count} defects"
    factor = 1
    while covered / factor > 1 / SMALLEST_SHARE:
        factor *= 2
    if factor == 1:
        return sentence
    finer = f" or a stride-{_plain(stride / factor)} network" if stride / factor >= 1 else ""
    return sentence + f"; use {size * factor} px{finer}"


def _plain(value: float) -> str:
    return f"{value:.0f}" if value >= 10 or value == round(value) else f"{value:.1f}"
