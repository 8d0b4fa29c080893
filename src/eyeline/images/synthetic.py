"""Synthetic parts: machined surfaces with scratches, blobs and pores, photographed in bursts.

A stand-in for a production line whose truth is known: which part each picture shows, where the defect is and
how large. Pictures of one part share its surface and differ by a small drift, the lamp and noise, and a
defect stays for a stretch of a burst, so whoever splits by picture meets almost the same picture, with the
same label, on both sides.

Sizes, in pixels of a picture of 64 by 64 (others scale with it):

==========  ============================================  ===========================
kind        what                                          size
==========  ============================================  ===========================
scratch     one thin, slightly bent line, bright or dark  1.6 to 2.6 wide, 16 to 34 long
blob        one stain with an uneven rim                  6 to 12 across
pore        3 to 7 round dark pores within 12 pixels      2.0 to 3.6 across each
==========  ============================================  ===========================

The random numbers are counter-based (Philox, Salmon et al. 2011): the i-th picture of a part depends on the
seed, the part, i, and the options other than `images` and `parts`, so that more pictures of the same kind
leave the first ones as they were.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eyeline.errors import EyelineError, nearest
from eyeline.files import write_atomically
from eyeline.images.records import Records
from eyeline.images.table import ImageTable

KINDS = ("scratch", "blob", "pore")
LICENCE = "synthetic parts, made by Eyeline: free of rights"

_PART, _BURST, _IMAGE = 0, 1, 2  # streams of random numbers
_MARGIN = 0.1  # of the size: how far a part may drift
_STRETCH = 0.6  # mean share of a burst in which the defect of an affected part can be seen
_AREAS = (0, 24, 48)  # bounds of the slice `area`, in pixels of a 64 by 64 picture

Grey = NDArray[np.float32]
Masks = NDArray[np.uint8]


def synthetic_images(
    *,
    images: int = 600,
    size: int = 64,
    defect_rate: float = 0.3,
    parts: int = 60,
    burst: int = 10,
    kinds: Sequence[str] = KINDS,
    by_kind: bool = False,
    seed: int = 0,
) -> tuple[ImageTable, Masks]:
    """Pictures of parts, and where their defects are.

    Parameters
    ----------
    images : how many pictures; parts take turns, one burst each.
    size : pixels of a side, 32 to 1024.
    defect_rate : expected share of pictures that show a defect.
    parts : how many parts; each is a group of the table.
    burst : pictures taken of a part in one go.
    kinds : which defects there are: ``scratch``, ``blob``, ``pore``.
    by_kind : label each picture with its kind of defect instead of ``defective``.
    seed : the same seed gives the same pictures.

    Returns
    -------
    The table, with grey pixels in memory, the part as group and the slices ``kind`` (``none`` where there is
    no defect) and ``area`` (of the defect, in pixels); and masks uint8 ``(N, H, W)``, 255 on the defect.

    Raises
    ------
    EyelineError : an option outside its range (``code="bad_option"``).
    """
    options = _Options(images, size, defect_rate, parts, burst, tuple(kinds), by_kind, seed)
    records, masks = _records(options)
    table = ImageTable(
        name=records.name,
        paths=tuple(records.paths),
        labels=tuple(records.labels),
        classes=("good", *sorted(set(records.labels) - {"good"})),
        good="good",
        groups=tuple(records.groups or ()),
        group_source=records.group_source,
        slices={name: tuple(records.columns[name]) for name in records.slices},
        pixels=records.pixels,
        licence=records.licence,
    )
    return table, masks


def read_synthetic() -> Records:
    """The data set ``synthetic``: `synthetic_images` as it comes, without the masks."""
    return _records(_Options())[0]


def write_synthetic(
    folder: str | Path,
    *,
    images: int = 600,
    size: int = 64,
    defect_rate: float = 0.3,
    parts: int = 60,
    burst: int = 10,
    kinds: Sequence[str] = KINDS,
    by_kind: bool = False,
    seed: int = 0,
) -> Path:
    """Write the same pictures as files: ``images/*.png``, ``masks/*.png`` and the table ``parts.csv``.

    Returns the path of the table, which `read_images` reads, masks and groups included.

    Raises
    ------
    EyelineError : an option outside its range, `folder` holds something already (``code="exists"``), or it
        cannot be written (``code="write_failed"``).
    """
    options = _Options(images, size, defect_rate, parts, burst, tuple(kinds), by_kind, seed)
    folder = Path(folder)
    records, masks = _records(options)
    try:
        if folder.is_dir() and any(folder.iterdir()):
            raise EyelineError("the folder is not empty", code="exists", path=folder)
        for name in ("images", "masks"):
            (folder / name).mkdir(parents=True)
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["path", "label", "group", "mask", *records.columns])
        assert records.pixels is not None
        assert records.groups is not None
        for row, path in enumerate(records.paths):
            name = f"{path.rpartition('/')[2]}.png"
            Image.fromarray(records.pixels[row, :, :, 0]).save(folder / "images" / name)
            mask = ""
            if masks[row].any():
                mask = f"masks/{name}"
                Image.fromarray(masks[row]).save(folder / mask)
            columns = [values[row] for values in records.columns.values()]
            table.writerow([f"images/{name}", records.labels[row], records.groups[row], mask, *columns])
    except OSError as error:
        raise EyelineError(
            f"cannot write: {error.strerror or error}", code="write_failed", path=folder
        ) from error
    write_atomically(folder / "parts.csv", text.getvalue())  # last: with it the folder is whole
    return folder / "parts.csv"


# --- which picture shows what ---------------------------------------------------------------------


@dataclass(frozen=True)
class _Options:
    images: int = 600
    size: int = 64
    defect_rate: float = 0.3
    parts: int = 60
    burst: int = 10
    kinds: tuple[str, ...] = KINDS
    by_kind: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("images", 1, 10_000_000),
            ("size", 32, 1024),
            ("parts", 1, 10_000_000),
            ("burst", 1, 10_000_000),
            ("seed", 0, 2**63 - 1),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or not low <= value <= high:
                raise EyelineError(
                    f"{name} is {value!r}; it must be a whole number from {low} to {high}", code="bad_option"
                )
        if not 0 <= self.defect_rate <= 1:
            raise EyelineError(
                f"defect_rate is {self.defect_rate}; it must be a share from 0 to 1", code="bad_option"
            )
        if not self.kinds:
            raise EyelineError("kinds is empty; it needs one kind of defect at least", code="bad_option")
        for kind in self.kinds:
            if kind not in KINDS:
                raise EyelineError(
                    f"{kind!r} is no kind of defect", code="bad_option", hint=nearest(kind, KINDS)
                )


def _records(options: _Options) -> tuple[Records, Masks]:
    """Picture by picture: burst after burst, the parts taking turns."""
    size, burst, parts = options.size, options.burst, options.parts
    pixels = np.zeros((options.images, size, size, 1), dtype=np.uint8)
    masks = np.zeros((options.images, size, size), dtype=np.uint8)
    groups: list[str] = []
    names: list[str] = []
    kinds: list[str] = []
    for start in range(0, options.images, burst):
        turn = start // burst
        number, round_ = turn % parts, turn // parts
        shots = _Burst(options, number, round_)
        for shot in range(min(burst, options.images - start)):
            picture, mask = shots.shoot(shot)
            pixels[start + shot, :, :, 0], masks[start + shot] = picture, mask
            groups.append(f"part {number:04d}")
            names.append(f"synthetic/part{number:04d}_{round_ * burst + shot:03d}")
            kinds.append(shots.kind if mask.any() else "none")
    areas = (masks > 0).sum(axis=(1, 2)).tolist()
    labels = ["good" if kind == "none" else kind if options.by_kind else "defective" for kind in kinds]
    records = Records(
        name="synthetic",
        paths=names,
        labels=labels,
        relative=names,
        folders=[""] * len(names),
        where=names,
        groups=groups,
        group_source="given: the part of each picture",
        columns={"kind": kinds, "area": [_area_range(area, size) for area in areas]},
        slices=("kind", "area"),
        pixels=pixels,
        licence=LICENCE,
        good="good",
    )
    return records, masks


def _area_range(area: int, size: int) -> str:
    """The area of a defect in words with few values: a slice by which results are told apart."""
    bounds = [round(bound * (size / 64) ** 2) for bound in _AREAS]
    if area == 0:
        return "none"
    above = [bound for bound in bounds if area > bound]
    upper = bounds[len(above)] if len(above) < len(bounds) else None
    return f"over {above[-1]} px" if upper is None else f"{above[-1] + 1} to {upper} px"


# --- a part and the pictures taken of it ----------------------------------------------------------


def _numbers(seed: int, part: int, stream: int, index: int = 0) -> np.random.Generator:
    return np.random.Generator(
        np.random.Philox(key=seed | part << 64, counter=(stream << 192) | (index << 128))
    )


class _Burst:
    """One burst of pictures of one part: where it drifts, how the lamp stands, when the defect is seen."""

    def __init__(self, options: _Options, part: int, number: int) -> None:
        self.options, self.part, self.first = options, part, number * options.burst
        size = options.size
        self.unit = size / 64
        self.margin = max(2, round(_MARGIN * size))
        of_part = _numbers(options.seed, part, _PART)
        self.surface = _surface(of_part, size + 2 * self.margin, self.unit)
        self.kind = str(options.kinds[int(of_part.integers(len(options.kinds)))])
        self.change, self.mask = _defect(of_part, self.kind, size, self.margin, self.unit)

        # Affected parts are spread evenly (a golden-ratio sequence), so that few parts have both classes too.
        mean = max(_STRETCH, options.defect_rate)
        start = _numbers(options.seed, 0, _PART, 1).random()
        affected = (start + part * 0.6180339887498949) % 1 < options.defect_rate / mean

        rng = _numbers(options.seed, part, _BURST, number)
        length = options.burst * rng.uniform(2 * mean - 1, 1) if affected else 0.0
        shots = min(options.burst, int(length + rng.random()))
        begin = int(rng.integers(options.burst - shots + 1))
        self.seen = range(begin, begin + shots)

        direction, travel = rng.uniform(0, 2 * np.pi), rng.uniform(1, 5) * self.unit
        self.travel = np.array([np.cos(direction), np.sin(direction)]) * travel
        self.start = rng.uniform(-2, 2, 2) * self.unit
        y, x = np.mgrid[0:size, 0:size] / size - 0.5
        slope = rng.normal(0, 16, 2)
        vignette = rng.uniform(0, 22)
        self.lamp = (slope[0] * x + slope[1] * y - vignette * (x**2 + y**2) * 2).astype(np.float32)
        self.gain = rng.normal(1, 0.05)

    def shoot(self, shot: int) -> tuple[Masks, Masks]:
        """Picture number `shot` of the burst and its mask, uint8 ``(H, W)`` each."""
        size = self.options.size
        rng = _numbers(self.options.seed, self.part, _IMAGE, self.first + shot)
        along = shot / max(1, self.options.burst - 1) - 0.5
        drift = self.start + self.travel * along + rng.normal(0, 0.3, 2) * self.unit
        dy, dx = (self.margin + np.clip(np.rint(drift), -self.margin, self.margin)).astype(int)
        window = (slice(dy, dy + size), slice(dx, dx + size))
        grey = self.surface[window]
        mask = np.zeros((size, size), dtype=np.uint8)
        if shot in self.seen:
            grey = grey + self.change[window] * np.float32(rng.uniform(0.85, 1.15))
            mask = self.mask[window]
        gain = np.float32(self.gain + rng.normal(0, 0.015))
        noise = rng.standard_normal((size, size), dtype=np.float32) * np.float32(rng.uniform(2, 4))
        return np.clip(np.rint(grey * gain + self.lamp + noise), 0, 255).astype(np.uint8), mask


def _surface(rng: np.random.Generator, side: int, unit: float) -> Grey:
    """Grey levels of a machined surface, float32 ``(side, side)``: marks, mottling, grain, holes, a groove."""
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)
    grey = np.full((side, side), rng.uniform(95, 165), dtype=np.float32)

    angle = rng.uniform(0, np.pi)
    if rng.random() < 0.3:  # turned: circles around a centre, often outside
        centre = rng.uniform(-0.5, 1.5, 2) * side
        across = np.hypot(x - centre[0], y - centre[1])
    else:  # milled or ground: straight strokes
        across = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle)) + 2 * side
    steps = np.arange(0, 5 * side, rng.uniform(1.0, 2.5) * unit)
    strokes = rng.standard_normal(len(steps))
    grey += np.interp(across.ravel(), steps, strokes).reshape(side, side) * rng.uniform(2, 7)
    wave = 2 * np.pi / (rng.uniform(6, 14) * unit)
    grey += np.sin(across * wave) * np.float32(rng.uniform(0, 4))

    coarse = Image.fromarray(rng.standard_normal((6, 6), dtype=np.float32))
    mottling = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC))
    grey += mottling * np.float32(rng.uniform(2, 7))
    grey += rng.standard_normal((side, side), dtype=np.float32) * np.float32(rng.uniform(1, 3))

    if rng.random() < 0.5:  # a groove, lighter or darker than the face
        angle = rng.uniform(0, np.pi)
        away = x * np.cos(angle) + y * np.sin(angle)
        away -= np.quantile(away, rng.uniform(0.1, 0.9))
        grey += _inside(rng.uniform(2, 4) * unit - np.abs(away)) * rng.choice([-1, 1]) * rng.uniform(14, 30)
    for _ in range(int(rng.integers(0, 3))):  # drilled holes with a bright chamfer
        centre, radius = rng.uniform(0, side, 2), rng.uniform(4.5, 8) * unit
        away = np.hypot(x - centre[0], y - centre[1])
        grey += _inside(radius + 1.5 * unit - away) * 35
        inside = _inside(radius - away)
        grey = grey * (1 - inside) + inside * rng.uniform(25, 50)
    return grey.astype(np.float32)


def _defect(rng: np.random.Generator, kind: str, size: int, margin: int, unit: float) -> tuple[Grey, Masks]:
    """How a defect changes the grey levels, and its mask, on the whole surface of ``size + 2 * margin``.

    It lies so that no drift takes its centre out of the picture.
    """
    side = size + 2 * margin
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)
    centre = rng.uniform(0.3, 0.7, 2) * size + margin
    if kind == "scratch":
        angle, bend = rng.uniform(0, np.pi), rng.uniform(-0.012, 0.012) / unit
        length, width = rng.uniform(16, 34) * unit, rng.uniform(1.6, 2.6) * unit
        along = (x - centre[0]) * np.cos(angle) + (y - centre[1]) * np.sin(angle)
        across = (y - centre[1]) * np.cos(angle) - (x - centre[0]) * np.sin(angle) - bend * along**2
        distance = np.minimum(width / 2 - np.abs(across), length / 2 - np.abs(along))
        level = rng.choice([-1, 1]) * rng.uniform(40, 65)
    elif kind == "blob":
        radius = rng.uniform(3, 6) * unit
        around = np.arctan2(y - centre[1], x - centre[0])
        rim = sum(rng.uniform(0, 0.12) * np.cos(k * around + rng.uniform(0, 2 * np.pi)) for k in (2, 3, 5))
        distance = radius * (1 + rim) - np.hypot(x - centre[0], y - centre[1])
        level = rng.choice([-1, 1]) * rng.uniform(30, 50)
    else:
        distance = np.full((side, side), -np.inf, dtype=np.float32)
        for _ in range(int(rng.integers(3, 8))):
            away = np.sqrt(rng.uniform(0, 1)) * 4.2 * unit
            turn = rng.uniform(0, 2 * np.pi)
            at = centre + away * np.array([np.cos(turn), np.sin(turn)])
            radius = rng.uniform(1.0, 1.8) * unit
            distance = np.maximum(distance, radius - np.hypot(x - at[0], y - at[1]))
        level = -rng.uniform(50, 75)
    return (_inside(distance) * level).astype(np.float32), np.where(distance >= 0, 255, 0).astype(np.uint8)


def _inside(distance: NDArray[np.floating]) -> Grey:
    """1 inside, 0 outside, with an edge one pixel wide; `distance` to the edge in pixels, positive inside."""
    inside: Grey = np.clip(distance + 0.5, 0, 1).astype(np.float32)
    return inside
