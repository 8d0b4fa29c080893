"""The claims of the textbook on Fashion-MNIST and ELPV: the table in docs/claims.md and the page beside it.

    python benchmarks/claims.py [--full] [--out claims] [--output benchmarks/results/claims.json]

The default protocol takes 17 minutes on two cores (AMD Zen 4), the full one six times as long. An interrupted run goes
on when it is started again: what is finished lies in the folder --out, with the page claims.html.
"""

from __future__ import annotations

import argparse
import os
import platform
from pathlib import Path
from typing import Any

from eyeline.files import write_json
from eyeline.jobs import measure_claims

RESULTS = Path(__file__).parent / "results" / "claims.json"


def report(stage: str, done: int, total: int, note: str) -> None:
    if done == total:
        print(f"{stage} {note}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("claims"))
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    judged = measure_claims(full=options.full, out=options.out, progress=report)
    if judged.not_run:
        raise SystemExit("; ".join(judged.not_run.values()))
    results: dict[str, Any] = {
        "command": f"python benchmarks/claims.py{' --full' if options.full else ''}",
        "processor": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "seconds": round(sum(claim.seconds for claim in judged.claims)),
        "claims": [claim.to_dict() for claim in judged.claims],
    }
    write_json(options.output, results)


if __name__ == "__main__":
    main()
