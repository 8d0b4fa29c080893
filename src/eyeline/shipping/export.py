"""Ship: export, prove on the whole test part, seal, and only then put the file in its place."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn

from eyeline.errors import EyelineError, GateError
from eyeline.evidence import map_placement
from eyeline.files import write_atomically
from eyeline.images import DecodeOptions
from eyeline.networks import Views
from eyeline.progress import Progress, silent
from eyeline.runtime import (
    Artifact,
    Calibration,
    Contract,
    Data,
    Evidence,
    Inspector,
    Licences,
    Novelty,
    Threshold,
    make_probe,
    open_artifact,
    seal,
)
from eyeline.shipping.golden import Reference, choose_golden, make_golden
from eyeline.shipping.graph import OPSET, to_onnx
from eyeline.shipping.proof import prove
from eyeline.verdicts import FeatureSpace

_PACKAGES = ("eyeline", "torch", "onnx", "onnxscript", "onnxruntime", "numpy", "pillow")


def export_artifact(
    net: nn.Module,
    path: str | Path,
    *,
    network: str,
    classes: Sequence[str],
    good: str,
    decode: DecodeOptions,
    mean: Sequence[float],
    std: Sequence[float],
    threshold: Threshold,
    reference: Reference,
    test: Mapping[str, Any],
    data: Data,
    calibration: Calibration = Calibration(),  # noqa: B008 - frozen
    recipe: Mapping[str, Any] | None = None,
    seeds: Mapping[str, int] | None = None,
    versions: Mapping[str, str] | None = None,
    licences: Licences = Licences(),  # noqa: B008 - frozen
    space: FeatureSpace | None = None,
    novelty: Novelty | None = None,
    golden: int = 8,
    created: str | None = None,
    progress: Progress | None = None,
) -> Artifact:
    """Write the artifact of a trained network, or nothing.

    The graph is run over the whole reference before the file exists: one changed decision, or a probability
    that differs by more than 1e-4, and nothing is written.

    Parameters
    ----------
    net : takes normalized images ``(N, C, H, W)``, gives logits ``(N, K)``. Left as it is.
    path : of the ``.onnx`` file; replaced in one step.
    classes, good : in the order of the logits; the defect-free one.
    decode, mean, std : how a file becomes the input of `net`; mean and std a value a channel, in units of [0, 1].
    threshold : on the defect score, chosen on other images than the reference.
    reference : the test part with the answers of the trained network, calibrated as `calibration` says.
    test : figures on the test part, ``Evaluation.to_dict()``.
    space, novelty : both or none: where the known lies among the pooled features, and from where on it is unknown.
    golden : how many images of the reference travel in the artifact, 4 to 16. They are copies of the user's
        pictures: `licences` says under which terms.
    created : UTC time, ISO 8601; given, the same training gives the same bytes. None is now.

    Returns
    -------
    Artifact : as `open_artifact` reads it.

    Raises
    ------
    GateError : the export changes verdicts.
    EyelineError : ``export`` when the network cannot be exported, ``write_failed``, or what the contract refuses.
    """
    classes, report = tuple(classes), progress or silent
    if good not in classes:
        raise EyelineError(f"the good class {good!r} is not among the classes", code="bad_option")
    good_index, cut, high = classes.index(good), threshold.value, threshold.high
    far = None if novelty is None else novelty.threshold
    report("exporting", 0, 1, network)
    exported = to_onnx(
        net,
        image_size=decode.image_size,
        mean=mean,
        std=std,
        temperature=calibration.temperature,
        name=network,
        space=space,
        beta=None if calibration.beta is None else (calibration.beta, good_index),
    )
    report("exporting", 1, 1, network)
    graph = exported.model.SerializeToString(deterministic=True)
    proof = prove(
        graph,
        reference.pixels,
        reference.probabilities,
        cut,
        good_index,
        high=high,
        novelty=far,
        unknown=reference.unknown(far),
        rows=reference.rows,
        progress=progress,
    )
    cuts: dict[str, Any] = {"threshold": cut, "high": high, "novelty": far, "good": good_index}
    positions = choose_golden(reference, **cuts, count=golden)
    contract = Contract(
        created=created or datetime.now(UTC).isoformat(timespec="seconds"),
        network=network,
        opset=OPSET,
        classes=classes,
        good=good,
        decode=decode,
        mean=tuple(mean),
        std=tuple(std),
        threshold=threshold,
        calibration=calibration,
        evidence=_placed(exported.evidence, net, decode),
        novelty=novelty,
        test=dict(test),
        data=data,
        recipe=dict(recipe or {}),
        versions={**software_versions(), **(versions or {})},
        seeds=dict(seeds or {}),
        licences=licences,
        decode_probe=make_probe(decode),
        golden=make_golden(reference, positions, **cuts),
        proof=proof,
    )
    return finish_artifact(path, graph, contract)


def finish_artifact(path: str | Path, graph: bytes, contract: Contract) -> Artifact:
    """Seal a graph that was proven and put it in its place.

    Raises
    ------
    GateError : the finished bytes do not open or do not answer their own golden images; nothing is written then.
    """
    sealed = seal(graph, contract)
    difference, changed = Inspector(open_artifact(sealed)).replay(contract.golden)
    if changed or not difference <= contract.tolerance:
        raise GateError(
            f"the finished artifact changes {changed} golden images, by up to {difference:.3g}", code="golden"
        )
    write_atomically(path, sealed)
    return open_artifact(path)


def software_versions() -> dict[str, str]:
    """What this process runs on, for the record."""
    return {
        "python": platform.python_version(),
        **{package: importlib.metadata.version(package) for package in _PACKAGES},
    }


def _placed(evidence: Evidence, net: nn.Module, decode: DecodeOptions) -> Evidence:
    """The evidence with where its cells lie, if they lie on a grid.

    Maps of several views are averaged, each turned back: their cells lie symmetrically about the image's middle.
    """
    if not evidence.exact:
        return evidence
    inner: Any = net.net if isinstance(net, Views) else net
    try:
        stride, offset = map_placement(inner, decode.image_size, in_channels=decode.channels)
    except EyelineError:  # shown side by side then
        return evidence
    if isinstance(net, Views) and net.views > 1:
        with torch.no_grad():
            last = inner.forward_features(torch.zeros(1, decode.channels, *decode.image_size))
        sides = zip(decode.image_size, last.shape[2:], stride, strict=True)
        y, x = ((side - 1 - (cells - 1) * step) / 2 for side, cells, step in sides)
        offset = (y, x)
    return evidence.model_copy(update={"stride": stride, "offset": offset})
