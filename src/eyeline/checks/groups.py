"""Which images may belong to one part: proposals from names, folders, times and order, each weighed by the pixels.

A proposal is never applied by itself. Its `confidence` says how much more alike two images of one proposed group
are than two images of different groups, both of the same class, beyond what chance gives:

    alike = P(similarity within a group > similarity across groups), ties one half     (an AUROC)
    confidence = max(0, (low - chance) / (1 - chance))

`low` is the lower end of the 95 % interval of `alike` from drawing whole groups with replacement, `chance` the 95th
percentile of `alike` with the groups shuffled (for runs in file order the mean of the whole procedure on shuffled
images). So a name that the pixels do not confirm gets 0, and from `SURE` on
a proposal is worth showing first.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eyeline.checks.findings import Finding
from eyeline.checks.likeness import Evidence, group_evidence, lowest, mean_or_nan

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

SURE = 0.5
"""Confidence from which a proposal is recommended; below, it is shown as unsure."""

_SHUFFLES = 20
_LEAST_SHARED = 0.5  # share of the images that must have company in their group
_MOST_RULES = 40
_TIME_STEP = 4.0  # a pause between bursts is at least this many times the typical step within one


@dataclass(frozen=True, kw_only=True)
class GroupProposal:
    """One way to group the images, and how far the pixels confirm it."""

    source: str
    """``near duplicates``, ``file names``, ``folders``, ``capture times`` or ``file order``."""
    rule: str | None
    """The ``--group-by`` pattern that gives these groups; None where no pattern can."""
    groups: tuple[str, ...]
    """A group for each image `(N,)`."""
    count: int
    """How many groups."""
    confidence: float
    """0 (nothing in the pixels confirms it) to 1; the formula stands at the top of this file."""
    alike: float
    low: float
    chance: float
    reason: str


def propose_groups(
    paths: Sequence[str],
    targets: ArrayLike,
    descriptors: Floats,
    *,
    splits: Sequence[str] | None = None,
    modified: ArrayLike | None = None,
    duplicate_sets: ArrayLike | None = None,
    seed: int = 0,
) -> list[GroupProposal]:
    """Every grouping that names, folders, times, order or near duplicates suggest, the most trustworthy first.

    Parameters
    ----------
    paths : path of each image; what they have in common in front does not matter.
    targets : class numbers `(N,)`.
    descriptors : float32 `(N, D)` of unit length, see `describe_thumbnails`.
    modified : times of modification in ns `(N,)`.
    duplicate_sets : number of the set of near duplicates of each image `(N,)`, see `connected_sets`.
    """
    y = np.asarray(targets, dtype=np.int64)
    proposals = []
    if duplicate_sets is not None and (found := _from_duplicates(np.asarray(duplicate_sets))):
        proposals.append(found)
    proposals += _from_names(paths, y, descriptors, splits, seed)
    if modified is not None and (found := _from_times(np.asarray(modified), y, descriptors, seed)):
        proposals.append(found)
    if found := _from_order(paths, y, descriptors, seed):
        proposals.append(found)
    # About equal confidence: the coarser grouping protects from more.
    return sorted(proposals, key=lambda one: (-round(one.confidence * _shared(one.groups), 1), one.count))


def group_findings(proposals: Sequence[GroupProposal], *, given: bool) -> list[Finding]:
    """A warning when images without groups probably have some. `given`: the table has groups already."""
    sure = [one for one in proposals if one.confidence >= SURE]
    if given or not sure:
        return []
    best = sure[0]
    advice = (
        f"if that is right, give --group-by {best.rule!r}" if best.rule else "give a group column in a table"
    )
    return [
        Finding(
            kind="ungrouped",
            severity="warning",
            message=f"{best.source} suggest {best.count} groups (confidence {best.confidence:.2f}): {best.reason}",
            advice=f"{advice}, else images of one part stand on both sides of the split",
            effect=min(1.0, best.confidence * _shared(best.groups) * 0.1),
            details={"rule": best.rule, "groups": best.count, "confidence": round(best.confidence, 4)},
        )
    ]


# --- near duplicates ------------------------------------------------------------------------------


def _from_duplicates(sets: Ints) -> GroupProposal | None:
    size = np.bincount(np.unique(sets, return_inverse=True)[1])
    if not (size > 1).any():
        return None
    names = tuple(f"set {number:06d}" for number in sets)
    return GroupProposal(
        source="near duplicates",
        rule=None,
        groups=names,
        count=len(size),
        confidence=1.0,
        alike=1.0,
        low=1.0,
        chance=0.5,
        reason=f"{int(size[size > 1].sum())} images are near duplicates of another, in {int((size > 1).sum())} sets; "
        "each pair was verified by its pixels",
    )


# --- names and folders ----------------------------------------------------------------------------

_DATE = r"(?:19|20)\d\d[-_.]?(?:0[1-9]|1[0-2])[-_.]?(?:0[1-9]|[12]\d|3[01])"
_NAME_RULES = (
    ("file names with dates", rf"(?P<group>{_DATE})"),
    ("file names with dates", rf"(?P<group>{_DATE}[-_.T ]?(?:[01]\d|2[0-3]))"),
    ("file names with dates", rf"(?P<group>{_DATE}[-_.T ]?(?:[01]\d|2[0-3])[-_.:]?[0-5]\d)"),
    ("file names", r"(?P<group>[^/]*[^/0-9])[0-9]+\.[^./]+$"),
)


def _rules(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Patterns to try, simple ones first: folders, dates, and file names cut at each separator they all have."""
    depth = min(name.count("/") for name in names)
    for levels in range(1, min(depth, 3) + 1):
        yield (
            "folders",
            rf"(?P<group>[^/]+(?:/[^/]+){{{levels - 1}}})/[^/]*$"
            if levels > 1
            else (r"(?P<group>[^/]+)/[^/]*$"),
        )
    yield from _NAME_RULES
    stems = [os.path.splitext(name.rpartition("/")[2])[0] for name in names[:2000]]
    for mark in ("_", "-", " ", "."):
        pieces = min(stem.count(mark) for stem in stems) + 1
        s, word = re.escape(mark), rf"[^{re.escape(mark)}/]+"
        ending = r"\.[^./]+$" if mark == "." else "$"
        for cut in range(1, min(pieces, 4)):  # without the last 1, 2, 3 pieces
            yield "file names", rf"(?P<group>[^/]+){(s + word) * cut}{ending}"
        for kept in range(1, min(pieces, 4)):  # the first 1, 2, 3 pieces
            yield "file names", rf"(?:^|/)(?P<group>{s.join([word] * kept)}){s}[^/]*$"
        for place in range(1, min(pieces - 1, 4)):  # one piece from the middle
            yield "file names", rf"(?:^|/){(word + s) * place}(?P<group>{word}){s}[^/]*$"
        if pieces > 1 and mark != ".":  # the last piece
            yield "file names", rf"{s}(?P<group>[^{s}/.]+)\.[^./]+$"


def _from_names(
    paths: Sequence[str], y: Ints, descriptors: Floats, splits: Sequence[str] | None, seed: int
) -> list[GroupProposal]:
    names = _below_common_folder(paths)
    part = np.unique(splits or [""] * len(y), return_inverse=True)[1]
    cell = np.unique(np.stack([y, part]), axis=1, return_inverse=True)[1].ravel()
    seen: set[bytes] = set()
    proposals = []
    for source, rule in _rules(names) if names else ():
        if len(seen) >= _MOST_RULES:
            break
        pattern = re.compile(rule)
        found = [pattern.search(name) for name in names]
        if not all(found):
            continue
        groups = tuple(match.group("group") for match in found if match)
        unit = _in_order_of_appearance(groups)
        key = unit.tobytes()
        if key in seen or not _groups_something(unit, cell):
            continue
        seen.add(key)
        evidence = group_evidence(descriptors, unit, y, seed=seed)
        if evidence.confidence <= 0:
            continue
        count = int(unit.max()) + 1
        proposals.append(
            GroupProposal(
                source=source,
                rule=rule,
                groups=groups,
                count=count,
                confidence=evidence.confidence,
                **evidence._asdict(),
                reason=f"{len(groups)} images share {count} names such as {groups[0]!r}; {_in_words(evidence)}",
            )
        )
    return proposals


def _below_common_folder(paths: Sequence[str]) -> list[str]:
    names = [path.replace(os.sep, "/") for path in paths]
    low, high = min(names), max(names)  # what these two share, all share
    common = next((place for place, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), len(low))
    start = low.rfind("/", 0, common) + 1
    return [name[start:] for name in names]


def _in_order_of_appearance(groups: Sequence[str]) -> Ints:
    number: dict[str, int] = {}
    return np.array([number.setdefault(group, len(number)) for group in groups], dtype=np.int64)


def _groups_something(unit: Ints, cell: Ints) -> bool:
    """More than the classes (and parts of a given split) say, and enough images with company."""
    both = np.unique(np.stack([cell, unit]), axis=1).shape[1]
    return both > int(cell.max()) + 1 and unit.max() >= 2 and _shared(unit) >= _LEAST_SHARED


def _shared(groups: ArrayLike) -> float:
    """Share of the images that are not alone in their group."""
    unit = np.unique(np.asarray(groups), return_inverse=True)[1]
    return float((np.bincount(unit)[unit] > 1).mean()) if len(unit) else 0.0


def _in_words(evidence: Evidence) -> str:
    return (
        f"two images of one group are more alike than two of different ones with probability {evidence.alike:.2f} "
        f"(at least {evidence.low:.2f}; chance reaches {evidence.chance:.2f})"
    )


# --- times and order ------------------------------------------------------------------------------


def _from_times(modified: Ints, y: Ints, descriptors: Floats, seed: int) -> GroupProposal | None:
    order = np.argsort(modified, kind="stable")
    gaps = np.log(np.diff(modified[order]) / 1e6 + 1.0)  # in ms; equal times are no gap
    if len(gaps) < 2 or (cut := _otsu(gaps)) is None:
        return None
    pause = gaps > cut
    if np.median(gaps[pause]) - np.median(gaps[~pause]) < np.log(_TIME_STEP):
        return None
    unit = _cut(order, pause)
    if unit.max() < 2 or _shared(unit) < _LEAST_SHARED:
        return None
    evidence = group_evidence(descriptors, unit, y, seed=seed)
    return _burst(
        "capture times", unit, evidence, f"pauses longer than {np.exp(cut) / 1e3:.1f} s cut the times"
    )


def _from_order(paths: Sequence[str], y: Ints, descriptors: Floats, seed: int) -> GroupProposal | None:
    """Runs of images that resemble the next one, by the camera's counter, else in natural order of the paths.

    The cuts are made where neighbours differ, so neighbours cannot also confirm them. The evidence is from images two
    and three apart: a pair that ends at a cut against one as far apart that spans the same cut. Chance is the mean of
    the whole procedure on shuffled images, which finds cuts too.
    """
    counter = capture_order(paths)
    if counter is not None:
        order = np.argsort(counter)
    else:
        order = np.array(sorted(range(len(paths)), key=lambda row: _natural(paths[row])), dtype=np.int64)
    x, classes = descriptors[order], y[order]
    pause = _dissimilar(x)
    if pause is None:
        return None
    unit = _cut(order, pause)
    if unit.max() < 2 or _shared(unit) < _LEAST_SHARED:
        return None
    rng = np.random.default_rng(seed)
    cuts, wins = _at_cuts(x, classes, pause)
    if not len(wins):
        return None
    shuffled = []
    for _ in range(_SHUFFLES):
        mixed = rng.permutation(len(x))
        if (by_chance := _dissimilar(x[mixed])) is not None:
            shuffled.append(_at_cuts(x[mixed], classes[mixed], by_chance)[1])
    pooled = np.concatenate([np.empty(0), *shuffled])  # one shuffle alone may have next to no pairs
    chance = max(0.5, float(pooled.mean())) if len(pooled) else 0.5
    evidence = Evidence(mean_or_nan(wins), lowest(cuts, wins, rng), chance)
    return _burst("file order", unit, evidence, "consecutive images that resemble each other form runs")


def capture_order(paths: Sequence[str]) -> Ints | None:
    """The last number in each file name when no two images share one, else None.

    Only then is it one counter of a camera; numbers that start again in every class folder say nothing.
    """
    numbers = []
    for path in paths:
        found = re.findall(r"\d+", os.path.splitext(path.replace(os.sep, "/").rpartition("/")[2])[0])
        if not found or len(found[-1]) > 18:
            return None
        numbers.append(int(found[-1]))
    return np.array(numbers, dtype=np.int64) if len(set(numbers)) == len(numbers) else None


def _natural(path: str) -> list[tuple[int, str]]:
    return [(int(digits or -1), text) for digits, text in re.findall(r"(\d+)|(\D+)", path)]


def _dissimilar(x: Floats) -> NDArray[np.bool_] | None:
    """Where the next image is unlike this one, `(N - 1,)`; None when all are about equally alike."""
    if len(x) < 4:
        return None
    similar = np.einsum("nd,nd->n", x[1:], x[:-1]).astype(np.float64)
    cut = _otsu(similar)
    return None if cut is None else similar < cut


def _at_cuts(x: Floats, classes: Ints, pause: NDArray[np.bool_]) -> tuple[Ints, Doubles]:
    """The cut, and 1 where a pair on one side of it is more alike than one across, both as far apart (ties one half).

    Both pairs are of one class or both of two, so that the label makes no difference.
    """
    run = np.append(0, np.cumsum(pause))
    cuts = np.flatnonzero(pause)

    def pairs(start: Ints, lag: int, runs: int) -> tuple[NDArray[np.bool_], Doubles, NDArray[np.bool_]]:
        inside = (start >= 0) & (start + lag < len(x))
        a = np.where(inside, start, 0)
        b = np.where(inside, start + lag, 0)
        similar = np.einsum("nd,nd->n", x[a], x[b]).astype(np.float64)
        return inside & (run[b] - run[a] == runs), similar, classes[a] == classes[b]

    units, wins = [], []
    for lag in (2, 3):
        for ending in (cuts - lag, cuts + 1):
            within, near, near_class = pairs(ending, lag, 0)
            for before in range(1, lag + 1):
                across, far, far_class = pairs(cuts + 1 - before, lag, 1)
                valid = within & across & (near_class == far_class)
                units.append(cuts[valid])
                wins.append(((near > far) + 0.5 * (near == far))[valid])
    return np.concatenate(units), np.concatenate(wins)


def _cut(order: Ints, pause: NDArray[np.bool_]) -> Ints:
    unit = np.empty(len(order), dtype=np.int64)
    unit[order] = np.append(0, np.cumsum(pause))
    return unit


def _otsu(values: Doubles) -> float | None:
    """The cut that splits `values` into the two most separate halves (Otsu 1979); None when all are equal."""
    rising = np.sort(values)
    if rising[0] == rising[-1]:
        return None
    n = np.arange(1, len(rising))
    total = np.cumsum(rising)
    between = n * (len(rising) - n) * (total[:-1] / n - (total[-1] - total[:-1]) / (len(rising) - n)) ** 2
    best = int(np.where(rising[1:] > rising[:-1], between, -1.0).argmax())
    return float((rising[best] + rising[best + 1]) / 2)


def _burst(source: str, unit: Ints, evidence: Evidence, reason: str) -> GroupProposal | None:
    if evidence.confidence <= 0:
        return None
    count = int(unit.max()) + 1
    return GroupProposal(
        source=source,
        rule=None,
        groups=tuple(f"run {number + 1:06d}" for number in unit),
        count=count,
        confidence=evidence.confidence,
        **evidence._asdict(),
        reason=f"{reason} into {count} runs; {_in_words(evidence)}",
    )
