"""VGG (2014): only 3x3 convolutions, but many.

Simonyan and Zisserman, arXiv 1409.1556: two 3x3 convolutions see as far as one 5x5, with fewer weights and
one more non-linearity; depth alone made the difference.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from eyeline.networks.blocks import Network, relu, zero_bias

CHANNELS = (64, 128, 256, 512, 512)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One network of the family."""

    depths: tuple[int, ...]  # 3x3 convolutions in each stage; every stage ends in 2x2 maximum pooling
    norm: bool = False  # batch norm after each convolution (torchvision's addition)
    size: int = 224  # published image size (pixels)
    year: int = 2014


ROWS = {
    "vgg11": Row(depths=(1, 1, 2, 2, 2)),  # column A of table 1
    "vgg11_bn": Row(depths=(1, 1, 2, 2, 2), norm=True),
    "vgg13": Row(depths=(2, 2, 2, 2, 2)),  # B
    "vgg13_bn": Row(depths=(2, 2, 2, 2, 2), norm=True),
    "vgg16": Row(depths=(2, 2, 3, 3, 3)),  # D
    "vgg16_bn": Row(depths=(2, 2, 3, 3, 3), norm=True),
    "vgg19": Row(depths=(2, 2, 4, 4, 4)),  # E
    "vgg19_bn": Row(depths=(2, 2, 4, 4, 4), norm=True),
}


class VGG(Network):
    """Five stages of 3x3 convolutions and pooling, two hidden linear layers of 4096, linear.

    Parameters
    ----------
    row : the network, from `ROWS`.
    dropout : after both hidden layers.
    small_stem : for images of 28 to 64 pixels: the first two stages do not pool.
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
        self.minimum_size = 8 if small_stem else 32
        channels = in_channels
        for index, (depth, width) in enumerate(zip(row.depths, CHANNELS, strict=True)):
            stage = nn.Sequential()
            for _ in range(depth):
                stage.append(nn.Conv2d(channels, width, 3, padding=1))
                if row.norm:
                    stage.append(nn.BatchNorm2d(width))
                stage.append(relu())
                channels = width
            stage.append(nn.Identity() if small_stem and index < 2 else nn.MaxPool2d(2))
            self.add_module(f"stage{index + 1}", stage)
        self.stage_names = ("stage1", "stage2", "stage3", "stage4", "stage5")
        self.hidden = nn.Sequential(
            nn.Linear(channels * 49, 4096), relu(), nn.Dropout(dropout), nn.Linear(4096, 4096), relu()
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(4096, num_classes)
        self.apply(self.initialise)

    def pool(self, x: Tensor) -> Tensor:
        embedded: Tensor = self.hidden(F.adaptive_avg_pool2d(x, 7).flatten(1))
        return embedded

    def initialise(self, module: nn.Module) -> None:
        """Convolutions N(0, 2 / fan_out) (arXiv 1502.01852), linear N(0, 0.01²), biases 0."""
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            zero_bias(module)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.01)
            zero_bias(module)
