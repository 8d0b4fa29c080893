"""``eyeline demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eyeline.cli.screen import progress_bars
from eyeline.cli.train import Claim, Cost, Review, Unknown, finish, seconds

BUDGET = "7m"


def demo(
    out: Annotated[Path | None, typer.Option(help="New run folder. Default: runs/elpv.")] = None,
    budget: Annotated[str, typer.Option(help="Time for training, such as 5m, 90s or 1h.")] = BUDGET,
    claim: Claim = None,
    review: Review = None,
    cost: Cost = None,
    unknown: Unknown = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the split, the order and the augmentation.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """The main job on 2,624 real solar cells (ELPV, for non-commercial use): from photos to one .onnx inspector.

    Ends with a three-line summary and the path of the report. Needs the extras train and demo.

    Example: eyeline demo --budget 3m
    """
    with progress_bars() as progress:
        progress("starting", 0, 1, "")
        from eyeline.jobs import follow_training, is_follower, train

        if is_follower():
            follow_training()
            return
        run = train(
            "elpv",
            out=out,
            budget=seconds(budget),
            claim=claim,
            review=review,
            cost=cost,
            unknown=unknown,
            seed=seed,
            progress=progress,
        )
    finish(run, json)
