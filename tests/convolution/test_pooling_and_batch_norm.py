"""Pooling and batch norm as defined, against torch and by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from eyeline.convolution import average_pool2d, batch_norm, max_pool2d
from eyeline.errors import EyelineError

small = st.integers(1, 3)


def numbers(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


# ------------------------------------------------------------------------------------------------ pooling


@st.composite
def poolings(draw: st.DrawFn, *, dilated: bool) -> tuple[np.ndarray, dict[str, Any]]:
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    dilation = (draw(small), draw(small)) if dilated else (1, 1)
    extents = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    arguments = {
        "kernel": kernel,
        "stride": draw(st.one_of(st.none(), st.tuples(small, small))),
        "padding": tuple(draw(st.integers(0, k // 2)) for k in kernel),
        "ceil_mode": draw(st.booleans()),
    }
    if dilated:
        arguments["dilation"] = dilation
    size = [draw(st.integers(extent, extent + 6)) for extent in extents]
    return numbers((2, *size), draw(st.integers(0, 2**16))), arguments


@given(poolings(dilated=True))
@settings(max_examples=100, deadline=None)
def test_max_pooling_equals_torch(drawn: tuple[np.ndarray, dict[str, Any]]) -> None:
    image, arguments = drawn
    expected = F.max_pool2d(
        torch.from_numpy(image)[None],
        arguments["kernel"],
        arguments["stride"],
        arguments["padding"],
        arguments["dilation"],
        arguments["ceil_mode"],
    )[0]
    np.testing.assert_array_equal(max_pool2d(image, **arguments), expected.numpy())


@given(poolings(dilated=False), st.booleans())
@settings(max_examples=100, deadline=None)
def test_average_pooling_equals_torch(
    drawn: tuple[np.ndarray, dict[str, Any]], count_include_pad: bool
) -> None:
    image, arguments = drawn
    expected = F.avg_pool2d(
        torch.from_numpy(image)[None],
        arguments["kernel"],
        arguments["stride"],
        arguments["padding"],
        arguments["ceil_mode"],
        count_include_pad,
    )[0]
    result = average_pool2d(image, count_include_pad=count_include_pad, **arguments)
    np.testing.assert_allclose(result, expected.numpy(), rtol=1e-12, atol=1e-12)


def test_pooling_by_hand() -> None:
    image = np.arange(49).reshape(7, 7) - 60
    assert max_pool2d(image, 2).shape == (3, 3)  # the last column is dropped
    assert max_pool2d(image, 2, ceil_mode=True).shape == (4, 4)
    assert max_pool2d(image, 3, stride=2, padding=1)[0, 0] == image[1, 1]  # padding never wins over negatives
    assert max_pool2d(image, 2, ceil_mode=True)[3, 3] == image[6, 6]
    assert max_pool2d(image, 3, stride=2, padding="same").shape == (4, 4)
    assert average_pool2d(image, 2)[0, 0] == image[:2, :2].mean()
    assert average_pool2d(image, 3, padding=1)[0, 0] == image[:2, :2].sum() / 9
    assert average_pool2d(image, 3, padding=1, count_include_pad=False)[0, 0] == image[:2, :2].mean()


def test_pooling_refuses_what_torch_refuses() -> None:
    with pytest.raises(EyelineError, match=r"padding of \(2, 2\) is more than half the kernel of 3"):
        max_pool2d(np.zeros((5, 5)), 3, padding=2)
    with pytest.raises(RuntimeError, match="half of kernel size"):
        F.max_pool2d(torch.zeros(1, 1, 5, 5), 3, padding=2, dilation=2)
    with pytest.raises(EyelineError, match="real numbers"):
        average_pool2d(np.zeros(5), 3)


# --------------------------------------------------------------------------------------------- batch norm


@pytest.mark.parametrize("training", [True, False])
@given(
    seed=st.integers(0, 2**16),
    shape=st.tuples(st.integers(2, 3), small, small, small),
    momentum=st.floats(0, 1),
    affine=st.booleans(),
)
@settings(deadline=None, max_examples=50)
def test_batch_norm_equals_torch(
    training: bool, seed: int, shape: Any, momentum: float, affine: bool
) -> None:
    images, channels = numbers(shape, seed), shape[1]
    mean, var = numbers((channels,), seed + 1), numbers((channels,), seed + 2) ** 2 + 0.1
    weight = numbers((channels,), seed + 3) if affine else None
    bias = numbers((channels,), seed + 4) if affine else None
    result = batch_norm(images, mean, var, weight, bias, training=training, momentum=momentum, eps=1e-3)
    torch_mean, torch_var = torch.from_numpy(mean.copy()), torch.from_numpy(var.copy())
    expected = F.batch_norm(
        torch.from_numpy(images),
        torch_mean,
        torch_var,
        None if weight is None else torch.from_numpy(weight),
        None if bias is None else torch.from_numpy(bias),
        training,
        momentum,
        1e-3,
    )
    np.testing.assert_allclose(result.output, expected.numpy(), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(result.running_mean, torch_mean.numpy(), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(result.running_var, torch_var.numpy(), rtol=1e-12, atol=1e-12)


def test_running_averages_approach_the_data_and_inference_ignores_the_neighbours() -> None:
    rng = np.random.default_rng(0)
    mean, var = np.zeros(1), np.ones(1)
    for _ in range(200):
        batch = rng.normal(5, 3, size=(16, 1, 4, 4))
        normed = batch_norm(batch, mean, var, training=True)
        np.testing.assert_allclose([normed.output.mean(), normed.output.std()], [0, 1], atol=1e-5)
        mean, var = normed.running_mean, normed.running_var
    np.testing.assert_allclose([mean[0], np.sqrt(var[0])], [5, 3], atol=0.2)
    # Share of the initial statistics left after k steps: (1 - momentum)^k.
    untouched = batch_norm(np.zeros((2, 1, 1, 1)), np.ones(1), np.ones(1), training=True, momentum=0.25)
    assert untouched.running_mean[0] == 0.75

    one, two = batch[:1], batch[:2]
    infer = [batch_norm(x, mean, var, training=False).output[0] for x in (one, two)]
    np.testing.assert_array_equal(*infer)
    train = [batch_norm(x, mean, var, training=True).output[0] for x in (one, two)]
    assert not np.allclose(*train)


def test_batch_norm_bad_input() -> None:
    one = np.ones(1)
    with pytest.raises(EyelineError, match="more than one value a channel"):
        batch_norm(np.zeros((1, 1, 1, 1)), one, one, training=True)
    with pytest.raises(EyelineError, match=r"must have shape \(2,\)"):
        batch_norm(np.zeros((1, 2, 3, 3)), one, one, training=False)
    with pytest.raises(EyelineError, match=r"needs \(N, C, H, W\)"):
        batch_norm(np.zeros((3, 3)), one, one, training=False)
    assert batch_norm(np.full((1, 1, 1, 1), 3), one, one, training=False).output.item() == pytest.approx(
        2, 1e-4
    )
