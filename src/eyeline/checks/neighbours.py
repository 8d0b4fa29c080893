"""Which images are most alike: exact nearest neighbours by blocked matrix products, and what they vote for.

Nothing here is approximate and nothing is trained. 100,000 images are 10^10 pairs: one pass of a matrix product
in blocks that fit the memory, with the k best of a row found through the maxima of its chunks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eyeline.errors import EyelineError
from eyeline.progress import Progress, silent

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

SIDE = 16
"""Thumbnails are compared at 16 by 16: enough to tell parts apart, coarse enough to ignore noise."""
TEMPERATURE = 0.07
"""How fast a vote fades with the distance (Wu et al. 2018, instance discrimination, section 3.4)."""

_BLOCK = 2**25  # similarities held at once: 128 MiB
_DEPTH = 32  # similarities a chunk; the k best of a row lie in the k chunks of the largest maxima


def describe_thumbnails(thumbnails: NDArray[np.uint8], side: int = SIDE) -> Floats:
    """Block means of grey thumbnails `(N, H, W)`, mean removed, unit length: float32 `(N, side * side)`.

    Their product is the correlation of two images, so brightness and contrast drop out. An even image has
    no direction: it becomes zeros and is like nothing. `side` must divide H and W.
    """
    n, height, width = thumbnails.shape
    if height % side or width % side:
        raise EyelineError(f"thumbnails of {height}x{width} do not divide into {side}x{side} blocks")
    rows = np.empty((n, side * side), dtype=np.float32)
    for start in range(0, n, 4096):  # the sums of all at once would be as large as the thumbnails
        part = thumbnails[start : start + 4096]
        blocks = part.reshape(len(part), side, height // side, side, width // side)
        means = blocks.mean(axis=(2, 4), dtype=np.float32).reshape(len(part), -1)
        rows[start : start + 4096] = unit_rows(means - means.mean(axis=1, keepdims=True))
    return rows


def unit_rows(vectors: ArrayLike) -> Floats:
    """Rows `(N, D)` scaled to length 1 as float32; rows of zeros stay."""
    rows = np.asarray(vectors, dtype=np.float32)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.divide(rows, length, out=np.zeros_like(rows), where=length > 1e-6))


def nearest(
    descriptors: NDArray[np.floating],
    k: int,
    queries: NDArray[np.floating] | None = None,
    exclude: ArrayLike | None = None,
    *,
    progress: Progress = silent,
) -> tuple[Ints, Floats]:
    """The `k` rows of `descriptors` `(N, D)` with the largest inner product, for every row or every query.

    Parameters
    ----------
    queries : `(Q, D)` that look for neighbours instead of the rows themselves.
    exclude : a name or number a row `(N,)`; neighbours come from another one only. With groups this scores by
        group, with fold numbers it scores out of fold. By default a row only leaves out itself, and a query
        nothing. With both, query i is a version of row i.

    Returns
    -------
    Indices int64 `(Q, k)` and similarities float32 `(Q, k)`, the nearest first. Where
    there are fewer than k, index -1 and similarity -inf.
    """
    rows = np.asarray(descriptors, dtype=np.float32)
    asked = rows if queries is None else np.asarray(queries, dtype=np.float32)
    n, q = len(rows), len(asked)
    if k < 1:
        raise EyelineError(f"{k} neighbours; at least 1 is needed", code="bad_option")
    groups = None if exclude is None else np.asarray(exclude)
    if groups is not None and not len(groups) == n == q:
        raise EyelineError(f"{len(groups)} groups to exclude for {n} rows and {q} queries")
    indices = np.full((q, k), -1, dtype=np.int64)
    similarities = np.full((q, k), -np.inf, dtype=np.float32)
    if n == 0 or q == 0:
        return indices, similarities

    order, first, last = _spans(n, queries is None, groups)
    depth = max(1, min(_DEPTH, n // (4 * k)))
    width = -(-n // depth)
    base = np.zeros((depth * width, rows.shape[1]), dtype=np.float32)
    base[:n] = rows[order]
    block = max(1, _BLOCK // len(base))
    buffer = np.empty((min(block, q), len(base)), dtype=np.float32)
    for start in range(0, q, block):
        stop = min(start + block, q)
        table = buffer[: stop - start]
        np.matmul(asked[start:stop], base.T, out=table)
        table[:, n:] = -np.inf
        for line, row in enumerate(range(start, stop) if len(first) else ()):
            table[line, first[row] : last[row]] = -np.inf
        columns, values = _largest(table.reshape(-1, depth, width), min(k, n))
        found = np.where(np.isneginf(values), -1, order[np.minimum(columns, n - 1)])
        best = np.lexsort((found, -values), axis=1)
        indices[start:stop, : found.shape[1]] = np.take_along_axis(found, best, axis=1)
        similarities[start:stop, : found.shape[1]] = np.take_along_axis(values, best, axis=1)
        progress("comparing images", stop, q, "")
    return indices, similarities


def _spans(n: int, of_rows: bool, exclude: NDArray[np.generic] | None) -> tuple[Ints, Ints, Ints]:
    """An order of the rows in which what each query leaves out is one span, and the ends of that span."""
    order = np.arange(n)
    if exclude is None:
        return (order, order, order + 1) if of_rows else (order, order[:0], order[:0])
    unit = np.unique(exclude, return_inverse=True)[1]
    order = np.argsort(unit, kind="stable")
    ends = np.cumsum(np.bincount(unit))
    return order, (ends - np.bincount(unit))[unit], ends[unit]


def _largest(table: Floats, k: int) -> tuple[Ints, Floats]:
    """Columns and values of the k largest of each row, unsorted; a row is given as `(depth, width)`.

    A chunk is one column of that shape. Its maximum costs one vectorised comparison an entry, where a partial
    sort of the whole row would cost twenty times that; the result is the same.
    """
    rows, depth, width = table.shape
    if k < width:
        chunks = np.argpartition(table.max(axis=1), width - k, axis=1)[:, width - k :]
    else:
        chunks = np.broadcast_to(np.arange(width), (rows, width))
    values = np.take_along_axis(table, chunks[:, None, :], axis=2).reshape(rows, -1)
    columns = (np.arange(depth)[None, :, None] * width + chunks[:, None, :]).reshape(rows, -1)
    if k < values.shape[1]:
        best = np.argpartition(values, values.shape[1] - k, axis=1)[:, values.shape[1] - k :]
        values, columns = np.take_along_axis(values, best, axis=1), np.take_along_axis(columns, best, axis=1)
    return columns, values


def vote(indices: Ints, similarities: NDArray[np.floating], targets: ArrayLike, classes: int) -> Doubles:
    """Class probabilities `(Q, K)` from the neighbours `(Q, k)` that `nearest` found.

    Each neighbour votes for its class in `targets` `(N,)` with exp((s - s_1) / 0.07), s_1 being the nearest; the
    shares of the classes count as one further neighbour, so that no probability is 0 and none without neighbours
    is undefined.
    """
    labels = np.asarray(targets, dtype=np.int64)
    shares = np.bincount(labels, minlength=classes) / max(len(labels), 1)
    known = indices >= 0
    best = np.where(known[:, :1], similarities[:, :1], 0.0)
    weights = np.where(known, np.exp(np.where(known, similarities - best, 0.0) / TEMPERATURE), 0.0)
    votes = np.tile(shares, (len(indices), 1))
    for place in range(indices.shape[1]):
        votes[np.arange(len(indices)), labels[indices[:, place]]] += weights[:, place]
    return np.asarray(votes / votes.sum(axis=1, keepdims=True), dtype=np.float64)


def neighbour_probabilities(
    descriptors: NDArray[np.floating],
    targets: ArrayLike,
    *,
    classes: int,
    exclude: ArrayLike | None = None,
    k: int = 10,
    progress: Progress = silent,
) -> Doubles:
    """Out-of-fold class probabilities `(N, K)` by weighted k nearest neighbours, with nothing trained.

    `exclude` `(N,)` holds groups or fold numbers: an image is judged by images of other ones only.
    """
    indices, similarities = nearest(descriptors, k, exclude=exclude, progress=progress)
    return vote(indices, similarities, targets, classes)
