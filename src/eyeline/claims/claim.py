"""What a claim is, and what measuring one finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from eyeline.claims.bench import Bench

Word = Literal["holds", "fails", "inconclusive"]


class Record(BaseModel):
    """Base of what is kept: frozen, strict about its fields, plain in JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return self.model_dump(mode="json")


class Check(Record):
    """Something exact: it is so or it is not, and no interval is needed."""

    text: str
    expected: str
    found: str
    holds: bool


class Contrast(Record):
    """A paired difference, one value a seed, against a margin that was fixed beforehand.

    It holds when the whole interval lies above the margin, fails when the whole interval lies below it, and
    is inconclusive otherwise. `required` ones decide the claim; the others only accompany it.
    """

    name: str
    text: str
    unit: str
    margin: float
    values: tuple[float, ...]
    effect: float
    low: float
    high: float
    p_value: float  # two-sided, of "the effect is the margin"
    required: bool

    @property
    def verdict(self) -> Word:
        """By its own interval, before any correction for several claims."""
        if self.low > self.margin:
            return "holds"
        return "fails" if self.high < self.margin else "inconclusive"


class ArmFacts(Record):
    """What one arm of an experiment costs; `rates` are the learning rates chosen, a cell of the design each."""

    name: str
    parameters: int
    macs: int
    rates: tuple[float, ...] = ()


class Series(Record):
    """One line of a chart: a list of values, one a seed, at every x."""

    name: str
    x: tuple[float, ...]
    values: tuple[tuple[float, ...], ...]


class Chart(Record):
    """The picture: curves over x, or dots an arm where x has no meaning."""

    title: str
    kind: Literal["curves", "dots"]
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    log_x: bool = False


class Findings(Record):
    """What the experiment of a claim gave."""

    checks: tuple[Check, ...] = ()
    contrasts: tuple[Contrast, ...] = ()
    arms: tuple[ArmFacts, ...] = ()
    charts: tuple[Chart, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim of the textbook and the experiment that measures it.

    Attributes
    ----------
    name : as typed on the command line; title : a few words.
    statement : what is claimed, so that it can be false.
    experiment : what is done, for somebody who learns.
    change : what would change the verdict.
    source : where the claim is made.
    data : what it needs: ``pictures`` (Fashion-MNIST or another small data set), ``elpv``, or nothing.
    measure : runs the experiment on a `Bench`.
    """

    name: str
    title: str
    statement: str
    experiment: str
    change: str
    source: str
    data: Literal["pictures", "elpv", "none"]
    measure: Callable[[Bench], Findings]


class Settings(Record):
    """How much was measured. Two results compare only where these agree.

    `budget` is in seconds a claim, None for no limit; `data` names the pictures.
    """

    budget: float | None = 300.0
    seeds: int = 5
    full: bool = False
    data: str = "fashion-mnist"


class ClaimResult(Record):
    """A claim with its verdict. `effect`, `low` and `high` are those of the contrast that decides it.

    A claim with exact checks only has the effect 0, the largest departure from what was calculated, and no
    p-value. `adjusted_p` is corrected for all claims that were judged together.
    """

    name: str
    title: str
    statement: str
    experiment: str
    change: str
    source: str
    verdict: Word
    effect: float
    low: float
    high: float
    unit: str
    margin: float | None
    p_value: float | None
    adjusted_p: float | None
    findings: Findings
    settings: Settings
    share: float  # of the planned steps that the budget allowed
    seconds: float
    version: str
