"""What a shift of the image does: to the map of each layer, and to the verdict.

A convolution commutes with shifts; a stride only with shifts by its multiples, for sampling every S-th position
of a signal that is not smooth enough makes aliases (Azulay, Weiss, arXiv 1805.12177; Zhang, arXiv 1904.11486).
The error of a layer f of stride S for a shift by t pixels is

    E(t) = || f(T_t x) - T_{t/S} f(x) || / || f(x) ||

over cells whose receptive field lies inside both pictures, so that borders play no part. For multiples of S it
is zero up to rounding; for other t, T_{t/S} interpolates between cells and E measures aliasing. Layers that see
the whole image (gates, attention) have an error at every shift, as the two pictures differ at their borders.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import ceil, floor
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eyeline.anatomy.measure import describe
from eyeline.anatomy.modes import inference_mode_of
from eyeline.anatomy.probe import as_map, capture, find_layer, mapped_modules
from eyeline.anatomy.table import LayerTable, ReceptiveField, positions
from eyeline.errors import EyelineError
from eyeline.progress import Progress, silent


@dataclass(frozen=True, kw_only=True)
class ShiftError:
    """The equivariance error of one layer for one shift; `error` is None when no cell is free of borders."""

    layer: str
    stride: float
    shift: int
    multiple: bool  # of the stride
    is_global: bool
    cells: int  # that were compared
    error: float | None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class ShiftConsistency:
    """Share of images whose verdict stays, for every shift tried; `mean` over all shifts but 0."""

    images: int
    shifts: tuple[tuple[int, int], ...]  # (rows, columns) in pixels
    agreement: tuple[float, ...]
    mean: float
    worst: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def equivariance_error(
    net: nn.Module, images: Tensor, shifts: Sequence[int], *, layers: Sequence[str] | None = None
) -> list[ShiftError]:
    """The error by layer for diagonal shifts by `shifts` pixels (whole, from 0).

    Parameters
    ----------
    images : (N, C, H, W). The network runs on crops that are smaller by the largest shift, so that new pixels
        come in at the border as with a real camera.
    layers : names; default the last module of each stride.

    Raises
    ------
    EyelineError : a negative shift, or images smaller than the shifts.
    """
    largest = max(shifts, default=0)
    if images.ndim != 4 or min(shifts, default=0) < 0 or min(images.shape[2:]) <= largest:
        raise EyelineError(
            f"shifts {list(shifts)} for images of shape {tuple(images.shape)}: allowed are whole numbers from 0, "
            "smaller than the images (N, C, H, W)",
            code="bad_shift",
        )
    h, w = images.shape[2] - largest, images.shape[3] - largest
    table = describe(net, (images.shape[1], h, w))
    found = [find_layer(net, table, name) for name in (layers or _last_of_each_stride(net, table))]
    modules = [module for _, module in found]

    def maps(shift: int) -> list[Tensor]:
        crop = images[:, :, shift : shift + h, shift : shift + w]
        outputs = capture(net, modules, lambda: net(crop))
        return [as_map(output, positions(row) or ()) for output, (row, _) in zip(outputs, found, strict=True)]

    results = []
    with inference_mode_of(net), torch.no_grad():
        still = maps(0)
        for shift in shifts:
            for (row, _), before, after in zip(found, still, maps(shift), strict=True):
                field = row.receptive_field
                assert field is not None
                error, cells = _error(field, before.double(), after.double(), shift, (h, w))
                results.append(
                    ShiftError(
                        layer=row.name,
                        stride=max(field.stride),
                        shift=shift,
                        multiple=all(shift % stride == 0 for stride in field.stride),
                        is_global=field.is_global,
                        cells=cells,
                        error=error,
                    )
                )
    return results


def shift_consistency(
    net: nn.Module,
    images: Tensor,
    *,
    reach: int = 16,
    decide: Callable[[Tensor], Tensor] | None = None,
    batch: int = 32,
    progress: Progress = silent,
) -> ShiftConsistency:
    """How often the verdict survives a diagonal shift of -reach ... +reach pixels.

    What comes in at the border is the mirrored picture, so the network sees its own image size (fixed-size
    networks included). Parameters: `decide` turns outputs (N, K) into verdicts (N,), default the largest logit.

    Raises
    ------
    EyelineError : images smaller than the reach.
    """
    if images.ndim != 4 or reach < 1 or min(images.shape[2:]) <= reach:
        raise EyelineError(
            f"a reach of {reach} pixels for images of shape {tuple(images.shape)}: allowed are 1 up to the image",
            code="bad_shift",
        )
    decide = decide or (lambda logits: logits.argmax(1))
    h, w = images.shape[2:]
    offsets = list(range(-reach, reach + 1))
    same = torch.zeros(len(offsets), dtype=torch.int64)
    with inference_mode_of(net), torch.no_grad():
        for start in range(0, len(images), batch):
            part = images[start : start + batch]
            padded = F.pad(part, (reach,) * 4, mode="reflect")
            still = decide(net(part))
            for i, offset in enumerate(offsets):
                at = reach + offset
                moved = part if offset == 0 else padded[:, :, at : at + h, at : at + w]
                same[i] += int((decide(net(moved)) == still).sum())
            progress("shift consistency", min(start + batch, len(images)), len(images), "")
    agreement = tuple(float(count) / len(images) for count in same)
    moved_only = [share for share, offset in zip(agreement, offsets, strict=True) if offset]
    return ShiftConsistency(
        images=len(images),
        shifts=tuple((offset, offset) for offset in offsets),
        agreement=agreement,
        mean=sum(moved_only) / len(moved_only),
        worst=min(moved_only),
    )


def _last_of_each_stride(net: nn.Module, table: LayerTable) -> list[str]:
    last: dict[tuple[float, ...], str] = {}
    for name, layer in mapped_modules(net, table).items():
        assert layer.receptive_field is not None
        last[layer.receptive_field.stride] = name
    return list(last.values())


def _error(
    field: ReceptiveField, before: Tensor, after: Tensor, shift: int, image: tuple[int, int]
) -> tuple[float | None, int]:
    """Compare ``after[u]`` with ``before[u + shift / stride]`` over the cells without borders."""
    starts, stops = [], []
    for axis, side, cells in zip(field.axes, image, before.shape[2:], strict=True):
        if axis.stride <= 0:
            return None, 0
        first = ceil(-axis.reach.start / axis.stride)
        last = floor((side - 1 - axis.reach.end) / axis.stride)
        starts.append(max(first, 0))
        stops.append(min(last, cells - 1) + 1)
    moved = before[:, :, starts[0] : stops[0], starts[1] : stops[1]]
    now = after[:, :, starts[0] : stops[0], starts[1] : stops[1]]
    for dim, stride in zip((2, 3), field.stride, strict=True):
        distance = shift / stride
        whole = floor(distance)
        part, length = distance - whole, moved.shape[dim] - ceil(distance)
        if length < 1:
            return None, 0
        near = moved.narrow(dim, whole, length)
        moved = near if part == 0 else (1 - part) * near + part * moved.narrow(dim, whole + 1, length)
        now = now.narrow(dim, 0, length)
    size = float(moved.norm())
    error = float((now - moved).norm()) / size if size > 0 else 0.0
    return error, int(moved.shape[2] * moved.shape[3])
