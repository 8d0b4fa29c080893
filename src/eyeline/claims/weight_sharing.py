"""Claim 1: with few pictures, sharing weights beats having a weight for every place.

The locally connected twin has the wiring of the convolutional network and shares nothing, so sharing alone
tells the two apart; the dense networks have no locality either. On permuted pixels nothing is local any more:
there the advantage of the convolution has to go, or it never came from neighbourhood. Where pictures are centred
a weight for every place may well do, so three arms beside the claim see the pictures moved about.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eyeline.claims.bench import Arm, Bench, Cell, Floats
from eyeline.claims.charts import accuracy_chart
from eyeline.claims.claim import ArmFacts, Check, Claim, Findings
from eyeline.claims.judging import contrast

SIZES = (100, 300, 1000, 3000)
FEW = 1000  # up to here the claim speaks
STEPS = 400
REACH = 2  # of 14 pixels a side
MARGIN = 0.01  # of accuracy: a gain below one point would not be worth a sentence in a textbook
EQUAL = 0.03  # weights of two arms may differ by that share
WANTED = 0.75  # the accuracy whose price in pictures is told


class LocallyConnected(nn.Module):
    """A convolution whose weights are not shared: ``(N, C, H, W)``, each place with a kernel of its own."""

    def __init__(self, in_channels: int, out_channels: int, side: int) -> None:
        super().__init__()
        self.side = (side + 1) // 2  # kernel 3, stride 2, padding 1
        taps = in_channels * 9
        bound = 1 / math.sqrt(taps)  # as nn.Conv2d
        self.weight = nn.Parameter(torch.empty(self.side**2, out_channels, taps).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(out_channels, self.side, self.side).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        windows_ntl = F.unfold(x, 3, padding=1, stride=2)
        maps = torch.einsum("ntl,lot->nol", windows_ntl, self.weight)
        return maps.view(len(x), -1, self.side, self.side) + self.bias


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 24, 3, 2, 1), nn.ReLU(), nn.Conv2d(24, 48, 3, 2, 1), nn.ReLU(), nn.Flatten(),
        nn.Linear(48 * 16, 10),
    )  # fmt: skip


def locally_connected() -> nn.Module:
    return nn.Sequential(
        LocallyConnected(1, 24, 14), nn.ReLU(), LocallyConnected(24, 48, 7), nn.ReLU(), nn.Flatten(),
        nn.Linear(48 * 16, 10),
    )  # fmt: skip


def dense(hidden: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(196, hidden), nn.ReLU(), nn.Linear(hidden, 10))


ARMS = (
    Arm(name="convolutional", build=convolutional),
    Arm(name="locally connected", build=locally_connected),
    Arm(name="dense, as many weights", build=lambda: dense(88)),
    Arm(name="dense, wide", build=lambda: dense(256)),
    Arm(name="convolutional, pixels permuted", build=convolutional, permuted=True),
    Arm(name="dense, wide, pixels permuted", build=lambda: dense(256), permuted=True),
)
MOVED = (
    Arm(name="convolutional, moved about", build=convolutional, scattered=REACH),
    Arm(name="locally connected, moved about", build=locally_connected, scattered=REACH),
    Arm(name="dense, wide, moved about", build=lambda: dense(256), scattered=REACH),
)


def measure(bench: Bench) -> Findings:
    sizes = bench.sizes(SIZES)
    few = [n for n in sizes if n <= FEW]
    race = bench.race(
        [Cell(arm=arm, images=n, steps=STEPS) for arm in ARMS for n in sizes]
        + [Cell(arm=arm, images=n, steps=STEPS) for arm in MOVED for n in few]
    )

    def mean(arm: Arm) -> Floats:
        return np.asarray(np.mean([race.accuracy(arm.name, n) for n in few], axis=0))

    shared, local, narrow, wide, permuted, wide_permuted = (mean(arm) for arm in ARMS)
    moved, moved_local, moved_wide = (mean(arm) for arm in MOVED)
    contrasts = (
        contrast(
            "sharing",
            "Convolutional over locally connected: the same wiring, weights shared or not",
            shared - local,
            margin=MARGIN,
        ),
        contrast(
            "sharing and locality",
            "Convolutional over the better dense network of each seed",
            shared - np.maximum(narrow, wide),
            margin=MARGIN,
        ),
        contrast(
            "control",
            "The part of the advantage over the wide dense network that permuting the pixels takes away",
            (shared - wide) - (permuted - wide_permuted),
            margin=MARGIN,
        ),
        contrast(
            "sharing, pictures moved about",
            f"Convolutional over locally connected where pictures are moved by up to {REACH} pixels",
            moved - moved_local,
            margin=MARGIN,
            required=False,
        ),
        contrast(
            "sharing and locality, pictures moved about",
            "Convolutional over the wide dense network on the same pictures",
            moved - moved_wide,
            margin=MARGIN,
            required=False,
        ),
    )
    prices = [
        f"{arm.name}: {_price(sizes, [float(race.accuracy(arm.name, n).mean()) for n in sizes])}"
        for arm in ARMS
    ]
    charts = (
        accuracy_chart("Pictures as they are", race, ARMS, sizes),
        accuracy_chart("Pictures moved about", race, MOVED, few),
    )
    note = f"Pictures needed for {WANTED:.0%} accuracy. {'; '.join(prices)}."
    return Findings(
        checks=equal_cost(race.arms), contrasts=contrasts, arms=race.arms, charts=charts, notes=(note,)
    )


def equal_cost(arms: tuple[ArmFacts, ...]) -> tuple[Check, ...]:
    """The twin costs the same operations, the narrow dense network has the same weights."""
    shared, local, narrow = arms[:3]
    apart = abs(narrow.parameters / shared.parameters - 1)
    return (
        Check(
            text="Convolutional and locally connected: the same operations",
            expected=f"{shared.macs:,}",
            found=f"{local.macs:,}",
            holds=shared.macs == local.macs,
        ),
        Check(
            text="Convolutional and dense: weights differ by at most 3 %",
            expected="≤ 3.0 %",
            found=f"{100 * apart:.1f} % ({shared.parameters:,} and {narrow.parameters:,})",
            holds=apart <= EQUAL,
        ),
    )


def _price(sizes: tuple[int, ...], accuracies: list[float]) -> str:
    """Where the curve of accuracy over log(pictures) first crosses the wanted accuracy."""
    if accuracies[0] >= WANTED:
        return f"at most {sizes[0]:,}"
    for left, right in zip(range(len(sizes)), range(1, len(sizes)), strict=False):
        low, high = accuracies[left], accuracies[right]
        if low < WANTED <= high:
            part = (WANTED - low) / (high - low)
            return f"{round(sizes[left] * (sizes[right] / sizes[left]) ** part):,}"
    return f"more than {sizes[-1]:,}"


CLAIM = Claim(
    name="weight-sharing",
    title="Weight sharing needs less data",
    statement="With up to 1,000 training pictures a convolutional network classifies better than the same "
    "wiring without shared weights and better than dense networks, by more than one point of accuracy, and "
    "it owes that to the neighbourhood of pixels.",
    experiment="Four networks learn from 100 to 3,000 pictures each. The locally connected one looks at the "
    "same windows as the convolutional one, but has a kernel of its own for every place. One dense network "
    "has as many weights as the convolutional one, the other three times as many. As a control, two of them "
    "see all pictures with their pixels in one fixed random order: the same information, no neighbourhood. "
    "Beside the claim, three see every picture moved by up to two of 14 pixels.",
    change="Where things lie in the picture: centred and scaled ones, like these garments, hardly need what "
    "sharing gives, and the rows on pictures moved about say how much that is. Far more data closes the gap;"
    " permuting the pixels takes the advantage away.",
    source="Li, Zhang and Arora, ICLR 2021 (arXiv 2010.08515): a convolutional network can need a constant "
    "number of examples where dense ones, trained by gradient from Gaussian weights, need many more.",
    data="pictures",
    measure=measure,
)
