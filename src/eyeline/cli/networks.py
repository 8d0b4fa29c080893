"""``eyeline networks``."""

from __future__ import annotations

from typing import Annotated

import typer

from eyeline.cli.screen import print_json, print_line
from eyeline.networks import network_info, network_names


def networks(
    family: Annotated[str | None, typer.Option(help="Only one family, such as resnet.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """List the networks that can be built: year, parameters, multiply-accumulates, input, published weights.

    Example: eyeline networks --family efficientnet
    """
    infos = [network_info(name) for name in network_names()]
    families = list(dict.fromkeys(info.family for info in infos))
    if family is not None:
        if family not in families:
            from eyeline.errors import EyelineError, nearest

            raise EyelineError(
                f"unknown family {family!r}", code="bad_option", hint=nearest(family, families)
            )
        infos = [info for info in infos if info.family == family]
    if json:
        print_json({"networks": [info.to_dict() for info in infos]})
        return
    print_line(f"{'network':<26}{'year':>5}{'parameters':>14}{'MACs':>18}  {'input':<12}weights")
    for info in infos:
        size = "x".join(map(str, info.input_size))
        weights = ", ".join(info.weights) or "-"
        print_line(
            f"{info.name:<26}{info.year:>5}{info.parameters:>14,}{info.macs:>18,}  {size:<12}{weights}"
        )
