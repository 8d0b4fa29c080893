"""What every network keeps, walked over the registry: one function a property, one small network or two a family.

The whole registry is walked by the slow tests.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from eyeline.errors import EyelineError
from eyeline.networks import Network, create_network, network_info, network_names
from networks import peers

QUICK = (
    "lenet5", "lenet5_1998", "resnet10t", "plain20", "mobilenet_v1_025", "mobilenet_v2", "mobilenet_v3_small",
    "efficientnet_lite0", "efficientnet_v2_b0", "vit_ti_16", "convnext_atto",
)  # fmt: skip

# Largest number of parameters that the slow walk builds with gradients; above it memory, not code, is tested.
LARGEST = 150e6

names = [
    pytest.param(name, marks=() if name in QUICK else (pytest.mark.slow,))
    for name in network_names()
    if network_info(name).parameters < LARGEST
]
walk = pytest.mark.parametrize("name", names)


def build(name: str, **options: Any) -> Network:
    """The network with two classes; a head and scales of zero at the start are given values."""
    torch.manual_seed(0)
    options.setdefault("num_classes", 2)
    net = create_network(name, **options)
    if name in ("efficientnet_v2_m", "efficientnet_v2_l"):
        peers.damp(net)
    if not net.head.weight.any():
        nn.init.normal_(net.head.weight, std=0.02)
    return net


def side(name: str) -> int:
    """A small image size (pixels) that the published network takes."""
    family = network_info(name).family
    if family == "vit":
        return 2 * int(name[-2:])
    return {"lenet": 32, "alexnet": 67}.get(family, 64)


def images(name: str, count: int = 2, channels: int | None = None, size: int | None = None) -> Tensor:
    size = side(name) if size is None else size
    channels = network_info(name).input_size[0] if channels is None else channels
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(1))


def sized(name: str) -> dict[str, Any]:
    """Vision transformers are built for the small size, so that no test interpolates by accident."""
    return {"image_size": side(name)} if network_info(name).family == "vit" else {}


@walk
@pytest.mark.parametrize(("channels", "classes"), [(1, 1), (3, 7), (5, 2)])
def test_any_channels_and_any_classes(name, channels, classes):
    net = build(name, in_channels=channels, num_classes=classes, **sized(name)).eval()
    with torch.inference_mode():
        logits = net(images(name, channels=channels))
    assert logits.shape == (2, classes)
    assert logits.isfinite().all()


@walk
def test_backward_reaches_every_parameter(name):
    net = build(name, num_classes=5, **sized(name)).train()
    nn.functional.cross_entropy(net(images(name, 4)), torch.arange(4)).backward()
    for key, parameter in net.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        if "_bn" not in name or not key.endswith("bias"):  # a bias before batch norm has no effect
            assert parameter.grad.any(), key


@walk
def test_eval_is_deterministic_and_sees_one_image_at_a_time(name):
    net = build(name, **sized(name)).eval()
    batch = images(name, 3)
    with torch.inference_mode():
        together = net(batch)
        assert torch.equal(together, net(batch))
        alone = torch.cat([net(image[None]) for image in batch])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5 * float(together.abs().max()))


@walk
def test_only_batch_norm_statistics_move_and_only_in_training(name):
    net = build(name, **sized(name)).eval()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with torch.no_grad():
        net(images(name))
        assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
        net.train()(images(name))
    moved = {key for key, value in net.state_dict().items() if not torch.equal(value, before[key])}
    statistics = {
        f"{key}.{part}"
        for key, module in net.named_modules()
        if isinstance(module, nn.BatchNorm2d)
        for part in ("running_mean", "running_var", "num_batches_tracked")
    }
    assert moved == statistics


@walk
def test_memory_layout_does_not_matter(name):
    net = build(name, **sized(name)).eval()
    batch = images(name)
    with torch.inference_mode():
        expected = net(batch)
        got = net(batch.contiguous(memory_format=torch.channels_last))
        net.to(memory_format=torch.contiguous_format)
        plain = net(batch)
    scale = float(expected.abs().max())
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5 * scale)
    torch.testing.assert_close(plain, expected, rtol=0, atol=1e-5 * scale)


@walk
def test_features_are_the_named_stages(name):
    net = build(name, **sized(name)).eval()
    batch = images(name)
    with torch.inference_mode():
        maps = net.features(batch)
        final, embedded, logits = net.forward_features(batch), net.embed(batch), net(batch)
        # Stage by stage, with copies between: no stage may overwrite what the one before it returned.
        x = batch
        for stage in net.stage_names:
            x = net.get_submodule(stage)(x.clone())
            assert torch.equal(maps[stage], x), stage
        assert torch.equal(net.head(embedded), logits)
    assert tuple(maps) == net.stage_names
    assert torch.equal(list(maps.values())[-1], final)
    assert embedded.shape == (2, net.head.in_features)
    if network_info(name).family == "vit":
        assert all(value.shape == (2, 5, net.head.in_features) for value in maps.values())
    else:
        sizes = [value.shape[2] for value in maps.values()]
        assert sizes == sorted(sizes, reverse=True)


@walk
def test_evidence_is_exact_where_the_network_ends_in_pooling_and_linear(name):
    family = network_info(name).family
    published = family in ("resnet", "efficientnet") or name.startswith(("mobilenet_v1", "mobilenet_v2"))
    net = build(name, num_classes=4, **sized(name)).eval()
    assert net.gap_head == published
    if not net.gap_head:
        return
    batch = images(name, size=96)
    with torch.inference_mode():
        evidence = torch.einsum("kc,nchw->nkhw", net.head.weight, net.forward_features(batch))
        logits = net(batch)
    total = evidence.mean((2, 3)) + net.head.bias
    torch.testing.assert_close(total, logits, rtol=1e-4, atol=1e-5 * float(logits.abs().max()))


@walk
def test_state_dict_round_trip_through_a_file(name, tmp_path):
    net = build(name, **sized(name)).eval()
    file = tmp_path / "weights.safetensors"
    save_file({key: value.contiguous() for key, value in net.state_dict().items()}, file)
    torch.manual_seed(99)
    again = create_network(name, num_classes=2, weights=file, **sized(name)).eval()
    assert again.load_report is not None
    assert again.load_report.layout == "eyeline"
    assert again.load_report.loaded == len(net.state_dict())
    report = again.load_report
    assert report.adapted == report.initialised == report.unused == ()
    with torch.inference_mode():
        assert torch.equal(again(images(name)), net(images(name)))


@walk
def test_a_copy_is_independent(name):
    net = build(name, **sized(name)).eval()
    twin = copy.deepcopy(net)
    with torch.no_grad():
        before = net(images(name))
        assert torch.equal(twin(images(name)), before)
        for parameter in twin.parameters():
            parameter.zero_()
        assert torch.equal(net(images(name)), before)


@walk
@pytest.mark.parametrize("size", [28, 32, 64])
def test_the_small_stem_leaves_a_map_of_small_images(name, size):
    family = network_info(name).family
    if family == "vit" and size % small_patch(name):
        pytest.skip("not a multiple of the small patch")
    options = {"image_size": size} if family == "vit" else {}
    net = build(name, small_stem=True, in_channels=1, **options).eval()
    with torch.inference_mode():
        final = net.forward_features(images(name, channels=1, size=size))
        assert net(images(name, channels=1, size=size)).shape == (2, 2)
    if family == "vit":
        assert final.shape[1] == 1 + (size // small_patch(name)) ** 2
    elif family in ("vgg", "convnext"):
        assert final.shape[2:] == (size // 8, size // 8)
    elif family in ("mobilenet", "efficientnet", "resnet") and network_info(name).classes == 1000:
        assert final.shape[2:] == (math.ceil(size / 8), math.ceil(size / 8))


def small_patch(name: str) -> int:
    return {"14": 4, "16": 4, "32": 8}[name[-2:]]


@walk
def test_other_sizes_and_shapes_of_images(name):
    net = build(name, **sized(name)).eval()
    step = net.minimum_size if network_info(name).family == "vit" else 32
    height, width = side(name) + step, side(name) + 2 * step
    batch = torch.randn(1, net.in_channels, height, width)
    with torch.inference_mode():
        assert net(batch).shape == (1, 2)


@walk
def test_the_smallest_image_works_and_a_smaller_one_is_refused(name):
    net = build(name, **sized(name)).eval()
    size = net.minimum_size
    with torch.inference_mode():
        assert net(images(name, size=size)).isfinite().all()
        with pytest.raises(EyelineError, match=f"at least {size}x{size}") as error:
            net(images(name, size=size - 1))
        assert error.value.code == "image_too_small"
        with pytest.raises(EyelineError, match=f"at least {size}x{size}"):
            create_network(name, image_size=size - 1)
        with pytest.raises(EyelineError, match=rf"allowed: \(N, {net.in_channels}, H, W\)"):
            net(images(name, channels=net.in_channels + 1))
        with pytest.raises(EyelineError, match="allowed"):
            net(images(name)[0])


@walk
def test_a_new_head_changes_nothing_else(name):
    net = build(name, **sized(name)).eval()
    before = {key: value.clone() for key, value in net.state_dict().items() if not key.startswith("head")}
    net.reset_head(6)
    with torch.inference_mode():
        assert net(images(name)).shape == (2, 6)
    after = net.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert isinstance(net.head, nn.Linear) or name == "lenet5_1998"
    with pytest.raises(EyelineError, match="num_classes is 0"):
        net.reset_head(0)


@walk
def test_dropout_and_drop_path_are_off_at_eval(name):
    options = {"dropout": 0.5}
    if network_info(name).family not in ("lenet", "alexnet", "vgg") and not name.startswith("plain"):
        options["drop_path"] = 0.5
    plain = build(name, **dict.fromkeys(options, 0.0), **sized(name)).eval()
    net = build(name, **options, **sized(name))
    with torch.no_grad():
        assert torch.equal(net.eval()(images(name)), plain(images(name)))
        assert not torch.equal(net.train()(images(name)), net(images(name)))
