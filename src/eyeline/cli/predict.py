"""``eyeline predict``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from eyeline.cli.screen import print_json, print_line, progress_bars
from eyeline.jobs import find_images, predictions
from eyeline.runtime import Verdict, load, write_verdicts


def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="An .onnx artifact.")],
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Images and folders of images.")],
    format: Annotated[
        str | None, typer.Option(help="csv, jsonl or parquet. Default: by the ending of --output, else csv.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Where to write. Default: standard output.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, max=64, help="Images a run of the network.")] = 4,
    threads: Annotated[
        int | None, typer.Option(min=1, max=256, help="Default: all cores, at most 8.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object with all verdicts.")] = False,
) -> None:
    """Pass or fail, a row an image; an image that cannot be judged is a row with an error. Needs no PyTorch.

    Exit code 1 when an image could not be judged.

    Example: eyeline predict runs/parts/model.onnx new/ -o verdicts.csv
    """
    files = find_images(paths)
    inspector = load(model, threads=threads)
    failed = 0

    def counted() -> Iterator[Verdict]:
        nonlocal failed
        for verdict in predictions(inspector, files, batch=batch, progress=progress):
            failed += verdict.error is not None
            yield verdict

    with progress_bars(quiet=len(files) < 50 or (output is None and sys.stdout.isatty())) as progress:
        if json:
            rows = [verdict.to_dict() for verdict in counted()]
            print_json({"model": str(model), "sha256": inspector.sha256, "verdicts": rows})
        else:
            target = sys.stdout.buffer if output is None else output
            count = write_verdicts(counted(), target, classes=inspector.contract.classes, format=format)
    if output is not None and not json:
        print_line(
            f"{count} verdicts in {output}" + (f", {failed} images could not be judged" if failed else "")
        )
    if failed:
        raise typer.Exit(1)
