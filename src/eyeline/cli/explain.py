"""``eyeline explain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eyeline.cli.screen import print_json, print_line, progress_bars


def explain(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="An .onnx artifact.")],
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Images and folders of images.")],
    out: Annotated[Path, typer.Option(help="New folder for the overlays and explain.html.")],
    json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Draw where the inspector looked: what speaks for a defect in orange, for a good part in blue.

    The evidence is exact: it sums to the difference of the logits. One scale serves all images, so a good part
    stays grey. Exit code 1 when an image could not be judged.

    Example: eyeline explain runs/parts/model.onnx new/ --out explained/
    """
    with progress_bars(quiet=len(paths) < 2) as progress:
        from eyeline.jobs import explain_images

        page, results = explain_images(model, paths, out, progress=progress)
    failed = sum(result.error is not None for result in results)
    if json:
        print_json({"page": str(page), "images": [result.to_dict() for result in results]})
    else:
        print_line(
            f"{len(results) - failed} images explained: {page}" + (f"; {failed} failed" if failed else "")
        )
    if failed:
        raise typer.Exit(1)
