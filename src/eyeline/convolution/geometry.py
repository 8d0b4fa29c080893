"""Where a sliding window lands: output sides, their inverses, and what each output reads.

Everything here is about **one axis**; an image has two, and they never mix.

Every operation of a network that respects place follows one rule along an axis. Output position ``u`` reads
the whole input positions inside the closed interval

    [ step * u - before ,  step * u + after ]

and three rational numbers say it all:

===================================  ==============  =======================  ======================
operation                            step            before                   after
===================================  ==============  =======================  ======================
convolution, pooling                 S               P_left                   D(K-1) - P_left
padding by p, cropping by -p         1               p                        -p
transposed convolution               1/S             (D(K-1) - P)/S           P/S
adaptive pooling, in/out = q/p       q/p             (p-1)/p                  (q-1)/p
nearest upsampling, in/out = q/p     q/p             (p-1)/p                  0
linear, cubic (radius 1, 2)          q/p             radius - 1/(2p) about the source point
===================================  ==============  =======================  ======================

(K kernel, S stride, P padding, D dilation.) `eyeline.convolution.fields` pushes receptive fields through the
triples. `reads` lists the positions themselves, without the holes of a dilation and inside the borders.

The output side of a window is ``floor((H + P_left + P_right - D(K-1) - 1) / S) + 1``; with ``ceil_mode`` the
division rounds up, except that a window must start inside the input or the left padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from fractions import Fraction
from math import ceil, floor, gcd
from typing import ClassVar, Literal, Protocol

from eyeline.errors import EyelineError

Rational = int | Fraction
ResizeMode = Literal["nearest", "nearest-exact", "linear", "cubic"]


class Operation(Protocol):
    """Anything that respects place along one axis: the triple of the module docstring and its output side."""

    @property
    def step(self) -> Rational: ...
    @property
    def before(self) -> Rational: ...
    @property
    def after(self) -> Rational: ...
    @property
    def is_global(self) -> bool: ...
    def output_side(self, side: int) -> int: ...
    def reads(self, output: int, side: int) -> range: ...


@dataclass(frozen=True)
class Window:
    """A window of `kernel` taps, `dilation` apart, moved by `stride` over an axis padded by (left, right).

    Convolution, pooling, separable convolution; padding and cropping are windows of one tap (`pad`, `crop`),
    and the slice ``x[::2]`` is ``Window(1, stride=2)``. Negative padding crops.

    Raises
    ------
    EyelineError : kernel, stride or dilation below 1.
    """

    kernel: int
    _: KW_ONLY
    stride: int = 1
    padding: tuple[int, int] = (0, 0)
    dilation: int = 1
    ceil_mode: bool = False
    is_global: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for name in ("kernel", "stride", "dilation"):
            require_positive(name, getattr(self, name))

    @property
    def extent(self) -> int:
        """Positions from the first tap to the last, holes of the dilation included: ``D(K-1) + 1``."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def step(self) -> int:
        return self.stride

    @property
    def before(self) -> int:
        return self.padding[0]

    @property
    def after(self) -> int:
        return self.extent - 1 - self.padding[0]

    def output_side(self, side: int) -> int:
        """Windows that fit on an axis of `side` positions.

        Raises
        ------
        EyelineError : the window does not fit even once (`code="too_small"`).
        """
        left, right = self.padding
        room = side + left + right - self.extent
        if self.ceil_mode:
            windows = -(-room // self.stride) + 1
            windows = min(windows, -(-(side + left) // self.stride))  # none may start in the right padding
        else:
            windows = room // self.stride + 1
        if side < 1 or windows < 1:
            raise EyelineError(
                f"a window of extent {self.extent} does not fit a side of {side} padded by ({left}, {right})",
                code="too_small",
                hint=f"the smallest side that fits is {max(self.smallest_side(1), 1)}",
            )
        return windows

    def reads(self, output: int, side: int) -> range:
        """The input positions under window `output` on an axis of `side`; empty over padding alone."""
        start = output * self.stride - self.padding[0]
        first = start if start >= 0 else start % self.dilation  # the first tap that is not in the padding
        return range(first, min(start + self.extent, side), self.dilation)

    def smallest_side(self, output: int) -> int:
        """The smallest input side that gives at least `output` windows."""
        left, right = self.padding
        if self.ceil_mode:
            enough = (output - 2) * self.stride + 1 + self.extent - left - right
            return max(enough, (output - 1) * self.stride + 1 - left)
        return (output - 1) * self.stride + self.extent - left - right

    def input_sides(self, output: int) -> range:
        """Every input side that gives exactly `output`: `stride` of them in a row, unless a border cuts in.

        >>> list(Window(3, stride=2, padding=(1, 1)).input_sides(14))
        [27, 28]
        """
        require_positive("output side", output)
        return range(max(self.smallest_side(output), 1), max(self.smallest_side(output + 1), 1))


@dataclass(frozen=True)
class TransposedWindow:
    """The transposed convolution: each input position spreads `kernel` taps, `stride` apart, over the output.

    Output side ``(H-1)S - P_left - P_right + D(K-1) + 1 + output_padding``.
    """

    kernel: int
    _: KW_ONLY
    stride: int = 1
    padding: tuple[int, int] = (0, 0)
    dilation: int = 1
    output_padding: int = 0
    is_global: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for name in ("kernel", "stride", "dilation"):
            require_positive(name, getattr(self, name))

    @property
    def step(self) -> Rational:
        return simplest(Fraction(1, self.stride))

    @property
    def before(self) -> Rational:
        return simplest(Fraction(self.dilation * (self.kernel - 1) - self.padding[0], self.stride))

    @property
    def after(self) -> Rational:
        return simplest(Fraction(self.padding[0], self.stride))

    def output_side(self, side: int) -> int:
        """Raises EyelineError (`code="too_small"`) when the padding leaves nothing."""
        spread = self.dilation * (self.kernel - 1) + 1 + self.output_padding
        output = (side - 1) * self.stride - sum(self.padding) + spread
        if side < 1 or output < 1:
            raise EyelineError(
                f"a transposed window of kernel {self.kernel} and padding {self.padding} leaves {output} "
                f"positions of a side of {side}",
                code="too_small",
            )
        return output

    def reads(self, output: int, side: int) -> range:
        """The input positions that spread onto `output`: those i with ``i S - P + D tap = output``."""
        common = gcd(self.dilation, self.stride)
        sources = [output + self.padding[0] - self.dilation * tap for tap in range(self.kernel)]
        inputs = [source // self.stride for source in sources if source % self.stride == 0]
        inside = [i for i in inputs if 0 <= i < side]
        return range(min(inside), max(inside) + 1, self.dilation // common) if inside else range(0)


@dataclass(frozen=True)
class Resampling:
    """An axis of `source` positions brought to `target` by a rule that differs from position to position.

    Built by `adaptive_window`, `resize` and `upsample`; with ``source=None`` any side is scaled by 1/step.
    """

    step: Rational
    before: Rational
    after: Rational
    source: int | None = None
    target: int | None = None
    is_global: bool = False

    def output_side(self, side: int) -> int:
        """Raises EyelineError when `side` is not the source it was built for."""
        if self.source is None or self.target is None:
            return int(side / Fraction(self.step))
        if side != self.source:
            raise EyelineError(f"built for a side of {self.source}, not {side}", code="wrong_side")
        return self.target

    def reads(self, output: int, side: int) -> range:
        """The whole input positions of the interval, inside the axis."""
        center = self.step * output
        return range(max(ceil(center - self.before), 0), min(floor(center + self.after) + 1, side))


def adaptive_window(source: int, target: int) -> Resampling:
    """Adaptive pooling: output i reads ``floor(i*source/target) ... ceil((i+1)*source/target) - 1``.

    The windows differ in length unless `target` divides `source`; ``target=1`` is global pooling and says so.
    """
    ratio = Fraction(require_positive("source side", source), require_positive("target side", target))
    q, p = ratio.as_integer_ratio()
    return Resampling(
        simplest(ratio),
        simplest(Fraction(p - 1, p)),
        simplest(Fraction(q - 1, p)),
        source,
        target,
        is_global=target == 1,
    )


def resize(
    source: int, target: int, *, mode: ResizeMode = "nearest", align_corners: bool = False
) -> Resampling:
    """Interpolation from `source` to `target` positions, up or down, without an antialiasing filter.

    The source point of output u is ``(u + 1/2) step - 1/2``, or ``u step`` with `align_corners` (where
    ``step = (source-1)/(target-1)``) and for "nearest"; linear reads the positions less than 1 away from it,
    cubic less than 2.
    """
    require_positive("source side", source)
    require_positive("target side", target)
    if not align_corners:
        ratio = Fraction(source, target)
    else:
        ratio = Fraction(source - 1, target - 1) if target > 1 else Fraction(0)
    return _interpolation(ratio, mode, align_corners, source, target)


def upsample(factor: int, *, mode: ResizeMode = "nearest") -> Resampling:
    """Interpolation by a whole `factor` for a side not known yet."""
    return _interpolation(Fraction(1, require_positive("factor", factor)), mode, False, None, None)


def _interpolation(
    step: Fraction, mode: ResizeMode, align_corners: bool, source: int | None, target: int | None
) -> Resampling:
    p = step.denominator
    shift = Fraction(0) if align_corners else (step - 1) / 2  # of the source point, on top of u * step
    match mode:
        case "nearest":  # floor(u * step): at most (p-1)/p back
            before, after = Fraction(p - 1, p), Fraction(0)
        case "nearest-exact":  # floor((u + 1/2) * step), in steps of 1/(2p)
            before, after = Fraction(2 * p - 1, 2 * p) - step / 2, step / 2
        case "linear" | "cubic":
            radius = (1 if mode == "linear" else 2) - Fraction(1, 2 * p)
            before, after = radius - shift, radius + shift
        case _:
            raise EyelineError(
                f"unknown resize mode {mode!r}", hint="nearest, nearest-exact, linear or cubic"
            )
    return Resampling(simplest(step), simplest(before), simplest(after), source, target)


def pad(left: int, right: int) -> Window:
    """`left` and `right` positions more; negative numbers crop."""
    return Window(1, padding=(left, right))


def crop(left: int, right: int) -> Window:
    """`left` and `right` positions less: negative padding."""
    return Window(1, padding=(-left, -right))


def same_padding(
    kernel: int, *, stride: int = 1, dilation: int = 1, side: int | None = None
) -> tuple[int, int]:
    """The (left, right) padding of TensorFlow's SAME: output side ``ceil(side / stride)``, odd one right.

    With stride 1 this is also PyTorch's ``padding="same"`` and answers "which padding keeps the size"; with a
    larger stride it depends on the side of the input.

    Raises
    ------
    EyelineError : stride above 1 without `side`.
    """
    extent = Window(kernel, stride=stride, dilation=dilation).extent
    if stride == 1:
        total = extent - 1
    elif side is None:
        raise EyelineError(
            f"'same' padding with stride {stride} depends on the side of the input", hint="give side="
        )
    else:
        total = max((-(-side // stride) - 1) * stride + extent - side, 0)
    return total // 2, total - total // 2


def output_side(
    side: int,
    kernel: int,
    *,
    stride: int = 1,
    padding: int | Sequence[int] = 0,
    dilation: int = 1,
    ceil_mode: bool = False,
) -> int:
    """``floor((side + 2P - D(K-1) - 1) / S) + 1``; `padding` is one number for both ends or (left, right).

    >>> output_side(28, 3, stride=2, padding=1), output_side(7, 2, stride=2)
    (14, 3)
    """
    left, right = (padding, padding) if isinstance(padding, int) else padding
    window = Window(kernel, stride=stride, padding=(left, right), dilation=dilation, ceil_mode=ceil_mode)
    return window.output_side(side)


def simplest(value: Rational) -> Rational:
    """A whole fraction as an int."""
    return int(value) if value.denominator == 1 else value


def require_positive(name: str, value: int) -> int:
    """`value`, or an EyelineError when it is below 1."""
    if value < 1:
        raise EyelineError(f"{name} must be at least 1, not {value}")
    return value
