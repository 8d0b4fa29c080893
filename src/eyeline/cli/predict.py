"""``eyeline predict``."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from eyeline.cli.screen import print_json, print_line, progress_bars
from eyeline.errors import EyelineError
from eyeline.jobs import find_images, predictions, write_predictions
from eyeline.runtime import TILE_MERGE, TILE_NOTE, Tiling, load


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
    tile: Annotated[
        int | None,
        typer.Option(
            min=16,
            max=65535,
            metavar="PIXELS",
            help="Cut every image into square tiles of this side, judge each, and let the worst one count: for defects "
            "that are too small to see once a large image is shrunk. Best the size of the images it learned from.",
        ),
    ] = None,
    overlap: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=0.9,
            help="Share of a tile that its neighbours see as well, so that no defect is cut in two. Default: 0.25.",
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, max=256, help="Default: all cores, at most 8.")
    ] = None,
    engine: Annotated[
        str,
        typer.Option(help="onnxruntime, openvino, or auto: what eyeline bench found fastest here."),
    ] = "auto",
    key: Annotated[
        Path | None,
        typer.Option(metavar="PUBLIC.pem", help="Refuse the artifact unless this key has signed it."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the partial output of a run that was stopped.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object with all verdicts.")] = False,
) -> None:
    """Pass, review or fail, a row an image; an image that cannot be judged is a row with an error. Needs no PyTorch.

    Exit code 1 when an image could not be judged. With --tile the figures of the model, measured on whole images, do
    not carry over. Ctrl-C leaves the finished rows in FILE.partial.csv (or .jsonl, .parquet); --resume completes them.

    Example: eyeline predict runs/parts/model.onnx new/ -o verdicts.csv
    """
    if overlap is not None and tile is None:
        raise EyelineError("--overlap says how tiles overlap: give --tile too", code="usage")
    tiling = None if tile is None else Tiling(tile, 0.25 if overlap is None else overlap)
    files = find_images(paths)
    if resume and (output is None or json):
        raise EyelineError("--resume completes a file: give -o FILE, without --json", code="usage")
    inspector = load(model, threads=threads, engine=engine, key=key)
    count = failed = 0
    with progress_bars(quiet=len(files) < 50 or (output is None and sys.stdout.isatty())) as progress:
        if json:
            verdicts = list(predictions(inspector, files, batch=batch, tiling=tiling, progress=progress))
            failed = sum(verdict.error is not None for verdict in verdicts)
            about: dict[str, Any] = {
                "model": str(model),
                "sha256": inspector.sha256,
                "engine": inspector.engine.name,
            }
            if tiling is not None:
                about["tiling"] = {**asdict(tiling), "merge": TILE_MERGE, "note": TILE_NOTE}
            print_json({**about, "verdicts": [verdict.to_dict() for verdict in verdicts]})
        else:
            written = write_predictions(
                inspector,
                files,
                sys.stdout.buffer if output is None else output,
                format=format,
                batch=batch,
                tiling=tiling,
                resume=resume,
                progress=progress,
            )
            count, failed = written.verdicts, written.failed
    if tiling is not None and not json:
        sys.stderr.write(f"{TILE_NOTE}\n")
    if output is not None and not json:
        print_line(
            f"{count} verdicts in {output}" + (f", {failed} images could not be judged" if failed else "")
        )
    if failed:
        raise typer.Exit(1)
