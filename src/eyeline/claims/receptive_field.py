"""Claim 10: how far a position sees follows from kernels and strides alone.

``r = 1 + sum over layers of (k - 1) times the product of all strides before``: a stride or a pooling multiplies
what every later kernel adds. The formula is compared with what it is about: which pixels move the output. With all
weights positive and averages for maxima no influence cancels, so the support of the gradient is the field.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from eyeline.anatomy import describe
from eyeline.claims.bench import Bench, new
from eyeline.claims.charts import curves
from eyeline.claims.claim import Chart, Check, Claim, Findings

STACKS = 40  # random networks
GROWTH = 6  # layers of the picture


@dataclass(frozen=True)
class Step:
    """One layer: a convolution or an average pooling."""

    kernel: int
    stride: int = 1
    dilation: int = 1
    pool: bool = False


def by_formula(steps: list[Step]) -> int:
    """The receptive field in pixels (Araujo, Norris and Sim, Distill 2019, equation 2)."""
    reach, jump = 1, 1
    for step in steps:
        reach += step.dilation * (step.kernel - 1) * jump
        jump *= step.stride
    return reach


def stack(steps: list[Step]) -> nn.Sequential:
    """The layers as a network without padding."""
    return nn.Sequential(
        *(
            nn.AvgPool2d(step.kernel, step.stride)
            if step.pool
            else nn.Conv2d(1, 1, step.kernel, step.stride, dilation=step.dilation)
            for step in steps
        )
    )


def by_gradient(net: nn.Module, side: int, channels: int = 1) -> tuple[int, int]:
    """Rows and columns from the first to the last pixel that moves the output's middle position."""
    net = net.double()
    for parameter in net.parameters():
        parameter.data.abs_().add_(0.1)
    image = torch.rand(1, channels, side, side, dtype=torch.float64, requires_grad=True)
    maps = net(image)
    maps[0, :, maps.shape[2] // 2, maps.shape[3] // 2].sum().backward()
    assert image.grad is not None
    touched = (image.grad[0] != 0).any(0)
    rows, columns = (torch.nonzero(touched.any(axis)).flatten() for axis in (1, 0))
    return int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1


def by_table(net: nn.Module, side: int) -> int:
    """The field of the last layer in the layer table of `describe`."""
    field = describe(net, (1, side, side)).layers[-1].receptive_field
    assert field is not None
    return field.max[0]


def random_stack(rng: np.random.Generator) -> list[Step]:
    """Two to five layers; about a third of them pool."""
    steps = []
    for _ in range(int(rng.integers(2, 6))):
        if rng.random() < 1 / 3:
            kernel = int(rng.integers(2, 4))
            steps.append(Step(kernel, kernel, pool=True))
        else:
            dilation = int(rng.integers(1, 3))
            steps.append(Step(int(rng.integers(1, 6)), int(rng.integers(1, 3)), dilation))
    return steps


def measure(bench: Bench) -> Findings:
    rng = np.random.default_rng(1)
    agreeing = tables = 0
    for number in range(STACKS):
        steps = random_stack(rng)
        field = by_formula(steps)
        jump = math.prod(step.stride for step in steps)
        side = field + 2 * jump
        net = new(lambda layers=steps: stack(layers), number)  # type: ignore[misc]
        agreeing += by_gradient(net, side) == (field, field)
        tables += by_table(stack(steps), side) == field
        bench.progress("random networks", number + 1, STACKS, "")
    checks = (
        Check(
            text="Random stacks of convolutions, dilations and poolings whose field, found by gradient, is the "
            "formula's to the pixel",
            expected=f"{STACKS} of {STACKS}",
            found=f"{agreeing} of {STACKS}",
            holds=agreeing == STACKS,
        ),
        Check(
            text="The same stacks in the layer table of eyeline describe",
            expected=f"{STACKS} of {STACKS}",
            found=f"{tables} of {STACKS}",
            holds=tables == STACKS,
        ),
        _growth_check([Step(3)] * GROWTH, "six 3×3 convolutions"),
        _growth_check([Step(3, 2)] * GROWTH, "the same with stride 2"),
        _growth_check([Step(3), Step(2, 2, pool=True)] * (GROWTH // 2), "3×3 and pooling by 2 in turn"),
    )
    return Findings(checks=checks, charts=(_growth_chart(),))


def _growth_check(steps: list[Step], name: str) -> Check:
    field = by_formula(steps)
    jump = math.prod(step.stride for step in steps)
    found = by_gradient(new(lambda: stack(steps), 0), field + 2 * jump)
    return Check(
        text=f"Field of {name}, pixels",
        expected=str(field),
        found=str(found[0]),
        holds=found == (field, field),
    )


def _growth_chart() -> Chart:
    depths = range(1, GROWTH + 1)
    lines = {
        "3×3, stride 1": [Step(3)] * GROWTH,
        "3×3 and pooling in turn": [Step(3), Step(2, 2, pool=True)] * (GROWTH // 2),
        "3×3, stride 2": [Step(3, 2)] * GROWTH,
    }
    return curves(
        "How the field grows with depth",
        "Layers",
        "Receptive field, pixels",
        list(depths),
        {name: [[by_formula(steps[:depth])] for depth in depths] for name, steps in lines.items()},
        log_x=False,
    )


CLAIM = Claim(
    name="receptive-field",
    title="Pooling and stride widen the view",
    statement="A position of a layer sees 1 + Σ (k−1)·Π(strides before) pixels a side: without stride every "
    "layer adds the same, and each stride or pooling multiplies what all later layers add.",
    experiment="For 40 random stacks of convolutions (strided, dilated) and poolings the formula is compared"
    " with the pixels that really move the output, found by gradient in double precision, and with the layer"
    " table.",
    change="Nothing about data or training: it is arithmetic. What a trained network uses of its field is "
    "another question (its effective field, which is smaller), and attention or a global gate sees "
    "everything at once.",
    source="Araujo, Norris and Sim, Distill 2019, Computing Receptive Fields of Convolutional Neural "
    "Networks.",
    data="none",
    measure=measure,
)
