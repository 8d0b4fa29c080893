"""``eyeline claims``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eyeline.cli.screen import print_json, print_line, progress_bars
from eyeline.cli.train import seconds


def claims(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="weight-sharing, stacked-kernels, batch-norm, residual, separable, compound-scaling, little-data, "
            "image-size, equivariance, receptive-field, random-split. Default: all.",
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            help="Time a claim, such as 90s or 5m (the default). Steps are scaled to it, and it is said."
        ),
    ] = None,
    full: Annotated[
        bool,
        typer.Option(
            "--full",
            help="The longer protocol: three times the steps, 10 seeds. Nearly two hours on two cores.",
        ),
    ] = False,
    seeds: Annotated[
        int | None, typer.Option(min=2, max=50, help="Paired trainings of each arm. Default: 5.")
    ] = None,
    data: Annotated[
        str, typer.Option(help="The pictures: fashion-mnist, digits, or a folder of IDX files.")
    ] = "fashion-mnist",
    again: Annotated[bool, typer.Option("--again", help="Measure also what the folder already has.")] = False,
    out: Annotated[
        Path, typer.Option(help="Folder of the results: NAME.json, claims.json and claims.html.")
    ] = Path("claims"),
    json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Rerun what textbooks say of convolutional networks, on real pictures: holds, fails or inconclusive.

    Margins and statistics are fixed in each claim's file before anything is measured. All claims together take
    most of an hour on two cores; Ctrl-C keeps those that are finished, and the same command goes on.

    Example: eyeline claims weight-sharing residual --budget 2m
    """
    with progress_bars() as progress:
        from eyeline.jobs import measure_claims

        result = measure_claims(
            names or (),
            budget=None if budget is None else seconds(budget),
            seeds=seeds,
            full=full,
            data=data,
            again=again,
            out=out,
            progress=progress,
        )
    if json:
        print_json(result.to_dict())
        return
    for claim in result.claims:
        print_line(
            f"{claim.verdict:<13} {claim.name:<17} {claim.effect:+.4f} "
            f"[{claim.low:+.4f}, {claim.high:+.4f}] {claim.unit}"
        )
    for name, reason in result.not_run.items():
        print_line(f"{'not run':<13} {name:<17} {reason}")
    print_line(f"Page: {result.page}")
