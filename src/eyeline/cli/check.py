"""``eyeline check``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from eyeline.cli.screen import print_json, print_line, progress_bars
from eyeline.cli.train import Source
from eyeline.errors import EyelineError

MOST_LINES = 12  # findings on the screen; all of them are on the page


def check(
    source: Source = None,
    good: Annotated[
        str | None,
        typer.Option(help="The defect-free class. Guessed from good, ok, functional, free, normal, pass."),
    ] = None,
    group_by: Annotated[
        str | None,
        typer.Option(
            help="What must stay together: a column, 'folder', or a pattern like '(?P<group>.+)_\\d+'."
        ),
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(min=16, max=4096, help="Pixels a side that you plan to train with. Default: as train."),
    ] = None,
    network: Annotated[
        str,
        typer.Option(help="Whose published weights give the second opinion; none leaves it to thumbnails."),
    ] = "efficientnet_lite0",
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("check.html"),
    json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Find what would spoil an inspector before it is trained: broken files, duplicates, leaks, wrong labels.

    Says which images belong together and what a random split would flatter by. Findings are ranked by what they do to
    the result, each with what to do; the page shows the images, and lets you judge labels and save a new labels.csv.
    Nothing of yours is changed. Exit code 1 when a finding of level error stands.

    Example: eyeline check photos/ --group-by '(?P<group>.+)_\\d+'
    """
    if source is None:
        raise EyelineError("a SOURCE is needed", code="usage", hint="see eyeline check --help")
    if not out.absolute().parent.is_dir():
        raise EyelineError("the folder of --out does not exist", code="usage", path=out)
    with progress_bars() as progress:
        from eyeline.jobs import check_images

        result = check_images(
            source,
            good=good,
            group_by=group_by,
            image_size=image_size,
            network=None if network == "none" else network,
            page=out,
            progress=progress,
        )
    if json:
        print_json(result.to_dict())
    else:
        print_check(result)
    if result.errors:
        raise typer.Exit(1)


def print_check(result: Any) -> None:
    """What was found, for a person: counts, groups, leaks, then findings with what to do."""
    about = result.to_dict()
    classes = ", ".join(f"{count:,} {name}" for name, count in about["classes"].items())
    print_line(f"{about['images']:,} images: {classes}")
    if about["groups"] is None:
        print_line(
            "Groups: none known; name what belongs together with --group-by, or figures will be too good"
        )
    else:
        balance = about["balance"]
        print_line(
            f"Groups: {about['groups']:,} ({about['group_source']}); "
            f"intraclass correlation {balance['intraclass_correlation']:.2f}, "
            f"worth {balance['effective_images']:,.0f} independent images"
        )
    for each in result.comparisons:
        if each.sentence:
            print_line(f"Leaks: {each.name}: {each.sentence}")
    for finding in result.findings[:MOST_LINES]:
        print_line(f"{finding.severity.upper():8}{finding.kind}: {finding.message}")
        print_line(f"        {finding.advice}")
    if len(result.findings) > MOST_LINES:
        print_line(f"        and {len(result.findings) - MOST_LINES} more on the page")
    if not result.findings:
        print_line("No findings.")
    print_line(f"Page: {result.page}   ({result.seconds:.0f} s)")
