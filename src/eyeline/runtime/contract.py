"""What an artifact promises: the JSON in ``metadata_props["eyeline"]`` as one versioned schema.

Everything that is needed to run the network right (classes, decoding, threshold), to know how far it can be
trusted (test figures, calibration, proof) and to check it on another machine (golden images) travels in the
file. Unknown fields are refused: a field that this version does not know may change what a verdict means.
"""

from __future__ import annotations

import base64
import json
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from eyeline.errors import EyelineError, ImageError
from eyeline.images import DecodeOptions, decode_image
from eyeline.verdicts import Decision

SCHEMA_VERSION = 1
# Another processor rounds differently; a right fp32 artifact stays far below this.
TOLERANCE = 1e-4
# A right int8 artifact orders good and defective images at most this much worse than its fp32 twin.
MAX_AUROC_LOSS = 0.005


def _decode_options(value: Any) -> DecodeOptions:
    if isinstance(value, DecodeOptions):
        return value
    try:
        return DecodeOptions.from_dict(dict(value))
    except (EyelineError, TypeError) as error:
        raise ValueError(str(error)) from error


Decode = Annotated[
    DecodeOptions,
    PlainValidator(_decode_options),
    PlainSerializer(lambda options: options.to_dict()),
    WithJsonSchema({"type": "object", "description": "The fields of eyeline.images.DecodeOptions."}),
]


class Part(BaseModel):
    """Base of everything in the contract: frozen, strict about names, finite numbers only."""

    # Validators are built when first used: one for the whole contract instead of one a part, at every start.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return self.model_dump(mode="json")


class Threshold(Part):
    """An image passes when its defect score ``1 - probabilities[good]`` is below `value`; else it fails.

    With a band `review`, scores from its first number (which is `value`) to below its second go to a human, and only
    those from the second on fail. So whoever knows nothing of bands lets nothing pass that should be looked at.
    """

    value: float
    review: tuple[float, float] | None = Field(
        default=None,
        description="From `value` to below the second number a human decides; from there on it fails.",
    )
    rule: str = Field(description="How it was chosen, such as balanced_accuracy.")
    part: str = Field(description="The images it was chosen on, such as validation; never the test part.")
    images: int | None = Field(default=None, ge=0, description="How many those were.")
    guarantee: dict[str, JsonValue] | None = Field(
        default=None,
        description="The promise that was asked for: granted, with its bound, or refused, with what is missing.",
    )

    @property
    def high(self) -> float | None:
        """From this defect score on an image fails, when those from `value` to below go to review."""
        return None if self.review is None else self.review[1]

    @model_validator(mode="after")
    def _band_begins_at_value(self) -> Threshold:
        if self.review is not None and not self.review[0] == self.value < self.review[1]:
            raise ValueError(
                f"the review band {list(self.review)} must begin at the threshold {self.value} and end above"
            )
        return self


class Calibration(Part):
    """``probabilities = softmax(logits / temperature)``, or those of `beta`, and the figures it was fitted with."""

    temperature: float = Field(default=1.0, gt=0)
    beta: tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)], float] | None = Field(
        default=None,
        description="a, b and c, for two classes: the defect score is the logistic function of "
        "a ln s - b ln(1 - s) + c, with s that of the logits, at least 1e-6 from 0 and 1. The temperature is then 1.",
    )
    reason: str = ""
    images: int = Field(default=0, ge=0)
    nll_before: float | None = None
    nll_after: float | None = None
    ece_before: float | None = None
    ece_after: float | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Calibration:
        if self.beta is not None and self.temperature != 1:
            raise ValueError(f"with beta the temperature must be 1, not {self.temperature}")
        return self


class Evidence(Part):
    """With `exact`, the sum of ``evidence[k]`` over all positions plus ``bias[k]`` equals ``logits[k]``."""

    exact: bool = Field(description="Without it the artifact has no output named evidence.")
    bias: tuple[float, ...] = Field(default=(), description="The bias of the last layer, a value a class.")
    stride: tuple[float, float] | None = Field(
        default=None, description="Vertical and horizontal distance of the cells' centres, in input pixels."
    )
    offset: tuple[float, float] | None = Field(
        default=None, description="Place of the first cell's centre, in input pixels; 0 is the first pixel's."
    )


class Novelty(Part):
    """An image whose output ``novelty`` is above `threshold` is of something the network never learned: unknown.

    It then does not pass: it goes to review where there is a band, else it fails.
    """

    threshold: float
    alpha: float = Field(
        gt=0, lt=1, description="False alarms: at most this share of images like the calibration ones."
    )
    images: int = Field(ge=1, description="Images it was calibrated on, never of the test part.")


class Data(Part):
    """What the network learned from."""

    name: str
    fingerprint: str = Field(description="SHA-256 over the contents and labels of all images.")
    images: dict[str, Annotated[int, Field(ge=0)]] = Field(
        description="Images of each part: train, val, test."
    )
    groups: int | None = Field(default=None, ge=0, description="How many groups stand behind the images.")
    group_source: str = "none"


class Licences(Part):
    """Licence notes; an empty one means unknown."""

    data: str = ""
    weights: str = ""
    golden: str = Field(
        default="The golden images are copies of test images and stay under the licence of the data.",
        description="Golden images embed pictures of the user's data in the artifact.",
    )


class GoldenImage(Part):
    """One image of the test part as the network sees it, with what the trained network said about it."""

    name: str
    label: str = Field(description="The true class.")
    png: str = Field(repr=False, description="Base64 of a PNG of the decoded and resized pixels.")
    probabilities: tuple[float, ...]
    logits: tuple[float, ...]
    decision: Decision

    def pixels(self, channels: int) -> NDArray[np.uint8]:
        """The network's input, uint8 ``(H, W, channels)``; EyelineError ``bad_contract`` when it is none."""
        try:
            return decode_image(base64.b64decode(self.png, validate=True), channels=channels)
        except (ValueError, ImageError) as error:
            raise EyelineError(f"golden image {self.name!r}: {error}", code="bad_contract") from error


class DecodeProbe(Part):
    """A synthetic JPEG and the SHA-256 of the pixels it was prepared to where the network was trained."""

    jpeg: str = Field(repr=False, description="Base64.")
    sha256: str


class Proof(Part):
    """The whole test part, run again through the artifact and compared with the trained network."""

    images: int = Field(ge=1)
    changed_decisions: int = Field(ge=0)
    max_difference: float = Field(ge=0, description="Largest difference of any probability.")
    engine: str = Field(description="What the artifact was run with, such as onnxruntime 1.20.0 CPU.")


class Figures(Part):
    """Main figures of one precision on the test part, at the threshold of its artifact."""

    auroc: float | None
    escape_rate: float | None
    overkill_rate: float | None
    threshold: float
    claim: str = Field(default="", description="What became of the claim that was asked for, in words.")


class Quantization(Part):
    """How an int8 artifact came from its fp32 twin, and both on the whole test part.

    Its golden images hold what the int8 graph itself said where it was made.
    """

    source: str = Field(description="SHA-256 of the fp32 artifact.")
    method: str
    images: int = Field(ge=1, description="Calibration images; of the training part, their labels unread.")
    layers: int = Field(ge=1, description="Layers that run in 8-bit integers.")
    kept: tuple[str, ...] = Field(default=(), description="Layers left in fp32, as measured on validation.")
    tolerance: float = Field(
        gt=0, le=0.25, description="How far the probabilities of another right engine may differ."
    )
    fp32: Figures
    int8: Figures
    agreement: float = Field(ge=0, le=1, description="Share of test images with the same decision.")
    mean_difference: float = Field(ge=0, description="Of the defect score, on the test part.")
    speedup: float = Field(gt=0, description="Times as fast as fp32 on `processor`, median of pairs.")
    processor: str

    @property
    def kept_its_word(self) -> bool:
        """Are the figures within what an int8 artifact may lose?"""
        before, after = self.fp32.auroc, self.int8.auroc
        lost = 0.0 if before is None or after is None else before - after
        return round(lost, 9) <= MAX_AUROC_LOSS and self.speedup > 1


class Contract(Part):
    """The whole contract of one artifact."""

    schema_version: Literal[1] = 1
    created: str = Field(description="UTC, ISO 8601.")
    network: str
    opset: int
    classes: tuple[str, ...] = Field(min_length=2)
    good: str
    decode: Decode
    mean: tuple[float, ...] = Field(description="Normalization inside the graph, in units of [0, 1].")
    std: tuple[float, ...]
    threshold: Threshold
    calibration: Calibration = Field(default_factory=Calibration)
    evidence: Evidence
    novelty: Novelty | None = Field(default=None, description="None: there is no output named novelty.")
    test: dict[str, JsonValue] = Field(description="Figures on the test part with their intervals.")
    data: Data
    recipe: dict[str, JsonValue] = Field(default={}, description="How it was trained.")
    versions: dict[str, str] = Field(default={}, description="Software it was made with.")
    seeds: dict[str, int] = {}
    licences: Licences = Field(default_factory=Licences)
    decode_probe: DecodeProbe
    golden: tuple[GoldenImage, ...] = Field(min_length=1, max_length=16)
    proof: Proof
    quantization: Quantization | None = Field(default=None, description="None: the graph computes in fp32.")

    @property
    def precision(self) -> str:
        """``fp32`` or ``int8``."""
        return "fp32" if self.quantization is None else "int8"

    @property
    def tolerance(self) -> float:
        """How far a probability may be from a golden one before the artifact is refused."""
        return TOLERANCE if self.quantization is None else self.quantization.tolerance

    @property
    def good_index(self) -> int:
        """Column of the good class."""
        return self.classes.index(self.good)

    def to_json(self) -> str:
        """One line; the same contract always gives the same bytes."""
        return self.model_dump_json()

    @model_validator(mode="after")
    def _fits_together(self) -> Contract:
        k = len(self.classes)
        if len(set(self.classes)) != k or not all(self.classes):
            raise ValueError("class names must be different and not empty")
        if self.good not in self.classes:
            raise ValueError(f"the good class {self.good!r} is not among the classes")
        if not len(self.mean) == len(self.std) == self.decode.channels or min(self.std) <= 0:
            raise ValueError("mean and std need one value a channel, and std must be positive")
        if self.calibration.beta is not None and len(self.classes) != 2:
            raise ValueError(f"calibration.beta is for two classes, not {len(self.classes)}")
        if len(self.evidence.bias) != (k if self.evidence.exact else 0):
            raise ValueError("exact evidence needs one bias a class")
        for image in self.golden:
            if not len(image.probabilities) == len(image.logits) == k:
                raise ValueError(f"golden image {image.name!r} does not have {k} probabilities and logits")
            if image.label not in self.classes:
                raise ValueError(f"golden image {image.name!r} has the unknown label {image.label!r}")
        return self


def read_contract(text: str) -> Contract:
    """The contract in `text`.

    Raises
    ------
    EyelineError : with code ``bad_contract`` or ``schema_version``.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise EyelineError(f"the contract is not JSON: {error}", code="bad_contract") from error
    version = value.get("schema_version") if isinstance(value, dict) else None
    if isinstance(value, dict) and version != SCHEMA_VERSION:
        raise EyelineError(
            f"the contract has schema version {version!r}; this version of Eyeline reads {SCHEMA_VERSION}",
            code="schema_version",
            hint="a newer Eyeline may read it",
        )
    try:
        return Contract.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "contract"
        raise EyelineError(
            f"the contract is not valid at {where}: {first['msg']}", code="bad_contract"
        ) from error
