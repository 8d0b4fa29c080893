"""Claim 5: depthwise-separable convolutions save almost K² operations at little accuracy, and less time than that."""

from __future__ import annotations

import time

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from eyeline.claims.bench import Arm, Bench, Cell, new
from eyeline.claims.charts import dots
from eyeline.claims.claim import ArmFacts, Check, Claim, Contrast, Findings
from eyeline.claims.judging import contrast
from eyeline.convolution import convolution_cost

STEM = 24  # channels; the stem sees one grey channel and is never separable
LAYERS = ((24, 48, 1), (48, 48, 2), (48, 48, 1), (48, 48, 1))  # channels in and out, stride
IMAGES = 6000
STEPS = 300
MARGIN = -0.02  # of accuracy: "little" is at most two points
AS_MUCH = 0.8  # of the saving in operations: "as much time" is at least four fifths of it
ROUNDS = 20  # timings, one of each network in turn


def network(separable: bool) -> nn.Module:
    """A stem of stride 2 on 28 pixels and four convolutions, batch norm after each."""

    def normed(conv: nn.Conv2d) -> list[nn.Module]:
        return [conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU()]

    layers = normed(nn.Conv2d(1, STEM, 3, 2, 1, bias=False))
    for before, after, stride in LAYERS:
        if separable:
            layers += normed(nn.Conv2d(before, before, 3, stride, 1, groups=before, bias=False))
            layers += normed(nn.Conv2d(before, after, 1, bias=False))
        else:
            layers += normed(nn.Conv2d(before, after, 3, stride, 1, bias=False))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(LAYERS[-1][1], 10))


PLAIN = Arm(name="full convolutions", build=lambda: network(False), side=28)
SEPARABLE = Arm(name="depthwise separable", build=lambda: network(True), side=28)


def measure(bench: Bench) -> Findings:
    images = min(IMAGES, len(bench.pictures.train[0]))
    race = bench.race([Cell(arm=arm, images=images, steps=STEPS) for arm in (PLAIN, SEPARABLE)])
    plain, separable = (race.accuracy(arm.name, images) for arm in (PLAIN, SEPARABLE))
    full, cheap = race.arms
    saving = full.macs / cheap.macs
    speedups = {batch: measured_speedup(batch) for batch in (1, 64)}
    times = tuple(_time_contrast(batch, found, saving) for batch, found in speedups.items())
    told = "; ".join(
        f"batch {batch}: {np.median(found):.2f} times as fast (quartiles {np.quantile(found, 0.25):.2f} to "
        f"{np.quantile(found, 0.75):.2f})"
        for batch, found in speedups.items()
    )
    return Findings(
        checks=exact_checks(full, cheap),
        contrasts=(
            contrast(
                "accuracy",
                "Separable over full: no more than two points worse",
                separable - plain,
                margin=MARGIN,
            ),
            *times,
        ),
        arms=race.arms,
        charts=(
            dots(
                "Accuracy by arm", "Accuracy on test pictures", {PLAIN.name: plain, SEPARABLE.name: separable}
            ),
            dots(
                "Times as fast on this processor",
                "Time of full over time of separable",
                {f"batch {batch}": found for batch, found in speedups.items()},
            ),
        ),
        notes=(
            f"The network needs {saving:.2f} times fewer operations. On one thread of this processor it is, {told}. "
            "A depthwise convolution moves as much memory as it computes, so operations do not tell its time.",
        ),
    )


def exact_checks(full: ArmFacts, cheap: ArmFacts) -> tuple[Check, ...]:
    """The cost of both networks by formula, as integers, and the saving of every layer."""
    ratios_right = True
    totals = [0, 0]
    stem = convolution_cost(1, STEM, (28, 28), (14, 14), (3, 3), bias=False).macs
    side = 14
    for before, after, stride in LAYERS:
        out = side // stride
        plain = convolution_cost(before, after, (side,) * 2, (out,) * 2, (3, 3), bias=False).macs
        depth = convolution_cost(before, before, (side,) * 2, (out,) * 2, (3, 3), groups=before, bias=False)
        point = convolution_cost(before, after, (out,) * 2, (out,) * 2, (1, 1), bias=False)
        both = (depth + point).macs
        ratios_right &= both * 9 * after == plain * (9 + after)  # both / plain = 1/N + 1/K²
        totals[0] += plain
        totals[1] += both
        side = out
    head = LAYERS[-1][1] * 10
    expected = [stem + total + head for total in totals]
    found = [full.macs, cheap.macs]
    return (
        Check(
            text="Multiply-accumulates of both networks, by formula and as counted",
            expected=" and ".join(f"{n:,}" for n in expected),
            found=" and ".join(f"{n:,}" for n in found),
            holds=expected == found,
        ),
        Check(
            text="Every layer costs the share 1/N + 1/K² of the full one, as integers",
            expected="4 of 4",
            found="4 of 4" if ratios_right else "not all",
            holds=ratios_right,
        ),
    )


def measured_speedup(batch: int, rounds: int = ROUNDS) -> NDArray[np.float64]:
    """Time of the full network over that of the separable one, both timed in turn on one thread, ``(rounds,)``."""
    nets = [new(arm.build, 0).eval() for arm in (PLAIN, SEPARABLE)]
    x = torch.randn(batch, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            for net in nets:
                for _ in range(3):
                    net(x)
            repeats = 20 if batch == 1 else 2
            ratios = []
            for _ in range(rounds):
                seconds = []
                for net in nets:
                    started = time.perf_counter()
                    for _ in range(repeats):
                        net(x)
                    seconds.append(time.perf_counter() - started)
                ratios.append(seconds[0] / seconds[1])
    finally:
        torch.set_num_threads(threads)
    return np.array(ratios)


def _time_contrast(batch: int, speedup: NDArray[np.float64], saving: float) -> Contrast:
    return contrast(
        f"time, batch {batch}",
        f"Speed-up as a share of the saved operations, batch {batch}: at least four fifths",
        speedup / saving,
        margin=AS_MUCH,
        unit="share",
        required=False,
    )


CLAIM = Claim(
    name="separable",
    title="Depthwise-separable convolutions",
    statement="Replacing every K×K convolution by a depthwise and a pointwise one leaves the share 1/N + "
    "1/K² of the operations and costs at most two points of accuracy. Whether it saves as much time is "
    "judged apart.",
    experiment="A network of five convolutions and its separable twin: operations counted as integers "
    "against the formula, accuracy after the same steps on 6,000 pictures, and time of both in turn on one "
    "thread.",
    change="Wider layers save nearer to K² operations. Time depends on the processor and the library: a "
    "depthwise convolution is bound by memory. On harder data the accuracy gap may grow.",
    source="Howard et al., arXiv 1704.04861, equation 5 and table 4: 569 against 4,866 million operations, "
    "70.6 against 71.7 % on ImageNet.",
    data="pictures",
    measure=measure,
)
