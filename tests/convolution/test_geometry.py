"""Output sides, their inverses and what each output reads, against torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from eyeline.convolution import (
    TransposedWindow,
    Window,
    adaptive_window,
    crop,
    output_side,
    pad,
    resize,
    same_padding,
    upsample,
)
from eyeline.errors import EyelineError

sides = st.integers(1, 40)


@st.composite
def windows(draw: st.DrawFn, *, ceil_mode: bool | None = False) -> Window:
    kernel = draw(st.integers(1, 6))
    return Window(
        kernel,
        stride=draw(st.integers(1, 4)),
        padding=(draw(st.integers(0, kernel // 2)), draw(st.integers(0, kernel // 2))),
        dilation=draw(st.integers(1, 3)),
        ceil_mode=draw(st.booleans()) if ceil_mode is None else ceil_mode,
    )


def dependencies(operation, side: int) -> np.ndarray:
    """(outputs, side): which inputs each output of a linear torch operation on (N, 1, side) uses."""
    identity = torch.eye(side, dtype=torch.float64)[:, None]
    return (operation(identity)[:, 0].abs() > 1e-9).numpy().T


def assert_reads(operation, measured: np.ndarray, side: int) -> None:
    assert operation.output_side(side) == len(measured)
    for output, used in enumerate(measured):
        read = operation.reads(output, side)
        assert list(read) == np.flatnonzero(used).tolist()
        center = operation.step * output
        assert all(center - operation.before <= i <= center + operation.after for i in read)


# ---------------------------------------------------------------------------------------- output sides


def test_published_output_sides() -> None:
    assert output_side(28, 3, stride=2, padding=1) == 14
    assert output_side(7, 2, stride=2) == 3
    assert output_side(7, 2, stride=2, ceil_mode=True) == 4
    assert output_side(224, 7, stride=2, padding=3) == 112  # the stem of ResNet
    assert output_side(224, 11, stride=4, padding=2) == 55  # AlexNet


@given(windows(), sides)
@settings(deadline=None)
def test_output_side_of_a_convolution_is_torchs(window: Window, side: int) -> None:
    image = F.pad(torch.zeros(1, 1, side), window.padding)
    try:
        expected = F.conv1d(
            image, torch.zeros(1, 1, window.kernel), stride=window.stride, dilation=window.dilation
        )
    except RuntimeError:  # "Kernel size can't be greater than actual input size"
        with pytest.raises(EyelineError, match="does not fit"):
            window.output_side(side)
    else:
        assert window.output_side(side) == expected.shape[-1]


@given(windows(ceil_mode=None), sides)
@settings(max_examples=300, deadline=None)
def test_output_side_of_a_pooling_is_torchs(window: Window, side: int) -> None:
    left = window.padding[0]
    window = Window(
        window.kernel,
        stride=window.stride,
        padding=(left, left),
        dilation=window.dilation,
        ceil_mode=window.ceil_mode,
    )
    try:
        pooled = F.max_pool1d(
            torch.zeros(1, 1, side), window.kernel, window.stride, left, window.dilation, window.ceil_mode
        )
    except RuntimeError:
        with pytest.raises(EyelineError, match="does not fit"):
            window.output_side(side)
    else:
        assert window.output_side(side) == pooled.shape[-1]


@given(windows(ceil_mode=None), st.integers(1, 20))
@settings(deadline=None)
def test_input_sides_are_exactly_those_that_give_the_output(window: Window, output: int) -> None:
    claimed = set(window.input_sides(output))
    for side in range(1, 120):
        try:
            gives = window.output_side(side) == output
        except EyelineError:
            gives = False
        assert gives == (side in claimed)


@given(st.integers(1, 9), st.integers(1, 4), st.integers(1, 4), sides)
@settings(deadline=None)
def test_same_padding_gives_the_rounded_up_quotient(
    kernel: int, stride: int, dilation: int, side: int
) -> None:
    left, right = same_padding(kernel, stride=stride, dilation=dilation, side=side)
    window = Window(kernel, stride=stride, padding=(left, right), dilation=dilation)
    assert window.output_side(side) == -(-side // stride)
    assert 0 <= right - left <= 1


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@given(st.integers(1, 7), st.integers(1, 3), st.integers(1, 12))
@settings(deadline=None)
def test_the_padding_that_keeps_the_size_is_torchs_same(kernel: int, dilation: int, side: int) -> None:
    weight = torch.ones(1, 1, kernel, dtype=torch.float64)
    measured = dependencies(lambda x: F.conv1d(x, weight, padding="same", dilation=dilation), side)
    window = Window(kernel, padding=same_padding(kernel, dilation=dilation), dilation=dilation)
    assert_reads(window, measured, side)
    assert window.output_side(side) == side


# ---------------------------------------------------------------------------------- what each output reads


@given(windows(), st.integers(1, 14))
@settings(deadline=None)
def test_a_window_reads_what_a_convolution_uses(window: Window, side: int) -> None:
    weight = torch.ones(1, 1, window.kernel, dtype=torch.float64)
    if side + sum(window.padding) < window.extent:
        return

    def convolve(x: torch.Tensor) -> torch.Tensor:
        return F.conv1d(F.pad(x, window.padding), weight, stride=window.stride, dilation=window.dilation)

    assert_reads(window, dependencies(convolve, side), side)


@given(
    st.integers(1, 5), st.integers(1, 4), st.integers(1, 3), st.integers(0, 3), st.integers(1, 8), st.data()
)
@settings(max_examples=200, deadline=None)
def test_a_transposed_window_reads_what_torchs_uses(
    kernel: int, stride: int, dilation: int, padding: int, side: int, data: st.DataObject
) -> None:
    extra = data.draw(st.integers(0, max(stride, dilation) - 1))
    window = TransposedWindow(
        kernel, stride=stride, padding=(padding, padding), dilation=dilation, output_padding=extra
    )
    weight = torch.ones(1, 1, kernel, dtype=torch.float64)

    def spread(x: torch.Tensor) -> torch.Tensor:
        return F.conv_transpose1d(x, weight, None, stride, padding, extra, 1, dilation)

    try:
        measured = dependencies(spread, side)
    except RuntimeError:
        with pytest.raises(EyelineError, match="leaves"):
            window.output_side(side)
    else:
        assert_reads(window, measured, side)


@given(st.integers(1, 24), st.integers(1, 24))
@settings(deadline=None)
def test_an_adaptive_window_reads_what_torchs_uses(source: int, target: int) -> None:
    measured = dependencies(lambda x: F.adaptive_avg_pool1d(x, target), source)
    window = adaptive_window(source, target)
    assert_reads(window, measured, source)
    assert window.is_global == (target == 1)


@pytest.mark.parametrize("align_corners", [False, True])
@given(source=st.integers(1, 16), target=st.integers(1, 33))
@settings(deadline=None)
def test_linear_resize_reads_what_torchs_uses(align_corners: bool, source: int, target: int) -> None:
    def interpolate(x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x, target, mode="linear", align_corners=align_corners)

    operation = resize(source, target, mode="linear", align_corners=align_corners)
    assert_reads(operation, dependencies(interpolate, source), source)


@pytest.mark.parametrize("align_corners", [False, True])
@given(source=st.integers(1, 12), target=st.integers(1, 25))
@settings(deadline=None)
def test_cubic_resize_covers_what_torchs_uses(align_corners: bool, source: int, target: int) -> None:
    """Its four taps; where the source point hits a position exactly, torch gives the other three weight 0."""

    def interpolate(x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x[..., None, :], (1, target), mode="bicubic", align_corners=align_corners)[
            ..., 0, :
        ]

    operation = resize(source, target, mode="cubic", align_corners=align_corners)
    measured = dependencies(interpolate, source)
    assert operation.output_side(source) == target
    for output, used in enumerate(measured):
        read = set(operation.reads(output, source))
        assert set(np.flatnonzero(used)) <= read
        if (
            len(read) == 4 and min(read) > 0 and max(read) < source - 1
        ):  # clamping adds up weights, to 0 at times
            assert set(np.flatnonzero(used)) == read


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
@given(source=st.integers(1, 16), target=st.integers(1, 33))
@settings(deadline=None)
def test_nearest_resize_reads_what_torchs_uses(mode: str, source: int, target: int) -> None:
    measured = dependencies(lambda x: F.interpolate(x, target, mode=mode), source)
    assert_reads(resize(source, target, mode=mode), measured, source)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@given(source=st.integers(1, 10), factor=st.integers(1, 5))
@settings(deadline=None)
def test_upsampling_of_an_unknown_side_is_the_resize_of_a_known_one(
    mode: str, source: int, factor: int
) -> None:
    unknown, known = upsample(factor, mode=mode), resize(source, source * factor, mode=mode)
    assert unknown.output_side(source) == known.output_side(source)
    for output in range(source * factor):
        assert unknown.reads(output, source) == known.reads(output, source)


def test_padding_and_cropping_are_inverse() -> None:
    assert pad(2, 3).output_side(10) == 15
    assert crop(2, 3).output_side(15) == 10
    assert list(pad(2, 3).reads(0, 10)) == []
    assert list(pad(2, 3).reads(2, 10)) == [0]
    assert list(crop(2, 3).reads(0, 15)) == [2]


# ---------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: Window(0), "kernel must be at least 1, not 0"),
        (lambda: Window(3, stride=0), "stride must be at least 1"),
        (lambda: TransposedWindow(3, dilation=-1), "dilation must be at least 1"),
        (
            lambda: output_side(4, 7),
            r"extent 7 does not fit a side of 4 .* \(the smallest side that fits is 7\)",
        ),
        (lambda: same_padding(3, stride=2), "depends on the side"),
        (lambda: adaptive_window(0, 1), "source side must be at least 1"),
        (lambda: adaptive_window(7, 3).output_side(8), "built for a side of 7, not 8"),
        (lambda: resize(4, 8, mode="lanczos"), "unknown resize mode 'lanczos'"),  # type: ignore[arg-type]
        (lambda: upsample(0), "factor must be at least 1"),
        (lambda: Window(3).input_sides(0), "output side must be at least 1"),
        (lambda: TransposedWindow(1, padding=(2, 2)).output_side(3), "leaves -1 positions"),
    ],
)
def test_wrong_use_is_one_clear_line(wrong, says: str) -> None:
    with pytest.raises(EyelineError, match=says):
        wrong()
