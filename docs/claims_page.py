"""The page of the measured claims, drawn anew from benchmarks/results/claims.json whenever the docs are built.

Named as a hook in mkdocs.yml; docs/claims.md links to it.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

from eyeline.claims import ClaimResult
from eyeline.reports import write_claims

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results" / "claims.json"


def on_files(files: Files, *, config: Any) -> Files:
    """Add ``claims-measured.html``."""
    claims = [ClaimResult.model_validate(row) for row in json.loads(RESULTS.read_text("utf-8"))["claims"]]
    with tempfile.TemporaryDirectory() as folder:
        page = write_claims(Path(folder) / "claims.html", claims).read_text("utf-8")
    files.append(File.generated(config, "claims-measured.html", content=page))
    return files
