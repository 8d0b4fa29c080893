"""The vectorised convolution at full size: the same answers, the promised speed, bounded memory."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import torch
import torch.nn.functional as F

from eyeline.convolution import conv2d, vectorised_conv2d


def test_full_size_equals_torch() -> None:
    rng = np.random.default_rng(0)
    image, kernel = rng.normal(size=(2, 8, 112, 96)), rng.normal(size=(12, 4, 5, 3))
    bias = rng.normal(size=12)
    expected = F.conv2d(
        torch.from_numpy(image), torch.from_numpy(kernel), torch.from_numpy(bias), (2, 1), (2, 4), (1, 3), 2
    )
    result = vectorised_conv2d(image, kernel, (2, 1), (2, 4), (1, 3), 2, bias)
    np.testing.assert_allclose(result, expected.numpy(), rtol=1e-12, atol=1e-12)


def test_a_hundred_times_faster_than_the_definition() -> None:
    """224x224, 64 to 64 channels, 3x3. Each output row costs the definition the same, so it is timed on 4 of
    the 224; the vectorised form computes them all."""
    rng = np.random.default_rng(0)
    image = rng.normal(size=(1, 64, 224, 224)).astype(np.float32)
    kernel = rng.normal(size=(64, 64, 3, 3)).astype(np.float32)
    vectorised_conv2d(image[:, :, :32], kernel, padding=1)  # warm up
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        result = vectorised_conv2d(image, kernel, padding=1)
        seconds.append(time.perf_counter() - start)
    start = time.perf_counter()
    rows = conv2d(image[:, :, 99:105], kernel, padding=((0, 0), (1, 1)))
    definition = (time.perf_counter() - start) * 224 / 4
    np.testing.assert_allclose(rows, result[:, :, 100:104], rtol=1e-4, atol=1e-3)
    assert definition / min(seconds) >= 100


def test_memory_stays_bounded() -> None:
    """All patches of this batch at once would take 9 times the input; the buffer is a megabyte."""
    image = np.ones((4, 16, 128, 128), np.float32)
    kernel = np.ones((4, 16, 3, 3), np.float32)
    tracemalloc.start()
    result = vectorised_conv2d(image, kernel)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    one_image = image[0].nbytes
    assert peak < result.nbytes + 2 * one_image + 3 * 2**20 < 9 * image.nbytes
