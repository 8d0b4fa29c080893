"""How many images a second reach the network: Eyeline's cache against loaders that decode every time.

    python benchmarks/images.py [--quick]

On ELPV (2,624 grey PNG of 300 x 300) as shipped, and as JPEG (quality 90) in a temporary folder, at 300 and 224
pixels. An epoch is every image once, as float32 batches of 32, (N, C, H, W), scaled to [0, 1]; no augmentation.

- torchvision: PIL open, convert, Resize (antialiased bilinear), ToTensor, in a torch DataLoader with 2 workers. Every
  epoch decodes again.
- fastai: its ImageDataLoaders with 2 workers; measured where fastai is installed.
- eyeline, first pass: read every file, decode and write the cache (nothing is cached yet), then one epoch from it.
- eyeline, second pass: find the cache (the state of every file is asked), then one epoch from the memory map. The
  batches are the same floats, in one buffer that is used again; `uint8` is the epoch without the conversion.

All of them find the files in the page cache of the system, having read them once before. Then simplejpeg against
Pillow, one thread. Results go to benchmarks/results/images.json. Needs a quiet machine; about ten minutes.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from eyeline.files import write_json
from eyeline.images import DecodeOptions, ImageTable, open_cache, read_images
from eyeline.images.jpeg import decode_scan

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "networks"))
import peers  # noqa: F401 - registers two operators, so that torchvision can be imported
from torchvision.transforms import v2

RESULTS = Path(__file__).parent / "results" / "images.json"
BATCH, WORKERS = 32, 2
SIZES, CHANNELS = (300, 224), (1, 3)


class Photos(Dataset[Tensor]):
    """The usual way: what torchvision's ImageFolder does, grey or RGB."""

    def __init__(self, table: ImageTable, side: int, channels: int) -> None:
        self.paths = table.paths
        self.mode = "L" if channels == 1 else "RGB"
        self.transform = v2.Compose(
            [
                v2.Resize((side, side), antialias=True),
                v2.PILToTensor(),
                v2.ToDtype(torch.float32, scale=True),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> Tensor:
        with open(self.paths[row], "rb") as file, Image.open(file) as image:
            return self.transform(image.convert(self.mode))


def torchvision_epoch(table: ImageTable, side: int, channels: int) -> Iterator[Tensor]:
    return iter(DataLoader(Photos(table, side, channels), BATCH, shuffle=True, num_workers=WORKERS))


def fastai_epoch(table: ImageTable, side: int, channels: int) -> Iterator[Tensor]:
    from fastai.vision.all import ImageDataLoaders, PILImage, PILImageBW, Resize

    loaders = ImageDataLoaders.from_lists(
        "/", list(table.paths), list(table.labels), valid_pct=0, bs=BATCH, num_workers=WORKERS, drop_last=False,
        item_tfms=Resize(side, method="squish"), img_cls=PILImageBW if channels == 1 else PILImage,
    )  # fmt: skip
    return (batch[0] for batch in loaders.train)


def eyeline_epoch(
    table: ImageTable, side: int, channels: int, folder: Path, floats: bool = True
) -> Iterator[Tensor]:
    cache = open_cache(table, DecodeOptions(image_size=(side, side), channels=channels), folder=folder)
    order = np.random.default_rng(0).permutation(len(table))
    batch = torch.empty(BATCH, side, side, channels)
    for start in range(0, len(order), BATCH):
        pixels = torch.from_numpy(cache.pixels[np.sort(order[start : start + BATCH])])
        if floats:
            pixels = batch[: len(pixels)].copy_(pixels).mul_(1 / 255)
        yield pixels.permute(0, 3, 1, 2)  # a view: networks take it with channels last in memory


def images_a_second(epoch: Callable[[], Iterator[Tensor]], count: int, repeats: int) -> float:
    """Median over epochs; the time includes making the loader, as training pays it every epoch."""
    speeds = []
    for _ in range(repeats):
        started, seen = time.perf_counter(), 0
        for batch in epoch():
            seen += len(batch)
        speeds.append(seen / (time.perf_counter() - started))
        assert seen == count, f"{seen} of {count} images"
    return statistics.median(speeds)


def measure(table: ImageTable, side: int, channels: int, repeats: int) -> dict[str, float]:
    for path in table.paths:
        Path(path).read_bytes()  # into the page cache, for all alike
    count = len(table)
    row = {"torchvision": images_a_second(lambda: torchvision_epoch(table, side, channels), count, repeats)}
    if importlib.util.find_spec("fastai") is not None:
        row["fastai"] = images_a_second(lambda: fastai_epoch(table, side, channels), count, repeats)
    first = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for _ in range(repeats):
            shutil.rmtree(folder / "cache", ignore_errors=True)
            first.append(
                images_a_second(lambda: eyeline_epoch(table, side, channels, folder / "cache"), count, 1)
            )
        row["eyeline_first"] = statistics.median(first)
        for key, floats in (("eyeline_second", True), ("eyeline_second_uint8", False)):
            row[key] = images_a_second(
                lambda floats=floats: eyeline_epoch(table, side, channels, folder / "cache", floats),  # type: ignore[misc]
                count,
                repeats,
            )
    row["first_over_torchvision"] = row["eyeline_first"] / row["torchvision"]
    row["second_over_torchvision"] = row["eyeline_second"] / row["torchvision"]
    return row


def as_jpeg(table: ImageTable, folder: Path) -> ImageTable:
    """The same pictures as JPEG of quality 90."""
    paths = []
    for row, path in enumerate(table.paths):
        paths.append(str(folder / f"{row:04}.jpg"))
        with Image.open(path) as image:
            image.save(paths[-1], quality=90)
    return ImageTable(
        name="elpv-jpeg", paths=tuple(paths), labels=table.labels, classes=table.classes, good=table.good
    )


def jpeg_decoders(repeats: int) -> list[dict[str, Any]]:
    """Milliseconds an image: Pillow alone to a picture, simplejpeg alone to an array, and what Eyeline does: open with
    Pillow, decode strictly with simplejpeg, and hand the array to Pillow as a picture to be resized."""
    y, x = np.mgrid[0:3000, 0:4000]
    large = np.stack([x % 251, y % 241, (x * y // 97) % 255], axis=2).astype(np.uint8)
    rows = []
    for side in (300, 1000, 3000):
        source = Image.fromarray(large[:side, : side * 4 // 3])
        for kind, options in (
            ("grey", {}),
            ("4:2:0", {"subsampling": "4:2:0"}),
            ("4:4:4", {"subsampling": "4:4:4"}),
            ("progressive 4:2:0", {"subsampling": "4:2:0", "progressive": True}),
        ):
            file = io.BytesIO()
            (source.convert("L") if kind == "grey" else source).save(file, "JPEG", quality=90, **options)
            data = file.getvalue()
            colours = "GRAY" if kind == "grey" else "RGB"

            def pillow(data: bytes = data) -> Any:
                image = Image.open(io.BytesIO(data))
                image.load()
                return image

            def strict(data: bytes = data, colours: str = colours) -> Any:
                return simplejpeg.decode_jpeg(data, colours, fastdct=False, fastupsample=False, strict=True)

            def eyeline(data: bytes = data) -> Any:
                return decode_scan(Image.open(io.BytesIO(data)), data)

            row: dict[str, Any] = {"kind": kind, "size": list(source.size)}
            for name, decode in (("pillow", pillow), ("simplejpeg", strict), ("eyeline", eyeline)):
                times = []
                for _ in range(max(3, repeats * 300 // side)):
                    started = time.perf_counter()
                    decode()
                    times.append(1000 * (time.perf_counter() - started))
                row[f"{name}_ms"] = round(statistics.median(times), 3)
            rows.append(row)
            print(row, flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="Few images, once: to try it. Writes nothing.")
    options = parser.parse_args()
    repeats = 1 if options.quick else 3
    shipped = read_images("elpv")
    if options.quick:
        shipped = shipped.select(range(96))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, table in (("png", shipped), ("jpeg", as_jpeg(shipped, Path(folder)))):
            for side in SIZES:
                for channels in CHANNELS:
                    row = {"files": name, "side": side, "channels": channels, "images": len(table)}
                    rows.append({**row, **measure(table, side, channels, repeats)})
                    print(
                        {k: round(v, 1) if isinstance(v, float) else v for k, v in rows[-1].items()},
                        flush=True,
                    )
    decoders = jpeg_decoders(3 if options.quick else 20)
    if not options.quick:
        about = {"batch": BATCH, "workers": WORKERS, "cores": os.cpu_count(), "torch": torch.__version__}
        write_json(RESULTS, {"about": about, "loaders": rows, "jpeg": decoders})


if __name__ == "__main__":
    main()
