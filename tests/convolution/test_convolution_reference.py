"""The definition against torch, scipy, worked examples and identities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from eyeline.convolution import (
    conv2d,
    depthwise_separable,
    residual_add,
    step_by_step,
    vectorised_conv2d,
)
from eyeline.errors import EyelineError

small = st.integers(1, 3)
TOLERANCE = {np.float64: 1e-12, np.float32: 2e-5}


def numbers(shape: tuple[int, ...], seed: int, dtype: type = np.float64) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if np.issubdtype(dtype, np.integer):
        return rng.integers(-9, 10, shape).astype(dtype)
    return rng.normal(size=shape).astype(dtype)


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Image, kernel and keyword arguments that fit each other."""
    groups = draw(small)
    channels, filters = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    dilation = (draw(small), draw(small))
    borders = tuple((draw(st.integers(0, 3)), draw(st.integers(0, 3))) for _ in range(2))
    extents = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    size = [
        draw(st.integers(max(1, extent - sum(border)), extent + 4))
        for extent, border in zip(extents, borders, strict=True)
    ]
    dtype = draw(st.sampled_from([np.float64, np.float32, np.int64]))
    seed = draw(st.integers(0, 2**16))
    arguments: dict[str, Any] = {
        "stride": (draw(small), draw(small)),
        "padding": borders,
        "dilation": dilation,
        "groups": groups,
        "bias": numbers((filters,), seed + 2, dtype) if draw(st.booleans()) else None,
    }
    image = numbers((draw(st.integers(0, 2)), channels, *size), seed, dtype)
    return image, numbers((filters, channels // groups, *kernel), seed + 1, dtype), arguments


def torch_conv2d(image: np.ndarray, kernel: np.ndarray, arguments: dict[str, Any]) -> np.ndarray:
    (top, bottom), (left, right) = arguments["padding"]
    bias = arguments["bias"]
    return F.conv2d(
        F.pad(torch.from_numpy(image), (left, right, top, bottom)),
        torch.from_numpy(kernel),
        None if bias is None else torch.from_numpy(bias),
        arguments["stride"],
        0,
        arguments["dilation"],
        arguments["groups"],
    ).numpy()


def assert_same(actual: np.ndarray, expected: np.ndarray) -> None:
    assert actual.dtype == expected.dtype
    if actual.dtype.kind == "i":
        np.testing.assert_array_equal(actual, expected)
    else:
        tolerance = TOLERANCE[actual.dtype.type]
        np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


# -------------------------------------------------------------------------------------------- convolution


@given(convolutions())
@settings(max_examples=150, deadline=None)
def test_the_definition_equals_torch(drawn: tuple[np.ndarray, np.ndarray, dict[str, Any]]) -> None:
    image, kernel, arguments = drawn
    assert_same(conv2d(image, kernel, **arguments), torch_conv2d(image, kernel, arguments))


@given(convolutions())
@settings(max_examples=200, deadline=None)
def test_the_vectorised_form_equals_the_definition(
    drawn: tuple[np.ndarray, np.ndarray, dict[str, Any]],
) -> None:
    image, kernel, arguments = drawn
    assert_same(vectorised_conv2d(image, kernel, **arguments), conv2d(image, kernel, **arguments))


@pytest.mark.parametrize("convolve", [conv2d, vectorised_conv2d])
@given(
    seed=st.integers(0, 2**16),
    sides=st.tuples(*[st.integers(3, 9)] * 2),
    kernel=st.tuples(*[st.integers(1, 3)] * 2),
    dtype=st.sampled_from([np.float64, np.float32, np.int64, np.int16, np.complex128]),
)
@settings(deadline=None, max_examples=60)
def test_plain_images_equal_scipy(convolve, seed: int, sides: Any, kernel: Any, dtype: type) -> None:
    image, weights = numbers(sides, seed, dtype), numbers(kernel, seed + 1, dtype)
    # scipy's correlate2d conjugates its second argument, as the mathematical cross-correlation does.
    expected = signal.correlate2d(
        image.astype(np.complex128), np.conj(weights.astype(np.complex128)), "valid"
    )
    np.testing.assert_allclose(convolve(image, weights), expected, rtol=1e-5, atol=1e-5)
    flipped = weights[::-1, ::-1]
    full = tuple((k - 1, k - 1) for k in kernel)
    np.testing.assert_allclose(
        convolve(image, flipped, padding=full),
        signal.convolve2d(image.astype(np.complex128), weights.astype(np.complex128), "full"),
        rtol=1e-5,
        atol=1e-5,
    )


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("convolve", [conv2d, vectorised_conv2d])
@given(
    kernel=st.tuples(*[st.integers(1, 4)] * 2),
    dilation=st.integers(1, 2),
    sides=st.tuples(*[st.integers(1, 7)] * 2),
)
@settings(deadline=None, max_examples=50)
def test_same_padding_equals_torch(convolve, kernel: Any, dilation: int, sides: Any) -> None:
    image, weights = numbers((1, 2, *sides), 0), numbers((3, 2, *kernel), 1)
    expected = F.conv2d(torch.from_numpy(image), torch.from_numpy(weights), padding="same", dilation=dilation)
    result = convolve(image, weights, padding="same", dilation=dilation)
    assert result.shape[2:] == sides
    np.testing.assert_allclose(result, expected.numpy(), rtol=1e-12, atol=1e-12)


def test_same_padding_with_a_stride_is_tensorflows() -> None:
    """TensorFlow's rule by hand: side 4, kernel 3, stride 2 pads 0 left and 1 right."""
    image = np.arange(16).reshape(4, 4)
    result = conv2d(image, np.ones((3, 3)), stride=2, padding="same")
    by_hand = conv2d(np.pad(image, ((0, 1), (0, 1))), np.ones((3, 3)), stride=2)
    np.testing.assert_array_equal(result, by_hand)
    assert result.shape == (2, 2)


def test_valid_is_no_padding() -> None:
    image, kernel = numbers((5, 6), 0), numbers((3, 2), 1)
    np.testing.assert_array_equal(conv2d(image, kernel, padding="valid"), conv2d(image, kernel))


def test_the_worked_example() -> None:
    image = np.array([[0, 0, 1, 1]] * 4)
    np.testing.assert_array_equal(conv2d(image, [[-1, 1]]), [[0, 1, 0]] * 4)
    np.testing.assert_array_equal(conv2d(image.T, [[-1, 1]]), np.zeros((4, 3)))


def test_the_edge_detector_of_d2l_with_its_signs() -> None:
    """Columns 2 to 5 dark: -1 where bright turns dark, +1 where dark turns bright; blind to the transpose."""
    image = np.ones((6, 8))
    image[:, 2:6] = 0
    edges = conv2d(image, np.array([[-1.0, 1.0]]))
    expected = np.zeros((6, 7))
    expected[:, 1], expected[:, 5] = -1, 1
    np.testing.assert_array_equal(edges, expected)
    np.testing.assert_array_equal(conv2d(image.T, np.array([[-1.0, 1.0]])), np.zeros((8, 5)))


def test_step_by_step_shows_every_position() -> None:
    image, kernel = numbers((5, 6), 0, np.int64), numbers((2, 3), 1, np.int64)
    steps = list(step_by_step(image, kernel, stride=(1, 2), padding=1))
    result = conv2d(image, kernel, stride=(1, 2), padding=1)
    assert [(s.row, s.column) for s in steps] == list(np.ndindex(*result.shape))
    padded = np.pad(image, 1)
    for step in steps:
        top, left = step.row, 2 * step.column
        np.testing.assert_array_equal(step.patch, padded[top : top + 2, left : left + 3])
        np.testing.assert_array_equal(step.product, step.patch * kernel)
        assert step.total == step.product.sum() == result[step.row, step.column]


def test_integers_do_not_wrap_around() -> None:
    image, kernel = np.full((3, 3), 255, np.uint8), np.full((3, 3), 255, np.uint8)
    for convolve in (conv2d, vectorised_conv2d):
        assert convolve(image, kernel).item() == 9 * 255 * 255
    assert conv2d(np.ones((2, 2), bool), np.ones((2, 2), bool)).item() == 4


@given(seed=st.integers(0, 2**16), a=st.integers(-5, 5), b=st.integers(-5, 5))
@settings(deadline=None, max_examples=30)
def test_linearity(seed: int, a: int, b: int) -> None:
    x, y = numbers((1, 2, 6, 5), seed, np.int64), numbers((1, 2, 6, 5), seed + 1, np.int64)
    w, v = numbers((3, 2, 3, 2), seed + 2, np.int64), numbers((3, 2, 3, 2), seed + 3, np.int64)
    in_image = a * conv2d(x, w) + b * conv2d(y, w)
    np.testing.assert_array_equal(conv2d(a * x + b * y, w), in_image)
    in_kernel = a * conv2d(x, w) + b * conv2d(x, v)
    np.testing.assert_array_equal(conv2d(x, a * w + b * v), in_kernel)


@given(seed=st.integers(0, 2**16), stride=st.integers(1, 3), down=st.integers(0, 2), right=st.integers(0, 2))
@settings(deadline=None, max_examples=30)
def test_translation_equivariance(seed: int, stride: int, down: int, right: int) -> None:
    """A shift of the image by whole strides shifts the result, away from the border that moved in."""
    image, kernel = numbers((1, 1, 14, 14), seed, np.int64), numbers((2, 1, 3, 3), seed + 1, np.int64)
    shifted = np.zeros_like(image)
    shifted[..., down * stride :, right * stride :] = image[..., : 14 - down * stride, : 14 - right * stride]
    before, after = conv2d(image, kernel, stride), conv2d(shifted, kernel, stride)
    height, width = before.shape[2:]
    np.testing.assert_array_equal(after[..., down:, right:], before[..., : height - down, : width - right])


@given(seed=st.integers(0, 2**16))
@settings(deadline=None, max_examples=20)
def test_two_stacked_3x3_are_one_5x5_in_the_interior(seed: int) -> None:
    image = numbers((1, 2, 9, 10), seed, np.int64)
    first, second = numbers((3, 2, 3, 3), seed + 1, np.int64), numbers((2, 3, 3, 3), seed + 2, np.int64)
    composed = np.array(
        [
            [sum(signal.convolve2d(second[o, m], first[m, c], "full") for m in range(3)) for c in range(2)]
            for o in range(2)
        ]
    )
    assert composed.shape == (2, 2, 5, 5)
    stacked = conv2d(conv2d(image, first, padding=1), second, padding=1)
    single = conv2d(image, composed, padding=2)
    np.testing.assert_array_equal(stacked[..., 1:-1, 1:-1], single[..., 1:-1, 1:-1])
    # At the border they differ: the first layer's own padding is replaced by zeros before the second.
    assert not np.array_equal(stacked, single)


@pytest.mark.parametrize("convolve", [conv2d, vectorised_conv2d])
@pytest.mark.parametrize(
    ("image", "kernel", "arguments", "says"),
    [
        ((4, 4), (5, 3), {}, "extent 5 does not fit a side of 4"),
        ((4, 4), (1, 1, 2, 2), {}, r"\(4, 4\) does not go with a kernel of shape \(1, 1, 2, 2\)"),
        ((2, 4, 4), (2, 2, 2), {}, "does not go with"),
        ((1, 3, 4, 4), (2, 2, 2, 2), {}, r"kernel of shape \(2, 3, K_h, K_w\), not \(2, 2, 2, 2\)"),
        ((1, 3, 4, 4), (2, 3, 2, 2), {"groups": 2}, "2 groups do not divide 3 and 2 channels"),
        ((1, 3, 4, 4), (2, 3, 2, 2), {"bias": np.zeros(3)}, r"bias must have shape \(2,\), not \(3,\)"),
        ((4, 4), (2, 2), {"stride": 0}, "stride must be a whole number of at least 1"),
        ((4, 4), (2, 2), {"stride": 1.5}, "stride must be a whole number"),
        ((4, 4), (2, 2), {"padding": -1}, "padding must be a whole number of at least 0"),
        ((4, 4), (2, 2), {"padding": (1, 2, 3)}, "neither a number nor a pair"),
        ((4, 4), (2, 2), {"padding": "mirror"}, "unknown padding 'mirror'"),
        ((4, 4), (2, 2), {"dilation": (1, 2, 3)}, "dilation must be a whole number"),
        ((4, 4), (0, 2), {}, "kernel is empty"),
    ],
)
def test_bad_input_is_one_clear_line(convolve, image: Any, kernel: Any, arguments: Any, says: str) -> None:
    with pytest.raises(EyelineError, match=says):
        convolve(np.zeros(image), np.zeros(kernel), **arguments)


def test_what_is_not_a_number_is_refused() -> None:
    with pytest.raises(EyelineError, match="image must hold numbers, not <U1"):
        conv2d([["a"]], [[1]])
    with pytest.raises(EyelineError, match="kernel holds integers beyond int64"):
        conv2d([[1]], np.array([[2**63]], np.uint64))
    with pytest.raises(EyelineError, match="step_by_step shows one"):
        next(step_by_step(np.zeros((1, 1, 4, 4)), np.zeros((1, 1, 2, 2))))


# --------------------------------------------------------------------------------- separable and residual


@given(seed=st.integers(0, 2**16), multiplier=st.integers(1, 2), stride=st.integers(1, 2))
@settings(deadline=None, max_examples=25)
def test_depthwise_separable_is_one_convolution_of_rank_one_kernels(
    seed: int, multiplier: int, stride: int
) -> None:
    image = numbers((1, 3, 6, 7), seed, np.int64)
    depthwise = numbers((3 * multiplier, 1, 3, 2), seed + 1, np.int64)
    pointwise = numbers((4, 3 * multiplier, 1, 1), seed + 2, np.int64)
    separable = depthwise_separable(image, depthwise, pointwise, stride, padding=1)
    # Channel c of the full kernel of output o: the sum of its multipliers' kernels, weighted by the 1x1.
    full = (pointwise * depthwise[:, 0]).reshape(4, 3, multiplier, 3, 2).sum(axis=2)
    np.testing.assert_array_equal(separable, conv2d(image, full, stride, padding=1))
    spatial = F.conv2d(
        torch.from_numpy(image), torch.from_numpy(depthwise), stride=stride, padding=1, groups=3
    )
    np.testing.assert_array_equal(separable, F.conv2d(spatial, torch.from_numpy(pointwise)).numpy())


def test_separable_and_residual_refuse_what_does_not_fit() -> None:
    with pytest.raises(EyelineError, match="must be"):
        depthwise_separable(np.zeros((4, 4)), np.zeros((1, 1, 3, 3)), np.zeros((1, 1, 1, 1)))
    with pytest.raises(EyelineError, match="1x1 convolution of the same stride"):
        residual_add(np.zeros((1, 2, 4, 4)), np.zeros((1, 2, 2, 2)))


def test_a_residual_block_with_a_zero_branch_is_the_identity() -> None:
    image = numbers((1, 2, 5, 5), 0)
    branch = conv2d(image, np.zeros((2, 2, 3, 3)), padding=1)
    np.testing.assert_array_equal(residual_add(image, branch), image)
