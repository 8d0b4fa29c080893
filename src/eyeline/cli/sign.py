"""``eyeline sign``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eyeline.cli.screen import print_json, print_line
from eyeline.errors import EyelineError


def sign(
    model: Annotated[Path | None, typer.Argument(metavar="[MODEL]", help="An .onnx artifact.")] = None,
    key: Annotated[
        Path | None, typer.Option(metavar="PRIVATE.pem", help="Sign with this Ed25519 key.")
    ] = None,
    new_key: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Make a key: the private one in PATH, the public one in PATH.pub."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Say who made an artifact: writes MODEL.sig, which eyeline verify --key and predict --key check.

    Keep the private key where nobody else reads it; give the public one to everyone who runs your artifacts. Only a
    whole artifact is signed.

    Make a key first: --new-key factory.pem

    Example: eyeline sign runs/parts/model.onnx --key factory.pem
    """
    if (model is None) != (key is None) or (key is None and new_key is None):
        raise EyelineError("give MODEL and --key, or --new-key", code="usage")
    from eyeline.runtime import new_key as make_key
    from eyeline.runtime import open_artifact, sign_artifact

    found: dict[str, str] = {}
    if new_key is not None:
        private, public = make_key(new_key)
        found |= {"private_key": str(private), "public_key": str(public)}
    if model is not None and key is not None:
        artifact = open_artifact(model)
        found |= {
            "model": str(model),
            "sha256": artifact.sha256,
            "signature": str(sign_artifact(model, artifact.data, key)),
        }
    if json:
        print_json(found)
    else:
        for name, value in found.items():
            print_line(f"{name.replace('_', ' '):<12} {value}")
