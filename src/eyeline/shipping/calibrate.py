"""The range of every activation, measured on unlabelled pictures that pass by one at a time."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from eyeline.errors import EyelineError

# How a range is read from what was seen, in the order in which they are tried: all of it; all but a ten-thousandth at
# either end; the range that keeps most information (relative entropy, as TensorRT does).
METHODS = ("minmax", "percentile", "entropy")
_OPTIONS: dict[str, dict[str, Any]] = {"percentile": {"percentile": 99.99, "symmetric": False}}


def measure_ranges(
    model: onnx.ModelProto, images: Iterable[NDArray[np.uint8]], *, method: str = "minmax"
) -> Any:
    """Ranges of the activations of `model`, as `onnxruntime.quantization` keeps them.

    Parameters
    ----------
    model : with inferred shapes.
    images : uint8 ``(H, W, C)`` each, prepared. One is held at a time, with its activations: the memory is the same
        for ten and for ten thousand.
    method : one of `METHODS`.

    Raises
    ------
    EyelineError : ``bad_option`` for the method, ``empty`` when there are no images.
    """
    from onnxruntime.quantization import CalibrationMethod, create_calibrator

    if method not in METHODS:
        raise EyelineError(f"the method is {method!r}; allowed: {', '.join(METHODS)}", code="bad_option")
    kinds = dict(
        zip(
            METHODS,
            (CalibrationMethod.MinMax, CalibrationMethod.Percentile, CalibrationMethod.Entropy),
            strict=True,
        )
    )
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        path = Path(folder) / "model.onnx"
        onnx.save(model, path)
        calibrator = create_calibrator(
            path,
            augmented_model_path=str(Path(folder) / "augmented.onnx"),
            calibrate_method=kinds[method],
            extra_options=_OPTIONS.get(method, {}),
        )
        seen = 0
        for image in images:
            calibrator.collect_data(_One(image))
            seen += 1
        if not seen:
            raise EyelineError("there are no images to calibrate with", code="empty")
        return calibrator.compute_data()


class _One:
    """A data reader of one picture."""

    def __init__(self, image: NDArray[np.uint8]) -> None:
        self.left = [{"image": image[None]}]

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        return self.left.pop() if self.left else None
