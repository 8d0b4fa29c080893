"""The gate: the whole test part again, through the very graph that ships."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eyeline.errors import EyelineError, GateError
from eyeline.progress import Progress, silent
from eyeline.runtime import TOLERANCE, EngineChoice, Proof, open_engine, read_graph
from eyeline.shipping.answers import answer_all
from eyeline.verdicts import decide, decisions, defect_scores


def prove(
    source: str | Path | bytes,
    pixels: NDArray[np.uint8],
    probabilities: NDArray[np.floating],
    threshold: float,
    good_index: int = 0,
    *,
    high: float | None = None,
    novelty: float | None = None,
    unknown: NDArray[np.bool_] | None = None,
    rows: NDArray[np.integer] | None = None,
    threads: int | None = None,
    engine: str = "onnxruntime",
    progress: Progress | None = None,
) -> Proof:
    """Run every image through an engine and compare with what the trained network said.

    Parameters
    ----------
    source : an ONNX file with the inputs and outputs of an artifact, or its bytes.
    pixels : uint8 ``(M, H, W, C)``, prepared; may be memory-mapped.
    probabilities : ``(N, K)``, calibrated, of the trained network.
    threshold, high : where images stop passing, and where they fail when there is a review band between.
    novelty, unknown : above which output ``novelty`` an image is unknown, and ``(N,)`` which ones should be.
    rows : ``(N,)`` which of `pixels` they belong to; None when it is all of them.
    threads, engine : as for `eyeline.load`.

    Raises
    ------
    GateError : a decision changed, or a probability differs by more than 1e-4 (``code="parity"``).
    EyelineError : the file is refused, or shapes do not fit.
    """
    rows = np.arange(len(pixels)) if rows is None else np.asarray(rows)
    expected = np.asarray(probabilities, dtype=np.float64)
    if expected.ndim != 2 or len(expected) != len(rows) or len(rows) == 0:
        raise EyelineError(
            f"{len(rows)} images and probabilities of shape {expected.shape} do not fit together",
            code="bad_input_shape",
        )
    data = source if isinstance(source, bytes) else Path(source).read_bytes()
    if read_graph(data).classes != expected.shape[1]:
        raise EyelineError("the graph and the probabilities differ in their classes", code="label_count")
    runner = open_engine(data, EngineChoice(engine, threads))
    found = answer_all(runner, pixels, rows, progress=progress or silent)
    p = found.probabilities.astype(np.float64)
    here = _answers(p, threshold, high, good_index, found.unknown(novelty))
    there = _answers(expected, threshold, high, good_index, unknown)
    changed = sum(a != b for a, b in zip(here, there, strict=True))
    difference = float(np.abs(p - expected).max())
    if changed or not difference <= TOLERANCE:
        raise GateError(
            f"the exported network changes {changed} of {len(rows)} decisions and its probabilities by up to "
            f"{difference:.3g}; allowed: 0 and {TOLERANCE:g}",
            code="parity",
        )
    return Proof(images=len(rows), changed_decisions=changed, max_difference=difference, engine=runner.name)


def _answers(
    p: NDArray[np.float64], low: float, high: float | None, good: int, unknown: NDArray[np.bool_] | None
) -> list[tuple[int, str, bool]]:
    """Label, decision and whether it is unknown, of every image."""
    labels = decide(p, low, good, unknown=unknown).tolist()
    words = decisions(defect_scores(p, good), low, high, unknown=unknown)
    strange = [False] * len(p) if unknown is None else np.asarray(unknown).tolist()
    return list(zip(labels, words, strange, strict=True))
