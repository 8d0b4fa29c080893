"""What a page is made from. The jobs fill these in; nothing here computes or draws."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from eyeline.errors import EyelineError
from eyeline.images import ImageTable
from eyeline.reports.overlay import Placement
from eyeline.verdicts import Evaluation, Promises

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, eq=False)
class EvidenceMaps:
    """Class evidence of the judged images, as the artifact puts it out."""

    maps: NDArray[Any]
    """``(N, K, h, w)`` in the order of `ReportData.rows`; the sum over positions plus the bias is the logit."""
    placement: Placement | None = None
    """Where the cells lie in the network's input; None stretches them over it."""
    input_size: tuple[int, int] | None = None
    """Height and width of the network's input, when `ReportData.pixels` gives pictures of another size."""
    scale: float | None = None
    """Logits at full colour for every image; None takes it from all of `maps` (`evidence_scale`)."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One way to measure: cross-validation or repeated splits, by group or at random."""

    name: str
    """Such as ``fine-tuned, 5 folds by module``."""
    by: Literal["group", "image"]
    """What was kept on one side of every split."""
    auroc: tuple[float, ...]
    """One value a fold or seed."""
    images: int
    groups: int | None = None
    method: str = ""
    """What was measured, such as ``fine-tuned``: grouped and random are compared within one method."""


@dataclass(frozen=True, kw_only=True)
class ShippedModel:
    """The artifact, and the proof that it decides as the trained network does."""

    name: str
    sha256: str
    bytes: int
    images: int
    """How many test images were run again through the artifact."""
    changed_decisions: int
    max_difference: float
    """Largest difference of any probability."""
    engine: str
    """Such as ``onnxruntime 1.20.0 CPU``."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ReportData:
    """Everything `write_report` shows. What is empty or None is left out of the page, or said to be missing.

    Raises
    ------
    EyelineError : arrays and columns that do not fit together.
    """

    title: str
    """What is inspected, such as the name of the data."""
    network: str
    image_size: tuple[int, int]
    """Height and width of the network's input."""
    evaluation: Evaluation
    """Of the judged images, at the threshold of the artifact."""
    table: ImageTable
    """All images of the run."""
    splits: tuple[str, ...]
    """``train``, ``val`` or ``test`` of every row of `table`; an empty word for an image that was not used."""
    rows: NDArray[np.int64]
    """``(N,)`` the rows of `table` that were judged."""
    probabilities: NDArray[Any]
    """``(N, K)`` calibrated, in the order of `rows`."""
    pixels: Callable[[int], Pixels]
    """The picture of a row of `table`, uint8 ``(H, W, C)``: what the network saw, or the original."""
    evidence: EvidenceMaps | None = None
    promises: Promises | None = None
    """What was asked of the decisions, and what became of it: it leads the page."""
    unknown: NDArray[np.bool_] | None = None
    """``(N,)`` which judged images were taken for something unknown and so did not pass."""
    threshold_note: str = ""
    """How the threshold was chosen: ``largest balanced accuracy on 394 validation images``."""
    calibration_note: str = ""
    """What became of the calibration: `Temperature.reason`."""
    findings: tuple[Mapping[str, Any], ...] = ()
    """What the check of the images found, as `Finding.to_dict` gives it, ranked."""
    protocols: tuple[Protocol, ...] = ()
    choice: str = ""
    """Fine-tuning or the fitted head alone, and by how much, in a sentence."""
    history: tuple[Mapping[str, float | None], ...] = ()
    """One mapping an epoch: ``epoch`` (0 before any training), ``loss``, and where known ``val_loss``, and
    ``val_auroc`` or, for several classes, ``val_balanced_accuracy``."""
    seconds: float | None = None
    """From the start of training to the shipped artifact."""
    model: ShippedModel | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """How it was trained; nested mappings are flattened."""
    environment: Mapping[str, Any] = field(default_factory=dict)
    """Versions, processor, threads, seeds."""
    fingerprint: str = ""
    """`ImageTable.fingerprint` of the data."""
    unusable: Mapping[str, str] = field(default_factory=dict)
    """Images that could not be decoded: path and reason."""
    commands: tuple[tuple[str, str], ...] = ()
    """What to do next: ``("Judge new images", "eyeline predict model.onnx photos/")``."""

    @property
    def high(self) -> float | None:
        """From this score on images fail; below it and from the threshold on they go to review. None without review."""
        review = None if self.promises is None else self.promises.review
        return None if review is None else review.high

    def __post_init__(self) -> None:
        n, k = len(self.rows), len(self.table.classes)
        if self.probabilities.shape != (n, k):
            raise EyelineError(
                f"probabilities {self.probabilities.shape} for {n} judged images of {k} classes"
            )
        if len(self.splits) != len(self.table):
            raise EyelineError(f"{len(self.splits)} splits for {len(self.table)} images")
        if self.evidence is not None and self.evidence.maps.shape[:2] != (n, k):
            raise EyelineError(f"evidence {self.evidence.maps.shape} for {n} judged images of {k} classes")


@dataclass(frozen=True, kw_only=True, eq=False)
class ExplainItem:
    """One image of the page of `eyeline explain`, or why it could not be judged."""

    path: str
    picture: Pixels | None = None
    """uint8 ``(H, W, C)``; None when the image could not be read."""
    label: str = ""
    decision: str = ""
    """``pass``, ``review`` or ``fail``."""
    score: float = 0.0
    """Defect score, 1 - p[good]."""
    probabilities: Mapping[str, float] = field(default_factory=dict)
    evidence: NDArray[Any] | None = None
    """``(K, h, w)``."""
    logits: NDArray[Any] | None = None
    """``(K,)``, before calibration."""
    error: str = ""
    """Why there is no verdict."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ExplainData:
    """Everything `write_explain` shows."""

    model: str
    """Name of the artifact."""
    classes: tuple[str, ...]
    good: str
    threshold: float
    items: tuple[ExplainItem, ...]
    high: float | None = None
    """Where images fail, when those from `threshold` to below go to review."""
    bias: tuple[float, ...] = ()
    """Of the last layer, one a class: evidence sum plus bias is the logit. Empty when unknown."""
    placement: Placement | None = None
    input_size: tuple[int, int] | None = None
    """Height and width of the network's input, when the pictures have another size."""
    scale: float | None = None
    """Logits at full colour; None takes it from all items."""
