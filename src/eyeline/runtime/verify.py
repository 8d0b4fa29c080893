"""Is this artifact whole, and does it say here what it said where it was made?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eyeline.errors import EyelineError
from eyeline.runtime.artifact import Artifact, open_artifact
from eyeline.runtime.contract import Contract, Threshold
from eyeline.runtime.engines import EngineChoice, open_engine
from eyeline.runtime.inspector import Inspector
from eyeline.runtime.probe import probe_agrees
from eyeline.runtime.signature import check_signature


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool
    detail: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def verify_artifact(
    path: str | Path | bytes,
    *,
    threads: int | None = None,
    engine: str = "onnxruntime",
    key: str | Path | None = None,
) -> list[Check]:
    """Check an artifact in every way that needs nothing but the file. It is right when all checks are ok.

    The checks are `file` (whole, as sealed), `signature` (with a key), `graph`, `contract`, `proof`, `engine`,
    `decoder`, `golden`, `evidence` and `batch`. What a failed check makes impossible is left out.

    Parameters
    ----------
    threads, engine : what runs it.
    key : a public key that must have signed it.

    Raises
    ------
    EyelineError : the file cannot be read at all (``missing``, ``unreadable``), nor the key (``missing``, ``bad_key``).
    """
    try:
        artifact = open_artifact(path)
    except EyelineError as error:
        if error.code in ("missing", "unreadable"):
            raise
        return [Check(_stage(error.code), False, f"{error.code}: {error.message}")]
    checks = list(_stored(artifact))
    if key is not None:
        checks.insert(1, _signature(artifact, key))
    try:
        inspector = Inspector(artifact, engine=open_engine(artifact.data, EngineChoice(engine, threads)))
    except EyelineError as error:
        return [*checks, Check("engine", False, f"{error.code}: {error.message}")]
    checks.append(Check("engine", True, f"{inspector.engine.name}, {inspector.engine.threads} threads"))
    for name, check in _CHECKS.items():
        try:
            checks.append(Check(name, *check(inspector)))
        except Exception as error:  # a check that cannot be made is a check that failed
            checks.append(Check(name, False, str(error)))
    return checks


def _signature(artifact: Artifact, key: str | Path) -> Check:
    try:
        return Check(
            "signature", True, f"signed by the key {check_signature(artifact.path, artifact.data, key)}"
        )
    except EyelineError as error:
        if error.code in ("no_signature", "wrong_key", "tampered", "bad_signature"):
            return Check("signature", False, f"{error.code}: {error.message}")
        raise


def _stage(code: str) -> str:
    if code in ("too_large", "truncated", "corrupt", "checksum"):
        return "file"
    contract = ("no_contract", "schema_version", "bad_contract", "label_count", "contract_mismatch")
    return "contract" if code in contract else "graph"


def _stored(artifact: Artifact) -> Iterator[Check]:
    """What the file says of itself; opening it has checked that it is so."""
    graph, contract = artifact.graph, artifact.contract
    yield Check("file", True, f"{len(artifact.data):,} bytes, sha256 {artifact.sha256}")
    yield Check(
        "graph",
        True,
        f"{graph.nodes} standard operators of opset {graph.opset}, {graph.weights:,} finite numbers",
    )
    yield Check(
        "contract",
        True,
        f"schema {contract.schema_version}, {len(contract.classes)} classes, good is {contract.good!r}, "
        f"threshold {contract.threshold.value:.6g}{_band(contract.threshold)}"
        + ("" if contract.novelty is None else f", unknown above {contract.novelty.threshold:.6g}"),
    )
    yield Check("proof", *_proof(contract))


def _proof(contract: Contract) -> tuple[bool, str]:
    """fp32: not one decision may have changed. int8: the figures may have lost only so much."""
    proof, made = contract.proof, contract.quantization
    said = (
        f"{proof.changed_decisions} of {proof.images} decisions changed, probabilities within "
        f"{proof.max_difference:.2g}, by {proof.engine}"
    )
    if made is None:
        return proof.changed_decisions == 0 and proof.max_difference <= contract.tolerance, said
    return made.kept_its_word, (
        f"int8: {said}; AUROC {_figure(made.fp32.auroc)} became {_figure(made.int8.auroc)}, "
        f"{made.speedup:.2f} times as fast as fp32 on {made.processor}"
    )


def _figure(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


def _band(threshold: Threshold) -> str:
    return "" if threshold.high is None else f", review to below {threshold.high:.6g}"


def _decoder(inspector: Inspector) -> tuple[bool, str]:
    contract = inspector.contract
    if probe_agrees(contract.decode_probe, contract.decode):
        return True, "decodes and resizes to the very same pixels"
    return False, "this machine decodes or resizes to other pixels (another Pillow?): verdicts may differ"


def _golden(inspector: Inspector) -> tuple[bool, str]:
    golden = inspector.contract.golden
    difference, changed = inspector.replay(golden)
    return (
        changed == 0 and difference <= inspector.contract.tolerance,
        f"{changed} of {len(golden)} golden images change their decision, all within {difference:.2g}",
    )


def _evidence(inspector: Inspector) -> tuple[bool, str]:
    contract = inspector.contract
    if not contract.evidence.exact:
        return True, "this network has no exact evidence, and the artifact claims none"
    outputs = inspector.run(_golden_pixels(inspector))
    assert outputs.evidence is not None  # agreed when the artifact was opened
    total = outputs.evidence.sum(axis=(2, 3), dtype=np.float64) + np.array(contract.evidence.bias)
    difference = float(np.abs(total - outputs.logits).max())
    scale = max(1.0, float(np.abs(outputs.evidence).sum(axis=(2, 3), dtype=np.float64).max()))
    return difference <= 1e-5 * scale, f"sums with the bias to the logits within {difference:.2g}"


def _batch(inspector: Inspector) -> tuple[bool, str]:
    pixels = _golden_pixels(inspector)
    together = inspector.run(pixels).probabilities
    alone = np.concatenate([inspector.run(image[None]).probabilities for image in pixels])
    difference = float(np.abs(together - alone).max())
    return (
        difference <= inspector.contract.tolerance,
        f"alone or together, probabilities agree within {difference:.2g}",
    )


def _golden_pixels(inspector: Inspector) -> np.ndarray[Any, np.dtype[np.uint8]]:
    channels = inspector.contract.decode.channels
    return np.stack([image.pixels(channels) for image in inspector.contract.golden])


_CHECKS: dict[str, Callable[[Inspector], tuple[bool, str]]] = {
    "decoder": _decoder,
    "golden": _golden,
    "evidence": _evidence,
    "batch": _batch,
}
