"""Measure claims one after the other; what is finished is kept, and a second run goes on with the rest."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from eyeline.claims import (
    ClaimResult,
    Settings,
    claim_names,
    find_claim,
    judge_together,
    measure_claim,
    missing_data,
)
from eyeline.errors import EyelineError, Interrupted
from eyeline.files import write_json
from eyeline.progress import Progress, silent
from eyeline.reports import write_claims

PAGE = "claims.html"
TOGETHER = "claims.json"


@dataclass(frozen=True, kw_only=True)
class MeasuredClaims:
    """The result of ``eyeline claims``."""

    claims: tuple[ClaimResult, ...]
    not_run: dict[str, str]  # name and reason
    page: Path
    kept: tuple[str, ...] = ()  # from an earlier run with the same settings

    def to_dict(self) -> dict[str, Any]:
        """The keys of ``eyeline claims --json``."""
        return {
            "claims": [claim.to_dict() for claim in self.claims],
            "not_run": [{"name": name, "reason": reason} for name, reason in self.not_run.items()],
            "page": str(self.page),
        }


def measure_claims(
    names: Sequence[str] = (),
    *,
    budget: float | None = None,
    seeds: int | None = None,
    full: bool = False,
    data: str = "fashion-mnist",
    again: bool = False,
    out: str | Path = "claims",
    workers: int | None = None,
    progress: Progress = silent,
) -> MeasuredClaims:
    """Measure the named claims, or all of them, and write ``NAME.json`` each, ``claims.json`` and ``claims.html``.

    Parameters
    ----------
    budget : seconds a claim; None for 5 minutes, or no limit with `full`.
    seeds : paired trainings of each arm; None for 5, or 10 with `full`.
    full : three times the steps.
    data : ``fashion-mnist``, ``digits``, or a folder of IDX files.
    again : measure also what `out` already has for the same settings.
    workers : trainings side by side; None for as many as there are processors.

    Raises
    ------
    EyelineError : no such claim, the data of a named claim is not here, or nothing can be measured.
    Interrupted : stopped by the user; the finished claims are kept.
    """
    standard = Settings()
    settings = Settings(
        budget=budget if budget is not None or full else standard.budget,
        seeds=seeds if seeds is not None else (2 if full else 1) * standard.seeds,
        full=full,
        data=data,
    )
    chosen = list(dict.fromkeys(names)) or claim_names()
    not_run: dict[str, str] = {}
    for name in chosen:
        find_claim(name)
        if (error := missing_data(name, settings)) is not None:
            if names:
                raise error
            not_run[name] = error.one_line()
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EyelineError(
            f"cannot be made: {error.strerror or error}", code="write_failed", path=folder
        ) from error
    ready = [name for name in chosen if name not in not_run]
    if not ready:
        raise EyelineError(next(iter(not_run.values())), code="missing_package")

    results, kept = [], []
    for number, name in enumerate(ready):
        result = None if again else _finished(folder / f"{name}.json", settings)
        if result is None:
            try:
                result = measure_claim(name, settings, workers=workers, progress=progress)
            except KeyboardInterrupt:
                raise Interrupted(
                    f"interrupted; {number} of {len(ready)} claims are finished and kept",
                    path=folder,
                    hint="the same command goes on with the rest",
                ) from None
            write_json(folder / f"{name}.json", result.to_dict())
        else:
            kept.append(name)
        results.append(result)
        progress("claims", number + 1, len(ready), f"{name} {result.verdict}")
    judged = MeasuredClaims(
        claims=tuple(judge_together(results)), not_run=not_run, page=folder / PAGE, kept=tuple(kept)
    )
    write_json(folder / TOGETHER, judged.to_dict())
    write_claims(folder / PAGE, judged.claims, not_run)
    return judged


def _finished(path: Path, settings: Settings) -> ClaimResult | None:
    """An earlier result for the same settings; None when there is none that can be used."""
    with contextlib.suppress(OSError, ValueError, ValidationError):
        result = ClaimResult.model_validate(json.loads(path.read_text("utf-8")))
        if result.settings == settings and result.name == path.stem:
            return result
    return None
