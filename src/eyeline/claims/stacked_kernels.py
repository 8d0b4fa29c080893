"""Claim 2: two 3×3 see what one 5×5 sees with 28 % fewer weights, and are better at equal weights.

The first half is arithmetic, the second an experiment. VGG compared networks that differ in weights and in the
number of nonlinearities at once; here one 5×5 arm is narrowed to equal weights, and one arm of two 3×3 has no
ReLU in the middle.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from eyeline.claims.bench import Arm, Bench, Cell
from eyeline.claims.charts import dots
from eyeline.claims.claim import Check, Claim, Findings
from eyeline.claims.judging import contrast
from eyeline.claims.receptive_field import by_gradient
from eyeline.convolution import convolution_cost

WIDTH = 20  # channels
NARROW = 17  # channels of the 5×5 arm with as many weights, see `measure`
IMAGES = 6000
STEPS = 400
MARGIN = 0.0  # "better" at equal weights; the size of the effect is told by its interval
EQUAL = 0.03  # weights of the two arms may differ by that share


def network(width: int, kernel: int, relu: bool = True) -> nn.Module:
    """Stem, a stage at 14 and one at 7 pixels, global average, linear; no batch norm, as in VGG."""

    def stage() -> list[nn.Module]:
        if kernel == 5:
            return [nn.Conv2d(width, width, 5, 1, 2), nn.ReLU()]
        middle: list[nn.Module] = [nn.ReLU()] if relu else []
        first, second = (nn.Conv2d(width, width, 3, 1, 1) for _ in range(2))
        return [first, *middle, second, nn.ReLU()]

    net = nn.Sequential(
        nn.Conv2d(1, width, 3, 1, 1), nn.ReLU(), *stage(), nn.MaxPool2d(2), *stage(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10),
    )  # fmt: skip
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")  # He et al. 2015
            assert module.bias is not None
            nn.init.zeros_(module.bias)
    return net


TWO = Arm(name="two 3×3", build=lambda: network(WIDTH, 3))
ONE = Arm(name="one 5×5", build=lambda: network(WIDTH, 5))
EVEN = Arm(name="one 5×5, as many weights", build=lambda: network(NARROW, 5))
LINEAR = Arm(name="two 3×3, no ReLU between", build=lambda: network(WIDTH, 3, relu=False))
ARMS = (TWO, ONE, EVEN, LINEAR)


def measure(bench: Bench) -> Findings:
    images = min(IMAGES, len(bench.pictures.train[0]))
    race = bench.race([Cell(arm=arm, images=images, steps=STEPS) for arm in ARMS])
    two, one, even, linear = (race.accuracy(arm.name, images) for arm in ARMS)
    weights = {arm.name: arm.parameters for arm in race.arms}
    apart = abs(weights[EVEN.name] / weights[TWO.name] - 1)
    equal = Check(
        text="Weights of the two arms that are compared differ by at most 3 %",
        expected="≤ 3.0 %",
        found=f"{100 * apart:.1f} %",
        holds=apart <= EQUAL,
    )
    contrasts = (
        contrast("equal weights", "Two 3×3 over one 5×5 with as many weights", two - even, margin=MARGIN),
        contrast(
            "equal width",
            "Two 3×3 over one 5×5 of the same width, which has 39 % more weights",
            two - one,
            margin=-0.005,
            required=False,
        ),
        contrast(
            "nonlinearity",
            "What the ReLU between the two brings",
            two - linear,
            margin=0.0,
            required=False,
        ),
    )
    chart = dots(
        "Accuracy by arm",
        "Accuracy on test pictures",
        dict(zip([a.name for a in ARMS], (two, one, even, linear), strict=True)),
    )
    return Findings(checks=(*exact_checks(), equal), contrasts=contrasts, arms=race.arms, charts=(chart,))


def exact_checks(channels: int = WIDTH) -> tuple[Check, ...]:
    """Field, weights, operations, and where the two are one and the same operator."""
    c, side = channels, 14
    pair = nn.Sequential(nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 3))
    fields = by_gradient(pair, 11), by_gradient(nn.Conv2d(1, 1, 5), 11)
    small = convolution_cost(c, c, (side, side), (side, side), (3, 3), bias=False)
    large = convolution_cost(c, c, (side, side), (side, side), (5, 5), bias=False)
    two = small + small
    inner, border = composed()
    return (
        Check(
            text="Field of two 3×3 and of one 5×5, found by gradient",
            expected="5 and 5 pixels",
            found=f"{fields[0][0]} and {fields[1][0]} pixels",
            holds=fields == ((5, 5), (5, 5)),
        ),
        Check(
            text=f"Weights of both with {c} channels",
            expected=f"18·{c}² = {18 * c * c:,} and 25·{c}² = {25 * c * c:,}",
            found=f"{two.parameters:,} and {large.parameters:,}",
            holds=(two.parameters, large.parameters) == (18 * c * c, 25 * c * c),
        ),
        Check(
            text="Multiply-accumulates have the same ratio, 18 to 25",
            expected="18 to 25",
            found=f"{two.macs / large.macs * 25:g} to 25",
            holds=25 * two.macs == 18 * large.macs,
        ),
        Check(
            text="Without ReLU, two 3×3 are one 5×5 inside the picture (largest difference)",
            expected="< 1e-9",
            found=f"{inner:.1e}",
            holds=inner < 1e-9,
        ),
        Check(
            text="but not at the border: padding twice by 1 is not padding once by 2",
            expected="> 1e-3",
            found=f"{border:.1e}",
            holds=border > 1e-3,
        ),
    )


def composed() -> tuple[float, float]:
    """Two linear 3×3 against the 5×5 they compose to, both padded: largest difference inside, and at the border."""
    rng = torch.Generator().manual_seed(0)
    image = torch.randn(1, 1, 14, 14, generator=rng, dtype=torch.float64)
    first, second = (torch.randn(1, 1, 3, 3, generator=rng, dtype=torch.float64) for _ in range(2))
    kernel = F.conv2d(first, second.flip(2, 3), padding=2)  # the kernel of "first, then second"
    twice = F.conv2d(F.conv2d(image, first, padding=1), second, padding=1)
    difference = (twice - F.conv2d(image, kernel, padding=2)).abs()[0, 0]
    inner = difference[1:-1, 1:-1].max()
    difference[1:-1, 1:-1] = 0
    return float(inner), float(difference.max())


CLAIM = Claim(
    name="stacked-kernels",
    title="Two 3×3 instead of one 5×5",
    statement="Two 3×3 convolutions see what one 5×5 sees with 28 % fewer weights and operations, and at "
    "equal weights a network of 3×3 pairs classifies better.",
    experiment="Field, weights and operations are counted. Then four networks of two stages learn from 6,000"
    " pictures: pairs of 3×3, single 5×5 of the same width, 5×5 narrowed to as many weights, and pairs "
    "without the ReLU in the middle, which tells depth from nonlinearity.",
    change="Padding: at the border the two are different operators. Batch norm, larger pictures and longer "
    "training change the accuracy part; nothing changes the count.",
    source="Simonyan and Zisserman, arXiv 1409.1556, section 2.3: 27 C² weights against 49 C², and a network"
    " of 5×5 with 7 % more top-1 error than one of 3×3 pairs.",
    data="pictures",
    measure=measure,
)
