"""One artifact, ready to judge pictures. Everything it needs to do so came out of the file."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeline.errors import EyelineError, GateError, one_line
from eyeline.images import Box, Tiles, Tiling, open_tiles, prepare_image
from eyeline.runtime.artifact import Artifact, open_artifact
from eyeline.runtime.contract import Contract, GoldenImage
from eyeline.runtime.engine import Engine, Outputs
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
    threads : of one inference; None takes those of the engine's choice, else the processors of this process, at most 8.
    engine : ``onnxruntime``, ``openvino``, or ``auto``: what ``eyeline bench`` found fastest for this artifact on this
        machine, and onnxruntime when it was never asked.
    key : a public key; the artifact must then carry a right signature by it, ``<path>.sig``.
    verify : replay one golden image first; it doubles as the warm-up, and `verify_artifact` replays all. Another engine
        than onnxruntime replays all of them here.

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
            return _opened(artifact, choice, verify)
        except EyelineError:
            if engine != "auto" or choice.engine == "onnxruntime":
                raise  # a remembered engine may be gone or have changed; nobody asked for it by name
            return _opened(artifact, EngineChoice("onnxruntime", threads), verify)
    except EyelineError as error:
        raise type(error)(error.message, code=error.code, path=artifact.path, hint=error.hint) from error


def _opened(artifact: Artifact, choice: EngineChoice, verify: bool) -> Inspector:
    inspector = Inspector(artifact, engine=open_engine(artifact.data, choice))
    if verify:
        golden, allowed = artifact.contract.golden, artifact.contract.tolerance
        replayed = golden[:1] if choice.engine == "onnxruntime" else golden
        difference, changed = inspector.replay(replayed)
        if changed or not difference <= allowed:
            raise GateError(
                f"a golden image gives other probabilities here, by {difference:.2g} where {allowed:g} is allowed",
                code="golden",
                hint="see eyeline verify",
            )
    return inspector


class Inspector:
    """Judges pictures by an artifact. Several threads may use one inspector at the same time."""

    def __init__(
        self, artifact: Artifact, *, threads: int | None = None, engine: Engine | None = None
    ) -> None:
        self.artifact = artifact
        self.engine = engine or Engine(artifact.data, threads=threads)

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
        return next(self._finish([(source, self._prepare(source, tiling))], BATCH))

    def predict(
        self,
        sources: Iterable[Source],
        *,
        batch: int = BATCH,
        workers: int | None = None,
        tiling: Tiling | None = None,
    ) -> Iterator[Verdict]:
        """Judge many pictures, in order; a verdict each, whatever happens.

        Reading and decoding run in `workers` threads while the network runs. At most a few batches are held,
        so `sources` may be endless.

        Parameters
        ----------
        batch : images in one run of the network, 1 to 64. More than 8 wins nothing on a processor.
        workers : threads that decode; None takes as many as the network's.
        tiling : judge every picture in tiles; see `inspect`.
        """
        if isinstance(batch, bool) or not isinstance(batch, int) or not 1 <= batch <= MAX_BATCH:
            raise EyelineError(f"batch is {batch!r}; allowed: 1 to {MAX_BATCH}", code="bad_option")
        if isinstance(sources, str | bytes | Path | np.ndarray):
            raise EyelineError("predict takes a list of images; inspect takes one", code="bad_option")
        return self._predict(iter(sources), batch, workers or self.engine.threads, tiling)

    def run(self, pixels: NDArray[np.uint8]) -> Outputs:
        """The plain outputs for pixels ``(N, H, W, C)`` that `prepare_image` has prepared."""
        return self.engine.run(pixels)

    def replay(self, golden: Iterable[GoldenImage]) -> tuple[float, int]:
        """Run golden images: the largest difference of a probability, and how many decisions changed."""
        contract, difference, changed = self.contract, 0.0, 0
        for image in golden:
            found = self.engine.run(image.pixels(contract.decode.channels)[None])
            off = np.abs(found.probabilities[0] - np.array(image.probabilities)).max()
            difference = max(difference, float(off))
            changed += self._decisions(found)[0][1] != image.decision
        return difference, changed

    def _predict(
        self, sources: Iterator[Source], batch: int, workers: int, tiling: Tiling | None
    ) -> Iterator[Verdict]:
        pool = ThreadPoolExecutor(workers, thread_name_prefix="eyeline-decode")
        pending: deque[tuple[Source, Future[Prepared]]] = deque()
        # Pictures for tiles are held at their own size: two at a time.
        pictures, ahead = (batch, 2 * batch + workers) if tiling is None else (1, 2)
        try:
            while True:
                # One batch is being judged and one is being decoded; nothing more is held.
                for source in islice(sources, ahead - len(pending)):
                    pending.append((source, pool.submit(self._prepare, source, tiling)))
                if not pending:
                    return
                chunk = [pending.popleft() for _ in range(min(pictures, len(pending)))]
                yield from self._finish([(source, future.result()) for source, future in chunk], batch)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _finish(self, prepared: list[tuple[Source, Prepared]], batch: int) -> Iterator[Verdict]:
        """A verdict each, in order; pictures that came in tiles are judged one after the other."""
        whole = [(_name(source), pixels) for source, pixels in prepared if isinstance(pixels, np.ndarray)]
        verdicts = iter(self._judge(whole))
        for source, found in prepared:
            if isinstance(found, Tiles):
                yield self._judge_tiles(_name(source), found, batch)
            else:
                yield found if isinstance(found, Verdict) else next(verdicts)

    def _judge_tiles(self, path: str | None, tiles: Tiles, batch: int) -> Verdict:
        def judged() -> Iterator[tuple[Box, Verdict]]:
            for start in range(0, len(tiles), batch):
                some = range(start, min(start + batch, len(tiles)))
                verdicts = self._judge([(path, tiles.cut(i)) for i in some])
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

    def _judge(self, images: list[tuple[str | None, NDArray[np.uint8]]]) -> list[Verdict]:
        if not images:
            return []
        try:
            outputs = self.engine.run(np.stack([pixels for _, pixels in images]))
        except EyelineError as error:
            if len(images) > 1:  # find out which of them it is
                return [self._judge([image])[0] for image in images]
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
