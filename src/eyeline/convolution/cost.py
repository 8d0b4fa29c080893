"""What an operation costs: parameters, multiply-accumulates, other arithmetic, and bytes moved.

Convention, the same for every operation:

- `macs`: one multiply-accumulate counts 1. Only convolutions, linear layers and matrix products have them.
  A bias is **not** counted, and taps that fall on padding **are**: half of what torch's FlopCounterMode says.
- `elementwise`: all other arithmetic, one per addition, multiplication, comparison or function call. A bias
  is one addition an output, batch norm in inference is 2 (one scale, one shift), a max pool of K taps K - 1.
- `bytes_read`, `bytes_written`: every operand once. That is the least traffic, with a cache that holds
  everything; workspaces and re-reading come on top.
- `intensity`: ``(2 macs + elementwise) / (bytes_read + bytes_written)``, operations a byte, the abscissa of
  the roofline model (Williams, Waterman, Patterson, CACM 2009).

Sizes are tuples of spatial sides, so 1-D, 2-D and 3-D operations share the formulas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import Literal

from eyeline.errors import EyelineError


@dataclass(frozen=True)
class Cost:
    """The cost of one operation, or with ``+`` (and `sum`, starting from ``Cost()``) of several."""

    parameters: int = 0
    macs: int = 0
    elementwise: int = 0
    bytes_read: int = 0
    bytes_written: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.parameters + other.parameters,
            self.macs + other.macs,
            self.elementwise + other.elementwise,
            self.bytes_read + other.bytes_read,
            self.bytes_written + other.bytes_written,
        )

    @property
    def intensity(self) -> float:
        """Operations a byte; 0 when nothing is moved."""
        moved = self.bytes_read + self.bytes_written
        return (2 * self.macs + self.elementwise) / moved if moved else 0.0

    def to_dict(self) -> dict[str, int | float]:
        return {**asdict(self), "intensity": self.intensity}


def convolution_cost(
    in_channels: int,
    out_channels: int,
    in_size: Sequence[int],
    out_size: Sequence[int],
    kernel: Sequence[int],
    *,
    batch: int = 1,
    groups: int = 1,
    bias: bool = True,
    transposed: bool = False,
    itemsize: int = 4,
) -> Cost:
    """A convolution from ``(batch, in_channels, *in_size)`` to ``(batch, out_channels, *out_size)``.

    Weights are ``out_channels * in_channels / groups * prod(kernel)``; each is used once per output position
    (per **input** position when `transposed`) and image.

    Raises
    ------
    EyelineError : `groups` does not divide both channel counts.
    """
    if groups < 1 or in_channels % groups or out_channels % groups:
        raise EyelineError(f"{groups} groups do not divide {in_channels} and {out_channels} channels")
    weights = out_channels * (in_channels // groups) * prod(kernel)
    biases = out_channels if bias else 0
    inputs = batch * in_channels * prod(in_size)
    outputs = batch * out_channels * prod(out_size)
    positions = prod(in_size if transposed else out_size)
    return Cost(
        parameters=weights + biases,
        macs=batch * positions * weights,
        elementwise=outputs if bias else 0,
        bytes_read=(inputs + weights + biases) * itemsize,
        bytes_written=outputs * itemsize,
    )


def linear_cost(
    in_features: int, out_features: int, *, rows: int = 1, bias: bool = True, itemsize: int = 4
) -> Cost:
    """A linear layer on `rows` vectors (batch times tokens): ``(rows, in) -> (rows, out)``."""
    return convolution_cost(in_features, out_features, (), (), (), batch=rows, bias=bias, itemsize=itemsize)


def matmul_cost(rows: int, inner: int, columns: int, *, batch: int = 1, itemsize: int = 4) -> Cost:
    """``(batch, rows, inner) @ (batch, inner, columns)``: no parameters, both operands are read."""
    return Cost(
        macs=batch * rows * inner * columns,
        bytes_read=batch * (rows * inner + inner * columns) * itemsize,
        bytes_written=batch * rows * columns * itemsize,
    )


def pooling_cost(
    channels: int,
    in_size: Sequence[int],
    out_size: Sequence[int],
    kernel: Sequence[int],
    *,
    kind: Literal["max", "average"] = "max",
    batch: int = 1,
    itemsize: int = 4,
) -> Cost:
    """Pooling of K taps an output: K - 1 comparisons, or K - 1 additions and 1 division."""
    outputs = batch * channels * prod(out_size)
    taps = prod(kernel)
    return Cost(
        elementwise=outputs * (taps - 1 if kind == "max" else taps),
        bytes_read=batch * channels * prod(in_size) * itemsize,
        bytes_written=outputs * itemsize,
    )


def norm_cost(
    features: int,
    elements: int,
    *,
    statistics: Literal["running", "computed"] = "running",
    affine: bool = True,
    itemsize: int = 4,
) -> Cost:
    """Normalization of a tensor of `elements` numbers with `features` learnable scales and shifts.

    ``"running"`` is batch norm in inference: mean and variance are constants, folded with scale and shift
    into one multiplication and one addition an element. ``"computed"`` is layer, group and instance norm and
    batch norm in training: the mean (1), the variance (3: subtract, square, add) and the normalization (2)
    come first, then scale and shift (2) when `affine`.
    """
    parameters = 2 * features if affine else 0
    constants = 2 * features if statistics == "running" else 0
    if statistics == "running":
        operations = 2
    else:
        operations = 6 + (2 if affine else 0)
    return Cost(
        parameters=parameters,
        elementwise=operations * elements,
        bytes_read=(elements + parameters + constants) * itemsize,
        bytes_written=elements * itemsize,
    )


def elementwise_cost(elements: int, *, operations: int = 1, inputs: int = 1, itemsize: int = 4) -> Cost:
    """Activations (1 input), residual sums and gates (2): `operations` an element of the result."""
    return Cost(
        elementwise=operations * elements,
        bytes_read=inputs * elements * itemsize,
        bytes_written=elements * itemsize,
    )
