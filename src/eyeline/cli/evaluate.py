"""``eyeline evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from eyeline.cli.screen import print_json, print_line, progress_bars
from eyeline.cli.train import print_promises


def evaluate(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="An .onnx artifact.")],
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Labelled images, as for eyeline train.")],
    split: Annotated[
        str | None, typer.Option(help="test or all. Default: test where the source has a test part.")
    ] = None,
    good: Annotated[str | None, typer.Option(help="The defect-free class. Default: the artifact's.")] = None,
    group_by: Annotated[str | None, typer.Option(help="As for eyeline train.")] = None,
    claim: Annotated[
        str | None,
        typer.Option(
            metavar="CLAIM",
            help='Do these images support "escape<=0.05@0.95" where the artifact cuts? Exit code 1 if not.',
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Measure an inspector on labelled images: every rate with its interval, by group where groups are known.

    Example: eyeline evaluate runs/parts/model.onnx newparts/
    """
    with progress_bars() as progress:
        from eyeline.jobs import evaluate_model

        found = evaluate_model(
            model, source, split=split, good=good, group_by=group_by, claim=claim, progress=progress
        )
    if json:
        print_json(found.to_dict())
    else:
        _print(found)
    if found.promises is not None and not found.promises.kept:
        raise typer.Exit(1)


def _print(found: Any) -> None:
    result = found.evaluation
    print_line(result.claim)
    for name in (
        "auroc",
        "average_precision",
        "accuracy",
        "balanced_accuracy",
        "f1",
        "escape_rate",
        "overkill_rate",
        "brier",
        "ece",
    ):
        print_line(f"{name:<18} {_rate(getattr(result, name))}")
    if found.promises is not None:
        print_promises(found.promises)
    for path, error in found.errors.items():
        print_line(f"not judged: {path}: {error}")
    if found.note:
        print_line(f"Note: {found.note}")


def _rate(rate: Any) -> str:
    if rate.value is None:
        return "undefined"
    if rate.low is None or rate.high is None:
        return f"{rate.value:.4f}  [no interval: {rate.method}]"
    return f"{rate.value:.4f}  [{rate.low:.4f}, {rate.high:.4f}]"
