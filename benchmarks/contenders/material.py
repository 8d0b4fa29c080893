"""What benchmarks/runtime.py measures with: trained and exported runs, and ELPV as files of two kinds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from eyeline.errors import GateError
from eyeline.images import ImageTable
from eyeline.jobs import export_run, train
from eyeline.runtime import open_artifact

SIDE = 224


def make_artifacts(name: str, work: Path, source: str, epochs: int, side: int = SIDE) -> dict[str, Any]:
    """Train and export, unless `work` holds it already."""
    folder = work / f"{name}-{epochs}"
    if not (folder / "report.html").exists():
        train(source, network=name, image_size=side, epochs=epochs, out=folder)
    int8 = folder / "model.int8.onnx"
    refused = None
    if not int8.exists():
        try:
            export_run(folder, precision="int8")
        except GateError as error:
            refused = error.message
    row: dict[str, Any] = {"run": folder, "fp32": folder / "model.onnx", "int8": None, "refused": refused}
    if int8.exists():
        made = open_artifact(int8).contract.quantization
        assert made is not None
        row |= {"int8": int8, "quantization": made.to_dict()}
    return row


def write_pictures(folder: Path, table: ImageTable) -> None:
    """ELPV as PNG (copied) and as JPEG, in two flat folders."""
    for kind in ("png", "jpeg"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for row, path in enumerate(table.paths):
        png, jpeg = folder / "png" / f"{row:04d}.png", folder / "jpeg" / f"{row:04d}.jpg"
        if not jpeg.exists():
            png.write_bytes(Path(path).read_bytes())
            with Image.open(path) as image:
                image.save(jpeg, quality=90)


def small_source(folder: Path, table: ImageTable, images: int) -> str:
    """Every so-manieth image of a table, as a table of its own: for --quick."""
    assert table.groups is not None
    rows = ["path,label,group"]
    for row in range(0, len(table), len(table) // images):
        rows.append(f"{table.paths[row]},{table.labels[row]},{table.groups[row]}")
    path = folder / "few.csv"
    path.write_text("\n".join(rows) + "\n")
    return str(path)
