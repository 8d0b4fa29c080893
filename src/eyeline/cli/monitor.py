"""``eyeline monitor``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eyeline.cli.screen import print_json, print_line, progress_bars


def monitor(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="An .onnx artifact.")],
    log: Annotated[
        Path, typer.Argument(metavar="LOG", help="Verdicts of a shift as eyeline predict writes them.")
    ],
    baseline: Annotated[
        Path | None,
        typer.Option(
            help="predictions.parquet of the run, or the log of a good shift. Default: beside MODEL."
        ),
    ] = None,
    batch: Annotated[
        str,
        typer.Option(metavar="N|COLUMN", help="Verdicts a batch, or the column of LOG that names the batch."),
    ] = "100",
    defect_rate: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Share of defects at the line; the test part is weighted to it."),
    ] = None,
    false_alarm: Annotated[
        float, typer.Option(min=0.0001, max=0.2, help="Share of unchanged shifts that ring.")
    ] = 0.01,
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("monitor.html"),
    json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Compare a shift of verdicts with the run: rejects, scores, unreadable pictures. Needs no images.

    When an alarm rings, the promise of the inspector is void, and the exit code is 1: it was made for parts like those
    of the test part.

    Example: eyeline monitor runs/parts/model.onnx shift.csv --defect-rate 0.02
    """
    with progress_bars(quiet=True) as progress:
        from eyeline.jobs import monitor_shift

        result = monitor_shift(
            model,
            log,
            baseline=baseline,
            batch=batch,
            defect_rate=defect_rate,
            false_alarm=false_alarm,
            page=out,
            progress=progress,
        )
    if json:
        print_json(result.to_dict())
    else:
        print_line(result.text)
        for test in result.drift.tests:
            p = "      " if test.p_value is None else f"{test.p_value:.4f}"
            print_line(f"{'RINGS' if test.rings else 'quiet'}  p {p}  {test.name}: {test.text}")
        print_line(f"Page: {result.page}")
    if result.void:
        raise typer.Exit(1)
