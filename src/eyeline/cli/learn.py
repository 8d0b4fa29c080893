"""``eyeline learn``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eyeline.cli.screen import print_json, print_line, progress_bars
from eyeline.cli.train import Source
from eyeline.errors import EyelineError


def learn(
    source: Source = None,
    network: Annotated[
        str, typer.Option(help="Whose published weights see the images.")
    ] = "efficientnet_lite0",
    good: Annotated[str | None, typer.Option(help="The defect-free class.")] = None,
    group_by: Annotated[
        str | None, typer.Option(help="As for eyeline train: what belongs to one part.")
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(min=16, max=4096, help="Pixels a side. Default: as train.")
    ] = None,
    more: Annotated[
        int | None,
        typer.Option(min=1, help="New parts to ask about. Default: as many again, and half as many."),
    ] = None,
    draws: Annotated[int, typer.Option(min=5, max=100, help="Times that other parts are held out.")] = 8,
    unlabelled: Annotated[
        Path | None, typer.Option(help="A folder of images without labels: which of them to label next?")
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=10_000, help="How many of them.")] = 20,
    next_labels: Annotated[Path, typer.Option(help="The CSV that names the images to label next.")] = Path(
        "label_next.csv"
    ),
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("learn.html"),
    json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """What more labelled parts would bring, and which images to label next. Trains nothing but quick heads.

    Every forecast is an interval, and says where it leaves room for no gain at all.

    Example: eyeline learn photos/ --group-by '(?P<group>.+)_\\d+' --unlabelled new/
    """
    if source is None:
        raise EyelineError("a SOURCE is needed", code="usage", hint="see eyeline learn --help")
    with progress_bars() as progress:
        from eyeline.jobs import learning_curve

        result = learning_curve(
            source,
            network=network,
            good=good,
            group_by=group_by,
            image_size=image_size,
            more=more,
            draws=draws,
            unlabelled=unlabelled,
            count=count,
            next_labels=next_labels,
            page=out,
            progress=progress,
        )
    if json:
        print_json(result.to_dict())
        return
    print_line(result.text)
    for forecast in result.forecasts:
        print_line(forecast.text)
    for curve in (*result.curves.values(), *result.images_only.values()):
        seen = "  ".join(f"{n:,}: {error:.3f}" for n, error in zip(curve.sizes, curve.errors, strict=True))
        print_line(f"{curve.figure} by {curve.unit}s  {seen}")
    if result.next_labels is not None:
        print_line(f"Label next: {result.next_labels}")
    print_line(f"Page: {result.page}")
