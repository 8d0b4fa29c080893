"""The model as one appraiser among people: the same parts, the same limits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eyeline.errors import EyelineError
from eyeline.jobs.study import MODEL, NO_CALL, read_study
from eyeline.progress import Progress, silent
from eyeline.reports import AppraisalData, write_appraisal
from eyeline.runtime import load
from eyeline.verdicts import appraise

if TYPE_CHECKING:
    from eyeline.verdicts import Appraisal


@dataclass(frozen=True, kw_only=True)
class Appraised:
    """The result of ``eyeline appraise``."""

    appraisal: Appraisal
    page: Path | None
    errors: dict[str, str]  # pictures that could not be judged

    def to_dict(self) -> dict[str, Any]:
        """The keys of ``eyeline appraise --json``."""
        return self.appraisal.to_dict() | {
            "page": None if self.page is None else str(self.page),
            "errors": self.errors,
        }


def appraise_model(
    model: str | Path,
    study: str | Path,
    *,
    confidence: float = 0.95,
    page: str | Path | None = None,
    progress: Progress = silent,
) -> Appraised:
    """Let an artifact judge the pictures of a study and compare its calls with the reference and with people's.

    The decision counts, not the class: what passes is called good, all else (review too) is called a defect.

    Raises
    ------
    EyelineError : the study cannot be read (see `read_study`), or no picture could be judged.
    """
    inspector = load(model)
    contract = inspector.contract
    table = read_study(study, contract.classes, contract.good)
    calls = np.full(len(table.paths), NO_CALL, dtype=np.int64)
    errors: dict[str, str] = {}
    for row, verdict in enumerate(inspector.predict(table.paths)):
        if verdict.error is None:
            calls[row] = verdict.decision != "pass"
        else:
            errors[table.paths[row]] = verdict.error
        progress("judging", row + 1, len(table.paths), "")
    if len(errors) == len(table.paths):
        raise EyelineError(
            f"no picture could be judged: {next(iter(errors.values()))}", code="too_many_bad", path=study
        )
    found = appraise(
        {MODEL: calls, **table.calls}, table.reference, table.parts, model=MODEL, confidence=confidence
    )
    if page is not None:
        data = AppraisalData(
            appraisal=found,
            model=Path(model).name,
            sha256=inspector.sha256,
            study=Path(study).name,
            network=contract.network,
            threshold=contract.threshold.value,
            errors=errors,
        )
        write_appraisal(page, data)
    return Appraised(appraisal=found, page=None if page is None else Path(page), errors=errors)
