"""``eyeline bench``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eyeline.cli.screen import print_json, print_line, progress_bars

if TYPE_CHECKING:
    from eyeline.jobs import Bench


def bench(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="An .onnx artifact.")],
    int8: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Its int8 twin, to be measured beside it.")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="Pictures for the way from files to verdicts. Default: golden ones."
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=0.05, max=60, help="For each engine, number of threads and images a run.")
    ] = 1.0,
    keep: Annotated[
        bool, typer.Option("--keep/--no-keep", help="Remember the fastest, for eyeline predict and load.")
    ] = True,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Measure an artifact here: onnxruntime and, where installed, OpenVINO; threads; 1, 4 and 16 images a run.

    Run it on a quiet machine. The fastest engine for one image is kept in the folder for caches, for this artifact and
    this kind of machine alone; eyeline predict and eyeline.load take it when no engine is named. Needs no PyTorch.

    Example: eyeline bench runs/parts/model.onnx --int8 runs/parts/model.int8.onnx --images new/
    """
    with progress_bars() as progress:
        from eyeline.jobs import bench_model

        found = bench_model(model, int8=int8, images=images, seconds=seconds, keep=keep, progress=progress)
    if json:
        print_json(found.to_dict())
    else:
        _print(found)


def _print(found: Bench) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{found.model} on {found.processor}", title_justify="left")
    for name in ("engine", "precision", "threads", "images a run", "p50, ms", "p99, ms", "images a second"):
        table.add_column(name, justify="left" if name in ("engine", "precision") else "right", no_wrap=True)
    for run in found.runs:
        table.add_row(
            run.engine,
            run.precision,
            str(run.threads),
            str(run.batch),
            f"{run.p50_ms:.2f}",
            f"{run.p99_ms:.2f}",
            f"{run.images_per_second:.1f}",
        )
    Console(width=None).print(table)
    for engine, reason in found.refused.items():
        print_line(f"not measured: {engine}: {reason}")
    print_line(
        f"fastest for one image: {found.engine} with {found.threads} threads, {found.latency_ms['p50']:.2f} ms"
    )
    print_line(f"files to verdicts: {found.images_per_second:.1f} images a second")
    print_line("of one image: " + ", ".join(f"{stage} {ms:.2f} ms" for stage, ms in found.stages.items()))
    if found.kept is not None:
        print_line(f"kept in {found.kept}")
