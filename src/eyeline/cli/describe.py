"""``eyeline describe``."""

from __future__ import annotations

import json as json_module
import shutil
from pathlib import Path
from typing import Annotated

import typer

from eyeline.cli.screen import print_json, print_line
from eyeline.errors import EyelineError
from eyeline.files import write_atomically


def describe(
    network: Annotated[
        str,
        typer.Argument(metavar="NETWORK|MODEL", help="A name from eyeline networks, or an .onnx artifact."),
    ],
    input: Annotated[
        str | None, typer.Option(metavar="CxHxW", help="Such as 3x224x224. Default: the published size.")
    ] = None,
    defects: Annotated[
        str | None,
        typer.Option(
            metavar="SIZES", help="Sides of defects in pixels at that size, such as 5,7,12: who sees them?"
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Also write a page with the diagram and the fields.")
    ] = None,
    image: Annotated[
        Path | None, typer.Option(help="Picture to draw the receptive fields on, for --html.")
    ] = None,
    netron: Annotated[
        Path | None, typer.Option(help="Also write a metrics attachment for the Netron viewer.")
    ] = None,
    every: Annotated[bool, typer.Option("--every", help="A line for every norm and activation too.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Measure a network layer by layer: shapes, parameters, multiply-accumulates, memory, receptive field.

    Example: eyeline describe resnet50 --input 3x224x224 --defects 5,7,12
    """
    size = None if input is None else _size(input)
    sides = None if defects is None else _sides(defects)
    from eyeline.anatomy import defect_report, netron_attachment, table_page, table_text
    from eyeline.jobs import describe_network

    table = describe_network(network, input_size=size)
    report = None if sides is None else defect_report(table, sides)
    if html is not None:
        write_atomically(html, table_page(table, image=image, defects=report))
    if netron is not None:
        model = network if network.endswith(".onnx") else None
        write_atomically(netron, json_module.dumps(netron_attachment(table, model), indent=2) + "\n")
    if json:
        found = table.to_dict()
        print_json(found if report is None else found | {"defects": report.to_dict()})
        return
    print_line(table_text(table, width=shutil.get_terminal_size((100, 24)).columns, every=every))
    if report is not None:
        print_line()
        print_line(report.verdict)
    for written in (html, netron):
        if written is not None:
            print_line(f"Written: {written}")


def _size(text: str) -> tuple[int, int, int]:
    parts = text.lower().split("x")
    if len(parts) != 3 or not all(
        part.isascii() and part.isdigit() and 0 < int(part) < 100_000 for part in parts
    ):
        raise EyelineError(f"input is {text!r}; allowed: CxHxW such as 3x224x224", code="usage")
    channels, height, width = map(int, parts)
    return channels, height, width


def _sides(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise EyelineError(f"defects is {text!r}; allowed: numbers such as 5,7,12", code="usage") from None
