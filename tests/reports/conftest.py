"""Reports of several shapes: real solar cells, ten classes, and the poorest data there can be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from eyeline.images import DecodeOptions, ImageTable, prepare_image, read_images, split_images
from eyeline.reports import EvidenceMaps, Placement, Protocol, ReportData, ShippedModel
from eyeline.verdicts import choose_threshold, evaluate, softmax

MakeReport = Callable[..., ReportData]


def scored(table: ImageTable, rows: Any, rng: np.random.Generator, sharpness: float = 2.0) -> Any:
    """Probabilities `(N, K)` that lean to the truth, with mistakes."""
    logits = rng.normal(size=(len(rows), len(table.classes)))
    logits[np.arange(len(rows)), table.targets[rows]] += sharpness
    return softmax(logits)


def make_report(
    table: ImageTable, *, size: int = 96, sharpness: float = 2.0, seed: int = 0, **changes: Any
) -> ReportData:
    """A report of `table` as the job `train` would fill it in, with synthetic scores."""
    rng = np.random.default_rng(seed)
    splits = np.asarray(changes.pop("splits", None) or split_images(table, seed=0))
    val, rows = np.flatnonzero(splits == "val"), np.flatnonzero(splits == "test")
    good = table.classes.index(table.good)
    options = DecodeOptions(image_size=(size, size), channels=1)
    threshold = choose_threshold(1 - scored(table, val, rng, sharpness)[:, good], table.is_defect[val])
    probabilities = scored(table, rows, rng, sharpness)
    evaluation = evaluate(
        probabilities,
        table.targets[rows],
        classes=table.classes,
        good=table.good,
        threshold=threshold,
        groups=None if table.groups is None else np.asarray(table.groups)[rows],
        slices={name: np.asarray(values)[rows].tolist() for name, values in table.slices.items()},
        resamples=100,
    )
    maps = (
        rng.normal(size=(len(rows), len(table.classes), 3, 3)) + np.log(probabilities)[:, :, None, None] / 9
    )
    values: dict[str, Any] = {
        "title": table.name,
        "network": "efficientnet_lite0",
        "image_size": (size, size),
        "evaluation": evaluation,
        "table": table,
        "splits": tuple(splits.tolist()),
        "rows": rows,
        "probabilities": probabilities,
        "pixels": lambda row: prepare_image(table.source(row), options),
        "evidence": EvidenceMaps(maps=maps, placement=Placement((32, 32), (15.0, 15.0))),
        "threshold_note": f"the largest balanced accuracy on {len(val)} validation images",
        "calibration_note": "calibrated with a temperature of 1.3",
        "protocols": (
            Protocol(
                name="fine-tuned, 5 folds by group",
                by="group",
                auroc=(0.81, 0.84, 0.86, 0.79, 0.83),
                images=len(table),
                groups=44,
            ),
            Protocol(
                name="fine-tuned, 3 random splits", by="image", auroc=(0.91, 0.9, 0.905), images=len(table)
            ),
        ),
        "history": tuple(
            {"epoch": e + 1, "loss": 0.7 * 0.8**e, "val_loss": 0.5, "val_auroc": 0.9 - 0.1 * 0.7**e}
            for e in range(6)
        ),
        "seconds": 312.0,
        "model": ShippedModel(
            name="model.onnx",
            sha256="ab" * 32,
            bytes=13_400_000,
            images=len(rows),
            changed_decisions=0,
            max_difference=3.2e-7,
            engine="onnxruntime 1.20.0 CPU",
        ),
        "recipe": {"optimizer": {"name": "adamw", "lr": 1e-4}, "epochs": 6, "flips": True, "note": None},
        "environment": {"torch": "2.13.0", "seed": 0},
        "fingerprint": "cd" * 32,
        "commands": (("Judge new images", "eyeline predict model.onnx photos/ -o verdicts.csv"),),
    }
    return ReportData(**(values | changes))


@pytest.fixture(scope="session")
def solar() -> ImageTable:
    """Every 8th cell of ELPV: real pictures, 44 modules."""
    table = read_images("elpv")
    picked = table.select(np.arange(0, len(table), 8))
    picked.slices.pop("probability", None)
    return picked


@pytest.fixture(scope="session")
def digits() -> ImageTable:
    """Ten classes, no groups, pixels in memory."""
    table = read_images("digits")
    return table.select(np.arange(0, len(table), 3))


@pytest.fixture(scope="session")
def solar_report(solar: ImageTable) -> ReportData:
    return make_report(solar, sharpness=1.0)


@pytest.fixture(scope="session")
def digits_report(digits: ImageTable) -> ReportData:
    return make_report(digits, protocols=(), history=(), seconds=None, model=None)


def tiny_table(labels: tuple[str, ...], **columns: Any) -> ImageTable:
    """Small random grey pictures in memory."""
    rng = np.random.default_rng(1)
    classes = (
        ("good", *sorted(set(labels) - {"good"})) if "classes" not in columns else columns.pop("classes")
    )
    paths = columns.pop("paths", tuple(f"tiny/{i}" for i in range(len(labels))))
    return ImageTable(
        name=columns.pop("name", "tiny"),
        paths=paths,
        labels=labels,
        classes=classes,
        good=classes[0],
        pixels=rng.integers(0, 256, (len(labels), 20, 30, 1), dtype=np.uint8),
        **columns,
    )
