"""``eyeline appraise``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from eyeline.cli.screen import print_json, print_line, progress_bars


def appraise(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="An .onnx artifact.")],
    study: Annotated[
        Path,
        typer.Argument(
            metavar="STUDY.csv", help="Columns path,part,reference and one column appraiser:NAME a person."
        ),
    ],
    confidence: Annotated[float, typer.Option(min=0.5, max=0.999, help="Of the intervals.")] = 0.95,
    out: Annotated[Path, typer.Option(help="The page to write; it prints on one sheet.")] = Path(
        "appraise.html"
    ),
    json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Attribute agreement (MSA): the inspector as one appraiser among people, against the AIAG limits.

    Several pictures of one part are its trials. Effectiveness, miss and false-alarm rates come with intervals; where
    an interval crosses a limit, the verdict is inconclusive. Exit code 1 when the inspector is unacceptable or a
    picture could not be judged.

    Example: eyeline appraise runs/parts/model.onnx study.csv
    """
    with progress_bars() as progress:
        from eyeline.jobs import appraise_model

        result = appraise_model(model, study, confidence=confidence, page=out, progress=progress)
    if json:
        print_json(result.to_dict())
    else:
        print_appraisal(result)
    if result.errors or result.appraisal.appraisers[0].verdict == "unacceptable":
        raise typer.Exit(1)


def print_appraisal(result: Any) -> None:
    """A line an appraiser, then how they agree."""
    found = result.appraisal
    print_line(found.text)
    width = max(len(each.name) for each in found.appraisers)
    for each in found.appraisers:
        print_line(
            f"{each.name:<{width}}  effectiveness {_percent(each.effectiveness)}  miss {_percent(each.miss_rate)}  "
            f"false alarm {_percent(each.false_alarm_rate)}  kappa {_kappa(each.kappa)}  "
            f"{each.by_value}, by its interval {each.verdict}"
        )
    for pair in found.pairs:
        print_line(f"{pair.a} and {pair.b}: kappa {_kappa(pair.kappa)}")
    for path, error in result.errors.items():
        print_line(f"not judged: {path}: {error}")
    print_line(f"Page: {result.page}")


def _percent(rate: Any) -> str:
    if rate.value is None:
        return "unknown"
    return f"{100 * rate.value:.1f} % [{100 * rate.low:.1f}, {100 * rate.high:.1f}]"


def _kappa(kappa: Any) -> str:
    if kappa.value is None:
        return "unknown"
    if kappa.low is None:
        return f"{kappa.value:.2f}"
    return f"{kappa.value:.2f} [{kappa.low:.2f}, {kappa.high:.2f}]"
