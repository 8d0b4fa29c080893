"""Claim 7: with little data a convolutional network beats a vision transformer, and more data closes the gap.

The transformer has to learn from pictures that neighbours matter. A convolutional stem gives it that, shifted
copies teach it, and permuted pixels take the advantage from the convolution: three arms that say why.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from eyeline.claims.bench import Arm, Bench, Cell
from eyeline.claims.charts import accuracy_chart
from eyeline.claims.claim import Check, Claim, Findings
from eyeline.claims.judging import contrast

SIZES = (200, 1000, 5000)
FULL_SIZES = (*SIZES, 20_000)
FEW = (200, 1000)  # where the claim says that the convolution wins
STEPS = 300
MARGIN = 0.01  # of accuracy
EQUAL = 0.15  # weights and operations of the two may differ by that share
TOKENS, WIDTH, DEPTH, HEADS = 16, 48, 3, 3


class Transformer(nn.Module):
    """A vision transformer for 28 pixels: 16 tokens, layer norm first, mean over the tokens."""

    def __init__(self, stem: nn.Module) -> None:
        super().__init__()
        self.stem = stem
        self.position = nn.Parameter(torch.randn(1, TOKENS, WIDTH) * 0.02)
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 2 * WIDTH, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, DEPTH, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.stem(x).flatten(2).transpose(1, 2) + self.position
        logits: Tensor = self.head(self.norm(self.blocks(tokens)).mean(1))
        return logits


def patches() -> nn.Module:
    return Transformer(nn.Conv2d(1, WIDTH, 7, 7))


def convolutional_stem() -> nn.Module:
    """Three strided convolutions to the same 4×4 tokens (Xiao et al. 2021, arXiv 2106.14881)."""
    return Transformer(nn.Sequential(
        nn.Conv2d(1, 12, 3, 2, 1), nn.ReLU(), nn.Conv2d(12, 24, 3, 2, 1), nn.ReLU(),
        nn.Conv2d(24, WIDTH, 3, 2, 1),
    ))  # fmt: skip


def convolutional() -> nn.Module:
    layers: list[nn.Module] = []
    for before, after, stride in ((1, 16, 2), (16, 32, 2), (32, 64, 2), (64, 64, 1)):
        layers += [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


CNN = Arm(name="convolutional", build=convolutional, side=28)
VIT = Arm(name="transformer", build=patches, side=28)
STEM = Arm(name="transformer, convolutional stem", build=convolutional_stem, side=28)
CNN_PERMUTED = Arm(name="convolutional, pixels permuted", build=convolutional, side=28, permuted=True)
VIT_PERMUTED = Arm(name="transformer, pixels permuted", build=patches, side=28, permuted=True)
CNN_SHIFTED = Arm(name="convolutional, shifted copies", build=convolutional, side=28, shifted=True)
VIT_SHIFTED = Arm(name="transformer, shifted copies", build=patches, side=28, shifted=True)
WHY = (CNN_PERMUTED, VIT_PERMUTED, CNN_SHIFTED, VIT_SHIFTED)


def measure(bench: Bench) -> Findings:
    sizes = bench.sizes(FULL_SIZES if bench.settings.full else SIZES)
    few, most = [n for n in sizes if n in FEW], sizes[-1]
    race = bench.race(
        [Cell(arm=arm, images=n, steps=STEPS) for arm in (CNN, VIT, STEM) for n in sizes]
        + [Cell(arm=arm, images=few[-1], steps=STEPS) for arm in WHY]
    )
    gap = {n: race.accuracy(CNN.name, n) - race.accuracy(VIT.name, n) for n in sizes}
    at = few[-1]
    permuted = race.accuracy(CNN_PERMUTED.name, at) - race.accuracy(VIT_PERMUTED.name, at)
    shifted = race.accuracy(CNN_SHIFTED.name, at) - race.accuracy(VIT_SHIFTED.name, at)
    stem = race.accuracy(STEM.name, at) - race.accuracy(VIT.name, at)
    contrasts = (
        *(
            contrast(
                f"{n:,} pictures",
                f"Convolutional over transformer with {n:,} pictures",
                gap[n],
                margin=MARGIN,
            )
            for n in few
        ),
        contrast(
            "the gap closes",
            f"The gap at {few[0]:,} pictures over the gap at {most:,}",
            gap[few[0]] - gap[most],
            margin=0.0,
        ),
        contrast(
            "shifted copies",
            f"What training on shifted copies takes from the gap at {at:,}",
            gap[at] - shifted,
            margin=0.0,
            required=False,
        ),
        contrast(
            "convolutional stem",
            f"What a convolutional stem gives the transformer at {at:,}",
            stem,
            margin=0.0,
            required=False,
        ),
        contrast(
            "control",
            f"What permuting the pixels takes from the gap at {at:,}",
            gap[at] - permuted,
            margin=0.0,
            required=False,
        ),
    )
    cnn, vit = race.arms[0], race.arms[1]
    apart = max(abs(vit.parameters / cnn.parameters - 1), abs(vit.macs / cnn.macs - 1))
    check = Check(
        text="Weights and operations of the two differ by at most 15 %",
        expected="≤ 15 %",
        found=f"{100 * apart:.0f} % ({cnn.parameters:,} and {vit.parameters:,} weights, {cnn.macs:,} and "
        f"{vit.macs:,} operations)",
        holds=apart <= EQUAL,
    )
    chart = accuracy_chart("Accuracy by training pictures", race, (CNN, VIT, STEM), sizes)
    told = ", ".join(f"{arm.name} {race.accuracy(arm.name, at).mean():.3f}" for arm in WHY)
    return Findings(
        checks=(check,),
        contrasts=contrasts,
        arms=race.arms,
        charts=(chart,),
        notes=(f"With {at:,} pictures: {told}.",),
    )


CLAIM = Claim(
    name="little-data",
    title="Little data: convolution against transformer",
    statement="With 200 and with 1,000 training pictures a convolutional network beats a vision transformer "
    "of equal weights and operations by more than one point of accuracy, and the gap is smaller with more "
    "pictures.",
    experiment="A convolutional network and a vision transformer with 16 tokens, within 15 % in weights and "
    "operations, learn from 200 to 5,000 pictures. Three variants say why: a transformer with a "
    "convolutional stem, both with shifted copies in training, both on permuted pixels.",
    change="Much more data or pretraining; augmentation and a convolutional stem, with which transformers "
    "reach convolutional networks on small data (Hassani et al., arXiv 2104.05704); longer training.",
    source="Dosovitskiy et al., arXiv 2010.11929, section 4.3: below about 90 million pictures of JFT the "
    "ResNet is better, above it the transformer.",
    data="pictures",
    measure=measure,
)
