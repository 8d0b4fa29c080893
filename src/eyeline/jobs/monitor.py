"""A shift of verdicts against the run: is what was promised still worth anything?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eyeline.errors import EyelineError
from eyeline.jobs.verdict_log import VerdictLog, read_log
from eyeline.progress import Progress, silent
from eyeline.reports import MonitorData, write_monitor
from eyeline.runtime import Contract, open_artifact
from eyeline.verdicts import Baseline, watch_shift

if TYPE_CHECKING:
    from eyeline.verdicts import Drift

BATCH = 100  # verdicts


@dataclass(frozen=True, kw_only=True)
class Monitored:
    """The result of ``eyeline monitor``."""

    drift: Drift
    promise: str  # what is void after an alarm
    void: bool
    text: str
    page: Path | None

    def to_dict(self) -> dict[str, Any]:
        """The keys of ``eyeline monitor --json``."""
        drift = self.drift.to_dict()
        for chart in drift["cusums"]:
            del chart["path"]  # a number a verdict: it is on the page
        return {
            "void": self.void,
            "promise": self.promise,
            "text": self.text,
            "page": None if self.page is None else str(self.page),
            **drift,
        }


def monitor_shift(
    model: str | Path,
    log: str | Path,
    *,
    baseline: str | Path | None = None,
    batch: str = str(BATCH),
    defect_rate: float | None = None,
    false_alarm: float = 0.01,
    page: str | Path | None = None,
    progress: Progress = silent,
) -> Monitored:
    """Compare a log of verdicts with the test part of the run, or with the log of a good shift.

    Parameters
    ----------
    baseline : ``predictions.parquet`` of the run (its test part counts), or a log; None takes the run's, beside the
        artifact.
    batch : so many verdicts a point of the p-chart, or the column of the log that names the batch.
    defect_rate : of the line; the test part is weighted to it.
    false_alarm : chance that a shift without any change rings.

    Raises
    ------
    EyelineError : see `read_log` and `watch_shift`.
    """
    contract = open_artifact(model).contract
    progress("reading", 0, 2, "")
    shift = read_log(log, contract)
    good = _baseline(model, baseline, contract, defect_rate)
    progress("reading", 2, 2, "")
    readable = shift.readable
    drift = watch_shift(
        shift.scores[readable],
        shift.stopped[readable],
        baseline=good,
        batches=_batches(shift, batch)[readable].tolist(),
        unreadable=int((~readable).sum()),
        unknown=_unknown(shift, readable),
        false_alarm=false_alarm,
    )
    progress("comparing", 1, 1, "")
    promise = _promise(contract)
    text = drift.text
    if drift.alarm:
        text = (
            f"Void: {promise} It was found on parts like those of the baseline, and this shift is not like them "
            f"({drift.text}). Label some of its parts and run eyeline evaluate before you rely on it again."
        )
    result = Monitored(
        drift=drift,
        promise=promise,
        void=drift.alarm,
        text=text,
        page=None if page is None else Path(page),
    )
    if page is not None:
        write_monitor(
            page,
            MonitorData(
                drift=drift,
                model=Path(model).name,
                log=Path(log).name,
                baseline=_baseline_path(model, baseline).name,
                void=drift.alarm,
                promise=promise,
                text=text,
                threshold=contract.threshold.value,
                shift_scores=shift.scores[readable],
                baseline_scores=good.scores,
                baseline_weights=good.weights,
            ),
        )
    return result


def _baseline_path(model: str | Path, baseline: str | Path | None) -> Path:
    return Path(model).parent / "predictions.parquet" if baseline is None else Path(baseline)


def _baseline(
    model: str | Path, baseline: str | Path | None, contract: Contract, defect_rate: float | None
) -> Baseline:
    path = _baseline_path(model, baseline)
    if baseline is None and not path.exists():
        raise EyelineError(
            "there are no predictions beside the artifact",
            code="no_baseline",
            path=path,
            hint="give --baseline: predictions.parquet of the run, or the log of a good shift",
        )
    log = read_log(path, contract)
    chosen = (
        log.column("split") == "test" if "split" in log.columns else np.ones(len(log.scores), dtype=np.bool_)
    )
    readable = log.readable & chosen
    truth, groups = log.columns.get("truth"), log.columns.get("group")
    grouped = groups is not None and any(groups)
    return Baseline(
        scores=log.scores[readable],
        stopped=log.stopped[readable],
        unreadable=int((chosen & ~log.readable).sum()),
        unknown=_unknown(log, readable),
        is_defect=None if truth is None else (log.column("truth") != contract.good)[readable],
        groups=np.unique(log.column("group"), return_inverse=True)[1][readable] if grouped else None,
        defect_rate=defect_rate,
    )


def _unknown(log: VerdictLog, rows: NDArray[np.bool_]) -> int | None:
    """How many of the rows are of unknown objects; None where the artifact does not tell."""
    return int(log.unknown[rows].sum()) if "unknown" in log.columns else None


def _batches(log: VerdictLog, batch: str) -> NDArray[np.str_]:
    if not batch.isdigit():
        return log.column(batch)
    size = int(batch)
    if size < 1:
        raise EyelineError(f"a batch of {size} verdicts", code="bad_option", hint="1 or more, or a column")
    rows = len(log.scores)
    starts = np.arange(rows) // size * size
    return np.array([f"{start + 1}-{min(start + size, rows)}" for start in starts.tolist()])


def _promise(contract: Contract) -> str:
    """The guarantee that the artifact carries, else what was measured on its test part."""
    given = contract.threshold.guarantee
    if given and given.get("granted") and given.get("text"):
        return _sentence(str(given["text"]))
    measured = contract.test.get("claim")
    return _sentence(str(measured)) if measured else "The figures of the test part."


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."
