"""The traps of each family: eps, padding, rounding, ramps, initialisation, and what the old papers say."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eyeline.errors import EyelineError
from eyeline.networks import create_network, network_info, scale
from eyeline.networks.blocks import ConvNormAct, DropPath, SameConv2d, SqueezeExcite, round_channels
from eyeline.networks.efficientnet import ROWS as EFFICIENTNETS
from eyeline.networks.lenet import C3_READS, RadialBasis, SparseConv2d, TrainableSubsampling
from eyeline.networks.vit import resize_position
from networks import measure, peers


def meta(name: str, **options: Any) -> nn.Module:
    info = network_info(name)
    return measure.build(name, num_classes=info.classes, in_channels=info.input_size[0], **options)


def settings(net: nn.Module) -> dict[str, set[Any]]:
    """What parity tests in eval mode with copied weights could not see."""
    modules = list(net.modules())
    return {
        "batch norm": {(m.eps, m.momentum) for m in modules if isinstance(m, nn.BatchNorm2d)},
        "layer norm": {m.eps for m in modules if isinstance(m, nn.LayerNorm)},
        "dropout": {m.p for m in modules if isinstance(m, nn.Dropout) and m.p > 0},
    }


@pytest.mark.parametrize(
    "name",
    ["alexnet", "vgg16_bn", "resnet18", "resnext50_32x4d", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large"]
    + [f"efficientnet_b{index}" for index in range(8)]
    + ["efficientnet_v2_s", "efficientnet_v2_m", "efficientnet_v2_l", "vit_b_32", "convnext_tiny"],
)  # fmt: skip
def test_eps_momentum_and_dropout_are_those_of_torchvision(name):
    with torch.device("meta"):
        peer = peers.create("torchvision", name)
    assert settings(meta(name)) == settings(peer)


def test_batch_norm_of_the_networks_trained_in_tensorflow():
    for index in range(5):
        assert settings(meta(f"efficientnet_lite{index}"))["batch norm"] == {(1e-3, 0.01)}
    assert settings(meta("efficientnet_v2_b0"))["batch norm"] == {(1e-3, 0.1)}
    assert settings(meta("efficientnet_b0", eps=1e-3, momentum=0.01))["batch norm"] == {(1e-3, 0.01)}


@pytest.mark.parametrize("stride", [2, 3])
@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
def test_same_padding_is_tensorflows_rule(kernel, stride):
    """Output ceil(n / s); of the total padding the smaller half goes first (TensorFlow, nn.convolution notes)."""
    conv = SameConv2d(2, 3, kernel, stride, kernel // 2, bias=False)
    for height, width in ((kernel, kernel + 1), (8, 8), (9, 9), (8, 11), (15, 10)):
        x = torch.randn(1, 2, height, width)
        pads: list[int] = []
        for size in (width, height):
            total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        expected = F.conv2d(F.pad(x, pads), conv.weight, stride=stride)
        assert expected.shape[2:] == (math.ceil(height / stride), math.ceil(width / stride))
        torch.testing.assert_close(conv(x), expected)


def test_same_and_symmetric_padding_differ_only_at_even_sizes():
    torch.manual_seed(0)
    same = create_network("efficientnet_lite0", num_classes=3).eval()
    symmetric = create_network("efficientnet_lite0", num_classes=3, padding="symmetric").eval()
    symmetric.load_state_dict(same.state_dict())
    with torch.inference_mode():
        even, odd = torch.randn(1, 3, 64, 64), torch.randn(1, 3, 65, 65)
        assert not torch.allclose(same(even), symmetric(even), rtol=1e-3)
        assert torch.equal(same(odd), symmetric(odd))


def rates(net: nn.Module) -> list[float]:
    return [round(m.rate, 6) for m in net.modules() if isinstance(m, DropPath)]


def test_stochastic_depth_ramps():
    with torch.device("meta"):
        b0 = peers.create("torchvision", "efficientnet_b0")  # 0.2 by default
        tiny = peers.create("torchvision", "convnext_tiny")  # 0.1 by default
        resnet = peers.create("timm", "resnet18", drop_path_rate=0.3)
    theirs = [round(m.p, 6) for m in b0.modules() if type(m).__name__ == "StochasticDepth"]
    assert rates(meta("efficientnet_b0", drop_path=0.2)) == theirs
    assert theirs[-1] == 0.1875  # p · i / N: the last of 16 blocks has 15/16 of it
    theirs = [round(m.p, 6) for m in tiny.modules() if type(m).__name__ == "StochasticDepth"]
    assert rates(meta("convnext_tiny", drop_path=0.1)) == theirs
    assert theirs[-1] == 0.1  # p · i / (N - 1)
    theirs = [round(m.drop_prob, 6) for m in resnet.modules() if type(m).__name__ == "DropPath"]
    assert [rate for rate in rates(meta("resnet18", drop_path=0.3)) if rate > 0] == theirs
    assert rates(meta("vit_ti_16", drop_path=0.11))[::11] == [0.0, 0.11]
    assert set(rates(meta("efficientnet_b0"))) == {0.0}


def test_drop_path_expectation():
    torch.manual_seed(0)
    drop = DropPath(0.25)
    x = torch.ones(4000, 3, 1, 1)
    out = drop.train()(x)
    assert set(out.unique().tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    assert (out == out[:, :1]).all()  # a whole image at a time
    assert out.mean().item() == pytest.approx(1, abs=0.03)
    assert drop.eval()(x) is x
    assert "0.25" in repr(drop)


# -- EfficientNet


def test_scale_gives_the_published_networks():
    published = [
        (1, 1, 224),
        (1.1, 1, 240),
        (1.2, 1.1, 260),
        (1.4, 1.2, 300),
        (1.8, 1.4, 380),
        (2.2, 1.6, 456),
    ]
    published += [(2.6, 1.8, 528), (3.1, 2, 600)]
    for phi, (depth, width, resolution) in enumerate(published):
        scaling = scale(phi)
        assert (scaling.depth, scaling.width, scaling.resolution) == (depth, width, resolution)
        assert scaling.published == f"efficientnet_b{phi}"
        assert sum(stage.repeats for stage in scaling.stages) == (16, 23, 23, 26, 32, 39, 45, 55)[phi]


def test_scale_follows_the_rule_elsewhere():
    scaling = scale(1.5)
    assert scaling.rule == pytest.approx((1.2**1.5, 1.1**1.5, 224 * 1.15**1.5))
    assert (scaling.depth, scaling.width) == scaling.rule[:2]
    assert scaling.resolution == 276
    assert scaling.published is None
    net = measure.build("efficientnet_b0", num_classes=1000, in_channels=3, phi=1.5)
    assert len([m for m in net.modules() if isinstance(m, SqueezeExcite)]) == sum(
        s.repeats for s in scaling.stages
    )
    # Each step of φ about doubles the cost; rounding channels and repeats up adds to it.
    cost = measure.macs(net, 3, scaling.resolution) / network_info("efficientnet_b0").macs
    assert 2**1.5 * 0.9 < cost < 2**1.5 * 1.4
    with pytest.raises(EyelineError, match="phi is -1"):
        scale(-1)


def test_scale_explains_itself():
    text = scale(3).explain()
    assert "depth 1.4, width 1.2, size 300" in text
    assert "112 x 1.2 = 134.4 -> 136 channels" in text
    assert "3 x 1.4 = 4.2 -> 5 blocks" in text
    assert "taken: depth 1.315" in scale(1.5).explain()


def test_rounding_of_channels():
    # 1.2 · 40 = 48 stays; 0.9 of 19 would be lost by 16, so 24; without the guard 16.
    assert [round_channels(c) for c in (48, 19.2, 3, 133.0)] == [48, 24, 8, 136]
    assert round_channels(19.2, guard=False) == 16
    assert {name for name, row in EFFICIENTNETS.items() if not row.guard} == {
        f"efficientnet_v2_b{index}" for index in range(4)
    }


def test_lite_scales_neither_stem_nor_top_nor_the_ends():
    for index in range(5):
        net = meta(f"efficientnet_lite{index}")
        assert net.stem.conv.out_channels == 32
        assert net.head.in_features == 1280
        assert (len(net.stage1), len(net.stage7)) == (1, 1)
        assert not any(isinstance(m, SqueezeExcite) for m in net.modules())
        assert all(isinstance(m.act, nn.ReLU6) for m in net.modules() if isinstance(m, ConvNormAct) and m.act)


# -- ResNet


def test_plain_networks_have_the_parameters_of_their_twins():
    for depth in (18, 34, 50, 101, 152):
        plain, twin = meta(f"plain{depth}"), meta(f"resnet{depth}", shortcut="zero_pad")
        assert [p.shape for p in plain.parameters()] == [p.shape for p in twin.parameters()]
    for depth in (20, 32, 44, 56, 110):
        assert network_info(f"plain{depth}").parameters == network_info(f"resnet{depth}").parameters


def test_what_a_block_does_when_its_convolutions_say_nothing():
    x = torch.randn(2, 3, 32, 32)
    for name in ("resnet20", "plain20"):
        net = create_network(name).eval()
        for module in net.modules():
            if isinstance(module, ConvNormAct) and module.act is None:
                nn.init.zeros_(module.norm.weight)
        with torch.inference_mode():
            before, after = net.stem(x), net.stage1(net.stem(x))
        assert torch.equal(after, before if name == "resnet20" else torch.zeros_like(before))


def test_zero_pad_shortcut_takes_every_second_pixel_and_adds_empty_channels():
    shortcut = meta("resnet20").get_submodule("stage2.0.shortcut")
    x = torch.randn(1, 16, 8, 8)
    assert torch.equal(shortcut(x), torch.cat([x[:, :, ::2, ::2], torch.zeros(1, 16, 4, 4)], 1))


def test_stride_placement():
    def strides(**options):
        block = meta("resnet50", **options).get_submodule("stage2.0.convs")
        return [block.get_submodule(f"{index}.conv").stride[0] for index in range(3)]

    assert strides() == [1, 2, 1]
    assert strides(stride_first=True) == [2, 1, 1]
    assert measure.parameters(meta("resnet50", stride_first=True)) == network_info("resnet50").parameters


def test_zero_init_residual_starts_every_block_as_the_identity():
    net = create_network("resnet20", zero_init_residual=True).eval()
    x = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(net.stage1(net.stem(x)), net.stem(x))


# -- LeNet and AlexNet as in their papers


def test_the_sparse_layer_is_a_dense_one_with_missing_kernels():
    sparse = SparseConv2d(C3_READS, 5)
    assert sum(p.numel() for p in sparse.parameters()) == 1516
    dense, row = torch.zeros(16, 6, 5, 5), 0
    for target, maps in enumerate(C3_READS):
        for source in maps:
            dense[target, source] = sparse.weight[row, 0].detach()
            row += 1
    x = torch.randn(2, 6, 14, 14)
    torch.testing.assert_close(sparse(x), F.conv2d(x, dense, sparse.bias.flatten()))
    # Table I: six maps read three neighbours, nine read four, one reads all; every map is read equally often.
    assert [len(maps) for maps in C3_READS] == [3] * 6 + [4] * 9 + [6]
    assert {sum(source in maps for maps in C3_READS) for source in range(6)} == {10}


def test_trainable_subsampling():
    layer = TrainableSubsampling(2)
    x = torch.randn(1, 2, 4, 4)
    total = x.unfold(2, 2, 2).unfold(3, 2, 2).sum((4, 5))
    expected = 1.7159 * torch.tanh(2 / 3 * (total * layer.weight + layer.bias))
    torch.testing.assert_close(layer(x), expected)
    # Appendix A: the squashing function maps 1 to 1.
    torch.testing.assert_close(layer.act(torch.ones(1)), torch.ones(1), rtol=0, atol=1e-4)


def test_the_radial_basis_output_is_the_distance_to_a_picture():
    head = RadialBasis(84, 10)
    assert set(head.weight.unique().tolist()) == {-1.0, 1.0}
    assert len({tuple(code) for code in head.weight.tolist()}) == 10
    assert not list(head.parameters())
    logits = head(head.weight)
    assert torch.equal(logits.diagonal(), torch.zeros(10))
    assert (logits.argmax(1) == torch.arange(10)).all()
    flipped = head.weight[:1].clone()
    flipped[0, 0] *= -1
    assert head(flipped)[0, 0] == -4
    # Figure 3 of the paper: 1 is a narrow picture, 8 a full one.
    ones = (head.weight > 0).sum(1)
    assert ones[1] < ones[8]
    other = RadialBasis(84, 30)
    assert torch.equal(other.weight, RadialBasis(84, 30).weight)
    assert abs(other.weight.mean()) < 0.1


def test_lenet_with_a_dense_output():
    net = meta("lenet5_1998", output="dense")
    assert isinstance(net.head, nn.Linear)
    assert measure.parameters(net) == 60_000 + 850


def test_local_response_normalisation_is_the_papers():
    """§3.3: b = a / (2 + 1e-4 · sum of a² over 5 neighbouring maps) ^ 0.75."""
    norm = create_network("alexnet_2012", num_classes=1).stage1[2]
    a = torch.randn(1, 9, 2, 2) * 50
    expected = torch.empty_like(a)
    for index in range(9):
        neighbours = a[:, max(0, index - 2) : index + 3].square().sum(1)
        expected[:, index] = a[:, index] / (2 + 1e-4 * neighbours) ** 0.75
    torch.testing.assert_close(norm(a), expected)


# -- Vision transformer


def test_positions_keep_their_class_token_and_a_constant_grid():
    position = torch.cat([torch.full((1, 1, 8), 5.0), torch.full((1, 49, 8), 2.0)], 1)
    resized = resize_position(position, (7, 7), (10, 4))
    assert resized.shape == (1, 41, 8)
    assert torch.equal(resized[:, 0], position[:, 0])
    torch.testing.assert_close(resized[:, 1:], torch.full((1, 40, 8), 2.0))
    assert torch.equal(resize_position(position, (7, 7), (7, 7)), position)


# -- Initialisation as published


def spread(tensor: Tensor) -> float:
    return tensor.detach().std().item()


def test_initialisation():
    torch.manual_seed(0)
    resnet = create_network("resnet18")
    conv = resnet.stage4[0].convs[0].conv
    assert spread(conv.weight) == pytest.approx(math.sqrt(2 / (512 * 9)), rel=0.02)

    efficient = create_network("efficientnet_b0")
    depthwise, project = efficient.stage6[1].depthwise.conv, efficient.stage6[1].project.conv
    assert spread(depthwise.weight) == pytest.approx(math.sqrt(2 / 25), rel=0.02)  # fan_out of one group
    assert spread(project.weight) == pytest.approx(math.sqrt(2 / 192), rel=0.02)
    assert efficient.head.weight.abs().max().item() == pytest.approx(1 / math.sqrt(1000), rel=1e-3)

    convnext = create_network("convnext_atto")
    assert spread(convnext.stage4[2].expand.weight) == pytest.approx(0.02, rel=0.02)
    assert convnext.stage4[2].scale.unique().tolist() == pytest.approx([1e-6])

    vit = create_network("vit_ti_16")
    assert not vit.head.weight.any()
    assert spread(vit.stem.position) == pytest.approx(0.02, rel=0.02)
    assert spread(vit.block1.mlp[0].weight) == pytest.approx(math.sqrt(2 / (192 + 768)), rel=0.02)
    assert 0 < spread(vit.block1.mlp[0].bias) < 2e-6
    vit.reset_head(3)
    assert not vit.head.weight.any()

    mobile = create_network("mobilenet_v2")
    assert spread(mobile.head.weight) == pytest.approx(0.01, rel=0.02)

    lenet = create_network("lenet5_1998")
    assert lenet.c5[0].weight.abs().max().item() == pytest.approx(2.4 / 400, rel=0.01)
    assert lenet.c3[0].weight[-6:].abs().max().item() <= 2.4 / 150  # of all six maps
    assert lenet.c3[0].weight[:3].abs().max().item() == pytest.approx(2.4 / 75, rel=0.1)


def test_initialisation_of_the_2012_network():
    net = create_network("alexnet_2012", num_classes=2)
    assert spread(net.stage3[0].weight) == pytest.approx(0.01, rel=0.02)
    ones = {name for name, value in net.named_parameters() if name.endswith("bias") and (value == 1).all()}
    assert ones == {"stage2.0.bias", "stage4.0.bias", "stage5.0.bias", "hidden.1.bias", "hidden.4.bias"}
