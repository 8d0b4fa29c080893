"""The idea itself, in NumPy: convolution as defined, its geometry, its receptive field and its cost."""

from __future__ import annotations

from eyeline.convolution.cost import (
    Cost,
    convolution_cost,
    elementwise_cost,
    linear_cost,
    matmul_cost,
    norm_cost,
    pooling_cost,
)
from eyeline.convolution.fields import Field, Span, Spans
from eyeline.convolution.geometry import (
    Operation,
    Resampling,
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
from eyeline.convolution.reference import (
    BatchNorm,
    Step,
    average_pool2d,
    batch_norm,
    conv2d,
    depthwise_separable,
    max_pool2d,
    residual_add,
    step_by_step,
)
from eyeline.convolution.vectorised import vectorised_conv2d

__all__ = [
    "BatchNorm",
    "Cost",
    "Field",
    "Operation",
    "Resampling",
    "Span",
    "Spans",
    "Step",
    "TransposedWindow",
    "Window",
    "adaptive_window",
    "average_pool2d",
    "batch_norm",
    "conv2d",
    "convolution_cost",
    "crop",
    "depthwise_separable",
    "elementwise_cost",
    "linear_cost",
    "matmul_cost",
    "max_pool2d",
    "norm_cost",
    "output_side",
    "pad",
    "pooling_cost",
    "residual_add",
    "resize",
    "same_padding",
    "step_by_step",
    "upsample",
    "vectorised_conv2d",
]
