"""``eyeline export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from eyeline.cli.screen import print_json, print_line, progress_bars


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished run.")],
    precision: Annotated[str, typer.Option(help="fp32 or int8.")] = "fp32",
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Where to write. Default: model.onnx or model.int8.onnx in RUN."),
    ] = None,
    recut: Annotated[
        bool,
        typer.Option(
            "--recut",
            help="int8: choose the threshold again on the left-out images, by the rule of the run. Default: keep it.",
        ),
    ] = False,
    images: Annotated[
        int, typer.Option(min=8, max=100_000, help="int8: training images to calibrate on, at most.")
    ] = 128,
    engine: Annotated[
        str, typer.Option(help="onnxruntime or openvino: what it is to run in, and is proven in.")
    ] = "onnxruntime",
    json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Another artifact of a run, proven on its whole test part.

    fp32 may not change one decision. int8 (about twice as fast on processors with 8-bit instructions) is calibrated on
    unlabelled training images and must keep the figures: at most 0.005 of AUROC lost, not significantly more escapes,
    the claim still held, and faster here. Otherwise nothing is written and the exit code is 1.

    Example: eyeline export runs/parts --precision int8
    """
    with progress_bars() as progress:
        from eyeline.jobs import export_run

        made = export_run(
            run, precision=precision, out=output, recut=recut, images=images, engine=engine, progress=progress
        )
    if json:
        print_json(made.to_dict())
    else:
        _print(made)


def _print(made: Any) -> None:
    print_line(f"{made.model}: {made.precision}, {made.speedup:.2f} times as fast as fp32 here")
    print_line(
        f"{100 * made.agreement:.2f} % of the decisions on the test part agree with the trained network"
    )
    print_line(f"largest difference of a probability: {made.max_difference:.2g}")
    if made.quantization is None:
        return
    found = made.quantization
    print_line(
        f"{found.layers} layers in int8, {len(found.kept)} kept in fp32 ({found.method}, {found.images} images)"
    )
    for name in ("auroc", "escape_rate", "overkill_rate"):
        before, after = getattr(found.fp32, name), getattr(found.int8, name)
        print_line(f"{name:<14} {_figure(before)} in fp32, {_figure(after)} in int8")


def _figure(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"
