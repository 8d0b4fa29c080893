"""``eyeline verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eyeline.cli.screen import print_json, print_line
from eyeline.runtime import verify_artifact


def verify(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="An .onnx artifact.")],
    key: Annotated[
        Path | None,
        typer.Option(metavar="PUBLIC.pem", help="The artifact must be signed by this key, in MODEL.sig."),
    ] = None,
    engine: Annotated[str, typer.Option(help="onnxruntime or openvino.")] = "onnxruntime",
    json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Check that an artifact is whole and answers here as it did where it was made. Needs no PyTorch.

    Exit code 1 when a check fails.

    Example: eyeline verify runs/parts/model.onnx --key factory.pem.pub
    """
    checks = verify_artifact(model, engine=engine, key=key)
    ok = all(check.ok for check in checks)
    if json:
        print_json({"ok": ok, "checks": [check.to_dict() for check in checks]})
    else:
        for check in checks:
            print_line(f"{'ok  ' if check.ok else 'FAIL'} {check.name:<10} {check.detail}")
        print_line(f"{model}: " + ("everything holds" if ok else "do not use this artifact here"))
    if not ok:
        raise typer.Exit(1)
