"""One onnxruntime session with manners: threads bounded, no spinning, shapes that repeat, nothing printed.

- Spinning threads burn whole cores between two pictures and win nothing measurable: off.
- An engine that meets a new shape plans and allocates anew, and its memory grows. The image size is fixed by
  the graph, and the number of images in a run is always one of `BUCKETS`.
- The format is forced to ONNX: a file that onnxruntime took for its own ``.ort`` format would pass by our
  checks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from eyeline.errors import EyelineError
from eyeline.runtime.machine import cores

BUCKETS = (8, 4, 2, 1)
MAX_DEFAULT_THREADS = 8  # one picture at a time does not feed more
MAX_THREADS = 256


@dataclass(frozen=True, eq=False)
class Outputs:
    """What the graph says about N images."""

    probabilities: NDArray[np.float32]  # (N, K), calibrated
    logits: NDArray[np.float32]  # (N, K)
    evidence: NDArray[np.float32] | None  # (N, K, h, w)
    novelty: NDArray[np.float32] | None = None  # (N,), distance to what was learned from


class Engine:
    """Runs a checked graph with onnxruntime; `eyeline.runtime.openvino` runs it with another.

    Parameters
    ----------
    data : a file that `open_artifact` or `read_graph` has checked.
    threads : for one run; None takes the processors this process may use, at most 8.
    streams : runs that may go on at the same time, each with its threads. More may be asked for, and wait for a turn.

    Raises
    ------
    EyelineError : ``bad_option`` for the threads, ``engine`` when onnxruntime cannot use the graph.
    """

    def __init__(self, data: bytes, *, threads: int | None = None, streams: int = 1) -> None:
        self.threads, self.streams = _checked_threads(threads), streams
        self._data = data
        self.outputs, self.input_shape = self._open(data)

    @property
    def name(self) -> str:
        """Such as ``onnxruntime 1.20.0 CPU``."""
        return f"onnxruntime {onnxruntime.__version__} CPU"

    def _open(self, data: bytes) -> tuple[list[str], tuple[int, int, int]]:
        """Load the graph; the names of its outputs, and (H, W, C) of its input."""
        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 4  # errors come back as exceptions
        options.use_deterministic_compute = True
        for key, value in {
            "session.intra_op.allow_spinning": "0",
            "session.inter_op.allow_spinning": "0",
            "session.load_model_format": "ONNX",
        }.items():
            options.add_session_config_entry(key, value)
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has no common base of its exceptions
            raise EyelineError(f"onnxruntime refuses the graph: {reason(error)}", code="engine") from error
        (image,) = self._session.get_inputs()
        return [output.name for output in self._session.get_outputs()], tuple(image.shape[1:])

    def parallel(self, streams: int) -> Engine:
        """The same graph on one thread a run, for so many runs at the same time."""
        return self if self.threads == streams == 1 else type(self)(self._data, threads=1, streams=streams)

    def run(self, pixels: NDArray[np.uint8]) -> Outputs:
        """Judge images uint8 ``(N, H, W, C)``, already at the size of the network.

        Raises
        ------
        EyelineError : ``bad_input_shape``; ``bad_answer`` when what the graph answers are not probabilities.
        """
        if pixels.dtype != np.uint8 or pixels.shape[1:] != self.input_shape or len(pixels) == 0:
            raise EyelineError(
                f"images of {pixels.dtype} and shape {tuple(pixels.shape)}; "
                f"allowed: uint8 (N, {', '.join(map(str, self.input_shape))})",
                code="bad_input_shape",
            )
        parts = [self._run(np.ascontiguousarray(part)) for part in in_buckets(pixels)]
        whole = {name: np.concatenate([part[name] for part in parts]) for name in self.outputs}
        _check_answers(whole["probabilities"], whole["logits"], whole.get("novelty"))
        return Outputs(whole["probabilities"], whole["logits"], whole.get("evidence"), whole.get("novelty"))

    def _run(self, pixels: NDArray[np.uint8]) -> dict[str, Any]:
        """The outputs by name for as many images as one of `BUCKETS` says."""
        try:
            return dict(zip(self.outputs, self._session.run(self.outputs, {"image": pixels}), strict=True))
        except Exception as error:
            raise EyelineError(f"onnxruntime failed: {reason(error)}", code="engine") from error


def in_buckets(pixels: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Cut N images into runs whose lengths are among `BUCKETS`: 13 become 8, 4 and 1. Nothing is padded."""
    parts, start = [], 0
    for bucket in BUCKETS:
        while len(pixels) - start >= bucket:
            parts.append(pixels[start : start + bucket])
            start += bucket
    return parts


def _check_answers(
    probabilities: NDArray[np.float32], logits: NDArray[np.float32], novelty: NDArray[np.float32] | None
) -> None:
    finite = np.isfinite(logits).all() and np.isfinite(probabilities).all()
    finite &= novelty is None or np.isfinite(novelty).all()
    if not finite or probabilities.min() < 0 or np.abs(probabilities.sum(axis=1) - 1).max() > 1e-3:
        raise EyelineError("the network answers with values that are not probabilities", code="bad_answer")


def available_threads() -> int:
    """Processors this process may use, at most `MAX_DEFAULT_THREADS`."""
    return min(cores(), MAX_DEFAULT_THREADS)


def _checked_threads(threads: int | None) -> int:
    if threads is None:
        return available_threads()
    if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= MAX_THREADS:
        raise EyelineError(f"threads is {threads!r}; allowed: 1 to {MAX_THREADS}", code="bad_option")
    return threads


def reason(error: Exception) -> str:
    """The first line of an engine's message, without its source location."""
    return (
        str(error).strip().splitlines()[0].rsplit("] ", 1)[-1][:300]
        if str(error).strip()
        else type(error).__name__
    )
