"""Pictures that stand in a table more than once: the same bytes, the same pixels, nearly the same, or turned.

Near duplicates are found in two steps.

*Candidates* are nearest neighbours in a space that is learned from the images themselves: linear combinations of the
16 by 16 picture that vary much between images and little when an image is shifted by up to 3 %. This is
Fisher's discriminant with every image its own class (within-class covariance normalisation). Plain thumbnails or
perceptual hashes fail on parts that all look alike: a shift changes them more than another part does.

*Verification* is by pixels: one image is explained by the other, shifted, zoomed, stretched in contrast and brightened
as fits best (Lucas and Kanade 1981, with gain and offset). What stays unexplained must be little overall, little in
every place (a scratch is a difference, not noise), and little against what random pairs of this data leave.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eyeline.checks.alignment import smooth, unexplained
from eyeline.checks.neighbours import SIDE, describe_thumbnails, nearest, unit_rows
from eyeline.errors import EyelineError
from eyeline.progress import Progress, silent

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
Pixel = TypeVar("Pixel", np.uint8, np.float32)

KINDS = ("same_bytes", "same_pixels", "near", "turned")
UNEXPLAINED = 0.012
"""Share of an image's variance that a near duplicate may leave unexplained."""
LOCAL = 0.06
"""The same for the worst of 36 places, against the mean variance of a place."""

_SIDE = 64
_NEIGHBOURS = 8
_MOST_TURNED = 5_000  # images of which turned copies are looked for: enough for a sign that there are any
_SURELY_DIFFERENT = (
    0.75  # similarity of candidates that are not verified: near duplicates reach 0.85 and more
)
_FEW = 500  # images among which every candidate is verified, since the space is learned from them
_LEARNED = 1500  # images that the space is learned from
_BATCH = 4096
_PAIRS = 1024  # compared at a time, by each core


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """Pairs of rows that show the same picture, sorted by kind and row."""

    first: Ints
    second: Ints
    """Rows `(P,)`, first < second. Of m exact copies there are m - 1 pairs, each with the first copy."""
    kind: tuple[str, ...]
    """``same_bytes``, ``same_pixels``, ``near`` or ``turned`` (a quarter turn or a mirror image of the other)."""
    score: Doubles
    """Share of the variance that agrees `(P,)`; 1 for exact copies."""

    def __len__(self) -> int:
        return len(self.first)


def find_duplicates(
    thumbnails: NDArray[np.uint8],
    *,
    contents: Sequence[str] | None = None,
    pixels: Sequence[str] | None = None,
    usable: ArrayLike | None = None,
    turned: bool = True,
    seed: int = 0,
    progress: Progress = silent,
) -> Pairs:
    """All pairs of images that are the same picture.

    Parameters
    ----------
    thumbnails : grey, uint8 `(N, 64, 64)`.
    contents, pixels : digest of each file's bytes and of its decoded pixels `(N,)`; empty where there is none.
    usable : whether the thumbnail of a row is one, bool `(N,)`.
    turned : look for quarter turns and mirror images too, of up to 5,000 images drawn by chance.

    Raises
    ------
    EyelineError : thumbnails of another size.
    """
    if thumbnails.shape[1:] != (_SIDE, _SIDE):
        raise EyelineError(f"thumbnails of {_SIDE}x{_SIDE} are needed, not {thumbnails.shape[1:]}")
    exact = _Collected()
    for kind, digests in (("same_bytes", contents), ("same_pixels", pixels)):
        exact.add(kind, *_equal(digests or ()))
    alone = np.ones(len(thumbnails), dtype=bool) if usable is None else np.array(usable, dtype=bool)
    alone[exact.second()] = False  # one of each exact set stands for the others
    alone &= (
        thumbnails.reshape(len(thumbnails), -1).std(axis=1, dtype=np.float32) > 1.0
        if len(thumbnails)
        else alone
    )
    rows = np.flatnonzero(alone)
    if len(rows) > 1:
        search = _Search(thumbnails, rows, seed, progress)
        for kind, found in (("near", search.near()), ("turned", search.turned() if turned else None)):
            if found is not None:
                exact.add(kind, rows[found[0]], rows[found[1]], found[2])
    return exact.pairs()


class _Collected:
    """Pairs as they are found; a pair keeps the first kind it was found as."""

    def __init__(self) -> None:
        self.found: dict[tuple[int, int], tuple[str, float]] = {}

    def add(self, kind: str, a: Ints, b: Ints, score: Doubles | None = None) -> None:
        scores = np.ones(len(a)) if score is None else score
        for one, other, value in zip(a.tolist(), b.tolist(), scores.tolist(), strict=True):
            self.found.setdefault((min(one, other), max(one, other)), (kind, value))

    def second(self) -> Ints:
        return np.array([pair[1] for pair in self.found], dtype=np.int64)

    def pairs(self) -> Pairs:
        order = sorted(self.found, key=lambda pair: (KINDS.index(self.found[pair][0]), pair))
        return Pairs(
            first=np.array([a for a, _ in order], dtype=np.int64),
            second=np.array([b for _, b in order], dtype=np.int64),
            kind=tuple(self.found[pair][0] for pair in order),
            score=np.array([self.found[pair][1] for pair in order], dtype=np.float64),
        )


def _equal(digests: Sequence[str]) -> tuple[Ints, Ints]:
    """Each further row of a digest with the first row of it."""
    first: dict[str, int] = {}
    pairs = [(first.setdefault(digest, row), row) for row, digest in enumerate(digests) if digest]
    a, b = np.array([pair for pair in pairs if pair[0] != pair[1]], dtype=np.int64).reshape(-1, 2).T
    return a, b


class _Search:
    """Candidates and their verification for some of the thumbnails; from here on these are numbered anew.

    What is large is made a batch at a time: 2.2 KB an image stay, half of a thumbnail.
    """

    def __init__(self, thumbnails: NDArray[np.uint8], chosen: Ints, seed: int, progress: Progress) -> None:
        self.thumbnails, self.chosen = thumbnails, chosen
        self.rng = np.random.default_rng(seed)
        self.progress = progress
        n = len(chosen)
        # Half precision keeps 100,000 of them within 200 MB; its rounding is below the noise of a camera.
        self.smoothed = np.empty((n, _SIDE // 2, _SIDE // 2), dtype=np.float16)
        total = np.zeros(SIDE * SIDE)
        for batch in _batches(n):
            part = thumbnails[chosen[batch]]
            self.smoothed[batch] = smooth(part)
            total += describe_thumbnails(part).sum(axis=0, dtype=np.float64)
        self.mean = (total / n).astype(np.float32)
        learned = chosen[self.rng.permutation(n)[:_LEARNED]]
        self.space = _telling_directions(thumbnails[learned], self.mean)
        self.rows = np.empty((n, self.space.shape[1]), dtype=np.float32)
        for batch in _batches(n):
            self.rows[batch] = self._placed(thumbnails[chosen[batch]])
        self.most = min(UNEXPLAINED, 0.1 * self._typical())

    def near(self) -> tuple[Ints, Ints, Doubles]:
        n = len(self.rows)
        other, similar = nearest(self.rows, min(_NEIGHBOURS, n - 1), progress=self.progress)
        a, b = _unordered(np.arange(n), other, similar, n)
        return self._verified(a, b, 0, "comparing pixels")

    def turned(self) -> tuple[Ints, Ints, Doubles]:
        n = len(self.rows)
        asked = np.sort(self.rng.permutation(n)[:_MOST_TURNED])
        parts = []
        for turn in (1, 2, 4, 5, 6, 7):  # a turn by 270 degrees is one by 90 seen from the other image
            queries = self._placed(_turn(self.thumbnails[self.chosen[asked]], turn))
            other, similar = nearest(self.rows, min(3, n), queries=queries)
            a, b = _unordered(asked, other, similar, n, ordered=turn == 1)
            a, b, score = self._verified(a, b, turn, "comparing turned pixels")
            even = (
                self._unexplained(a, a, turn)[0] < 2 * self.most
            )  # looks the same turned: its turns say nothing
            parts.append((a[~even], b[~even], score[~even]))
        a, b, score = (np.concatenate(part) for part in zip(*parts, strict=True))
        return a, b, score

    def _placed(self, thumbnails: NDArray[np.uint8]) -> Floats:
        """Where they lie in the space `(B, d)`, at length 1."""
        return unit_rows((describe_thumbnails(thumbnails) - self.mean) @ self.space)

    def _typical(self) -> float:
        """What one image leaves of another at random, in the median."""
        n = len(self.rows)
        a = self.rng.integers(0, n, 600)
        b = (a + self.rng.integers(1, n, 600)) % n
        return float(np.median(self._unexplained(a, b, 0)[0]))

    def _verified(self, a: Ints, b: Ints, turn: int, stage: str) -> tuple[Ints, Ints, Doubles]:
        parts = [slice(start, start + _PAIRS) for start in range(0, len(a), _PAIRS)]
        left = np.empty(len(a))
        pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="compare")
        try:
            found = pool.map(lambda part: self._left(a[part], b[part], turn), parts)
            for part, values in zip(parts, found, strict=True):
                left[part] = values
                self.progress(stage, min(part.stop, len(a)), len(a), "")
        finally:  # Ctrl-C waits for no more than what is under way
            pool.shutdown(cancel_futures=True)
        keep = left < self.most
        return a[keep], b[keep], 1 - left[keep]

    def _left(self, one: Ints, other: Ints, turn: int) -> Doubles:
        """What the better of the two leaves unexplained of the other; 1 where one place differs too much."""
        found, local = self._unexplained(one, other, turn)
        found[local > LOCAL] = 1.0
        # A blurred picture does not explain a sharp one, so where it failed narrowly the other way is tried.
        close = np.flatnonzero((found >= self.most) & (local < 10 * LOCAL))
        back, local = self._unexplained(other[close], one[close], _BACK.get(turn, turn))
        found[close] = np.where(local > LOCAL, 1.0, back)
        return found

    def _unexplained(self, a: Ints, b: Ints, turn: int) -> tuple[Doubles, Doubles]:
        first, second = self.smoothed[a].astype(np.float32), self.smoothed[b].astype(np.float32)
        return unexplained(_turn(first, turn), second)


_BACK = {1: 3}  # the turn that undoes one; the others undo themselves


def _turn(images: NDArray[Pixel], turn: int) -> NDArray[Pixel]:
    """One of the eight turns and mirror images of `(N, S, S)`: quarter turns, from 4 on mirrored."""
    turned = np.rot90(images, turn % 4, axes=(1, 2))
    return turned[:, :, ::-1] if turn >= 4 else turned


def _unordered(
    asked: Ints, other: Ints, similar: Floats, n: int, *, ordered: bool = False
) -> tuple[Ints, Ints]:
    """Distinct pairs from lists of neighbours `(Q, k)`; without `ordered` as first < second."""
    a = np.repeat(asked, other.shape[1])
    keep = (other.ravel() >= 0) & (a != other.ravel())
    if n > _FEW:
        keep &= similar.ravel() > _SURELY_DIFFERENT
    a, b = a[keep], other.ravel()[keep]
    if not ordered:
        a, b = np.minimum(a, b), np.maximum(a, b)
    code = np.unique(a * n + b)
    return code // n, code % n


def _batches(n: int) -> list[slice]:
    return [slice(start, min(start + _BATCH, n)) for start in range(0, n, _BATCH)]


def _telling_directions(thumbnails: NDArray[np.uint8], mean: Floats) -> Floats:
    """Directions `(D, d)` in which images differ most against how a shift of 3 % moves one image.

    They are learned from `thumbnails`, a sample of images of which `mean` `(D,)` is the mean.
    """
    plain = describe_thumbnails(thumbnails)
    line = np.arange(_SIDE)
    within = np.zeros((plain.shape[1], plain.shape[1]))
    moves = [(down, right) for down in (-2, 0, 2) for right in (-2, 0, 2) if down or right]
    for down, right in moves:
        rows, columns = np.clip(line + down, 0, _SIDE - 1), np.clip(line + right, 0, _SIDE - 1)
        step = describe_thumbnails(thumbnails[:, rows][:, :, columns]).astype(np.float64) - plain
        within += step.T @ step / len(plain)
    spread = (plain - mean).astype(np.float64)
    between = spread.T @ spread / len(spread)
    # Noise moves an image a little in every direction.
    values, vectors = np.linalg.eigh(within + 2e-3 * np.trace(within) / len(within) * np.eye(len(within)))
    whitened = vectors / np.sqrt(np.maximum(values, 1e-12))
    telling = np.linalg.eigh(whitened.T @ between @ whitened)[1][:, ::-1]
    return np.asarray(whitened @ telling[:, : min(48, len(plain) - 1)], dtype=np.float32)


def connected_sets(pairs: Pairs, images: int, kinds: Sequence[str] = KINDS) -> Ints:
    """For each image the smallest row that it is connected to through pairs of `kinds`, `(N,)`; itself if alone."""
    parent = list(range(images))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for a, b, kind in zip(pairs.first.tolist(), pairs.second.tolist(), pairs.kind, strict=True):
        if kind in kinds:
            low, high = sorted((root(a), root(b)))
            parent[high] = low
    return np.array([root(row) for row in range(images)], dtype=np.int64)
