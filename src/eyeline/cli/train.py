"""``eyeline train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from eyeline.cli.screen import print_json, print_line, print_note, progress_bars
from eyeline.errors import EyelineError

Source = Annotated[
    str | None,
    typer.Argument(
        metavar="SOURCE",
        help="A folder with one subfolder a class (optionally under train/, val/, test/), a CSV or Parquet file "
        "with columns path,label[,split,group,mask,weight], a folder of IDX files, or a named data set: elpv, digits, "
        "fashion-mnist, synthetic.",
    ),
]

Claim = Annotated[
    str | None,
    typer.Option(
        metavar="CLAIM",
        help='At most so many escapes: "escape<=0.05@0.95" with 95 % confidence, "escape<=0.05" on average. Sets the '
        "threshold where the left-out images support it, or is refused with what is missing; then checked on the "
        "test part.",
    ),
]
Review = Annotated[
    str | None,
    typer.Option(
        metavar="PROMISE",
        help='What is in doubt goes to a human: by "overkill<=0.05@0.95" at most 5 % of good parts fail unseen.',
    ),
]
Cost = Annotated[
    str | None,
    typer.Option(
        metavar="COSTS",
        help='The cheapest cuts at the line: "escape=500,overkill=4,review=1,line=0.01", costs in any currency, line '
        "the share of defects there; review may be left out.",
    ),
]

Unknown = Annotated[
    float | None,
    typer.Option(
        metavar="ALPHA",
        help="Tell objects that the network never learned, with this share of false alarms, such as 0.01: they never "
        "pass, but go to review or, without --review, fail.",
    ),
]


def train(
    source: Source = None,
    network: Annotated[str, typer.Option(help="See eyeline networks.")] = "efficientnet_lite0",
    weights: Annotated[
        str | None,
        typer.Option(
            help="imagenet, none, or a .safetensors/.pth file. Default: published ones if installed."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="New run folder. Default: runs/<name>.")] = None,
    image_size: Annotated[
        int | None, typer.Option(min=16, max=4096, help="Pixels a side. Default: the images' own, 64 to 320.")
    ] = None,
    resize: Annotated[
        str | None,
        typer.Option(
            help="squash fills the input and bends the shape; letterbox keeps the shape and adds bars; fit keeps the "
            "shape and cuts off what is too long. Default: squash for square images, else letterbox."
        ),
    ] = None,
    region: Annotated[
        str | None,
        typer.Option(
            metavar="L,T,R,B",
            help="Look only there: left, top, right, bottom as shares of the upright image, such as 0.1,0,0.9,1. "
            "A part that fills the input shows smaller defects; background the network cannot see cannot mislead it.",
        ),
    ] = None,
    range: Annotated[
        str | None,
        typer.Option(
            metavar="LOW,HIGH",
            help="The sample values that become black and white in 16-bit and floating-point files, such as 0,4095 for "
            "a 12-bit camera. Default: 0,65535; without a range, 32-bit and floating-point files are refused.",
        ),
    ] = None,
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
    claim: Claim = None,
    review: Review = None,
    cost: Cost = None,
    unknown: Unknown = None,
    budget: Annotated[str | None, typer.Option(help="Time for training, such as 5m, 90s or 1h.")] = None,
    epochs: Annotated[
        int | None, typer.Option(min=0, help="Passes over the images, instead of a budget.")
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=0, help="Steps of training, such as run.json of a run with a budget tells: repeats it."
        ),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=20,
            help="Cross-fit: one network a fold of the training images judges the images it did not see, chooses "
            "between fine-tuning and the fitted head, and sets the cuts; the average of all ships. 0: set a "
            "validation part aside instead. Default: 3 up to 5,000 images with published weights.",
        ),
    ] = None,
    views: Annotated[
        int,
        typer.Option(
            help="Average 2, 4 or 8 mirrored and turned views of each image inside the artifact, if left-out images "
            "gain by it; the artifact takes that many times as long."
        ),
    ] = 1,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Training settings: default, probe, fast, gentle, scratch or elpv, or a TOML file.",
        ),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(
            metavar="MODEL", help="Learn from the answers of this .onnx file too, half and half with labels."
        ),
    ] = None,
    find_lr: Annotated[
        bool,
        typer.Option(
            "--find-lr", help="Only suggest a learning rate for these images and options; nothing is kept."
        ),
    ] = False,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with an interrupted run; no SOURCE needed.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the split, the order and the augmentation.")] = 0,
    max_bad: Annotated[
        float, typer.Option(min=0, max=1, help="Share of unreadable images to accept.")
    ] = 0.01,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Train an inspector, measure it on parts it never saw, and ship it as one .onnx file.

    The images are split by group where groups are known, a head is fitted on frozen features, the network is
    fine-tuned; images left out by cross-validation (or a validation part) decide whether that helps and set the
    threshold, the test part is measured once, and the exported file is run again over the whole test part: one
    changed decision and nothing is shipped.

    Exit code 1 when --claim, --review or --unknown is refused, or the test part contradicts the claim; the model is
    written all the same, and says so.

    Several processes train as one under torchrun --nproc-per-node=2 -m eyeline train ...

    Example: eyeline train photos/ --budget 5m --out runs/parts
    """
    if (budget, epochs, steps).count(None) < 2:
        raise EyelineError("give --budget, --epochs or --steps, only one of them", code="usage")
    if resume is not None and source is not None:
        raise EyelineError("--resume takes everything from the run: give no SOURCE", code="usage")
    if find_lr and resume is not None:
        raise EyelineError("--find-lr searches before a run: give a SOURCE, not --resume", code="usage")
    if resume is None and source is None:
        raise EyelineError("a SOURCE is needed", code="usage", hint="see eyeline train --help")
    options: dict[str, Any] = {
        "network": network,
        "weights": weights,
        "image_size": image_size,
        "resize": resize,
        "region": None if region is None else numbers("region", region),
        "range": None if range is None else numbers("range", range),
        "good": good,
        "group_by": group_by,
        "budget": None if budget is None else seconds(budget),
        "epochs": epochs,
        "folds": folds,
        "views": views,
        "steps": steps,
        "teacher": None if teacher is None else str(teacher),
        "seed": seed,
        "max_bad": max_bad,
        "device": device,
        "claim": claim,
        "review": review,
        "cost": cost,
        "unknown": unknown,
    }
    with progress_bars() as progress:
        progress("starting", 0, 1, "")  # the first line is on the screen: torch takes seconds
        from eyeline.jobs import follow_training, is_follower

        if is_follower():  # of a run that another process leads
            follow_training()
            return
        if recipe is not None:
            from eyeline.training import find_recipe

            options["recipe"] = find_recipe(recipe).to_dict()
        if find_lr and source is not None:
            from eyeline.jobs import suggest_learning_rate

            found = suggest_learning_rate(source, progress=progress, **options)
        else:
            from eyeline.jobs import train as job

            run = job(source, out=out, resume=resume, progress=progress, **options)
    if find_lr:
        print_rate(found, json)
    else:
        finish(run, json)


def print_rate(found: Any, json: bool) -> None:
    """What the learning-rate finder suggests."""
    if json:
        print_json(found.to_dict())
        return
    print_line(
        f"Suggested: learning_rate = {found.valley:.1e}   (the loss falls fastest at {found.steepest:.1e})"
    )
    print_line(
        f"Searched {found.rates[0]:.0e} to {found.rates[-1]:.0e} in {len(found.rates)} steps: the loss "
        + ("exploded at the end" if found.exploded else "never exploded")
    )


def finish(run: Any, json: bool) -> None:
    """Say how a run ended; exit code 1 when what was asked of the decisions is not kept."""
    for note in run.notes:
        print_note(note)
    if json:
        print_json(run.to_dict())
    else:
        print_summary(run)
    if run.promises is not None and not run.promises.kept:
        raise typer.Exit(1)


def print_summary(run: Any) -> None:
    """A few lines: how good, what it is worth, what is promised, where it lies."""
    test = run.evaluation
    print_line(
        f"Test: {test.images} images"
        + (f" in {test.groups} groups" if test.groups else "")
        + f", AUROC {_rate(test.auroc)}, escapes {_percent(test.escape_rate)}, overkill {_percent(test.overkill_rate)}"
    )
    by = {protocol.by: sum(protocol.auroc) / len(protocol.auroc) for protocol in run.protocols}
    if "group" in by and "image" in by:
        print_line(
            f"Split: the same quick inspector scores AUROC {by['image']:.3f} by random split and {by['group']:.3f} "
            f"by group: a random split flatters by {by['image'] - by['group']:.3f}"
        )
    elif run.promises is None:
        print_line(f"Claim: {test.claim}")
    if run.choice is not None:
        print_line(f"Training: {run.choice['text']}")
    if run.promises is not None:
        print_promises(run.promises)
    print_line(f"Model: {run.model}   Report: {run.report}   ({run.seconds:.0f} s)")


def print_promises(promises: Any) -> None:
    """The claim, the review band and the line, a line each."""
    if promises.text:
        print_line(f"Claim: {promises.text}")
    if promises.claim is not None and promises.claim.granted:
        print_line(
            f"Overkill of the claim: {promises.claim.overkill.interval_text(0.95)} of the good parts it was set on"
        )
    if promises.review is not None:
        print_line(f"Review: {promises.review.text}")
    if promises.reviewed is not None:
        print_line(f"Review on these images: {promises.reviewed.text}")
    if promises.unknown is not None:
        print_line(f"Unknown: {promises.unknown.text}")
    if promises.alarms is not None:
        print_line(f"Unknown on these images: {promises.alarms.text}")
    if promises.line is not None:
        print_line(f"Line: {promises.line.text}")


def numbers(option: str, text: str) -> list[float]:
    """Numbers between commas; `DecodeOptions` says how many and which."""
    try:
        return [float(word) for word in text.split(",")]
    except ValueError as error:
        raise EyelineError(f"{option} is {text!r}; allowed: numbers between commas", code="usage") from error


def seconds(text: str) -> float:
    """A duration such as 90s, 5m or 1h in seconds."""
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    number, unit = (text[:-1], text[-1]) if text[-1:] in units else (text, "s")
    try:
        value = float(number) * units[unit]
    except ValueError:
        value = -1.0
    if not 0 < value < 1e7:
        raise EyelineError(f"budget is {text!r}; allowed: a time such as 90s, 5m or 1h", code="usage")
    return value


def _rate(rate: Any) -> str:
    if rate.value is None:
        return "undefined"
    return f"{rate.value:.3f}" + ("" if rate.low is None else f" [{rate.low:.3f}, {rate.high:.3f}]")


def _percent(rate: Any) -> str:
    if rate.value is None:
        return "undefined"
    return f"{rate.value:.1%}" + ("" if rate.low is None else f" [{rate.low:.1%}, {rate.high:.1%}]")
