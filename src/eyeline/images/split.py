"""Splitting honestly: what belongs together stays together, and every part looks like the whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from eyeline.errors import EyelineError
from eyeline.images.table import SPLITS, ImageTable

By = Literal["group", "image"]
Ints = NDArray[np.int64]

FRACTIONS = (0.7, 0.15, 0.15)
_SHUFFLES = 10  # restarts, as long as a part lacks something
_MOST_DEALT = 200_000  # units dealt over all restarts
_FEW_UNITS = 400  # up to here every swap is tried
_MOST_MOVED = 20_000


def split_images(
    table: ImageTable,
    *,
    by: By | None = None,
    fractions: tuple[float, float, float] = FRACTIONS,
    seed: int = 0,
) -> tuple[str, ...]:
    """``train``, ``val`` or ``test`` for each image.

    A split that the table brings along is kept; a part that it lacks is carved out of its train part.
    Otherwise the images are dealt out so that sizes and class shares of the parts come as close as possible
    to `fractions`.

    Parameters
    ----------
    by : ``group`` keeps every group on one side; ``image`` deals out single images, stratified by class and
        by the slice ``type`` if there is one. By default ``group`` when the table has groups.
    fractions : of train, val and test; they are scaled to sum to 1. A part of fraction 0 stays empty.
    seed : the same seed gives the same split.

    Raises
    ------
    EyelineError : a part cannot have both good images and defects, or a given split tears a group apart
        (``code="leak"``).
    """
    by = _unit(table, by)
    wanted = _fractions(fractions)
    if table.splits is not None:
        return _complete(table, table.splits, by, wanted, seed)
    parts = _deal(table, by, wanted, seed)
    names = tuple(SPLITS[part] for part in parts)
    _check_parts(table, names, [name for name, share in zip(SPLITS, wanted, strict=True) if share > 0], by)
    return names


def make_folds(table: ImageTable, *, k: int = 5, by: By | None = None, seed: int = 0) -> Ints:
    """The fold 0..k-1 in which each image is held out, int64 ``(N,)``, dealt out as in `split_images`.

    Raises
    ------
    EyelineError : `k` is below 2, or a fold cannot have both good images and defects.
    """
    by = _unit(table, by)
    if k < 2:
        raise EyelineError(f"{k} folds; at least 2 are needed", code="bad_option")
    folds = _deal(table, by, np.full(k, 1 / k), seed)
    names = tuple(f"fold {fold + 1}" for fold in folds)
    _check_parts(table, names, [f"fold {fold + 1}" for fold in range(k)], by)
    return folds


def _unit(table: ImageTable, by: By | None) -> By:
    if not len(table):
        raise EyelineError("there are no images to split", code="empty", path=table.name)
    if by is None:
        return "image" if table.groups is None else "group"
    if by not in ("group", "image"):
        raise EyelineError(f"split by {by!r}; group and image are possible", code="bad_option")
    if by == "group" and table.groups is None:
        raise EyelineError(
            "the images have no groups to split by", code="no_group", path=table.name, hint="give --group-by"
        )
    return by


def _fractions(fractions: Sequence[float]) -> NDArray[np.float64]:
    wanted = np.asarray(fractions, dtype=np.float64)
    if wanted.shape != (3,) or not np.isfinite(wanted).all() or wanted.min() < 0 or wanted[0] <= 0:
        raise EyelineError(
            f"fractions {tuple(fractions)} are not shares of train (above 0), val and test", code="bad_option"
        )
    return np.asarray(wanted / wanted.sum(), dtype=np.float64)


def _deal(table: ImageTable, by: By, fractions: NDArray[np.float64], seed: int) -> Ints:
    """Part number of each image. What is dealt out is a unit: a group, or a single image."""
    kinds = table.slices.get("type", ("",) * len(table)) if by == "image" else ("",) * len(table)
    strata = sorted(set(zip(table.targets.tolist(), kinds, strict=True)))
    column = {stratum: number for number, stratum in enumerate(strata)}
    columns = np.array([column[stratum] for stratum in zip(table.targets.tolist(), kinds, strict=True)])
    if by == "group":
        unit = np.unique(np.array(table.groups, dtype=object), return_inverse=True)[1]
    else:
        unit = np.arange(len(table))
    counts = np.zeros((int(unit.max()) + 1, len(strata)))
    np.add.at(counts, (unit, columns), 1)
    present = np.flatnonzero(fractions > 0)
    dealer = _Dealer(counts, np.array([target == 0 for target, _ in strata]), fractions[present])
    return np.asarray(present[dealer.deal(np.random.default_rng(seed))][unit], dtype=np.int64)


class _Dealer:
    """Deals whole units out to parts so that each part gets its share of every stratum.

    Greedy, largest unit first in shuffled order, each unit to where it brings the parts closest to their
    shares; then single moves and swaps while they help. Near-optimal deals are many, so different seeds give
    different ones. Other shuffles are tried only while a part lacks something that it could have.
    """

    def __init__(
        self, counts: NDArray[np.float64], is_good: NDArray[np.bool_], fractions: NDArray[np.float64]
    ) -> None:
        self.counts = counts  # images (units, strata)
        self.is_good = is_good  # (strata,)
        self.fractions = fractions / fractions.sum()  # (parts,)
        self.target = self.fractions[:, None] * counts.sum(axis=0)  # (parts, strata)
        self.scale = 1 / self.target
        self.size_scale = 1 / self.target.sum(axis=1)

    def deal(self, rng: np.random.Generator) -> Ints:
        """Part of each unit, int64 ``(units,)``."""
        units = len(self.counts)
        best, best_cost = np.zeros(units, dtype=np.int64), np.inf
        for _ in range(int(np.clip(_MOST_DEALT // units, 1, _SHUFFLES))):
            parts = self._greedy(rng)
            if units <= _FEW_UNITS:
                parts = self._improve(parts, np.arange(units), swaps=True)
            else:
                parts = self._improve(parts, self._rare(parts), swaps=False)
            held = self._held(parts)
            cost = float(self._cost(held))
            if cost < best_cost:
                best, best_cost = parts, cost
            if self._settled(held):
                break
        return best

    def _settled(self, held: NDArray[np.float64]) -> bool:
        """Every part has both kinds, and no stratum could be spread over more parts."""
        both = held[:, self.is_good].any(axis=1) & held[:, ~self.is_good].any(axis=1)
        widest = np.minimum((self.counts > 0).sum(axis=0), len(held))
        return bool(both.all() and ((held > 0).sum(axis=0) == widest).all())

    def _held(self, parts: Ints) -> NDArray[np.float64]:
        held = np.zeros(self.target.shape)
        np.add.at(held, parts, self.counts)
        return held

    def _cost(self, held: NDArray[np.float64]) -> NDArray[np.float64]:
        """Chi-square distance of strata and of sizes, for `held` of shape ``(..., parts, strata)``.

        A part without good images or without defects outweighs every imbalance; next comes a part that lacks
        a stratum, the more the larger the part is meant to be.
        """
        gap = held - self.target
        by_stratum = (gap**2 * self.scale).sum(axis=(-2, -1))
        by_size = (gap.sum(axis=-1) ** 2 * self.size_scale).sum(axis=-1)
        no_good = held[..., self.is_good].sum(axis=-1) == 0
        no_defect = held[..., ~self.is_good].sum(axis=-1) == 0
        lacking = ((held == 0).sum(axis=-1) * self.fractions).sum(axis=-1)
        images = self.target.sum()
        fine = 100 * images * (no_good.sum(axis=-1) + no_defect.sum(axis=-1)) + 10 * images * lacking
        return np.asarray(by_stratum + by_size + fine)

    def _greedy(self, rng: np.random.Generator) -> Ints:
        sizes = self.counts.sum(axis=1)
        parts = np.zeros(len(sizes), dtype=np.int64)
        gap = -self.target
        for unit in np.argsort(-sizes * rng.uniform(0.8, 1.0, len(sizes)), kind="stable"):
            # How the cost changes if the unit goes to each part: (gap + row)^2 - gap^2.
            row = self.counts[unit]
            change = ((2 * gap + row) * row * self.scale).sum(axis=1)
            change += (2 * gap.sum(axis=1) + sizes[unit]) * sizes[unit] * self.size_scale
            parts[unit] = part = int(change.argmin())
            gap[part] += row
        return parts

    def _rare(self, parts: Ints) -> Ints:
        """Units that hold something which some part lacks altogether."""
        lacking = (self._held(parts) == 0).any(axis=0)
        return np.flatnonzero(self.counts[:, lacking].any(axis=1))[:_MOST_MOVED]

    def _improve(self, parts: Ints, candidates: Ints, *, swaps: bool) -> Ints:
        """Move one of the candidates, or swap it with another unit, as long as that lowers the cost."""
        parts = parts.copy()
        held = self._held(parts)
        cost = float(self._cost(held))
        one = np.eye(len(self.target))  # which part gains or loses
        improved = True
        while improved:
            improved = False
            for unit in candidates:
                old = parts[unit]
                moved = held + (one - one[old])[:, :, None] * self.counts[unit]
                costs = self._cost(moved)
                part = int(costs.argmin())
                if costs[part] < cost - 1e-9:
                    parts[unit], held, cost, improved = part, moved[part], float(costs[part]), True
                    continue
                others = np.flatnonzero(parts != old)
                if not swaps or not len(others):
                    continue
                change = self.counts[others] - self.counts[unit]
                swapped = held + (one[old] - one[parts[others]])[:, :, None] * change[:, None, :]
                costs = self._cost(swapped)
                pick = int(costs.argmin())
                if costs[pick] < cost - 1e-9:
                    parts[unit], parts[others[pick]] = parts[others[pick]], old
                    held, cost, improved = swapped[pick], float(costs[pick]), True
        return parts


def _complete(
    table: ImageTable, given: tuple[str, ...], by: By, fractions: NDArray[np.float64], seed: int
) -> tuple[str, ...]:
    """Keep a given split; carve missing val or test out of train by the same law."""
    if by == "group":
        assert table.groups is not None
        side: dict[str, str] = {}
        for group, name in zip(table.groups, given, strict=True):
            if side.setdefault(group, name) != name:
                raise EyelineError(
                    f"the given split tears group {group!r} apart: it is in {side[group]} and in {name}",
                    code="leak",
                    path=table.name,
                    hint="correct the split, or leave it out and let the groups decide",
                )
    present = set(given)
    if "train" not in present:
        raise EyelineError("the given split has no train part", code="bad_split", path=table.name)
    missing = [
        name for name, share in zip(SPLITS, fractions, strict=True) if share > 0 and name not in present
    ]
    names = list(given)
    if missing:
        rows = np.flatnonzero(np.array(given) == "train")
        keep = np.array([name == "train" or name in missing for name in SPLITS])
        shares = np.where(keep, fractions, 0.0)
        parts = _deal(table.select(rows), by, shares / shares.sum(), seed)
        for row, part in zip(rows, parts, strict=True):
            names[row] = SPLITS[part]
    _check_parts(table, names, [name for name in SPLITS if name in present or name in missing], by)
    return tuple(names)


def _check_parts(table: ImageTable, names: Sequence[str], parts: Sequence[str], by: By) -> None:
    held = np.array(names, dtype=object)
    for part in parts:
        inside = held == part
        for kind, wanted in (("good images", ~table.is_defect), ("defects", table.is_defect)):
            if not (inside & wanted).any():
                raise EyelineError(
                    f"the {part} part would have no {kind}" + _why(table, by, wanted, len(parts)),
                    code="bad_split",
                    path=table.name,
                )
    if "train" in parts:
        trained = {label for label, name in zip(table.labels, names, strict=True) if name == "train"}
        if untrained := sorted(set(table.labels) - trained):
            raise EyelineError(
                f"class {untrained[0]!r} never appears in the train part", code="bad_split", path=table.name
            )


def _why(table: ImageTable, by: By, wanted: NDArray[np.bool_], parts: int) -> str:
    if by == "image" or table.groups is None:
        return f"; the table has {int(wanted.sum())} for {parts} parts"
    groups = len({table.groups[row] for row in np.flatnonzero(wanted)})
    have = "1 group has any" if groups == 1 else f"{groups} groups have any"
    return f"; {have}, and {parts} parts need at least {parts} such groups (groups: {table.group_source})"
