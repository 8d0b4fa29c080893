"""Claim 8: the parameters of convolutions do not depend on the image size; those of dense layers do."""

from __future__ import annotations

import torch
from torch import nn

from eyeline.claims.bench import Bench, new
from eyeline.claims.charts import curves
from eyeline.claims.claim import Check, Claim, Findings
from eyeline.networks import create_network

SIZES = (64, 96, 128, 224)
NETWORKS = ("resnet18", "mobilenet_v2", "efficientnet_b0", "convnext_tiny")
HIDDEN = 100


def dense(side: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(side * side, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 10))


def weights(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def measure(bench: Bench) -> Findings:
    checks = []
    lines: dict[str, list[list[float]]] = {}
    for number, name in enumerate(NETWORKS):
        with torch.device("meta"):  # shapes only: no memory, no arithmetic
            counts = [
                weights(create_network(name, num_classes=10, in_channels=1, image_size=side))
                for side in SIZES
            ]
        lines[name] = [[float(count)] for count in counts]
        checks.append(
            Check(
                text=f"Parameters of {name} at {', '.join(map(str, SIZES))} pixels",
                expected=f"{counts[0]:,} each",
                found=", ".join(f"{count:,}" for count in dict.fromkeys(counts)) + " each",
                holds=len(set(counts)) == 1,
            )
        )
        bench.progress("networks", number + 1, len(NETWORKS), "")
    net = new(lambda: create_network("resnet18", num_classes=10, in_channels=1), 0).eval()
    with torch.no_grad():
        shapes = [tuple(net(torch.zeros(1, 1, side, side)).shape) for side in SIZES[:2]]
    checks.append(
        Check(
            text=f"One and the same resnet18 takes pictures of {SIZES[0]} and of {SIZES[1]} pixels",
            expected="(1, 10) and (1, 10)",
            found=" and ".join(map(str, shapes)),
            holds=shapes == [(1, 10), (1, 10)],
        )
    )
    grown = [weights(dense(side)) for side in SIZES]
    formula = [HIDDEN * side * side + HIDDEN + 10 * HIDDEN + 10 for side in SIZES]
    lines["dense, 100 hidden"] = [[float(count)] for count in grown]
    checks.append(
        Check(
            text="A dense network grows with the pixels: 100·side² + 1,110",
            expected=", ".join(f"{count:,}" for count in formula),
            found=", ".join(f"{count:,}" for count in grown),
            holds=grown == formula,
        )
    )
    chart = curves("Parameters by image size", "Image side, pixels", "Parameters", SIZES, lines, log_x=False)
    return Findings(
        checks=tuple(checks),
        charts=(chart,),
        notes=(
            "Networks that end in dense layers on a flattened map (LeNet-5, AlexNet, VGG) are tied to a size by these, "
            "and a vision transformer by its position embedding.",
        ),
    )


CLAIM = Claim(
    name="image-size",
    title="Parameters do not depend on the image size",
    statement="A convolution has the same weights however large the picture is, so a network that ends in a "
    "global average takes any size; a dense layer grows with the number of pixels.",
    experiment="Four published networks are built for pictures of 64 to 224 pixels and their parameters "
    "counted; one network is run at two sizes; a dense network is counted against its formula.",
    change="Nothing about data: it is arithmetic. Memory and time do grow with the picture, and a network "
    "trained at one size is not equally accurate at another.",
    source="LeCun et al. 1998, section II: weight sharing; Lin et al., arXiv 1312.4400: global average "
    "pooling.",
    data="none",
    measure=measure,
)
