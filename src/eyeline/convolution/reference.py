"""The operations of a convolutional network as they are defined: slide, multiply, sum.

Slow on purpose and short enough to check by eye: every other implementation is tested against this one.
`vectorised` gives the same answers hundreds of times faster.

As in every deep-learning library "convolution" is cross-correlation: the kernel is not flipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from eyeline.convolution.plan import Array, Padding, Pair, Plan, batched, numeric, pair, plan
from eyeline.errors import EyelineError


def conv2d(
    image: Array,
    kernel: Array,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
    bias: Array | None = None,
) -> Array:
    """Convolution of an image with a bank of kernels.

    Parameters
    ----------
    image : (H, W), or a batch (N, C_in, H, W).
    kernel : (K_h, K_w) for a plain image, else (C_out, C_in / groups, K_h, K_w).
    stride, dilation : one number or (vertical, horizontal).
    padding : zeros around the image: one number, (vertical, horizontal), ((top, bottom), (left, right)),
        "valid" for none, or "same" for the output side ``ceil(H / stride)``, the odd zero below and right.
    groups : output channel o sees only the input channels of its group; ``groups=C_in`` is depthwise.
    bias : (C_out,), added to every position.

    Returns
    -------
    (H', W') or (N, C_out, H', W') with ``H' = floor((H + P - D(K_h-1) - 1) / S) + 1``. The result
    has the common type of all arguments; integers are computed exactly in int64.

    Raises
    ------
    EyelineError : shapes that do not go together, or a kernel larger than the padded image.

    >>> conv2d([[0, 0, 1, 1]] * 4, [[-1, 1]])
    array([[0, 1, 0],
           [0, 1, 0],
           [0, 1, 0],
           [0, 1, 0]])
    """
    images, kernels, biases = batched(image, kernel, groups, bias)
    windows = plan(kernels.shape[2:], images.shape[2:], stride=stride, padding=padding, dilation=dilation)
    padded = windows.padded(images)
    channels, filters = kernels.shape[1], kernels.shape[0] // groups  # of one group
    dtype = np.result_type(images, kernels, biases)
    output = np.zeros((len(images), len(kernels), *windows.output_size), dtype)
    for n in range(len(images)):
        for o in range(len(kernels)):
            group = o // filters
            seen = padded[n, group * channels : (group + 1) * channels]
            for row, column, patch in slide(seen, windows):
                output[n, o, row, column] = np.sum(patch * kernels[o]) + biases[o]
    return output[0, 0] if np.ndim(image) == 2 else output


def slide(padded: Array, windows: Plan) -> Iterator[tuple[int, int, Array]]:
    """Each output position with the patch (..., K_h, K_w) of the padded image under the window."""
    rows, columns = windows.rows, windows.columns
    height, width = windows.output_size
    for row in range(height):
        top = row * rows.stride
        for column in range(width):
            left = column * columns.stride
            yield (
                row,
                column,
                padded[
                    ...,
                    top : top + rows.extent : rows.dilation,
                    left : left + columns.extent : columns.dilation,
                ],
            )


@dataclass(frozen=True, eq=False)
class Step:
    """One position of the sliding kernel: ``total = product.sum()``, ``product = patch * kernel``."""

    row: int
    column: int
    patch: Array
    product: Array
    total: int | float | complex


def step_by_step(
    image: Array, kernel: Array, stride: Pair = 1, padding: Padding = 0, dilation: Pair = 1
) -> Iterator[Step]:
    """The convolution of one (H, W) image with one (K_h, K_w) kernel, position by position, row by row.

    Raises
    ------
    EyelineError : image or kernel is not two-dimensional, or does not fit.
    """
    if np.ndim(image) != 2:
        raise EyelineError(f"step_by_step shows one (H, W) image, not shape {np.shape(image)}")
    images, kernels, _ = batched(image, kernel, 1, None)
    windows = plan(kernels.shape[2:], images.shape[2:], stride=stride, padding=padding, dilation=dilation)
    for row, column, patch in slide(windows.padded(images)[0, 0], windows):
        product = patch * kernels[0, 0]
        yield Step(row, column, patch, product, product.sum().item())


def max_pool2d(
    image: Array,
    kernel: Pair,
    stride: Pair | None = None,
    padding: Padding = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
) -> Array:
    """The largest value under each window of (..., H, W); `stride` defaults to `kernel`.

    The padding is the lowest value there is, so it never wins over a pixel.

    Raises
    ------
    EyelineError : padding above half the kernel (torch's limit), or the window does not fit.
    """
    image, windows = _pooling(image, kernel, stride, padding, dilation, ceil_mode)
    lowest = -np.inf if image.dtype.kind == "f" else np.iinfo(image.dtype).min
    output = np.empty((*image.shape[:-2], *windows.output_size), image.dtype)
    for row, column, patch in slide(windows.padded(image, lowest, overhang=windows.overhang), windows):
        output[..., row, column] = patch.max(axis=(-2, -1))
    return output


def average_pool2d(
    image: Array,
    kernel: Pair,
    stride: Pair | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Array:
    """The mean under each window of (..., H, W); `stride` defaults to `kernel`.

    The divisor counts the padding only with `count_include_pad`, and never what a ceil-mode window covers
    beyond the padding. Integers are averaged in float64.

    Raises
    ------
    EyelineError : padding above half the kernel (torch's limit), or the window does not fit.
    """
    image, windows = _pooling(image, kernel, stride, padding, 1, ceil_mode)
    image = image if image.dtype.kind == "f" else image.astype(np.float64)
    counted = np.ones(image.shape[-2:], np.int64)
    counted = np.pad(
        windows.padded(counted, int(count_include_pad)), [(0, extra) for extra in windows.overhang]
    )
    counts = [patch.sum() for _, _, patch in slide(counted, windows)]
    output = np.empty((*image.shape[:-2], *windows.output_size), image.dtype)
    positions = slide(windows.padded(image, overhang=windows.overhang), windows)
    for count, (row, column, patch) in zip(counts, positions, strict=True):
        output[..., row, column] = patch.sum(axis=(-2, -1)) / count
    return output


def _pooling(
    image: Array, kernel: Pair, stride: Pair | None, padding: Padding, dilation: Pair, ceil_mode: bool
) -> tuple[Array, Plan]:
    image = numeric("image", image)
    if image.ndim < 2 or image.dtype.kind == "c":
        raise EyelineError(
            f"pooling needs real numbers of shape (..., H, W), not {image.dtype} {image.shape}"
        )
    windows = plan(
        pair("kernel", kernel),
        image.shape[-2:],
        stride=kernel if stride is None else stride,
        padding=padding,
        dilation=dilation,
        ceil_mode=ceil_mode,
    )
    for window in (windows.rows, windows.columns):
        if max(window.padding) > window.kernel // 2:
            raise EyelineError(
                f"a padding of {window.padding} is more than half the kernel of {window.kernel}",
                hint="a window could see nothing but padding",
            )
    return image, windows


@dataclass(frozen=True, eq=False)
class BatchNorm:
    """The normalized batch and the running statistics to keep for the next one."""

    output: Array
    running_mean: Array
    running_var: Array


def batch_norm(
    images: Array,
    running_mean: Array,
    running_var: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> BatchNorm:
    """Batch normalization of (N, C, H, W), channel by channel (Ioffe and Szegedy 2015, algorithms 1 and 2).

    In training a channel is normalized by the mean and the **biased** variance (divisor n) of the batch, so
    each image depends on its neighbours; the running averages move by
    ``running = (1 - momentum) * running + momentum * batch`` with the **unbiased** variance (divisor n - 1).
    In inference the running statistics are constants and nothing changes.

    `momentum` is PyTorch's: the share of the *new* batch. TensorFlow's is the share of the *old* average, so
    its 0.99 is 0.01 here; its default eps is 1e-3.

    Raises
    ------
    EyelineError : statistics not of shape (C,), or training with a single value a channel.
    """
    images = numeric("images", images)
    if images.ndim != 4:
        raise EyelineError(f"batch norm needs (N, C, H, W), not shape {images.shape}")
    images = images if images.dtype.kind == "f" else images.astype(np.float64)
    channels = images.shape[1]
    old_mean, old_var = np.asarray(running_mean), np.asarray(running_var)
    scale = np.ones(channels) if weight is None else np.asarray(weight)
    shift = np.zeros(channels) if bias is None else np.asarray(bias)
    if any(values.shape != (channels,) for values in (old_mean, old_var, scale, shift)):
        raise EyelineError(f"running_mean, running_var, weight and bias must have shape ({channels},)")
    values = images.shape[0] * images.shape[2] * images.shape[3]
    if training and values < 2:
        raise EyelineError("training needs more than one value a channel to have a variance")

    output = np.empty_like(images)
    new_mean, new_var = old_mean.astype(np.float64), old_var.astype(np.float64)
    for c in range(channels):
        channel = images[:, c]
        if training:
            mean, var = channel.mean(), channel.var()
            new_mean[c] = (1 - momentum) * old_mean[c] + momentum * mean
            new_var[c] = (1 - momentum) * old_var[c] + momentum * channel.var(ddof=1)
        else:
            mean, var = old_mean[c], old_var[c]
        output[:, c] = (channel - mean) / np.sqrt(var + eps) * scale[c] + shift[c]
    return BatchNorm(output, new_mean, new_var)


def depthwise_separable(
    image: Array,
    depthwise: Array,
    pointwise: Array,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
) -> Array:
    """A kernel a channel, then a 1x1 convolution that mixes channels (Howard et al. 2017, MobileNets).

    Parameters
    ----------
    image : (N, C, H, W).
    depthwise : (C * multiplier, 1, K_h, K_w); the window moves by `stride`.
    pointwise : (C_out, C * multiplier, 1, 1).

    Returns
    -------
    (N, C_out, H', W'). Equal to one convolution with the kernel ``pointwise[o, m] * depthwise[m]``, summed
    over the multiplier, at ``multiplier * (1/C_out + 1/(K_h K_w))`` of its multiply-accumulates.
    """
    if np.ndim(image) != 4 or np.shape(pointwise)[2:] != (1, 1):
        raise EyelineError(
            f"image {np.shape(image)} must be (N, C, H, W) and pointwise {np.shape(pointwise)} 1x1"
        )
    spatial = conv2d(image, depthwise, stride, padding, dilation, groups=np.shape(image)[1])
    return conv2d(spatial, pointwise)


def residual_add(shortcut: Array, branch: Array) -> Array:
    """``shortcut + branch`` of one shape, position by position (He et al. 2015): nothing is broadcast.

    Raises
    ------
    EyelineError : shapes differ.
    """
    shortcut, branch = numeric("shortcut", shortcut), numeric("branch", branch)
    if shortcut.shape != branch.shape:
        raise EyelineError(
            f"a residual sum needs equal shapes, not {shortcut.shape} and {branch.shape}",
            hint="project the shortcut with a 1x1 convolution of the same stride",
        )
    return shortcut + branch
