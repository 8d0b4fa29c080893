"""Receptive fields as interval algebra: which pixels a position of a feature map can depend on.

A `Field` describes one axis of one feature map. Position ``u`` depends on the pixels inside

    [ start + u * stride ,  end + u * stride ]

so the size is ``end - start + 1``, the padding (how far the first field hangs over the border) is ``-start``
and the centre of position 0 is ``(start + end) / 2``. The input itself is ``start = end = 0, stride = 1``. An
operation that reads ``[step*u - before, step*u + after]`` (see `geometry`) turns the field into

    start' = start - before * stride      end' = end + after * stride      stride' = stride * step

For a chain of kernels k with strides s this is the known ``1 + sum (k-1) * product of earlier strides``
(Araujo, Norris, Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill 2019).

**Branches** that meet (residual sum, concatenation) are joined by `Field.union`, which keeps three intervals:
the union, the shortest path and the longest path. When strides and centres of all paths agree the union *is*
the longest path and the verdict is "aligned"; "shifted" (centres differ) and "scaled" (strides differ) warn
that the size is a hull. The shortest path is the one that predicts layers that see nothing new (Richter et
al., arXiv 2106.12307).

**Global**: attention, squeeze-excite, global pooling and instance norm let every position see the whole
image. `is_global` records it and the intervals go on describing the spatial path alone.

**Exactness**: with whole strides a chain's intervals are exact away from the borders. Rational strides
(upsampling, adaptive pooling) make them an outer bound. `Spans` carries the exact interval of *every*
position instead, borders, ceil mode and unequal windows included, for a known image side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import floor
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from eyeline.convolution.geometry import Operation, Rational, adaptive_window, simplest
from eyeline.errors import EyelineError

Alignment = Literal["aligned", "shifted", "scaled"]


@dataclass(frozen=True, order=True)
class Span:
    """A closed interval of pixels, possibly with fractional ends; the whole pixels inside count."""

    start: Rational = 0
    end: Rational = 0

    @property
    def size(self) -> int:
        """The most whole pixels that this interval holds wherever it is shifted to."""
        return floor(self.end - self.start) + 1

    @property
    def center(self) -> Rational:
        return simplest(Fraction(self.start + self.end) / 2)

    def shifted(self, distance: Rational) -> Span:
        return Span(simplest(self.start + distance), simplest(self.end + distance))


@dataclass(frozen=True)
class Field:
    """The receptive field of every position of a feature map along one axis.

    Start with ``Field(side=224)`` (or ``Field()`` when the side does not matter), push it through operations
    with `through`, join branches with `Field.union`.

    Attributes
    ----------
    reach : what position 0 reads over all paths: ``Span(start, end)``.
    shortest, longest : the same for the smallest and the largest single path.
    stride : pixels between neighbouring positions, an int or a Fraction.
    side : positions of this feature map, None when unknown.
    input_side : pixels of the image, None when unknown.
    alignment : "aligned", "shifted" or "scaled": do all paths agree on centre and stride.
    is_global : an operation that mixes all positions was crossed.
    """

    reach: Span = Span()
    shortest: Span = Span()
    longest: Span = Span()
    stride: Rational = 1
    side: int | None = None
    input_side: int | None = None
    alignment: Alignment = "aligned"
    is_global: bool = False

    def __post_init__(self) -> None:
        if self.input_side is None and self.side is not None:
            object.__setattr__(self, "input_side", self.side)

    @property
    def size(self) -> int:
        """Pixels from the first to the last that a position can depend on (spatial paths only)."""
        return self.reach.size

    @property
    def min_size(self) -> int:
        return self.shortest.size

    @property
    def max_size(self) -> int:
        return self.longest.size

    @property
    def start(self) -> Rational:
        """First pixel of position 0; negative in the padding."""
        return self.reach.start

    @property
    def padding(self) -> Rational:
        """Pixels by which the field of position 0 hangs over the border: ``-start``."""
        return simplest(-self.reach.start)

    @property
    def center(self) -> Rational:
        """Centre pixel of position 0; position u is centred at ``center + u * stride``."""
        return self.reach.center

    def through(self, operation: Operation) -> Field:
        """The field after `operation` (a Window, TransposedWindow or Resampling of `geometry`).

        Raises
        ------
        EyelineError : the operation does not fit the side of this feature map.
        """

        def widened(span: Span) -> Span:
            return Span(
                simplest(span.start - operation.before * self.stride),
                simplest(span.end + operation.after * self.stride),
            )

        return replace(
            self,
            reach=widened(self.reach),
            shortest=widened(self.shortest),
            longest=widened(self.longest),
            stride=simplest(self.stride * operation.step),
            side=None if self.side is None else operation.output_side(self.side),
            is_global=self.is_global or operation.is_global,
        )

    def chain(self, *operations: Operation) -> Field:
        """`through` each operation in turn."""
        field = self
        for operation in operations:
            field = field.through(operation)
        return field

    def mixed(self) -> Field:
        """After attention, instance norm or anything that lets each position see all, side unchanged."""
        return replace(self, is_global=True)

    def pooled(self) -> Field:
        """After global pooling: one position that reads the whole map.

        Raises
        ------
        EyelineError : the side is unknown.
        """
        if self.side is None:
            raise EyelineError("global pooling needs the side of the map", hint="start from Field(side=...)")
        return self.through(adaptive_window(self.side, 1))

    @staticmethod
    def union(branches: Sequence[Field]) -> Field:
        """The field where `branches` of equal side meet by sum, product or concatenation.

        A branch of side 1 that meets a larger one is broadcast (the gate of squeeze-excite): it only adds its
        global flag, and the spatial path goes on beside it.

        Raises
        ------
        EyelineError : no branch, branches of different sides, or strides that differ with an unknown side.
        """
        if not branches:
            raise EyelineError("a union needs at least one branch")
        is_global = any(branch.is_global for branch in branches)
        if any(branch.side not in (1, None) for branch in branches):
            broadcast = [branch for branch in branches if branch.side == 1]
            is_global = is_global or bool(broadcast)
            branches = [branch for branch in branches if branch.side != 1]
        sides = {branch.side for branch in branches if branch.side is not None}
        if len(sides) > 1:
            raise EyelineError(f"branches of different sides meet: {sorted(sides)}", code="misaligned")
        side = next(iter(sides), None)
        stride = max(branch.stride for branch in branches)
        reaches = [_rebased(branch, stride, side) for branch in branches]
        return Field(
            reach=Span(min(reach.start for reach in reaches), max(reach.end for reach in reaches)),
            shortest=min((b.shortest for b in branches), key=lambda span: (span.end - span.start, span)),
            longest=max((b.longest for b in branches), key=lambda span: (span.end - span.start, span)),
            stride=stride,
            side=side,
            input_side=next((b.input_side for b in branches if b.input_side is not None), None),
            alignment=_alignment(branches),
            is_global=is_global,
        )

    def at(self, position: int) -> Span:
        """The pixels that `position` reads, clipped to the image when its side is known.

        ``start > end`` when every pixel lies in the padding.
        """
        span = self.reach.shifted(position * self.stride)
        if self.input_side is None:
            return span
        return Span(max(span.start, 0), min(span.end, self.input_side - 1))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; fractional numbers become floats."""
        return {
            "min": self.min_size,
            "max": self.max_size,
            "size": self.size,
            "stride": _plain(self.stride),
            "padding": _plain(self.padding),
            "center": _plain(self.center),
            "side": self.side,
            "alignment": self.alignment,
            "global": self.is_global,
        }


def _rebased(branch: Field, stride: Rational, side: int | None) -> Span:
    """The interval that covers `branch` at every position when positions are counted `stride` apart."""
    drift = branch.stride - stride
    if drift == 0:
        return branch.reach
    if side is None:
        raise EyelineError(
            f"branches of strides {branch.stride} and {stride} meet at an unknown side",
            code="misaligned",
            hint="start from Field(side=...)",
        )
    last = branch.reach.shifted(drift * (side - 1))  # the drift is linear, so the two ends bound it
    return Span(min(branch.reach.start, last.start), max(branch.reach.end, last.end))


def _alignment(branches: Sequence[Field]) -> Alignment:
    verdicts = {branch.alignment for branch in branches}
    if len({branch.stride for branch in branches}) > 1 or "scaled" in verdicts:
        return "scaled"
    if len({branch.center for branch in branches}) > 1 or "shifted" in verdicts:
        return "shifted"
    return "aligned"


def _plain(value: Rational) -> int | float:
    return value if isinstance(value, int) else float(value)


_NOTHING = (np.iinfo(np.int64).max, np.int64(-1))  # first and last of a position that reads no pixel


@dataclass(frozen=True, eq=False)
class Spans:
    """The exact first and last pixel that each position of a feature map depends on, along one axis.

    `first` and `last` are int64 arrays of one entry a position; a position that reads no pixel at all (its
    window lies in the padding) has ``first > last``. Holes of dilation inside the interval are not shown.
    """

    first: NDArray[np.int64]
    last: NDArray[np.int64]

    @staticmethod
    def of_image(side: int) -> Spans:
        pixels = np.arange(side, dtype=np.int64)
        return Spans(pixels, pixels)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Pixels of each position's interval, 0 for none."""
        sizes: NDArray[np.int64] = np.where(self.first <= self.last, self.last - self.first + 1, 0)
        return sizes

    def through(self, operation: Operation) -> Spans:
        """After `operation`: the smallest first and the largest last pixel among the positions it reads."""
        side = len(self.first)
        outputs = operation.output_side(side)
        first, last = np.full(outputs, _NOTHING[0]), np.full(outputs, _NOTHING[1])
        for u in range(outputs):
            read = operation.reads(u, side)
            if read:
                taps = slice(read.start, read.stop, read.step)
                first[u], last[u] = self.first[taps].min(), self.last[taps].max()
        return Spans(first, last)

    def chain(self, *operations: Operation) -> Spans:
        """`through` each operation in turn."""
        spans = self
        for operation in operations:
            spans = spans.through(operation)
        return spans

    @staticmethod
    def union(branches: Sequence[Spans]) -> Spans:
        """Position by position the hull of all branches; a branch of one position is broadcast.

        Raises
        ------
        EyelineError : branches of different sides.
        """
        sides = {len(branch.first) for branch in branches} - {1}
        if len(sides) > 1 or not branches:
            raise EyelineError(f"branches of different sides meet: {sorted(sides)}", code="misaligned")
        side = next(iter(sides), 1)
        first = np.min([np.broadcast_to(branch.first, side) for branch in branches], axis=0)
        last = np.max([np.broadcast_to(branch.last, side) for branch in branches], axis=0)
        return Spans(first, last)
