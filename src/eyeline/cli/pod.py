"""``eyeline pod``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eyeline.cli.screen import print_json, print_line, progress_bars


def pod(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="An .onnx artifact.")],
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Labelled images, as for eyeline train.")],
    size: Annotated[
        str,
        typer.Option(metavar="mask|COLUMN", help="Where the size of a defect stands: its mask, or a column."),
    ] = "mask",
    split: Annotated[
        str | None, typer.Option(help="test or all. Default: test where the source has a test part.")
    ] = None,
    good: Annotated[str | None, typer.Option(help="The defect-free class. Default: the artifact's.")] = None,
    group_by: Annotated[str | None, typer.Option(help="As for eyeline train.")] = None,
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("pod.html"),
    json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """How large a defect must be to be found: the probability of detection by size, with a90 and a90/95.

    Refuses where the data cannot say: too few hits or misses, or sizes that do not tell them apart.

    Example: eyeline pod runs/parts/model.onnx parts.csv --size mask
    """
    with progress_bars() as progress:
        from eyeline.jobs import detection_by_size

        result = detection_by_size(
            model, source, size=size, split=split, good=good, group_by=group_by, page=out, progress=progress
        )
    if json:
        print_json(result.to_dict())
        return
    found, calls = result.detection, result.false_calls
    print_line(found.text)
    for p, a, low, high in zip(found.levels, found.sizes, found.low, found.high, strict=True):
        print_line(f"caught in {p:4.0%}: size {a:.3g}  [{low:.3g}, {high:.3g}]")
    if calls.value is not None:
        print_line(f"False calls: {calls.count} of {calls.n} good images")
    if result.left_out:
        print_line(f"Left out: {result.left_out} defects without a size or a verdict")
    print_line(f"Page: {result.page}")
