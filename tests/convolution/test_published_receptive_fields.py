"""Receptive fields of published networks against published and independently computed figures.

The TF-Slim figures (size, stride, padding at 224 px) are those of google-research/receptive_field,
RECEPTIVE_FIELD_TABLE.md. The networks are written down here as chains and branches of windows, nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import pytest

from eyeline.convolution import Field, Window, same_padding

Layer = Callable[[Field], Field]

# ------------------------------------------------------------------------------------------- vocabulary


def same(kernel: int, stride: int = 1) -> Layer:
    """TensorFlow's SAME: with a stride the padding depends on the side."""
    return lambda f: f.through(
        Window(kernel, stride=stride, padding=same_padding(kernel, stride=stride, side=f.side))
    )


def valid(kernel: int, stride: int = 1) -> Layer:
    return lambda f: f.through(Window(kernel, stride=stride))


def conv(kernel: int, stride: int = 1, padding: int | None = None) -> Layer:
    """PyTorch's symmetric padding, half the kernel unless given."""
    p = kernel // 2 if padding is None else padding
    return lambda f: f.through(Window(kernel, stride=stride, padding=(p, p)))


def chain(*layers: Layer) -> Layer:
    return lambda f: reduce(lambda field, layer: layer(field), layers, f)


def branches(*layers: Layer) -> Layer:
    return lambda f: Field.union([layer(f) for layer in layers])


def identity(f: Field) -> Field:
    return f


def figures(f: Field) -> tuple[int, object, object]:
    assert f.alignment == "aligned"
    assert f.size == f.max_size
    return f.size, f.stride, f.padding


# ---------------------------------------------------------------------------------------- TF-Slim networks


def slim_alexnet_v2() -> Layer:
    return chain(valid(11, 4), valid(3, 2), same(5), valid(3, 2), same(3), same(3), same(3), valid(3, 2))


def vgg(layer: Callable[..., Layer], *convolutions: int) -> Layer:
    return chain(*(chain(*[layer(3)] * n, valid(2, 2)) for n in convolutions))


def mobilenet_v1_blocks(layer: Callable[..., Layer]) -> list[Layer]:
    strides = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]
    return [chain(layer(3, 2), layer(3, 1), layer(1))] + [chain(layer(3, s), layer(1)) for s in strides[1:]]


def slim_resnet_v1(*units: int) -> list[Layer]:
    """Slim strides in the last unit of a block, with explicit padding ("conv2d_same")."""

    def unit(stride: int) -> Layer:
        shortcut = valid(1, stride)
        return branches(chain(valid(1), conv(3, stride), valid(1)), shortcut)

    blocks = [chain(*[unit(1)] * (n - 1), unit(2)) for n in units[:-1]] + [chain(*[unit(1)] * units[-1])]
    return [chain(conv(7, 2), same(3, 2), blocks[0]), *blocks[1:]]


def slim_inception_v2() -> Layer:
    mixed = branches(
        same(1), chain(same(1), same(3)), chain(same(1), same(3), same(3)), chain(same(3), same(1))
    )
    reduce_ = branches(chain(same(1), same(3, 2)), chain(same(1), same(3), same(3, 2)), same(3, 2))
    stem = chain(same(7, 2), same(3, 2), same(1), same(3), same(3, 2))
    return chain(stem, mixed, mixed, reduce_, *[mixed] * 4, reduce_, mixed, mixed)


def slim_inception_v3() -> dict[str, Layer]:
    stem = chain(valid(3, 2), valid(3), same(3), valid(3, 2), valid(1), valid(3), valid(3, 2))
    a = branches(same(1), chain(same(1), same(5)), chain(same(1), same(3), same(3)), chain(same(3), same(1)))
    a_to_b = branches(valid(3, 2), chain(same(1), same(3), valid(3, 2)))
    # A 1x7 and a 7x1 follow each other: along one axis that is a 7 and a 1.
    b = branches(same(1), chain(same(1), same(7)), chain(same(1), same(7), same(7)), chain(same(3), same(1)))
    b_to_c = branches(chain(same(1), valid(3, 2)), chain(same(1), same(7), valid(3, 2)), valid(3, 2))
    c = branches(
        same(1),
        branches(same(3), same(1)),
        chain(same(3), branches(same(3), same(1))),
        chain(same(3), same(1)),
    )
    return {
        "Mixed_5d": chain(stem, a, a, a),
        "Mixed_6a": a_to_b,
        "Mixed_6e": chain(b, b, b, b),
        "Mixed_7c": chain(b_to_c, c, c),
    }


def slim_inception_v4() -> Layer:
    stem = chain(
        chain(valid(3, 2), valid(3), same(3)),
        branches(valid(3, 2), valid(3, 2)),
        branches(chain(valid(1), valid(3)), chain(same(1), same(7), valid(3))),
        branches(valid(3, 2), valid(3, 2)),
    )
    a = branches(same(1), chain(same(1), same(3)), chain(same(1), same(3), same(3)), chain(same(3), same(1)))
    a_to_b = branches(valid(3, 2), chain(same(1), same(3), valid(3, 2)))
    b = branches(same(1), chain(same(1), same(7)), chain(same(7), same(7)), chain(same(3), same(1)))
    b_to_c = branches(chain(same(1), valid(3, 2)), chain(same(1), same(7), valid(3, 2)), valid(3, 2))
    c = branches(
        same(1),
        branches(same(3), same(1)),
        chain(same(3), branches(same(3), same(1))),
        chain(same(3), same(1)),
    )
    return chain(stem, *[a] * 4, a_to_b, *[b] * 7, b_to_c, *[c] * 3)


def slim_inception_resnet_v2() -> Layer:
    stem = chain(valid(3, 2), valid(3), same(3), valid(3, 2), valid(1), valid(3), valid(3, 2))
    mixed_5b = branches(
        same(1), chain(same(1), same(5)), chain(same(1), same(3), same(3)), chain(same(3), same(1))
    )
    block35 = branches(identity, same(1), chain(same(1), same(3)), chain(same(1), same(3), same(3)))
    block17 = branches(identity, same(1), chain(same(1), same(7)))
    block8 = branches(identity, same(1), chain(same(1), same(3)))
    mixed_6a = branches(valid(3, 2), chain(same(1), same(3), valid(3, 2)))
    mixed_7a = branches(valid(3, 2), chain(same(1), valid(3, 2)), chain(same(1), same(3), valid(3, 2)))
    return chain(stem, mixed_5b, *[block35] * 10, mixed_6a, *[block17] * 20, mixed_7a, *[block8] * 10)


@pytest.mark.parametrize(
    ("network", "published"),
    [
        pytest.param(slim_alexnet_v2(), (195, 32, 64), id="alexnet_v2"),
        pytest.param(vgg(same, 1, 1, 2, 2, 2), (150, 32, 59), id="vgg_a"),
        pytest.param(vgg(same, 2, 2, 3, 3, 3), (212, 32, 90), id="vgg_16"),
        pytest.param(chain(*mobilenet_v1_blocks(same)), (315, 32, 126), id="mobilenet_v1"),
        pytest.param(chain(*slim_resnet_v1(3, 4, 6, 3)), (483, 32, 239), id="resnet_v1_50"),
        pytest.param(chain(*slim_resnet_v1(3, 4, 23, 3)), (1027, 32, 511), id="resnet_v1_101"),
        pytest.param(chain(*slim_resnet_v1(3, 8, 36, 3)), (1507, 32, 751), id="resnet_v1_152"),
        pytest.param(chain(*slim_resnet_v1(3, 24, 36, 3)), (1763, 32, 879), id="resnet_v1_200"),
        pytest.param(slim_inception_v2(), (699, 32, 318), id="inception_v2"),
        pytest.param(chain(*slim_inception_v3().values()), (1311, 32, 618), id="inception_v3"),
        pytest.param(slim_inception_v4(), (2071, 32, 998), id="inception_v4"),
        pytest.param(slim_inception_resnet_v2(), (3039, 32, 1482), id="inception_resnet_v2"),
    ],
)
def test_tf_slim_table(network: Layer, published: tuple[int, int, int]) -> None:
    assert figures(network(Field(side=224))) == published


def test_same_padding_at_stride_2_depends_on_the_side() -> None:
    """The same table gives resnet_v1_50 a padding of 241 at 321 px."""
    assert figures(chain(*slim_resnet_v1(3, 4, 6, 3))(Field(side=321))) == (483, 32, 241)


def test_center_of_an_inception_resnet_feature() -> None:
    """The table's worked example: feature [0, 2] is centred at [37, 101]."""
    field = slim_inception_resnet_v2()(Field(side=224))
    assert (field.center, field.center + 2 * field.stride) == (37, 101)


def test_vgg_16_end_points() -> None:
    published = {
        "conv1_1": (same(3), (3, 1, 1)),
        "pool1": (chain(same(3), valid(2, 2)), (6, 2, 2)),
        "conv2_1": (same(3), (10, 2, 4)),
        "pool2": (chain(same(3), valid(2, 2)), (16, 4, 6)),
        "conv3_1": (same(3), (24, 4, 10)),
        "pool3": (chain(same(3), same(3), valid(2, 2)), (44, 8, 18)),
        "conv4_1": (same(3), (60, 8, 26)),
        "pool4": (chain(same(3), same(3), valid(2, 2)), (100, 16, 42)),
        "conv5_1": (same(3), (132, 16, 58)),
        "pool5": (chain(same(3), same(3), valid(2, 2)), (212, 32, 90)),
    }
    field = Field(side=224)
    for name, (layers, expected) in published.items():
        field = layers(field)
        assert figures(field) == expected, name


def test_resnet_50_blocks() -> None:
    field, blocks = Field(side=224), []
    for block in slim_resnet_v1(3, 4, 6, 3):
        field = block(field)
        blocks.append((field.size, field.stride))
    assert blocks == [(35, 8), (99, 16), (291, 32), (483, 32)]


def test_mobilenet_v1_pointwise_layers() -> None:
    field, sizes = Field(side=224), []
    for block in mobilenet_v1_blocks(same):
        field = block(field)
        sizes.append(field.size)
    assert sizes == [7, 11, 19, 27, 43, 59, 91, 123, 155, 187, 219, 251, 315]


def test_inception_v3_end_points() -> None:
    field, sizes = Field(side=224), {}
    for name, layers in slim_inception_v3().items():
        field = layers(field)
        sizes[name] = field.size
    assert sizes == {"Mixed_5d": 127, "Mixed_6a": 159, "Mixed_6e": 927, "Mixed_7c": 1311}


# ---------------------------------------------------------------------------------------- PyTorch networks


def alexnet() -> Layer:
    pool = valid(3, 2)
    return chain(conv(11, 4, 2), pool, conv(5), pool, conv(3), conv(3), conv(3), pool)


def resnet(units: tuple[int, ...], *, bottleneck: bool, stride_in_first: bool = False) -> Layer:
    def unit(stride: int, project: bool) -> Layer:
        if not bottleneck:
            body = chain(conv(3, stride), conv(3))
        elif stride_in_first:
            body = chain(conv(1, stride), conv(3), conv(1))
        else:
            body = chain(conv(1), conv(3, stride), conv(1))
        return branches(body, conv(1, stride) if project else identity)

    layers = [conv(7, 2), conv(3, 2)]
    for block, n in enumerate(units):
        layers += [unit(1 if block == 0 else 2, project=True)] + [unit(1, project=False)] * (n - 1)
    return chain(*layers)


def cifar_resnet(n: int) -> Layer:
    """He et al. 2015, section 4.2: a 3x3 stem and three stages of n basic blocks."""

    def unit(stride: int) -> Layer:
        return branches(chain(conv(3, stride), conv(3)), conv(1, stride))

    return chain(conv(3), *[unit(1)] * n, *([unit(2)] + [unit(1)] * (n - 1)) * 2)


def inverted_residuals(*blocks: tuple[int, int, int], squeeze_excite: bool = False) -> Layer:
    """Stem and (kernel, stride, repeats) stages of MobileNet-v2 and EfficientNet."""

    def gate(f: Field) -> Field:
        return Field.union([f, f.pooled()]) if squeeze_excite else f

    def unit(kernel: int, stride: int, residual: bool) -> Layer:
        body = chain(conv(1), conv(kernel, stride), gate, conv(1))
        return branches(body, identity) if residual else body

    layers = [conv(3, 2)]
    for kernel, stride, n in blocks:
        layers += [unit(kernel, stride, False)] + [unit(kernel, 1, True)] * (n - 1)
    return chain(*layers, conv(1))


MOBILENET_V2 = ((3, 1, 1), (3, 2, 2), (3, 2, 3), (3, 2, 4), (3, 1, 3), (3, 2, 3), (3, 1, 1))
EFFICIENTNET_B0 = ((3, 1, 1), (3, 2, 2), (5, 2, 2), (3, 2, 3), (5, 1, 3), (5, 2, 4), (3, 1, 1))


def convnext_tiny() -> Layer:
    block = branches(identity, conv(7))
    down = valid(2, 2)
    stages = [chain(*[block] * n) for n in (3, 3, 9, 3)]
    return chain(valid(4, 4), stages[0], down, stages[1], down, stages[2], down, stages[3])


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        pytest.param(alexnet(), (195, 32, 66), id="alexnet"),
        pytest.param(vgg(conv, 1, 1, 2, 2, 2), (150, 32, 59), id="vgg11"),
        pytest.param(vgg(conv, 2, 2, 3, 3, 3), (212, 32, 90), id="vgg16"),
        pytest.param(vgg(conv, 2, 2, 4, 4, 4), (268, 32, 118), id="vgg19"),
        pytest.param(chain(*mobilenet_v1_blocks(conv)), (315, 32, 157), id="mobilenet_v1"),
        pytest.param(resnet((2, 2, 2, 2), bottleneck=False), (435, 32, 217), id="resnet18"),
        pytest.param(resnet((3, 4, 6, 3), bottleneck=False), (899, 32, 449), id="resnet34"),
        pytest.param(resnet((3, 4, 6, 3), bottleneck=True), (427, 32, 213), id="resnet50"),
        pytest.param(resnet((3, 4, 23, 3), bottleneck=True), (971, 32, 485), id="resnet101"),
        pytest.param(resnet((3, 8, 36, 3), bottleneck=True), (1451, 32, 725), id="resnet152"),
        pytest.param(inverted_residuals(*MOBILENET_V2), (491, 32, 245), id="mobilenet_v2"),
        pytest.param(inverted_residuals(*EFFICIENTNET_B0), (851, 32, 425), id="efficientnet_b0"),
        pytest.param(convnext_tiny(), (1688, 32, 828), id="convnext_tiny"),
        pytest.param(chain(valid(5), valid(2, 2), valid(5), valid(2, 2)), (16, 4, 0), id="lenet5"),
        pytest.param(cifar_resnet(3), (81, 4, 40), id="cifar_resnet20"),
        pytest.param(cifar_resnet(5), (137, 4, 68), id="cifar_resnet32"),
        pytest.param(cifar_resnet(7), (193, 4, 96), id="cifar_resnet44"),
        pytest.param(cifar_resnet(9), (249, 4, 124), id="cifar_resnet56"),
    ],
)
def test_pytorch_table(network: Layer, expected: tuple[int, int, int]) -> None:
    assert figures(network(Field(side=224))) == expected


@pytest.mark.parametrize(
    ("units", "size"), [((3, 4, 6, 3), 483), ((3, 4, 23, 3), 1027), ((3, 8, 36, 3), 1507)]
)
def test_resnets_that_stride_in_the_first_convolution_see_more(units: tuple[int, ...], size: int) -> None:
    field = resnet(units, bottleneck=True, stride_in_first=True)(Field(side=224))
    assert (field.size, field.stride) == (size, 32)


def test_squeeze_excite_makes_efficientnet_global_and_keeps_its_spatial_path() -> None:
    field = inverted_residuals(*EFFICIENTNET_B0, squeeze_excite=True)(Field(side=224))
    assert field.is_global
    assert figures(field) == (851, 32, 425)


def test_the_shortest_path_of_a_residual_network_is_far_below_the_longest() -> None:
    """Through a ResNet-50 a path exists that meets only the stem's windows: 7, then 3 at stride 2."""
    field = resnet((3, 4, 6, 3), bottleneck=True)(Field(side=224))
    assert (field.min_size, field.max_size) == (11, 427)
