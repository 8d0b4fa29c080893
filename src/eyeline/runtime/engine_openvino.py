"""The same graph by OpenVINO, behind the interface of `Engine`. Optional: ``pip install 'eyeline[openvino]'``.

- fp32 is asked for: by itself OpenVINO computes in bfloat16 where a processor can, and verdicts would change.
- Every number of images in `BUCKETS` is compiled for itself when it first comes: a fixed shape is faster and its memory
  does not grow.
- The telemetry package that comes with OpenVINO is kept out of the process.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeline.errors import EyelineError
from eyeline.runtime.engine import Engine, reason

_TELEMETRY = "openvino_telemetry"


class OpenVinoEngine(Engine):
    """Runs a checked graph with OpenVINO; parameters as `Engine`.

    Raises
    ------
    EyelineError : ``no_engine`` when the package is missing, ``engine`` when OpenVINO cannot use the graph.
    """

    def _open(self, data: bytes) -> tuple[list[str], tuple[int, int, int]]:
        self._openvino = _import()
        self._core = self._openvino.Core()
        self._lock, self._local = threading.Lock(), threading.local()
        self._compiled: dict[int, Any] = {}
        try:
            model = self._core.read_model(data)
        except Exception as error:  # RuntimeError, mostly
            raise EyelineError(f"OpenVINO refuses the graph: {reason(error)}", code="engine") from error
        shape = model.input("image").partial_shape
        height, width, channels = (int(shape[i].get_length()) for i in (1, 2, 3))
        return [output.get_any_name() for output in model.outputs], (height, width, channels)

    @property
    def name(self) -> str:
        """Such as ``OpenVINO 2026.4 CPU``."""
        return f"OpenVINO {self._openvino.__version__.split('-')[0]} CPU"

    def _run(self, pixels: NDArray[np.uint8]) -> dict[str, Any]:
        try:
            request = self._request(len(pixels))
            request.infer({"image": pixels})
            return {
                name: np.array(request.get_output_tensor(number).data)
                for number, name in enumerate(self.outputs)
            }
        except Exception as error:
            raise EyelineError(f"OpenVINO failed: {reason(error)}", code="engine") from error

    def _request(self, count: int) -> Any:
        """An inference request for `count` images, of this thread alone."""
        requests: dict[int, Any] | None = getattr(self._local, "requests", None)
        if requests is None:
            requests = self._local.requests = {}
        if count not in requests:
            with self._lock:
                if count not in self._compiled:
                    self._compiled[count] = self._compile(count)
            requests[count] = self._compiled[count].create_infer_request()
        return requests[count]

    def _compile(self, count: int) -> Any:
        model = self._core.read_model(self._data)
        model.reshape({"image": [count, *self.input_shape]})
        settings = {
            "PERFORMANCE_HINT": "LATENCY" if self.streams == 1 else "THROUGHPUT",
            "INFERENCE_NUM_THREADS": self.threads * self.streams,
            "NUM_STREAMS": self.streams,
            "INFERENCE_PRECISION_HINT": "f32",
            "ENABLE_CPU_PINNING": False,
        }
        return self._core.compile_model(model, "CPU", settings)


def _import() -> Any:
    try:
        with _without_telemetry():
            import openvino
    except ImportError as error:
        raise EyelineError(
            "OpenVINO is not installed", code="no_engine", hint="pip install 'eyeline[openvino]'"
        ) from error
    return openvino


@contextmanager
def _without_telemetry() -> Iterator[None]:
    """None in the table of modules makes an import fail; OpenVINO then takes its own stand-in that sends nothing."""
    if _TELEMETRY in sys.modules:
        yield
        return
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[_TELEMETRY]
