"""The command line: one small file a verb. Parse, call, print; no logic lives here."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; never returns."""
    from eyeline.cli.app import run

    sys.exit(run(sys.argv[1:]))
