"""The same weights give the same logits and gradients as torchvision's and timm's network, float32, eval mode.

ResNet, EfficientNet and ConvNeXt: bit for bit where the operations are the same, else within 1e-6 of the largest
logit. The others: within 1e-5. Ours are laid out channels-last, so the peers are too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from eyeline.networks import Network, create_network, load_weights, network_info
from networks import peers

TV, TIMM = "torchvision", "timm"
EPS_1E_5 = {"eps": 1e-5}  # timm's own networks
TF = {"padding": "same", "eps": 1e-3}  # those it took over from TensorFlow


def pair(
    ours: str, library: str, theirs: str, ours_with: Any = None, theirs_with: Any = None, size: int = 64
) -> Any:
    """Ours and the peer, the options of each, the image size; large networks are marked slow."""
    quick = (ours, library) in QUICK
    marks = () if quick else (pytest.mark.slow,)
    return pytest.param(
        ours,
        library,
        theirs,
        ours_with or {},
        theirs_with or {},
        size,
        id=f"{ours}-{library}-{theirs}",
        marks=marks,
    )


# One small network of every library and kind of block; those of `exact_pairs` and `BACKWARD` are compared there.
QUICK = {
    ("resnet50", TV), ("resnet14t", TIMM), ("mobilenet_v1", TIMM), ("mobilenet_v2", TV), ("mobilenet_v2", TIMM),
    ("mobilenet_v3_small", TIMM), ("mobilenet_v3_large", TV), ("efficientnet_b0", TIMM),
    ("efficientnet_v2_b0", TIMM), ("efficientnet_v2_s", TV), ("vit_b_32", TV),
}  # fmt: skip


def all_pairs() -> Iterator[Any]:
    yield pair("alexnet", TV, "alexnet")
    for depth in (11, 13, 16, 19):
        for norm in ("", "_bn"):
            yield pair(f"vgg{depth}{norm}", TV, f"vgg{depth}{norm}")
            yield pair(f"vgg{depth}{norm}", TIMM, f"vgg{depth}{norm}")
    for name in (
        "resnet18", "resnet34", "resnet50", "resnet101", "resnet152",
        "resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d", "wide_resnet50_2", "wide_resnet101_2",
    ):  # fmt: skip
        yield pair(name, TV, name)
        yield pair(name, TIMM, name)
    for name in ("resnet10t", "resnet14t", "resnet18d", "resnet50d"):
        yield pair(name, TIMM, name)
    yield pair("mobilenet_v1", TIMM, "mobilenetv1_100")
    yield pair("mobilenet_v1", TIMM, "mobilenetv1_125", {"alpha": 1.25})
    yield pair("mobilenet_v2", TV, "mobilenet_v2")
    yield pair("mobilenet_v2", TIMM, "mobilenetv2_100")
    yield pair("mobilenet_v2", TV, "mobilenet_v2", {"alpha": 0.5}, {"width_mult": 0.5})
    yield pair("mobilenet_v2", TIMM, "mobilenetv2_140", {"alpha": 1.4})
    for size in ("small", "large"):
        yield pair(f"mobilenet_v3_{size}", TV, f"mobilenet_v3_{size}")
        yield pair(f"mobilenet_v3_{size}", TIMM, f"mobilenetv3_{size}_100", EPS_1E_5)
        yield pair(f"mobilenet_v3_{size}", TIMM, f"tf_mobilenetv3_{size}_100", TF)
    for index in range(8):
        yield pair(f"efficientnet_b{index}", TV, f"efficientnet_b{index}")
        yield pair(f"efficientnet_b{index}", TIMM, f"efficientnet_b{index}", EPS_1E_5)
        yield pair(f"efficientnet_b{index}", TIMM, f"tf_efficientnet_b{index}", TF)
    for index in range(5):
        yield pair(f"efficientnet_lite{index}", TIMM, f"tf_efficientnet_lite{index}")
        native = {"padding": "symmetric", "eps": 1e-5}
        yield pair(f"efficientnet_lite{index}", TIMM, f"efficientnet_lite{index}", native)
    for size in ("s", "m", "l", "xl"):
        if size != "xl":
            yield pair(f"efficientnet_v2_{size}", TV, f"efficientnet_v2_{size}")
        yield pair(f"efficientnet_v2_{size}", TIMM, f"efficientnetv2_{size}", EPS_1E_5)
        yield pair(f"efficientnet_v2_{size}", TIMM, f"tf_efficientnetv2_{size}", TF)
    for index in range(4):
        yield pair(f"efficientnet_v2_b{index}", TIMM, f"tf_efficientnetv2_b{index}")
    for name in ("b_16", "b_32", "l_16", "l_32", "h_14"):
        side = 4 * int(name[-2:])
        yield pair(f"vit_{name}", TV, f"vit_{name}", {"image_size": side}, {"image_size": side}, side)
    timm_vits = {"ti": "tiny", "s": "small", "b": "base", "l": "large", "h": "huge"}
    for name in ("ti_16", "s_16", "s_32", "b_16", "b_32", "l_16", "l_32", "h_14"):
        size, patch = name.split("_")
        theirs, side = f"vit_{timm_vits[size]}_patch{patch}_224", 4 * int(patch)
        yield pair(f"vit_{name}", TIMM, theirs, {"image_size": side}, {"img_size": side}, side)
    for size in ("tiny", "small", "base", "large"):
        yield pair(f"convnext_{size}", TV, f"convnext_{size}")
    for size in ("atto", "femto", "pico", "nano", "tiny", "small", "base", "large", "xlarge"):
        yield pair(f"convnext_{size}", TIMM, f"convnext_{size}")


def twins(
    ours: str, library: str, theirs: str, ours_with: dict[str, Any], theirs_with: dict[str, Any]
) -> Any:
    """Ours and the peer with the same random weights, both channels-last, in eval mode."""
    torch.manual_seed(0)
    peer = peers.create(library, theirs, **theirs_with)
    peers.randomise(peer)
    net = create_network(ours, **ours_with)
    report = load_weights(net, peer.state_dict())
    assert report.layout == (TV if network_info(ours).family == "resnet" else library)
    assert report.loaded == len(net.state_dict())
    assert report.unused == report.initialised == ()
    return net.eval(), peer.to(memory_format=torch.channels_last).eval()


def assert_same(got: Tensor, expected: Tensor, family: str) -> None:
    difference = (got - expected).abs().max() / expected.abs().max()
    assert expected.std() > 0
    assert difference <= (1e-6 if family in ("resnet", "efficientnet", "convnext") else 1e-5), float(
        difference
    )


@pytest.mark.parametrize(("ours", "library", "theirs", "ours_with", "theirs_with", "size"), all_pairs())
def test_the_same_logits(ours, library, theirs, ours_with, theirs_with, size):
    net, peer = twins(ours, library, theirs, ours_with, theirs_with)
    images = torch.randn(2, 3, size, size)
    with torch.inference_mode():
        assert_same(net(images), peer(images), network_info(ours).family)


def exact_pairs() -> list[tuple[str, str, str]]:
    return [
        ("resnet18", TV, "resnet18"),
        ("efficientnet_b0", TV, "efficientnet_b0"),
        ("efficientnet_lite0", TIMM, "tf_efficientnet_lite0"),
        ("convnext_atto", TIMM, "convnext_atto"),
    ]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("ours", "library", "theirs"), exact_pairs())
def test_bit_equal_in_either_memory_layout(ours, library, theirs, layout):
    net, peer = twins(ours, library, theirs, {}, {})
    net.to(memory_format=layout)
    peer.to(memory_format=layout)
    # 64 pixels differ between SAME and symmetric padding, 65 do not: both must be right.
    for size in (64, 65):
        images = torch.randn(2, 3, size, size)
        with torch.inference_mode():
            assert torch.equal(net(images), peer(images))


BACKWARD = [
    ("alexnet", TV, "alexnet"),
    ("vgg11_bn", TV, "vgg11_bn"),
    ("resnet18", TV, "resnet18"),
    ("mobilenet_v3_small", TV, "mobilenet_v3_small"),
    ("efficientnet_b0", TV, "efficientnet_b0"),
    ("vit_ti_16", TIMM, "vit_tiny_patch16_224"),
    ("convnext_atto", TIMM, "convnext_atto"),
]


@pytest.mark.parametrize(("ours", "library", "theirs"), BACKWARD)
def test_the_same_gradient_at_the_input(ours, library, theirs):
    small = {"image_size": 64} if "vit" in ours else {}
    net, peer = twins(ours, library, theirs, small, {"img_size": 64} if small else {})
    images, weights = torch.randn(2, 3, 64, 64, requires_grad=True), torch.randn(2, 1000)
    got, expected = net(images), peer(images)
    assert_same(got, expected, network_info(ours).family)
    (got,), (expected,) = (
        torch.autograd.grad((logits * weights).sum(), images) for logits in (got, expected)
    )
    assert (got - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_the_same_training_step():
    """Batch statistics, running statistics and every gradient, not only the input's."""
    net, peer = twins("resnet18", TV, "resnet18", {}, {})
    net.train(), peer.train()
    images = torch.randn(4, 3, 64, 64)
    for module in (net, peer):
        nn.functional.cross_entropy(module(images), torch.arange(4)).backward()
    named = dict(peer.named_parameters())
    for ours, theirs in (
        ("stem.0.conv", "conv1"),
        ("stage3.0.shortcut.0.conv", "layer3.0.downsample.0"),
        ("head", "fc"),
    ):
        assert torch.equal(net.get_parameter(f"{ours}.weight").grad, named[f"{theirs}.weight"].grad)
    assert torch.equal(net.get_buffer("stage4.1.convs.1.norm.running_var"), peer.layer4[1].bn2.running_var)


def test_timm_interpolates_positions_as_we_do():
    net, peer = twins("vit_ti_16", TIMM, "vit_tiny_patch16_224", {}, {"dynamic_img_size": True})
    images = torch.randn(1, 3, 96, 160)
    with torch.inference_mode():
        assert_same(net(images), peer(images), "vit")


def test_drop_path_keeps_the_branch_scaled():
    """A block of rate 0.5 in training is, per image, the bare input or the input plus twice the residual."""
    torch.manual_seed(0)
    net: Network = create_network("convnext_atto", num_classes=2, drop_path=0.5, layer_scale=1.0)
    block = net.get_submodule("stage4.3")
    x = torch.randn(64, 320, 2, 2)
    with torch.no_grad():
        residual = block.eval()(x) - x
        change = block.train()(x) - x
    kept = change.flatten(1).abs().sum(1) > 0
    assert 16 < int(kept.sum()) < 48
    torch.testing.assert_close(change[kept], 2 * residual[kept], rtol=1e-4, atol=1e-4)
