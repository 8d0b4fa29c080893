"""LeNet-5 (1998): the first convolutional network in daily use, reading cheques.

LeCun, Bottou, Bengio and Haffner: Gradient-Based Learning Applied to Document Recognition, Proceedings of
the IEEE 86(11), 1998, §II.B and appendix A. Convolutions share their weights over the image; subsampling
makes the position of a feature matter less and less. "lenet5" is the dense form that everybody builds
today.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eyeline.networks.blocks import Network, relu, require

# Table I of the paper: which of the six S2 maps each of the sixteen C3 maps reads (60 connections).
C3_READS = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5),
    (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5),
    (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5), (0, 1, 2, 3, 4, 5),
)  # fmt: skip

# The target of F6 for each digit: a 7x12 picture of it, in the manner of figure 3 of the paper.
DIGITS = """\
.#####.|...##..|.#####.|.#####.|....##.|#######|.#####.|#######|.#####.|.#####.
##...##|..###..|##...##|##...##|...###.|##.....|##...##|.....##|##...##|##...##
##...##|.####..|##...##|.....##|..####.|##.....|##.....|.....##|##...##|##...##
##...##|...##..|.....##|.....##|.##.##.|##.....|##.....|....##.|##...##|##...##
##...##|...##..|.....##|.....##|##..##.|######.|##.....|....##.|##...##|##...##
##...##|...##..|....##.|..####.|##..##.|.....##|######.|...##..|.#####.|.######
##...##|...##..|...##..|.....##|#######|.....##|##...##|...##..|##...##|.....##
##...##|...##..|..##...|.....##|#######|.....##|##...##|..##...|##...##|.....##
##...##|...##..|.##....|.....##|....##.|.....##|##...##|..##...|##...##|.....##
##...##|...##..|##.....|.....##|....##.|.....##|##...##|..##...|##...##|.....##
##...##|...##..|##.....|##...##|....##.|##...##|##...##|..##...|##...##|##...##
.#####.|.######|#######|.#####.|....##.|.#####.|.#####.|..##...|.#####.|.#####.
"""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One network of the family."""

    original: bool  # sparse C3, trainable subsampling, scaled tanh; else dense C3, maximum pooling, ReLU
    size: int = 32  # published image size (pixels)
    year: int = 1998


ROWS = {"lenet5": Row(original=False), "lenet5_1998": Row(original=True)}


class LeNet(Network):
    """C1 5x5 to 6 maps, S2, C3 5x5 to 16 maps, S4, C5 5x5 to 120 maps, F6 of 84 units, output.

    Images of 32x32 leave one cell in C5; of larger ones the cells are averaged.

    Parameters
    ----------
    row : the network, from `ROWS`.
    output : of the 1998 network, "rbf" (distance to a picture of each digit) or "dense". None: rbf there.
    dropout : before the output.
    small_stem : pad the image by 2 pixels, so that 28x28 images (MNIST) fit.
    """

    gap_head = False
    head: nn.Linear | RadialBasis  # type: ignore[assignment]

    def __init__(
        self,
        row: Row,
        *,
        num_classes: int,
        in_channels: int,
        output: str | None = None,
        dropout: float = 0.0,
        small_stem: bool = False,
    ) -> None:
        super().__init__()
        output = ("rbf" if row.original else "dense") if output is None else output
        require(output in ("rbf", "dense"), f"output is {output!r}; allowed: rbf, dense")
        act = ScaledTanh if row.original else relu
        self.in_channels = in_channels
        self.minimum_size = 28 if small_stem else 32
        self.c1 = nn.Sequential(nn.Conv2d(in_channels, 6, 5, padding=2 if small_stem else 0), act())
        self.s2 = TrainableSubsampling(6) if row.original else nn.MaxPool2d(2)
        self.c3 = nn.Sequential(SparseConv2d(C3_READS, 5) if row.original else nn.Conv2d(6, 16, 5), act())
        self.s4 = TrainableSubsampling(16) if row.original else nn.MaxPool2d(2)
        self.c5 = nn.Sequential(nn.Conv2d(16, 120, 5), act())
        self.f6 = nn.Sequential(nn.Linear(120, 84), act())
        self.stage_names = ("c1", "s2", "c3", "s4", "c5")
        self.dropout = nn.Dropout(dropout)
        self.head = RadialBasis(84, num_classes) if output == "rbf" else nn.Linear(84, num_classes)
        self.apply(self.initialise)

    def pool(self, x: Tensor) -> Tensor:
        embedded: Tensor = self.f6(x.mean((2, 3)))
        return embedded

    def reset_head(self, num_classes: int) -> None:
        old = self.head
        super().reset_head(num_classes)
        if isinstance(old, RadialBasis):
            self.head = RadialBasis(84, num_classes).to(old.weight)

    def initialise(self, module: nn.Module) -> None:
        """Uniform within 2.4 / fan_in (appendix A); a fan-in of each map's own for the sparse layer."""
        if isinstance(module, nn.Conv2d | nn.Linear):
            bound = 2.4 / module.weight[0].numel()
            for parameter in module.parameters():
                nn.init.uniform_(parameter, -bound, bound)


class ScaledTanh(nn.Module):
    """``1.7159 tanh(2x / 3)``: f(±1) = ±1, and the bend is far from both (appendix A)."""

    def forward(self, x: Tensor) -> Tensor:
        return 1.7159 * torch.tanh(x * (2 / 3))


class TrainableSubsampling(nn.Module):
    """Sum of 2x2 pixels, times one coefficient a map, plus one bias a map, squashed (§II.B, layer S2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, 1, 1).uniform_(-0.6, 0.6))  # 2.4 / fan-in of 4
        self.bias = nn.Parameter(torch.empty(channels, 1, 1).uniform_(-0.6, 0.6))
        self.act = ScaledTanh()

    def forward(self, x: Tensor) -> Tensor:
        squashed: Tensor = self.act(4 * F.avg_pool2d(x, 2) * self.weight + self.bias)
        return squashed


class SparseConv2d(nn.Module):
    """A convolution whose maps read only some maps: a kernel for each connection, summed by map."""

    def __init__(self, reads: tuple[tuple[int, ...], ...], kernel: int) -> None:
        super().__init__()
        self.fan_in = [len(maps) for maps in reads]
        self.sources = [source for maps in reads for source in maps]
        self.weight = nn.Parameter(torch.empty(len(self.sources), 1, kernel, kernel))
        self.bias = nn.Parameter(torch.empty(len(reads), 1, 1))
        kernels = torch.split(self.weight.detach(), self.fan_in)
        for part, bias in zip(kernels, self.bias.detach(), strict=True):
            bound = 2.4 / part.numel()
            part.uniform_(-bound, bound)
            bias.uniform_(-bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        products = F.conv2d(x[:, self.sources], self.weight, groups=len(self.sources))
        maps = [part.sum(1) for part in torch.split(products, self.fan_in, 1)]
        return torch.stack(maps, 1) + self.bias


class RadialBasis(nn.Module):
    """Minus the squared distance to one fixed code of ±1 a class (§II.B, output layer): larger is likelier.

    The codes of ten classes are the pictures of the digits; of any other number, random ones, which the paper
    names as an alternative. They are not trained.
    """

    def __init__(self, features: int, num_classes: int) -> None:
        super().__init__()
        self.in_features, self.out_features = features, num_classes
        pixels = torch.tensor([[char == "#" for char in line if char != "|"] for line in DIGITS.split()])
        codes = pixels.view(12, 10, 7).transpose(0, 1).reshape(10, 84)
        if num_classes != 10:
            generator = torch.Generator().manual_seed(1998)
            codes = torch.rand(num_classes, features, generator=generator, device="cpu") < 0.5
        self.weight: Tensor
        self.register_buffer("weight", codes * 2.0 - 1.0)

    def forward(self, x: Tensor) -> Tensor:
        return -(x[:, None] - self.weight).square().sum(2)
