"""The leak doctor: how much of a score comes from having seen the same part.

Every figure is an AUROC of defect against good, scored twice: with images dealt out singly (*random*) and with whole
groups kept on one side (*grouped*). The difference is the *inflation*: what a random split flatters by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eyeline.checks.findings import Finding
from eyeline.checks.neighbours import nearest, unit_rows, vote
from eyeline.errors import EyelineError
from eyeline.progress import Progress, silent
from eyeline.verdicts import auroc

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

FOLDS = 5
MOST_IMAGES = 20_000
"""Images the thumbnail probe looks at, whole groups drawn by chance: beyond that its interval gains nothing."""
NOTICEABLE = 0.02
"""Points of AUROC below which an inflation is not worth a warning."""
TELLING = 0.65
"""A single column whose AUROC is surely above this predicts the label."""

_RESAMPLES = 200
_BINS = 20
_PRIOR = 5.0  # images of the average defect share that each bin of a column starts with


@dataclass(frozen=True, kw_only=True)
class LeakScore:
    """One probe scored both ways, with the interval of the inflation."""

    probe: str
    random: float
    grouped: float
    inflation: float
    low: float
    high: float

    @property
    def leaks(self) -> bool:
        """Whether the inflation is surely above zero and large enough to matter."""
        return self.low > 0 and self.inflation >= NOTICEABLE

    def sentence(self) -> str:
        """``random 0.89, grouped 0.82: inflation 0.07 ...``"""
        figures = (
            f"random {self.random:.2f}, grouped {self.grouped:.2f}: inflation {self.inflation:.2f} "
            f"({self.low:.2f} to {self.high:.2f})"
        )
        if self.leaks:
            return f"{figures}; your network could win by remembering the part"
        if self.high < NOTICEABLE:
            return f"{figures}; remembering the part does not pay"
        return f"{figures}; inconclusive, too few groups to tell"


def inflation(
    random_scores: ArrayLike,
    grouped_scores: ArrayLike,
    is_defect: ArrayLike,
    groups: ArrayLike,
    *,
    probe: str,
    seed: int = 0,
) -> LeakScore:
    """What a random split adds to the AUROC of the same inspector.

    The figure is the mean over repeats; its 95 % interval comes from drawing whole groups with replacement, the
    same ones for both ways to split.

    Parameters
    ----------
    random_scores, grouped_scores : left-out defect scores of each image `(R, N)`, a row for each repeat of the
        cross-validation.
    is_defect : `(N,)`; groups : `(N,)` names or numbers.
    """
    defect = np.asarray(is_defect, dtype=bool)
    ways = [np.atleast_2d(np.asarray(scores, dtype=np.float64)) for scores in (random_scores, grouped_scores)]
    unit = np.unique(np.asarray(groups), return_inverse=True)[1]
    count = int(unit.max()) + 1
    members = np.split(np.argsort(unit, kind="stable"), np.cumsum(np.bincount(unit))[:-1])
    rng = np.random.default_rng(seed)

    def means(chosen: Ints) -> tuple[float, float]:
        random, grouped = (float(np.mean([auroc(s[chosen], defect[chosen]) for s in way])) for way in ways)
        return random, grouped

    random, grouped = means(np.arange(len(defect)))
    resampled = []
    for _ in range(_RESAMPLES):
        drawn = means(np.concatenate([members[g] for g in rng.integers(0, count, count)]))
        resampled.append(drawn[0] - drawn[1])
    low, high = np.nanquantile(resampled, [0.025, 0.975])
    return LeakScore(
        probe=probe,
        random=random,
        grouped=grouped,
        inflation=random - grouped,
        low=float(low),
        high=float(high),
    )


def thumbnail_leaks(
    descriptors: NDArray[np.floating],
    targets: ArrayLike,
    groups: ArrayLike,
    *,
    neighbours: Sequence[int] = (1, 10),
    folds: int = FOLDS,
    repeats: int = 3,
    seed: int = 0,
    progress: Progress = silent,
) -> tuple[LeakScore, ...]:
    """How well the nearest thumbnails alone tell defects, out of random and out of grouped folds.

    Nothing is trained: the label is voted by the `k` most similar images of the other folds, for each k in
    `neighbours`. The score pools all folds of a repeat; the figure is the mean over repeats, and its 95 %
    interval comes from drawing whole groups with replacement.

    Parameters
    ----------
    descriptors : float32 `(N, D)` of unit length, see `describe_thumbnails`.
    targets : class numbers `(N,)`; 0 is good.
    groups : group of each image `(N,)`.

    Raises
    ------
    EyelineError : fewer than two groups, or only good images, or none.
    """
    rng = np.random.default_rng(seed)
    y, unit = np.asarray(targets, dtype=np.int64), np.unique(np.asarray(groups), return_inverse=True)[1]
    rows = _draw_groups(unit, rng)
    x, y, unit = np.asarray(descriptors)[rows], y[rows], np.unique(unit[rows], return_inverse=True)[1]
    count = int(unit.max()) + 1 if len(unit) else 0
    if count < 2 or not 0 < (y != 0).sum() < len(y):
        raise EyelineError(
            f"{count} groups, {int((y != 0).sum())} defects: nothing to compare", code="too_few"
        )

    scores: dict[str, list[list[Doubles]]] = {"random": [], "grouped": []}
    for repeat in range(repeats):
        for by, dealt in (("random", np.arange(len(y))), ("grouped", unit)):
            fold = deal_folds(dealt, min(folds, count), rng)
            found, similar = nearest(x, max(neighbours), exclude=fold)
            votes = [vote(found[:, :k], similar[:, :k], y, int(y.max()) + 1) for k in neighbours]
            scores[by].append([1 - p[:, 0] for p in votes])
            progress("comparing random and grouped", 2 * repeat + (by == "grouped") + 1, 2 * repeats, "")

    return tuple(
        inflation(
            [repeat[place] for repeat in scores["random"]],
            [repeat[place] for repeat in scores["grouped"]],
            y != 0,
            unit,
            probe=f"{k}-nearest-neighbour on thumbnails",
            seed=seed,
        )
        for place, k in enumerate(neighbours)
    )


def _draw_groups(unit: Ints, rng: np.random.Generator) -> Ints:
    """All rows, or those of whole groups drawn by chance up to about `MOST_IMAGES`."""
    if len(unit) <= MOST_IMAGES:
        return np.arange(len(unit))
    sizes = np.bincount(unit)
    shuffled = rng.permutation(len(sizes))
    enough = int(np.searchsorted(np.cumsum(sizes[shuffled]), MOST_IMAGES)) + 1
    return np.flatnonzero(np.isin(unit, shuffled[:enough]))


def deal_folds(unit: Ints, folds: int, rng: np.random.Generator) -> Ints:
    """A fold for each row so that units stay whole: shuffled, each to the fold with the fewest rows."""
    sizes = np.bincount(unit)
    if sizes.max() == 1:
        return np.asarray(rng.permutation(len(unit)) % folds, dtype=np.int64)
    held = np.zeros(folds, dtype=np.int64)
    fold = np.empty(len(sizes), dtype=np.int64)
    for group in rng.permutation(len(sizes)):
        fold[group] = held.argmin()
        held[fold[group]] += sizes[group]
    return np.asarray(fold[unit], dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class GroupIdentity:
    """How often the nearest other image is of the same group, against chance."""

    rate: float
    low: float
    high: float
    chance: float
    """Mean of the same figure with the groups shuffled (within each class, if classes were given)."""
    p_value: float
    images: int
    """Images that have another one of their group."""


def group_identity(
    embeddings: NDArray[np.floating],
    groups: ArrayLike,
    targets: ArrayLike | None = None,
    *,
    permutations: int = 200,
    seed: int = 0,
) -> GroupIdentity:
    """How often an image's nearest other one belongs to its group, on thumbnails or a network's features `(N, C)`.

    Chance comes from shuffling the groups among the images, within each class of `targets` when given, so that
    groups of one class do not pass for recognised. The 95 % interval draws whole groups with replacement.

    Raises
    ------
    EyelineError : no group has two images, or there is only one group.
    """
    rng = np.random.default_rng(seed)
    x = np.asarray(embeddings, dtype=np.float32)
    unit = np.unique(np.asarray(groups), return_inverse=True)[1]
    if len(unit) == 0 or unit.max() < 1 or np.bincount(unit).max() < 2:
        raise EyelineError("two groups and one with two images are needed", code="too_few")
    count = int(unit.max()) + 1
    partner = nearest(unit_rows(x - x.mean(axis=0)), 1)[0][:, 0]
    strata = np.zeros(len(unit), dtype=np.int64) if targets is None else np.asarray(targets, dtype=np.int64)
    classes = [np.flatnonzero(strata == value) for value in np.unique(strata)]

    def hits(of: Ints) -> tuple[Ints, Ints]:
        paired = np.bincount(of)[of] > 1
        return np.bincount(of[paired & (of == of[partner])], minlength=count), np.bincount(
            of[paired], minlength=count
        )

    found, tried = hits(unit)
    rate = found.sum() / tried.sum()
    shuffled = np.empty(permutations)
    for number in range(permutations):
        of = unit.copy()
        for rows in classes:
            of[rows] = rng.permutation(unit[rows])
        by_chance, of_all = hits(of)
        shuffled[number] = by_chance.sum() / of_all.sum()
    drawn = rng.integers(0, len(found), (_RESAMPLES, len(found)))
    with np.errstate(invalid="ignore"):
        low, high = np.nanquantile(found[drawn].sum(axis=1) / tried[drawn].sum(axis=1), [0.025, 0.975])
    return GroupIdentity(
        rate=float(rate),
        low=float(low),
        high=float(high),
        chance=float(shuffled.mean()),
        p_value=float((1 + (shuffled >= rate).sum()) / (1 + permutations)),
        images=int(tried.sum()),
    )


@dataclass(frozen=True, kw_only=True)
class ColumnScore:
    """How well one column of the files' properties predicts the label."""

    column: str
    auroc: float
    low: float
    high: float


def metadata_leaks(
    columns: Mapping[str, ArrayLike],
    is_defect: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    folds: int = FOLDS,
    seed: int = 0,
) -> list[ColumnScore]:
    """AUROC of each column alone, out of (grouped) folds, the highest first.

    Numbers are cut into up to 20 bins of equal count, words are bins themselves; an image's score is the share of
    defects in its bin among the other folds. Unlike a correlation this sees any relation, also "defects are the
    middle sizes". The 95 % interval draws groups (or images) with replacement. Columns of one value are left out.
    """
    rng = np.random.default_rng(seed)
    defect = np.asarray(is_defect, dtype=bool)
    if not 0 < defect.sum() < len(defect):
        return []
    unit = np.arange(len(defect)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    count = int(unit.max()) + 1
    if count < 2:
        return []
    fold = deal_folds(unit, min(folds, count), rng)
    members = np.split(np.argsort(unit, kind="stable"), np.cumsum(np.bincount(unit))[:-1])
    draws = [np.concatenate([members[g] for g in rng.integers(0, count, count)]) for _ in range(_RESAMPLES)]
    scores = []
    for name, values in columns.items():
        bins = _bins(np.asarray(values))
        if bins.max() == 0:
            continue
        score = np.empty(len(defect))
        for held_out in range(int(fold.max()) + 1):
            seen, unseen = fold != held_out, fold == held_out
            images = np.bincount(bins[seen], minlength=int(bins.max()) + 1)
            defects = np.bincount(bins[seen], weights=defect[seen], minlength=len(images))
            score[unseen] = ((defects + _PRIOR * defect.mean()) / (images + _PRIOR))[bins[unseen]]
        areas = [auroc(score[chosen], defect[chosen]) for chosen in draws]
        low, high = np.nanquantile(areas, [0.025, 0.975])
        scores.append(ColumnScore(column=name, auroc=auroc(score, defect), low=float(low), high=float(high)))
    return sorted(scores, key=lambda one: -one.auroc)


def _bins(values: NDArray[np.generic]) -> Ints:
    if values.dtype.kind in "iuf":
        numbers = values.astype(np.float64)
        edges = np.unique(np.quantile(numbers, np.arange(1, _BINS) / _BINS, method="higher"))
        values = np.searchsorted(edges, numbers, side="right")
    return np.asarray(np.unique(values, return_inverse=True)[1], dtype=np.int64)


def leak_findings(scores: Sequence[LeakScore], identity: GroupIdentity | None = None) -> list[Finding]:
    """The best probe that is flattered as one finding, and groups that can be recognised as another."""
    findings = []
    leaking = [score for score in scores if score.leaks]
    if leaking:
        best = max(
            leaking, key=lambda score: score.grouped
        )  # the best inspector is nearest to the user's own
        findings.append(
            Finding(
                kind="group_leak",
                severity="warning",
                message=f"{best.probe}: {best.sentence()}",
                advice="split by group, never by image; believe the grouped figure",
                effect=min(1.0, best.inflation),
                details={"scores": [vars(score) for score in scores]},
            )
        )
    if identity is not None and identity.p_value <= 0.05 and identity.low > 2 * identity.chance:
        findings.append(
            Finding(
                kind="group_identity",
                severity="note",
                message=f"the nearest other image is of the same group for {identity.rate:.0%} of "
                f"{identity.images} images (chance {identity.chance:.0%}): the part can be recognised",
                advice="split by group; look for what gives the part away: serial numbers, position, light",
                effect=0.0,
                details=vars(identity),
            )
        )
    return findings


_ORDER_COLUMNS = ("modified", "order")
_ORDER_ADVICE = (
    "the classes were photographed, or only copied, one after the other: mix them when taking pictures"
)
_FILE_ADVICE = "the classes were stored differently, which a network can see: save all images the same way"


def metadata_findings(scores: Sequence[ColumnScore]) -> list[Finding]:
    """A warning for each column that surely predicts the label, a note for times and order, which copies distort."""
    return [
        Finding(
            kind="metadata_leak",
            severity="note" if score.column in _ORDER_COLUMNS else "warning",
            message=f"{score.column} alone predicts the label: AUROC {score.auroc:.2f} "
            f"({score.low:.2f} to {score.high:.2f})",
            advice=_ORDER_ADVICE if score.column in _ORDER_COLUMNS else _FILE_ADVICE,
            effect=score.auroc - 0.5,
            details=vars(score),
        )
        for score in scores
        if score.low > TELLING
    ]
