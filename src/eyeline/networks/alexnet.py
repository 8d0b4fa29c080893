"""AlexNet (2012): deep convolutional networks begin to win.

Krizhevsky, Sutskever and Hinton: ImageNet Classification with Deep Convolutional Neural Networks, NeurIPS
2012: ReLU, dropout, two GPUs, local response normalisation. "alexnet" is the one-tower form of Krizhevsky,
One weird trick, arXiv 1404.5997, which torchvision's weights are of.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from eyeline.networks.blocks import Network, relu, zero_bias


@dataclass(frozen=True, kw_only=True)
class Row:
    """One network of the family."""

    channels: tuple[int, ...]  # of the five convolutions
    groups: int  # of convolutions 2, 4 and 5: the paper's two GPUs saw half of the maps each
    padding: int  # of the first convolution
    response_norm: bool  # after convolutions 1 and 2
    size: int  # published image size (pixels)
    minimum: int  # smallest size that leaves a pixel after the last pooling
    year: int


ROWS = {
    "alexnet_2012": Row(
        channels=(96, 256, 384, 384, 256),
        groups=2,
        padding=0,
        response_norm=True,
        size=227,
        minimum=67,
        year=2012,
    ),
    "alexnet": Row(
        channels=(64, 192, 384, 256, 256),
        groups=1,
        padding=2,
        response_norm=False,
        size=224,
        minimum=63,
        year=2014,
    ),
}


class AlexNet(Network):
    """Five convolutions, three overlapping poolings, two hidden linear layers of 4096, linear.

    Parameters
    ----------
    row : the network, from `ROWS`.
    dropout : before both hidden layers.
    small_stem : for images of 28 to 64 pixels: the first convolution is 3x3 of stride 1, not 11x11 of 4.
    """

    gap_head = False

    def __init__(
        self,
        row: Row,
        *,
        num_classes: int,
        in_channels: int,
        dropout: float = 0.5,
        small_stem: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.minimum_size = 15 if small_stem else row.minimum
        self.original = row.response_norm
        one, two, three, four, five = row.channels
        kernel, stride, padding = (3, 1, 1) if small_stem else (11, 4, row.padding)
        # Torch divides alpha by the size, the paper does not: 5e-4 here is its 1e-4.
        norm = nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0) if row.response_norm else nn.Identity()
        self.stage1 = nn.Sequential(
            nn.Conv2d(in_channels, one, kernel, stride, padding), relu(), norm, nn.MaxPool2d(3, 2)
        )
        self.stage2 = nn.Sequential(
            nn.Conv2d(one, two, 5, padding=2, groups=row.groups), relu(), norm, nn.MaxPool2d(3, 2)
        )
        self.stage3 = nn.Sequential(nn.Conv2d(two, three, 3, padding=1), relu())
        self.stage4 = nn.Sequential(nn.Conv2d(three, four, 3, padding=1, groups=row.groups), relu())
        self.stage5 = nn.Sequential(
            nn.Conv2d(four, five, 3, padding=1, groups=row.groups), relu(), nn.MaxPool2d(3, 2)
        )
        self.stage_names = ("stage1", "stage2", "stage3", "stage4", "stage5")
        self.hidden = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(five * 36, 4096),
            relu(),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            relu(),
        )
        self.dropout = nn.Identity()
        self.head = nn.Linear(4096, num_classes)
        self.apply(self.initialise)
        if self.original:
            # §5: ones, so that ReLUs get positive inputs from the start.
            for layer in (self.stage2[0], self.stage4[0], self.stage5[0], self.hidden[1], self.hidden[4]):
                nn.init.ones_(layer.get_parameter("bias"))

    def pool(self, x: Tensor) -> Tensor:
        embedded: Tensor = self.hidden(F.adaptive_avg_pool2d(x, 6).flatten(1))
        return embedded

    def initialise(self, module: nn.Module) -> None:
        """2012: N(0, 0.01²), bias 0 but for some layers (§5). The one-tower form: PyTorch's own."""
        if self.original and isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.01)
            zero_bias(module)
