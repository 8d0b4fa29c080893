"""What a training run does, as one frozen object that travels as TOML and inside the artifact."""

from __future__ import annotations

import dataclasses
import math
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eyeline.errors import EyelineError, nearest


def setting(
    default: Any, text: str, low: float = -math.inf, high: float = math.inf, of: tuple[str, ...] = ()
) -> Any:
    """A field of the recipe: its default, what it does, and what is allowed."""
    return field(default=default, metadata={"help": text, "low": low, "high": high, "of": of})


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained.

    The defaults fine-tune published weights on a few hundred to a few thousand photographs on an ordinary CPU:
    a head fitted in closed form on frozen features, then a short, gentle schedule for the layers above
    the frozen ones (Kumar et al. 2022, arXiv 2202.10054: linear probing, then fine-tuning).
    """

    epochs: int = setting(6, "passes over the training images; a time budget overrides it", 0, 10_000)
    batch_size: int = setting(32, "images a step", 1, 4096)
    learning_rate: float = setting(3e-4, "peak of AdamW for the last stage; the head has the same", 0, 1)
    stage_decay: float = setting(0.9, "learning rate of each earlier stage, as a share of the next", 0.01, 1)
    weight_decay: float = setting(0.05, "of AdamW, on kernels only", 0, 1)
    warmup: float = setting(0.1, "share of the steps in which the learning rate rises from zero", 0, 1)
    label_smoothing: float = setting(0.05, "share of each label given to all classes evenly", 0, 0.9)
    dropout: float = setting(0.2, "before the last layer", 0, 0.95)
    average_decay: float = setting(
        0.98, "of the moving average of the weights, reached after a warm-up", 0, 0.99999
    )
    clip: float = setting(5.0, "largest norm of the gradient", 0)
    balance: str = setting(
        "weights",
        "of the classes, by weights in the loss or by showing rare ones more often; undone in the probabilities",
        of=("weights", "sampling", "none"),
    )
    batch_norm: str = setting(
        "auto",
        "freeze: fold the published statistics into the convolutions; train: keep learning them; "
        "auto: freeze with published weights, train without",
        of=("auto", "freeze", "train"),
    )
    fit_head: bool = setting(True, "start from a head fitted in closed form on frozen features")
    frozen: float = setting(
        0.45, "share of the stages, from the first, whose published weights stay; none without them", 0, 1
    )
    middle: bool = setting(False, "the last layer reads two middle stages too, which still show thin defects")
    flips: bool = setting(True, "mirror images both ways")
    turns: bool = setting(True, "turn square images by right angles")
    upright: bool = setting(False, "what is up stays up: mirrored left to right only, and never turned")
    shift: float = setting(0.02, "largest shift, as a share of the side; edges are repeated", 0, 0.25)
    brightness: float = setting(0.1, "largest change of brightness, as a share of the range", 0, 0.9)
    contrast: float = setting(0.15, "largest change of contrast, as a factor around 1", 0, 0.9)
    rand_augment: int = setting(0, "operations of RandAugment an image; none moves or hides a pixel", 0, 8)
    magnitude: float = setting(9.0, "strength of RandAugment's operations", 0, 30)
    erasing: float = setting(
        0.0, "share of the images with a rectangle erased, which may hide the defect", 0, 1
    )
    mixup: float = setting(0.0, "alpha of mixup: two images blended, labels too; 0 is off", 0, 10)
    cutmix: float = setting(0.0, "alpha of CutMix: a piece of another image put in; 0 is off", 0, 10)
    focal: float = setting(0.0, "gamma of the focal loss: what is right already counts less; 0 is off", 0, 10)
    soft_labels: bool = setting(False, "learn the column probability of the table instead of the label")
    distill: float = setting(
        0.0, "share of the loss that follows a teacher (--teacher) instead of the labels", 0, 1
    )
    temperature: float = setting(
        2.0, "softens the teacher's and the network's answers in distillation", 0.1, 100
    )
    drop_path: float = setting(
        0.0,
        "how often the last residual block is skipped in training, falling to never at the first",
        0,
        0.95,
    )
    accumulate: int = setting(1, "parts a batch is worked off in, so that less memory is needed", 1, 4096)
    progressive: float = setting(
        1.0,
        "share of the side that training starts with; sizes and regularisation grow in four stages",
        0.1,
        1,
    )
    precision: str = setting(
        "float32",
        "of the passes in training; auto: bfloat16 where the machine multiplies it natively",
        of=("auto", "float32", "bfloat16"),
    )

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            value, rule = getattr(self, item.name), item.metadata
            kind = type(item.default)
            if kind is float and isinstance(value, int) and not isinstance(value, bool):
                object.__setattr__(self, item.name, value := float(value))
            if type(value) is not kind:
                raise _bad(item.name, value, f"a value of type {kind.__name__}")
            if kind is str and value not in rule["of"]:
                raise _bad(item.name, value, " or ".join(rule["of"]))
            if kind in (int, float) and not rule["low"] <= value <= rule["high"]:
                raise _bad(item.name, value, f"{rule['low']:g} to {rule['high']:g}")

    @property
    def half_turn(self) -> bool:
        """Whether a picture upside down is as good a view as the picture."""
        return self.flips and not self.upright

    def to_dict(self) -> dict[str, Any]:
        """Plain values by name."""
        return dataclasses.asdict(self)

    def replace(self, **changes: Any) -> Recipe:
        """A copy with some settings changed."""
        return Recipe(**(self.to_dict() | changes))

    @classmethod
    def from_dict(cls, values: dict[str, Any], *, path: str | Path | None = None) -> Recipe:
        """A recipe from plain values; an unknown name is an error that names the nearest known one."""
        known = [item.name for item in dataclasses.fields(cls)]
        for name in values:
            if name not in known:
                raise EyelineError(
                    f"unknown setting {name!r} in the recipe",
                    code="bad_recipe",
                    path=path,
                    hint=nearest(name, known),
                )
        try:
            return cls(**values)
        except EyelineError as error:
            raise EyelineError(error.message, code=error.code, path=path) from None

    @classmethod
    def read(cls, path: str | Path) -> Recipe:
        """Read a TOML file of settings; those not named keep their defaults."""
        try:
            values = tomllib.loads(Path(path).read_text("utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise EyelineError(f"cannot read the recipe: {reason}", code="bad_recipe", path=path) from error
        except tomllib.TOMLDecodeError as error:
            raise EyelineError(f"not valid TOML: {error}", code="bad_recipe", path=path) from error
        return cls.from_dict(values, path=path)

    def to_toml(self) -> str:
        """The recipe as a TOML file, each setting explained."""
        lines = []
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            text = f'"{value}"' if isinstance(value, str) else str(value).lower()
            lines += [f"# {item.metadata['help']}", f"{item.name} = {text}", ""]
        return "\n".join(lines)


def _bad(name: str, value: Any, allowed: str) -> EyelineError:
    return EyelineError(f"{name} is {value!r}; allowed: {allowed}", code="bad_recipe")
