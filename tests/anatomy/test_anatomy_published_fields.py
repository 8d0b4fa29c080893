"""Receptive fields of real modules against published figures, as integers.

Sizes and strides: TF-Slim networks, google-research/receptive_field, RECEPTIVE_FIELD_TABLE.md; torchvision's
ResNets, rfa_toolbox. Paddings: calculated by hand for PyTorch's padding, which differs from TensorFlow's SAME.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from eyeline.anatomy import LayerTable, describe
from eyeline.networks import create_network
from networks import peers

# (size, stride, padding) of the last map; torchvision's definitions.
LAST_MAP = {
    "alexnet": (195, 32, 66),
    "vgg11": (150, 32, 59),
    "vgg16": (212, 32, 90),
    "vgg19": (268, 32, 118),
    "resnet18": (435, 32, 217),
    "resnet34": (899, 32, 449),
    "resnet50": (427, 32, 213),
    "resnet101": (971, 32, 485),
    "resnet152": (1451, 32, 725),
    "mobilenet_v2": (491, 32, 245),
    "efficientnet_b0": (851, 32, 425),
    "convnext_tiny": (1688, 32, 828),
}
VGG16 = {  # layers of torchvision's `features`
    0: (3, 1, 1),
    4: (6, 2, 2),
    5: (10, 2, 4),
    9: (16, 4, 6),
    10: (24, 4, 10),
    16: (44, 8, 18),
    17: (60, 8, 26),
    23: (100, 16, 42),
    24: (132, 16, 58),
    30: (212, 32, 90),
}


def table_of(name: str, library: str = "torchvision", size: int = 224) -> LayerTable:
    with torch.device("meta"):
        return describe(peers.create(library, name).eval(), (3, size, size))


def figures(table: LayerTable, name: str) -> tuple[float, float, float]:
    """Size, stride and padding on the longest path, the same on both axes."""
    field = table[name].receptive_field
    assert field is not None
    assert field.axes[0] == field.axes[1]
    assert field.axes[0].alignment == "aligned"
    assert field.known
    return field.max[0], field.stride[0], float(field.axes[0].padding)


@pytest.mark.parametrize("name", LAST_MAP)
def test_the_last_map(name: str) -> None:
    table = table_of(name)
    last = table.last_map
    assert last is not None
    assert figures(table, last.name) == LAST_MAP[name]
    assert last.receptive_field is not None
    # Squeeze-and-excite sees all; the spatial path is kept beside it.
    assert last.receptive_field.is_global == (name == "efficientnet_b0")


@pytest.mark.parametrize(("layer", "expected"), VGG16.items())
def test_the_end_points_of_vgg16(layer: int, expected: tuple[int, int, int]) -> None:
    table = table_of("vgg16")
    assert figures(table, f"features.{layer}") == expected


def stride_in_the_first_convolution(net: nn.Module) -> nn.Module:
    """The ResNet of the paper and of TF-Slim: a block strides in its first 1x1, not in its 3x3."""
    for module in net.modules():
        if type(module).__name__ == "Bottleneck" and module.conv2.stride == (2, 2):
            module.conv1.stride, module.conv2.stride = (2, 2), (1, 1)
    return net


@pytest.mark.parametrize(
    ("blocks", "size"),
    [((3, 4, 6, 3), 483), ((3, 4, 23, 3), 1027), ((3, 8, 36, 3), 1507), ((3, 24, 36, 3), 1763)],
)
def test_resnets_as_published(blocks: tuple[int, ...], size: int) -> None:
    from torchvision.models.resnet import Bottleneck, ResNet

    with torch.device("meta"):
        net = stride_in_the_first_convolution(ResNet(Bottleneck, list(blocks)).eval())
    table = describe(net, (3, 224, 224))
    last = table.last_map
    assert last is not None
    assert figures(table, last.name)[:2] == (size, 32)
    if blocks == (3, 4, 6, 3):
        assert table.macs == pytest.approx(
            3.858e9, abs=5e5
        )  # the paper's "3.8 G", and not torchvision's 4.09
        # TF-Slim strides at the end of a block, here it is the first operator of the next.
        ends = [figures(table, f"layer{stage}.0.conv1")[:2] for stage in (2, 3, 4)]
        assert ends == [(35, 8), (99, 16), (291, 32)]


def test_the_pointwise_layers_of_mobilenet_v1() -> None:
    table = table_of("mobilenetv1_100", "timm")
    pointwise = [
        row.name for row in table.layers if row.kind == "Conv2d" and (row.weight or ())[2:] == (1, 1)
    ]
    sizes = [figures(table, name)[0] for name in pointwise]
    assert sizes == [7, 11, 19, 27, 43, 59, 91, 123, 155, 187, 219, 251, 315]
    assert figures(table, pointwise[-1]) == (315, 32, 157)  # TensorFlow's SAME pads one side by less: 126


@pytest.mark.parametrize(("layer", "size"), [("5d", 127), ("6a", 159), ("6e", 927), ("7c", 1311)])
def test_the_end_points_of_inception_v3(layer: str, size: int) -> None:
    table = table_of("inception_v3", size=299)
    joins = [row for row in table.layers if row.name.startswith(f"Mixed_{layer}.cat")]
    field = joins[-1].receptive_field
    assert field is not None
    assert field.max == (size, size)


@pytest.mark.parametrize(("name", "size"), [("inception_v4", 2071), ("inception_resnet_v2", 3039)])
def test_later_inceptions(name: str, size: int) -> None:
    table = table_of(name, "timm", 299)
    last = table.last_map
    assert last is not None
    assert figures(table, last.name)[:2] == (size, 32)


def test_lenet_and_the_resnets_for_cifar() -> None:
    lenet = describe(create_network("lenet5"), (1, 32, 32)).last_map
    assert lenet is not None
    assert lenet.receptive_field is not None
    assert (lenet.receptive_field.max, lenet.receptive_field.stride) == ((16, 16), (4, 4))
    for name, size in {"resnet20": 81, "resnet32": 137, "resnet44": 193, "resnet56": 249}.items():
        table = describe(create_network(name), (3, 32, 32))
        assert table.last_map is not None
        assert figures(table, table.last_map.name)[:2] == (size, 4)


def test_tensorflow_padding_by_either_hand() -> None:
    """Ours pads the kernel with zeros, timm the picture: the same field, down to the odd pixel."""
    ours = describe(create_network("efficientnet_lite0"), (3, 224, 224))
    theirs = table_of("tf_efficientnet_lite0", "timm")
    assert ours.last_map is not None
    assert theirs.last_map is not None
    assert figures(ours, ours.last_map.name) == figures(theirs, theirs.last_map.name)
    assert ours.macs == theirs.macs == 385_187_552


def test_a_residual_network_sees_little_along_its_shortest_path() -> None:
    table = table_of("resnet18")
    last = table.last_map
    assert last is not None
    assert last.receptive_field is not None
    assert last.receptive_field.min == (11, 11)  # stem and pooling; every block can be skipped
    assert last.receptive_field.max == (435, 435)


def test_attention_is_global_from_the_first_block() -> None:
    table = table_of("vit_b_16")
    fields = {row.name: row.receptive_field for row in table.layers}
    before, after = fields["conv_proj"], fields["encoder.layers.encoder_layer_0.add"]
    assert before is not None
    assert after is not None
    assert not before.is_global
    assert after.is_global
    assert after.max == before.max == (16, 16)
    assert after.cells == (14, 14)
    assert table.last_map is not None
    assert table.last_map.name == "encoder.ln"  # the class token that the head reads has no place


def test_window_attention_is_local() -> None:
    """Swin: a window of 7 cells of 4 pixels; each block widens, merging strides, all by intervals."""
    table = table_of("swin_t")
    first = table["features.1.0.add"].receptive_field
    assert first is not None
    assert not first.is_global
    # A cell reads its window: at most 6 cells to either side, of 4 pixels each.
    assert first.max == (4 + 2 * 6 * 4, 4 + 2 * 6 * 4)
    last = table.last_map
    assert last is not None
    assert last.receptive_field is not None
    assert last.receptive_field.stride == (32, 32)
    assert last.receptive_field.is_global  # the last stage is one window
