"""The int8 twin of a fp32 graph: which way of calibrating keeps its figures, and which layers must stay in fp32.

Measured, not assumed: a judge, handed in, says how much a candidate loses on images that are neither those of the
calibration nor those of the test.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from eyeline.errors import GateError
from eyeline.progress import Progress, silent
from eyeline.runtime import Engine
from eyeline.shipping.calibrate import METHODS, measure_ranges
from eyeline.shipping.quantize import layers_of, needs_reduced_range, quantize_graph

# Loss of a candidate: what it loses, in units of what it may lose. At most 1 is good enough.
Judge = Callable[[bytes], float]
Images = Callable[[], Iterator[NDArray[np.uint8]]]

SENSED = 12  # images that the layers are ranked on
_PAIRS, _WARM = 30, 3


@dataclass(frozen=True, kw_only=True)
class Quantized:
    """A graph in 8-bit integers and how it was found."""

    graph: bytes
    method: str
    kept: tuple[str, ...]
    layers: int
    loss: float


def find_int8(
    model: onnx.ModelProto, images: Images, judge: Judge, *, progress: Progress = silent
) -> Quantized:
    """The first int8 graph that the judge lets pass.

    The ways of calibrating come first, all layers in int8. If none is good enough, the layers are ranked by what each
    of them alone, quantized, changes in the probabilities of the calibration images, and the worst 1, 2, 4, ... stay in
    fp32, up to half of them.

    Parameters
    ----------
    model : as `plain_graph` gives it.
    images : makes the calibration images ``(H, W, C)`` anew each time it is called; one is held at a time.

    Raises
    ------
    GateError : ``int8`` when nothing is good enough, with the best that was found.
    """
    reduce_range, layers = needs_reduced_range(), layers_of(model)

    def tried(ranges: Any, method: str, kept: tuple[str, ...]) -> Quantized:
        graph = quantize_graph(model, ranges, kept=kept, reduce_range=reduce_range)
        note = method + (f", {len(kept)} layers in fp32" if kept else "")
        return Quantized(
            graph=graph, method=note, kept=kept, layers=len(layers) - len(kept), loss=judge(graph)
        )

    best: tuple[Quantized, Any, str] | None = None
    for number, method in enumerate(METHODS):
        progress("calibrating", number, len(METHODS), method)
        ranges = measure_ranges(model, images(), method=method)
        found = tried(ranges, method, ())
        if found.loss <= 1:
            progress("calibrating", len(METHODS), len(METHODS), method)
            return found
        if best is None or found.loss < best[0].loss:
            best = found, ranges, method
    assert best is not None
    closest, ranges, method = best
    ranked = rank_layers(model, ranges, images(), reduce_range=reduce_range, progress=progress)
    count = 1
    while count <= len(ranked) // 2:
        found = tried(ranges, method, tuple(ranked[:count]))
        if found.loss <= 1:
            return found
        closest = min(closest, found, key=lambda candidate: candidate.loss)
        count *= 2
    raise GateError(
        f"no int8 graph of this network keeps its figures on the left-out images: the best ({closest.method}) loses "
        f"{closest.loss:.2g} times what is allowed",
        code="int8",
        hint="ship it in fp32",
    )


def rank_layers(
    model: onnx.ModelProto,
    ranges: Any,
    images: Iterator[NDArray[np.uint8]],
    *,
    reduce_range: bool = False,
    progress: Progress = silent,
) -> list[str]:
    """Layers by how much the probabilities change when that layer alone is quantized; the most sensitive first."""
    layers = layers_of(model)
    pixels = np.stack([image for image, _ in zip(images, range(SENSED), strict=False)])
    expected = Engine(model.SerializeToString()).run(pixels).probabilities
    changes = {}
    for number, name in enumerate(layers):
        alone = quantize_graph(model, ranges, kept=set(layers) - {name}, reduce_range=reduce_range)
        changes[name] = float(np.abs(Engine(alone).run(pixels).probabilities - expected).mean())
        progress("ranking layers", number + 1, len(layers), name)
    return sorted(layers, key=lambda name: -changes[name])


def measure_speedup(before: Engine, after: Engine, pixels: NDArray[np.uint8]) -> float:
    """How many times faster one image runs in `after`: the median of alternating pairs."""
    one = np.ascontiguousarray(pixels[:1])
    ratios = []
    for number in range(_WARM + _PAIRS):
        times = []
        for engine in (before, after):
            started = time.perf_counter()
            engine.run(one)
            times.append(time.perf_counter() - started)
        if number >= _WARM:
            ratios.append(times[0] / times[1])
    return statistics.median(ratios)


def rounding_spread(graph: bytes, engine: Engine, pixels: NDArray[np.uint8]) -> float:
    """How far right engines differ on an int8 graph: `engine`, onnxruntime, and onnxruntime without 8-bit kernels.

    Without them every layer is computed in fp32 between rounded values, as the definition of the operators says.

    Returns
    -------
    The largest difference of a probability, over the images ``(N, H, W, C)``.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    plain = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    usual = Engine(graph)
    spread = 0.0
    for image in pixels:
        answers = [found.run(image[None]).probabilities for found in (engine, usual)]
        answers += plain.run(["probabilities"], {"image": image[None]})
        spread = max(spread, float(np.ptp(np.stack(answers), axis=0).max()))
    return spread
