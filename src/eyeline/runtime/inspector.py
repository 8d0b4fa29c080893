"""One artifact, ready to judge pictures. Everything it needs to do so came out of the file."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeline.errors import EyelineError, GateError, one_line
from eyeline.images import Box, Tiles, Tiling, open_tiles, prepare_image
from eyeline.runtime.artifact import Artifact, open_artifact
from eyeline.runtime.contract import Contract, GoldenImage
from eyeline.runtime.engine import Engine, Outputs, available_threads
from eyeline.runtime.engines import EngineChoice, open_engine, remembered_choice
from eyeline.runtime.signature import check_signature
from eyeline.runtime.tiles import merge_tiles
from eyeline.runtime.verdict import Verdict
from eyeline.verdicts import Decision, decide, decisions, defect_scores

Source = str | Path | bytes | NDArray[Any]
Prepared = NDArray[np.uint8] | Tiles | Verdict  # the last one says why a picture cannot be prepared

BATCH, MAX_BATCH = 4, 64


def load(
    path: str | Path | bytes,
    *,
    threads: int | None = None,
    engine: str = "auto",
    key: str | Path | None = None,
    verify: bool = True,
) -> Inspector:
    """Open an artifact for use.

    Parameters
    ----------
    path : the ``.onnx`` file, or its bytes.
    threads : at most so many are busy; None takes the processors of this process, at most 8, and for a single image as
        many as ``eyeline bench`` found best.
    engine : ``onnxruntime``, ``openvino``, or ``auto``: what ``eyeline bench`` found fastest for this artifact on this
        machine, and onnxruntime when it was never asked.
    key : a public key; the artifact must then carry a right signature by it, ``<path>.sig``.
    verify : replay one golden image first; it doubles as the warm-up, and `verify_artifact` replays all. Another engine
        than onnxruntime replays all of them here. Both do it again when they first judge many.

    Raises
    ------
    EyelineError : the file is not a whole artifact (see `open_artifact`), its signature is missing or wrong (see
        `check_signature`), or the engine cannot run it.
    GateError : the artifact answers differently here than where it was made.
    """
    artifact = open_artifact(path)
    if key is not None:
        check_signature(artifact.path, artifact.data, key)
    choice = EngineChoice(engine, threads)
    if engine == "auto":
        choice = remembered_choice(artifact.sha256) or EngineChoice("onnxruntime")
        choice = EngineChoice(choice.engine, choice.threads if threads is None else threads)
    try:
        try:
            return Inspector(
                artifact, threads=threads, engine=open_engine(artifact.data, choice), verify=verify
            )
        except EyelineError:
            if engine != "auto" or choice.engine == "onnxruntime":
                raise  # a remembered engine may be gone or have changed; nobody asked for it by name
            return Inspector(artifact, threads=threads, verify=verify)
    except EyelineError as error:
        raise type(error)(error.message, code=error.code, path=artifact.path, hint=error.hint) from error


class Inspector:
    """Judges pictures by an artifact. Several threads may use one inspector at the same time."""

    def __init__(
        self,
        artifact: Artifact,
        *,
        threads: int | None = None,
        engine: Engine | None = None,
        verify: bool = False,
    ) -> None:
        self.artifact = artifact
        self.engine = engine or Engine(artifact.data, threads=threads)
        self.cores = threads or available_threads()
        """Threads that `predict` keeps busy; one image may be judged faster by fewer."""
        self._verify, self._lock = verify, threading.Lock()
        self._parallel: Engine | None = None
        self._check(self.engine)

    @property
    def contract(self) -> Contract:
        """What the artifact promises."""
        return self.artifact.contract

    @property
    def sha256(self) -> str:
        """The name of the artifact file."""
        return self.artifact.sha256

    def inspect(self, source: Source, *, tiling: Tiling | None = None) -> Verdict:
        """Judge one picture: a path, the bytes of a file, or uint8 pixels ``(H, W[, C])`` of any size.

        With `tiling` each tile is judged and the worst one counts (see `merge_tiles`). The figures of the artifact
        were measured on whole pictures and do not carry over to tiles.

        Never raises for the picture's sake: a verdict with `error` says what is wrong with it.
        """
        return self._judge_all([source], BATCH, tiling, self.engine)[0]

    def predict(
        self,
        sources: Iterable[Source],
        *,
        batch: int = BATCH,
        workers: int | None = None,
        tiling: Tiling | None = None,
    ) -> Iterator[Verdict]:
        """Judge many pictures, in order; a verdict each, whatever happens.

        Each of `workers` threads takes a batch from file to verdicts by itself, the network on one thread: cores that
        share one run wait for each other at every layer. A batch a worker is held, and one more, so `sources` may be
        endless.

        Parameters
        ----------
        batch : images in one run of the network, 1 to 64. More than 8 wins nothing on a processor.
        workers : None takes one more than `cores`, since one may be waiting for the disk; a single batch is then left
            to all threads of the engine together.
        tiling : judge every picture in tiles; see `inspect`.
        """
        if isinstance(batch, bool) or not isinstance(batch, int) or not 1 <= batch <= MAX_BATCH:
            raise EyelineError(f"batch is {batch!r}; allowed: 1 to {MAX_BATCH}", code="bad_option")
        if isinstance(sources, str | bytes | Path | np.ndarray):
            raise EyelineError("predict takes a list of images; inspect takes one", code="bad_option")
        return self._predict(iter(sources), batch, workers, tiling)

    def run(self, pixels: NDArray[np.uint8]) -> Outputs:
        """The plain outputs for pixels ``(N, H, W, C)`` that `prepare_image` has prepared."""
        return self.engine.run(pixels)

    def replay(self, golden: Iterable[GoldenImage]) -> tuple[float, int]:
        """Run golden images: the largest difference of a probability, and how many decisions changed."""
        return self._replay(self.engine, golden)

    def _replay(self, engine: Engine, golden: Iterable[GoldenImage]) -> tuple[float, int]:
        contract, difference, changed = self.contract, 0.0, 0
        for image in golden:
            found = engine.run(image.pixels(contract.decode.channels)[None])
            off = np.abs(found.probabilities[0] - np.array(image.probabilities)).max()
            difference = max(difference, float(off))
            changed += self._decisions(found)[0][1] != image.decision
        return difference, changed

    def _predict(
        self, sources: Iterator[Source], batch: int, workers: int | None, tiling: Tiling | None
    ) -> Iterator[Verdict]:
        # Pictures for tiles are held at their own size: two at a time, and all threads share the tiles.
        pictures, most = (batch, workers or self.cores + 1) if tiling is None else (1, 2)
        chunks = iter(lambda: list(islice(sources, pictures)), [])
        start = list(islice(chunks, 2))
        engine = self.engine
        if tiling is None and (workers is not None or len(start) > 1):  # for one batch no second engine pays
            engine = self._parallel_engine()
        chunks = chain(start, chunks)
        pool = ThreadPoolExecutor(most, thread_name_prefix="eyeline-judge")
        pending: deque[Future[list[Verdict]]] = deque()
        try:
            while True:
                for chunk in islice(chunks, most + 1 - len(pending)):
                    pending.append(pool.submit(self._judge_all, chunk, batch, tiling, engine))
                if not pending:
                    return
                yield from pending.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _parallel_engine(self) -> Engine:
        """The engine with one thread a run, opened when it is first needed."""
        with self._lock:
            if self._parallel is None:
                engine = self.engine.parallel(self.cores)
                self._check(engine)
                self._parallel = engine
            return self._parallel

    def _check(self, engine: Engine) -> None:
        """Replay golden images where that is wanted; any engine but onnxruntime has to show them all."""
        golden, allowed = self.contract.golden, self.contract.tolerance
        if not self._verify:
            return
        difference, changed = self._replay(engine, golden[:1] if type(engine) is Engine else golden)
        if changed or not difference <= allowed:
            raise GateError(
                f"a golden image gives other probabilities here, by {difference:.2g} where {allowed:g} is allowed",
                code="golden",
                hint="see eyeline verify",
            )

    def _judge_all(
        self, sources: list[Source], batch: int, tiling: Tiling | None, engine: Engine
    ) -> list[Verdict]:
        """A verdict each, in order; pictures that come in tiles are judged one after the other."""
        prepared = [(_name(source), self._prepare(source, tiling)) for source in sources]
        whole = [(name, pixels) for name, pixels in prepared if isinstance(pixels, np.ndarray)]
        verdicts = iter(self._judge(whole, engine))
        return [
            self._judge_tiles(name, found, batch, engine)
            if isinstance(found, Tiles)
            else (found if isinstance(found, Verdict) else next(verdicts))
            for name, found in prepared
        ]

    def _judge_tiles(self, path: str | None, tiles: Tiles, batch: int, engine: Engine) -> Verdict:
        def judged() -> Iterator[tuple[Box, Verdict]]:
            for start in range(0, len(tiles), batch):
                some = range(start, min(start + batch, len(tiles)))
                verdicts = self._judge([(path, tiles.cut(i)) for i in some], engine)
                yield from zip(tiles.boxes[start : start + batch], verdicts, strict=True)

        return merge_tiles(judged(), path=path)

    def _prepare(self, source: Source, tiling: Tiling | None) -> Prepared:
        try:
            if tiling is not None:
                return open_tiles(source, self.contract.decode, tiling)
            return prepare_image(source, self.contract.decode)
        except EyelineError as error:
            return self._failed(_name(source), f"{error.code}: {error.message}")
        except Exception as error:  # one odd file must never stop a line
            return self._failed(_name(source), f"unreadable: {type(error).__name__}: {error}")

    def _failed(self, path: str | None, reason: str) -> Verdict:
        return Verdict(path=path, error=one_line(reason), model_sha256=self.sha256)

    def _judge(self, images: list[tuple[str | None, NDArray[np.uint8]]], engine: Engine) -> list[Verdict]:
        if not images:
            return []
        try:
            outputs = engine.run(np.stack([pixels for _, pixels in images]))
        except EyelineError as error:
            if len(images) > 1:  # find out which of them it is
                return [self._judge([image], engine)[0] for image in images]
            return [self._failed(images[0][0], f"{error.code}: {error.message}")]
        scores, unknown = (
            defect_scores(outputs.probabilities, self.contract.good_index),
            self._unknown(outputs),
        )
        verdicts = []
        for i, (label, decision) in enumerate(self._decisions(outputs)):
            verdicts.append(
                Verdict(
                    path=images[i][0],
                    label=label,
                    decision=decision,
                    probabilities=dict(
                        zip(self.contract.classes, outputs.probabilities[i].tolist(), strict=True)
                    ),
                    score=float(scores[i]),
                    logits=outputs.logits[i],
                    evidence=None if outputs.evidence is None else outputs.evidence[i],
                    novelty=None if outputs.novelty is None else float(outputs.novelty[i]),
                    unknown=None if unknown is None else bool(unknown[i]),
                    model_sha256=self.sha256,
                )
            )
        return verdicts

    def _decisions(self, outputs: Outputs) -> list[tuple[str, Decision]]:
        threshold, good, p = self.contract.threshold, self.contract.good_index, outputs.probabilities
        unknown = self._unknown(outputs)
        called = decide(p, threshold.value, good, unknown=unknown)
        decided = decisions(defect_scores(p, good), threshold.value, threshold.high, unknown=unknown)
        return [(self.contract.classes[k], word) for k, word in zip(called, decided, strict=True)]

    def _unknown(self, outputs: Outputs) -> NDArray[np.bool_] | None:
        rule = self.contract.novelty
        return None if rule is None or outputs.novelty is None else outputs.novelty > rule.threshold


def _name(source: Source) -> str | None:
    return str(source) if isinstance(source, str | Path) else None
