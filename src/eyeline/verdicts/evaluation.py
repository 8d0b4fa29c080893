"""All figures of an inspector on one set of images with intervals, and the one sentence they support."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from eyeline.errors import EyelineError, nearest
from eyeline.verdicts.judge import Judge
from eyeline.verdicts.metrics import Bools
from eyeline.verdicts.rates import Rate, Verdict
from eyeline.verdicts.sample import Sample, checked_sample


class ClassRates(Verdict):
    """One class against the rest, by the calls at the threshold."""

    images: int
    precision: Rate
    recall: Rate
    f1: Rate


class SliceRates(Verdict):
    """The main figures on the images of one slice, such as one cell type."""

    images: int
    groups: int | None
    defects: int
    auroc: Rate
    accuracy: Rate
    escape_rate: Rate
    overkill_rate: Rate


class Evaluation(Verdict):
    """What `evaluate` found.

    AUROC, average precision, Brier, ECE, escape, overkill and F1 judge good against defect; accuracy,
    balanced accuracy, macro F1, the confusion and the figures of a class judge all K classes.
    """

    images: int
    groups: int | None
    classes: tuple[str, ...]
    good: str
    threshold: float
    confidence: float
    auroc: Rate
    average_precision: Rate
    accuracy: Rate
    balanced_accuracy: Rate
    f1: Rate  # of the defects: fail against pass
    macro_f1: Rate  # mean F1 over the K classes
    escape_rate: Rate
    overkill_rate: Rate
    brier: Rate
    ece: Rate
    claim: str
    per_class: dict[str, ClassRates]
    confusion: list[list[int]]  # rows = truth, columns = call
    slices: dict[str, dict[str, SliceRates]]


def evaluate(
    probabilities: ArrayLike,
    targets: ArrayLike,
    *,
    classes: Sequence[str],
    good: str,
    threshold: float,
    groups: ArrayLike | None = None,
    slices: Mapping[str, Sequence[str]] | None = None,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    unknown: ArrayLike | None = None,
    stopped: str = "failed",
) -> Evaluation:
    """Judge calibrated probabilities against the truth at a threshold chosen on other images.

    An image fails when its defect score 1 - p[good] is at least `threshold`; it is then called its likeliest
    defect class, else good. With groups every interval is made from whole groups. See docs/verdicts.md for
    which interval serves which figure.

    Parameters
    ----------
    probabilities : `(N, K)`.
    targets : `(N,)` indices into `classes`.
    groups : `(N,)` name or number of the part, lot or module of each image; None takes images as independent.
    slices : for each slicing its `(N,)` values, such as ``{"type": ("mono", "poly", ...)}``.
    resamples : bootstrap draws.
    unknown : `(N,)` true for images that never pass, whatever their score.
    stopped : what the claim says of good parts that do not pass; with a review band they may not have failed.

    Raises
    ------
    EyelineError : shapes, classes or values do not fit together.
    """
    if good not in classes:
        raise EyelineError(f"the good class {good!r} is not among the classes", hint=nearest(good, classes))
    if not 0.5 <= confidence < 1 or resamples < 100:
        raise EyelineError(
            f"confidence is {confidence} (0.5 to below 1), resamples {resamples} (100 or more)"
        )
    sample = checked_sample(
        probabilities,
        targets,
        classes=len(classes),
        good=list(classes).index(good),
        threshold=threshold,
        groups=groups,
        unknown=unknown,
    )
    judge = Judge(sample, confidence, resamples, seed)
    rates = {name: judge.rate(name) for name in _SCALARS}
    return Evaluation(
        images=len(sample),
        groups=None if groups is None else sample.units,
        classes=tuple(classes),
        good=good,
        threshold=float(threshold),
        confidence=confidence,
        **rates,
        claim=_claim(sample, rates, confidence, stopped),
        per_class={name: _class_rates(judge, k) for k, name in enumerate(classes)},
        confusion=sample.confusions.sum(axis=0).astype(int).tolist(),
        slices={
            name: _slice_rates(sample, values, name, confidence, resamples, seed)
            for name, values in (slices or {}).items()
        },
    )


_SCALARS = (
    "auroc",
    "average_precision",
    "accuracy",
    "balanced_accuracy",
    "f1",
    "macro_f1",
    "escape_rate",
    "overkill_rate",
    "brier",
    "ece",
)


def _class_rates(judge: Judge, k: int) -> ClassRates:
    images, precision, recall, f1 = judge.class_rates(k)
    return ClassRates(images=images, precision=precision, recall=recall, f1=f1)


def _slice_rates(
    sample: Sample, values: Sequence[str], name: str, confidence: float, resamples: int, seed: int
) -> dict[str, SliceRates]:
    of_image = np.asarray(values, dtype=str)
    if of_image.shape != (len(sample),):
        raise EyelineError(f"the slicing {name!r} names {len(of_image)} images, there are {len(sample)}")
    rates = {}
    for value in np.unique(of_image).tolist():
        part = sample.part(of_image == value)
        judge = Judge(part, confidence, resamples, seed)
        rates[value] = SliceRates(
            images=len(part),
            groups=None if part.groups is None else part.units,
            defects=int(part.is_defect.sum()),
            auroc=judge.rate("auroc"),
            accuracy=judge.rate("accuracy"),
            escape_rate=judge.rate("escape_rate"),
            overkill_rate=judge.rate("overkill_rate"),
        )
    return rates


def _claim(sample: Sample, rates: Mapping[str, Rate], confidence: float, stopped: str) -> str:
    """One plain sentence: what was seen of escapes and overkill, on how many images and groups."""
    d, unit = sample.is_defect, sample.unit

    def seen(kind: str, chosen: Bools, what: str, rate: Rate, rate_name: str) -> str:
        n = int(chosen.sum())
        if n == 0:
            return f"no {kind} was among them, so the {rate_name} is unknown"
        groups = f" in {_plural(len(np.unique(unit[chosen])), 'group')}" if sample.groups is not None else ""
        interval = rate.interval_text(confidence)
        return f"of {_plural(n, kind)}{groups}, {rate.count} {what}: {rate_name} {interval}"

    where = (
        f"in {_plural(sample.units, 'group')}"
        if sample.groups is not None
        else "taken as independent because no groups are known"
    )
    escaped = seen("defect", d, "escaped", rates["escape_rate"], "escape rate")
    overkilled = seen("good part", ~d, stopped, rates["overkill_rate"], "overkill rate")
    return f"On {_plural(len(sample), 'image')} {where}, {escaped}; {overkilled}."


def _plural(n: int, noun: str) -> str:
    return f"{n:,} {noun}" + ("" if n == 1 else "s")
