"""How long an artifact takes here: runs of the network alone, and the stages of a picture on its way to a verdict."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeline.images import DecodeOptions, crop_region, open_upright, read_regular, resize_picture
from eyeline.runtime.engine import Engine

WARM = 3
STAGES = ("read", "decode", "resize", "infer")


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Runs of `batch` images by one engine."""

    engine: str
    precision: str
    threads: int
    batch: int
    runs: int
    p50_ms: float
    p99_ms: float
    images_per_second: float  # at the median

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def time_runs(
    engine: Engine, image: NDArray[np.uint8], *, name: str, precision: str, batch: int, seconds: float
) -> Timing:
    """Run `batch` copies of a prepared image ``(H, W, C)`` for about so many seconds, ten times at least."""
    pixels = np.ascontiguousarray(np.repeat(image[None], batch, axis=0))
    times = _repeat(lambda: engine.run(pixels), seconds)
    median = float(np.median(times))
    return Timing(
        engine=name,
        precision=precision,
        threads=engine.threads,
        batch=batch,
        runs=len(times),
        p50_ms=1e3 * median,
        p99_ms=1e3 * float(np.percentile(times, 99)),
        images_per_second=batch / median,
    )


def time_stages(
    engine: Engine, options: DecodeOptions, files: Sequence[str | Path], *, seconds: float
) -> dict[str, float]:
    """Milliseconds an image in each of `STAGES`, one after the other on one thread; medians over the files.

    The network runs one image at a time. Files that cannot be read are left out.
    """
    spent: dict[str, list[float]] = {stage: [] for stage in STAGES}
    started = time.perf_counter()
    for number, path in enumerate(files):
        if number >= 10 and time.perf_counter() - started > seconds:
            break
        marks = [time.perf_counter()]
        try:
            data = read_regular(path, options.max_bytes)
            marks.append(time.perf_counter())
            picture = open_upright(data, options)
            marks.append(time.perf_counter())
            pixels = resize_picture(crop_region(picture, options), options)
        except Exception:  # an image that cannot be judged takes no time worth telling
            continue
        marks.append(time.perf_counter())
        engine.run(pixels[None])
        marks.append(time.perf_counter())
        for stage, begin, end in zip(STAGES, marks, marks[1:], strict=False):
            spent[stage].append(1e3 * (end - begin))
    return {stage: float(np.median(times)) if times else 0.0 for stage, times in spent.items()}


def _repeat(work: Callable[[], Any], seconds: float) -> list[float]:
    for _ in range(WARM):
        work()
    times: list[float] = []
    started = time.perf_counter()
    while len(times) < 10 or time.perf_counter() - started < seconds:
        before = time.perf_counter()
        work()
        times.append(time.perf_counter() - before)
    return times
