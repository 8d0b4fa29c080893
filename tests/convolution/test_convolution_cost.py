"""Costs against torch's own counter, published totals and counting by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from eyeline.convolution import (
    Cost,
    convolution_cost,
    elementwise_cost,
    linear_cost,
    matmul_cost,
    norm_cost,
    output_side,
    pooling_cost,
)
from eyeline.errors import EyelineError

small = st.integers(1, 4)


def torch_macs(compute: Callable[[], Any]) -> int:
    counter = FlopCounterMode(display=False)
    with counter:
        compute()
    return counter.get_total_flops() // 2


def nbytes(*tensors: torch.Tensor) -> int:
    return sum(tensor.nbytes for tensor in tensors)


@given(
    st.integers(1, 3),
    small,
    st.tuples(small, small),
    st.tuples(small, small),
    small,
    st.booleans(),
    st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_convolutions_equal_torchs_counter(
    batch: int, groups: int, channels: Any, kernel: Any, stride: int, bias: bool, transposed: bool
) -> None:
    kind = torch.nn.ConvTranspose2d if transposed else torch.nn.Conv2d
    in_channels, out_channels = groups * channels[0], groups * channels[1]
    layer = kind(in_channels, out_channels, kernel, stride, padding=0, groups=groups, bias=bias)
    image = torch.zeros(batch, in_channels, 7, 6)
    output = layer(image)
    cost = convolution_cost(
        in_channels,
        out_channels,
        image.shape[2:],
        output.shape[2:],
        kernel,
        batch=batch,
        groups=groups,
        bias=bias,
        transposed=transposed,
    )
    assert cost.macs == torch_macs(lambda: layer(image))
    assert cost.parameters == sum(p.numel() for p in layer.parameters())
    assert cost.elementwise == (output.numel() if bias else 0)
    assert cost.bytes_read == nbytes(image, *layer.parameters())
    assert cost.bytes_written == nbytes(output)


@given(small, small, small, small)
@settings(deadline=None, max_examples=25)
def test_linear_and_matrix_products_equal_torchs_counter(
    batch: int, rows: int, inner: int, columns: int
) -> None:
    layer = torch.nn.Linear(inner, columns)
    vectors = torch.zeros(rows, inner)
    cost = linear_cost(inner, columns, rows=rows)
    assert cost.macs == torch_macs(lambda: layer(vectors))
    assert cost.parameters == sum(p.numel() for p in layer.parameters())
    assert cost.bytes_read == nbytes(vectors, *layer.parameters())
    assert cost.bytes_written == nbytes(layer(vectors))

    a, b = torch.zeros(batch, rows, inner), torch.zeros(batch, inner, columns)
    cost = matmul_cost(rows, inner, columns, batch=batch)
    assert cost.macs == torch_macs(lambda: a @ b)
    assert (cost.parameters, cost.bytes_read, cost.bytes_written) == (0, nbytes(a, b), nbytes(a @ b))


def chained_convolutions(side: int, layers: list[tuple[int, int, int, int, int, int]]) -> tuple[Cost, int]:
    """Total of (in, out, kernel, stride, padding, groups) convolutions; kernel 0 pools windows of `out`."""
    total = Cost()
    for in_channels, out_channels, kernel, stride, padding, groups in layers:
        if kernel:
            out = output_side(side, kernel, stride=stride, padding=padding)
            size = ((side, side), (out, out), (kernel, kernel))
            total += convolution_cost(in_channels, out_channels, *size, groups=groups, bias=False)
        else:
            out = output_side(side, out_channels, stride=stride)
        side = out
    return total, side


def test_published_macs_of_alexnet_and_vgg16() -> None:
    pool3 = (0, 3, 0, 2, 0, 1)
    total, side = chained_convolutions(
        224,
        [
            (3, 64, 11, 4, 2, 1),
            pool3,
            (64, 192, 5, 1, 2, 1),
            pool3,
            (192, 384, 3, 1, 1, 1),
            (384, 256, 3, 1, 1, 1),
            (256, 256, 3, 1, 1, 1),
            pool3,
        ],
    )
    assert side == 6
    total += linear_cost(9216, 4096) + linear_cost(4096, 4096) + linear_cost(4096, 1000)
    assert total.macs == 714_188_480

    layers, channels = [], 3
    for filters, repeats in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(repeats):
            layers.append((channels, filters, 3, 1, 1, 1))
            channels = filters
        layers.append((0, 2, 0, 2, 0, 1))
    total, side = chained_convolutions(224, layers)
    assert side == 7
    total += linear_cost(25088, 4096) + linear_cost(4096, 4096) + linear_cost(4096, 1000)
    assert total.macs == 15_470_264_320


def test_published_macs_of_mobilenet_v1_and_its_full_convolution_twin() -> None:
    blocks = [(32, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2)]
    blocks += [(512, 512, 1)] * 5 + [(512, 1024, 2), (1024, 1024, 1)]
    stem = [(3, 32, 3, 2, 1, 1)]
    separable = [layer for a, b, s in blocks for layer in ((a, a, 3, s, 1, a), (a, b, 1, 1, 0, 1))]
    twin = [(a, b, 3, s, 1, 1) for a, b, s in blocks]
    head = linear_cost(1024, 1000, bias=False)
    assert (chained_convolutions(224, stem + separable)[0] + head).macs == 568_740_352
    assert (chained_convolutions(224, stem + twin)[0] + head).macs == 4_867_293_184
    weights = (chained_convolutions(224, stem + separable)[0] + head).parameters
    assert round(weights / 1e6, 2) == 4.21
    assert round((chained_convolutions(224, stem + twin)[0] + head).parameters / 1e6, 2) == 29.28


def test_the_bias_is_not_a_multiply_accumulate() -> None:
    """torchinfo's README counts 1,048,320 for this layer, bias included; the products alone are 1,008,000."""
    cost = convolution_cost(10, 20, (12, 12), (8, 8), (5, 5))
    assert (cost.macs, cost.elementwise) == (20 * 10 * 25 * 64, 20 * 64)
    readme = convolution_cost(1, 10, (28, 28), (24, 24), (5, 5), batch=7)
    assert readme.macs == 1_008_000
    assert readme.macs + readme.elementwise == 1_048_320


@pytest.mark.parametrize(("kind", "an_output"), [("max", 8), ("average", 9)])
def test_pooling_folds_its_taps(kind: Any, an_output: int) -> None:
    """Nine numbers become one in eight steps; the average then divides."""
    image = torch.zeros(2, 3, 6, 6)
    output = F.max_pool2d(image, 3, 2)
    cost = pooling_cost(3, (6, 6), output.shape[2:], (3, 3), kind=kind, batch=2)
    work = an_output * output.numel()
    assert cost == Cost(elementwise=work, bytes_read=nbytes(image), bytes_written=nbytes(output))


def test_norms_and_elementwise() -> None:
    layer = torch.nn.BatchNorm2d(8)
    image = torch.zeros(2, 8, 5, 5)
    running = norm_cost(8, image.numel())
    assert running.parameters == sum(p.numel() for p in layer.parameters())
    assert running.elementwise == 2 * image.numel()
    buffers = (layer.running_mean, layer.running_var)
    assert running.bytes_read == nbytes(image, *layer.parameters(), *buffers)
    computed = norm_cost(8, image.numel(), statistics="computed")
    assert computed.elementwise == 8 * image.numel()
    assert computed.bytes_read == nbytes(image, *layer.parameters())
    bare = norm_cost(8, image.numel(), statistics="computed", affine=False)
    assert (bare.parameters, bare.elementwise) == (0, 6 * image.numel())
    add = elementwise_cost(100, inputs=2, itemsize=2)
    assert add == Cost(elementwise=100, bytes_read=400, bytes_written=200)


def test_arithmetic_intensity_tells_compute_from_memory() -> None:
    """A 3x3 convolution of 64 channels reuses each byte hundreds of times; batch norm moves 8 bytes for 2."""
    conv = convolution_cost(64, 64, (56, 56), (56, 56), (3, 3), bias=False)
    depthwise = convolution_cost(64, 64, (56, 56), (56, 56), (3, 3), groups=64, bias=False)
    moved = 2 * 64 * 56 * 56 * 4
    assert conv.intensity == 2 * conv.macs / (moved + 64 * 64 * 9 * 4)
    assert conv.intensity > 30 * depthwise.intensity
    assert norm_cost(64, 64 * 56 * 56).intensity == pytest.approx(0.25, rel=1e-2)
    assert Cost().intensity == 0


def test_costs_add_up() -> None:
    parts = [linear_cost(3, 4), norm_cost(4, 4), elementwise_cost(4)]
    total = sum(parts, Cost())
    for name in ("parameters", "macs", "elementwise", "bytes_read", "bytes_written"):
        assert getattr(total, name) == sum(getattr(part, name) for part in parts)
    assert total.to_dict()["intensity"] == total.intensity
    with pytest.raises(EyelineError, match="3 groups do not divide 6 and 4 channels"):
        convolution_cost(6, 4, (5, 5), (5, 5), (1, 1), groups=3)
