"""Claim 4: deep plain networks are harder to optimise, and shortcuts mend it.

The claim is about the loss on the training pictures, not about overfitting. Batch norm keeps the signals alive in
both kinds, so what degrades is the search, not the gradient's size; without batch norm a deep plain network does
not start at all, which is another failure and is only told beside it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from eyeline.claims.bench import Arm, Bench, Cell
from eyeline.claims.charts import dots
from eyeline.claims.claim import Check, Claim, Findings
from eyeline.claims.judging import contrast

WIDTH = 8  # channels of the first stage; 8, 16, 32
SHALLOW, DEEP = 20, 56  # layers: 6 n + 2
IMAGES = 2048
STEPS = 200
MARGIN = 0.05  # of log loss: five percent of the loss
NO_WORSE = -0.10  # the deep residual network may end ten percent above the shallow one


class Block(nn.Module):
    """Two 3×3; the shortcut strides and appends zero channels (option A: no parameters)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, skip: bool, norm: bool) -> None:
        super().__init__()
        self.skip, self.stride, self.extra = skip, stride, out_channels - in_channels
        self.first = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=not norm)
        self.norm1 = nn.BatchNorm2d(out_channels) if norm else nn.Identity()
        self.second = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=not norm)
        self.norm2 = nn.BatchNorm2d(out_channels) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm2(self.second(F.relu(self.norm1(self.first(x)))))
        if self.skip:
            y = y + F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.extra))
        return F.relu(y)


def network(depth: int, skip: bool, norm: bool = True) -> nn.Module:
    """The CIFAR network of He et al. 2015, section 4.2, at half its width, for one grey channel."""
    stem = nn.Conv2d(1, WIDTH, 3, 1, 1, bias=not norm)
    blocks: list[nn.Module] = [stem, nn.BatchNorm2d(WIDTH) if norm else nn.Identity(), nn.ReLU()]
    channels = WIDTH
    for stage in range(3):
        for index in range((depth - 2) // 6):
            stride = 2 if stage > 0 and index == 0 else 1
            blocks.append(Block(channels, WIDTH << stage, stride, skip, norm))
            channels = WIDTH << stage
    net = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return net


def arm(depth: int, skip: bool, norm: bool = True) -> Arm:
    name = f"{'residual' if skip else 'plain'} {depth}" + ("" if norm else ", no batch norm")
    return Arm(name=name, build=lambda: network(depth, skip, norm))


MAIN = tuple(arm(depth, skip) for skip in (False, True) for depth in (SHALLOW, DEEP))
BARE = tuple(arm(depth, skip, False) for skip in (False, True) for depth in (SHALLOW, DEEP))


def measure(bench: Bench) -> Findings:
    images = min(IMAGES, len(bench.pictures.train[0]))
    race = bench.race(
        [
            *(Cell(arm=each, images=images, steps=STEPS) for each in MAIN),
            *(Cell(arm=each, images=images, steps=STEPS, seeds=1) for each in BARE),
        ],
        optimizer="sgd",
    )

    def log_loss(each: Arm) -> NDArray[np.float64]:
        return np.log(np.maximum(race.loss(each.name, images), 1e-9))

    plain, plain_deep, residual, residual_deep = (log_loss(each) for each in MAIN)
    contrasts = (
        contrast(
            "shortcuts mend depth",
            f"What {DEEP} layers cost over {SHALLOW} in a plain network, over what they cost in a residual one",
            (plain_deep - plain) - (residual_deep - residual),
            margin=MARGIN,
            unit="log training loss",
        ),
        contrast(
            "depth hurts plain networks",
            f"Plain {DEEP} over plain {SHALLOW}",
            plain_deep - plain,
            margin=MARGIN,
            unit="log training loss",
        ),
        contrast(
            "depth does not hurt residual ones",
            f"Residual {SHALLOW} over residual {DEEP}: no worse than ten percent",
            residual - residual_deep,
            margin=NO_WORSE,
            unit="log training loss",
        ),
    )
    weights = {facts.name: facts.parameters for facts in race.arms}
    equal = all(weights[a.name] == weights[b.name] for a, b in zip(MAIN[:2], MAIN[2:], strict=True))
    check = Check(
        text="Plain and residual networks of one depth have the same weights",
        expected="equal",
        found=" and ".join(
            f"{weights[a.name]:,}/{weights[b.name]:,}" for a, b in zip(MAIN[:2], MAIN[2:], strict=True)
        ),
        holds=equal,
    )

    bare = {each.name.split(",")[0]: race.loss(each.name, images)[0] for each in BARE}
    told = ", ".join(
        f"{name} {loss:.3f}" if loss < 100 else f"{name} diverged" for name, loss in bare.items()
    )
    chart = dots(
        "Loss on the training pictures", "Cross-entropy", {e.name: race.loss(e.name, images) for e in MAIN}
    )
    return Findings(
        checks=(check,),
        contrasts=contrasts,
        arms=race.arms,
        charts=(chart,),
        notes=(
            "Short training favours the claim, since depth is slower before it is worse: the full protocol trains "
            "three times as long.",
            f"Without batch norm, one seed: training loss {told}. Guessing among ten classes gives {np.log(10):.3f}: "
            "where the loss stays there the signal does not get through, which is not the degradation meant here.",
        ),
    )


CLAIM = Claim(
    name="residual",
    title="Residual connections mend depth",
    statement="A plain network of 56 layers ends with a higher training loss than one of 20, and shortcuts "
    "without parameters take that away.",
    experiment="Plain and residual networks of 20 and 56 layers, batch norm in all, learn from the same "
    "2,048 pictures by SGD with momentum. The loss on those training pictures is compared: how much more 56 "
    "layers cost in plain networks than in residual ones.",
    change="Longer training: depth is slower before it is worse, which the full protocol tests. Without "
    "batch norm deep plain networks fail for another reason. Better initialisation or normalisation shrinks "
    "the effect.",
    source="He, Zhang, Ren and Sun, arXiv 1512.03385, figures 1 and 6: the training error of plain networks "
    "rises with depth.",
    data="pictures",
    measure=measure,
)
