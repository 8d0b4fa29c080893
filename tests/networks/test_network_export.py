"""torch.export, ONNX and torch.compile: the same numbers outside eager PyTorch."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from eyeline.networks import create_network, network_info, network_names
from eyeline.networks.blocks import SameConv2d
from networks import peers

QUICK = ("lenet5_1998", "resnet20", "mobilenet_v1_025", "efficientnet_lite0", "vit_ti_16", "convnext_atto")
LARGEST = 150e6  # parameters; a larger ONNX file needs external data

walk = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in QUICK else (pytest.mark.slow,))
        for name in network_names()
        if network_info(name).parameters < LARGEST
    ],
)


def net_and_images(name: str) -> tuple[nn.Module, Tensor]:
    family = network_info(name).family
    size = {"vit": 2 * int(name[-2:]) if family == "vit" else 0, "lenet": 32, "alexnet": 67}.get(family, 64)
    torch.manual_seed(0)
    options: dict[str, Any] = {"image_size": size} if family == "vit" else {}
    net = create_network(name, num_classes=3, **options).eval()
    if name in ("efficientnet_v2_m", "efficientnet_v2_l"):
        peers.damp(net)
    if not net.head.weight.any():
        nn.init.normal_(net.head.weight, std=0.02)
    return net, torch.randn(2, net.in_channels, size, size)


@walk
def test_exported_programs_and_onnxruntime_agree(name):
    net, images = net_and_images(name)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        exported = torch.export.export(net, (images,))
        program = torch.onnx.export(exported, dynamo=True, optimize=False, verbose=False)
        file = io.BytesIO()
        program.save(file)
        expected = net(images)
        torch.testing.assert_close(exported.module()(images), expected, rtol=1e-4, atol=1e-5)

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    assert np.abs(got - expected.numpy()).max() <= 1e-4 * max(1.0, float(expected.abs().max()))


def compiled(net: nn.Module, **options: Any) -> Any:
    torch._dynamo.reset()  # what an earlier test compiled would make sizes dynamic here
    return torch.compile(net, **options)


@pytest.mark.parametrize(
    "name",
    ["resnet20", "vit_ti_16"]
    + [
        pytest.param(name, marks=pytest.mark.slow)
        for name in (
            "lenet5",
            "lenet5_1998",
            "alexnet",
            "mobilenet_v3_small",
            "efficientnet_v2_b0",
            "convnext_atto",
        )
    ],
)
def test_compiled_networks_are_one_graph(name):
    """Captured whole by torch.compile, without a break."""
    net, images = net_and_images(name)
    fast = compiled(net, backend="eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(fast(images), net(images), rtol=1e-4, atol=1e-5)


def test_same_padding_compiles_for_any_size():
    """Padding that depends on the size must not grow into formulas, nested layer in layer, that never end."""
    layers = [SameConv2d(2, 2, kernel, 2, kernel // 2) for kernel in (3, 3, 5, 3, 5)]
    net = nn.Sequential(*layers).eval()
    fast = compiled(net, backend="eager", fullgraph=True, dynamic=True)
    with torch.no_grad():
        for height, width in ((64, 64), (96, 128), (65, 65), (50, 37)):
            images = torch.randn(1, 2, height, width)
            torch.testing.assert_close(fast(images), net(images), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "lenet5",
        "alexnet",
        "vgg11",
        "resnet20",
        "mobilenet_v3_small",
        "efficientnet_lite0",
        "vit_ti_16",
        "convnext_atto",
    ],
)
def test_compiled_code_agrees(name):
    net, images = net_and_images(name)
    fast = compiled(net)
    with torch.no_grad():
        torch.testing.assert_close(fast(images), net(images), rtol=1e-3, atol=1e-4)
