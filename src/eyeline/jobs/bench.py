"""How fast an artifact runs on this machine, by which engine and how many threads; the fastest is remembered."""

from __future__ import annotations

import base64
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eyeline.errors import EyelineError
from eyeline.jobs.predict import find_images
from eyeline.progress import Progress, silent
from eyeline.runtime import (
    ENGINES,
    Artifact,
    Engine,
    EngineChoice,
    Inspector,
    Timing,
    cores,
    open_artifact,
    open_engine,
    processor,
    remember_choice,
    time_runs,
    time_stages,
)

BATCHES = (1, 4, 16)
SECONDS = 1.0  # of each configuration
WINS = 0.95  # another engine than onnxruntime must need at most this share of its time
_FEWEST_FILES = 64


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What was measured; the choice is the fastest engine for one image at a time."""

    model: str
    sha256: str
    precision: str
    processor: str
    engine: str
    threads: int
    latency_ms: dict[str, float]  # p50, p99 of one decoded image
    images_per_second: float  # from files to verdicts, by the choice
    stages: dict[str, float]  # read, decode, resize, infer: milliseconds an image, one after the other
    runs: tuple[Timing, ...]
    refused: dict[str, str] = field(default_factory=dict)  # engines that did not measure, and why
    kept: str | None = None  # where the choice is kept

    def to_dict(self) -> dict[str, Any]:
        """The keys of ``eyeline bench --json``."""
        return {**self.__dict__, "runs": [timing.to_dict() for timing in self.runs]}


def bench_model(
    model: str | Path,
    *,
    int8: str | Path | None = None,
    images: str | Path | None = None,
    engines: Sequence[str] = ENGINES,
    seconds: float = SECONDS,
    keep: bool = True,
    progress: Progress = silent,
) -> Bench:
    """Measure an artifact with each engine that is installed, with 1, 2, 4, ... threads and 1, 4 and 16 images a run.

    An engine takes part only when it answers all golden images as the contract says. The one with the lowest median for
    one image is chosen, another than onnxruntime only when it is at least 5 % faster, and `load` takes it from then on.

    Parameters
    ----------
    int8 : the int8 twin, measured beside it; its own choice is kept too.
    images : a folder or file for the way from files to verdicts; None takes the golden images of the artifact.
    seconds : for each configuration.
    keep : remember the choice.

    Raises
    ------
    EyelineError : the artifact, the twin or the images cannot be used, or no engine can run it.
    """
    artifacts = [open_artifact(model), *([] if int8 is None else [open_artifact(int8)])]
    shape = artifacts[0].contract.decode.image_size
    for twin in artifacts[1:]:
        if twin.contract.decode.image_size != shape or twin.contract.classes != artifacts[0].contract.classes:
            raise EyelineError(
                "not a twin: another image size or other classes", code="bad_option", path=int8
            )
    runs: list[Timing] = []
    refused: dict[str, str] = {}
    best: list[tuple[Timing, EngineChoice]] = []
    for artifact in artifacts:
        found = list(_measured(artifact, engines, seconds, refused, progress))
        if not found:
            raise EyelineError(
                f"no engine can run it: {'; '.join(refused.values())}", code="engine", path=artifact.path
            )
        runs += [timing for timing, _ in found]
        best.append(_fastest(found))
    timing, choice = best[0]
    with _files(artifacts[0], images) as files:
        engine = open_engine(artifacts[0].data, choice)
        stages = time_stages(engine, artifacts[0].contract.decode, files, seconds=seconds)
        rate = _throughput(Inspector(artifacts[0], engine=engine), files, seconds)
    kept = None
    if keep:
        for artifact, (fastest, chosen) in zip(artifacts, best, strict=True):
            path = remember_choice(artifact.sha256, chosen, fastest.to_dict())
            kept = kept or str(path)
    return Bench(
        model=str(model),
        sha256=artifacts[0].sha256,
        precision=artifacts[0].contract.precision,
        processor=processor(),
        engine=choice.engine,
        threads=timing.threads,
        latency_ms={"p50": timing.p50_ms, "p99": timing.p99_ms},
        images_per_second=rate,
        stages=stages,
        runs=tuple(runs),
        refused=refused,
        kept=kept,
    )


def thread_counts() -> list[int]:
    """1, 2, 4, ... and all processors of this process, at most 8."""
    most = min(cores(), 8)
    return sorted({most, *(2**n for n in range(4) if 2**n <= most)})


def _measured(
    artifact: Artifact, engines: Sequence[str], seconds: float, refused: dict[str, str], progress: Progress
) -> Iterator[tuple[Timing, EngineChoice]]:
    contract = artifact.contract
    image = contract.golden[0].pixels(contract.decode.channels)
    total = len(engines) * len(thread_counts()) * len(BATCHES)
    done = 0
    for name in engines:
        for threads in thread_counts():
            choice = EngineChoice(name, threads)
            try:
                engine = open_engine(artifact.data, choice)
                _check_golden(artifact, engine)
            except EyelineError as error:
                refused[f"{name} {contract.precision}"] = error.message
                break
            for batch in BATCHES:
                progress(f"timing {contract.precision}", done, total, f"{name}, {threads} threads, {batch}")
                timing = time_runs(
                    engine, image, name=name, precision=contract.precision, batch=batch, seconds=seconds
                )
                done += 1
                yield timing, choice
    progress(f"timing {contract.precision}", total, total, "")


def _check_golden(artifact: Artifact, engine: Engine) -> None:
    difference, changed = Inspector(artifact, engine=engine).replay(artifact.contract.golden)
    if changed or not difference <= artifact.contract.tolerance:
        raise EyelineError(
            f"{engine.name} changes {changed} golden images, probabilities by {difference:.2g}", code="golden"
        )


def _fastest(found: Sequence[tuple[Timing, EngineChoice]]) -> tuple[Timing, EngineChoice]:
    """By the median of one image; onnxruntime unless another is clearly faster."""

    def needed(entry: tuple[Timing, EngineChoice]) -> float:
        timing, choice = entry
        return timing.p50_ms * (WINS if choice.engine == "onnxruntime" else 1.0)

    return min((entry for entry in found if entry[0].batch == 1), key=needed)


def _throughput(inspector: Inspector, files: Sequence[str], seconds: float) -> float:
    """Images a second from files to verdicts, over and over until the time is up."""
    list(inspector.predict(files[:8]))
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        count += sum(1 for _ in inspector.predict(files))
    return count / (time.perf_counter() - started)


@contextmanager
def _files(artifact: Artifact, images: str | Path | None) -> Iterator[list[str]]:
    """Real pictures, or the golden ones as PNG in a temporary folder, each several times."""
    if images is not None:
        yield find_images([images])
        return
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, golden in enumerate(artifact.contract.golden):
            path = Path(folder) / f"{number:02d}.png"
            path.write_bytes(base64.b64decode(golden.png))
            paths.append(str(path))
        yield paths * -(-_FEWEST_FILES // len(paths))
