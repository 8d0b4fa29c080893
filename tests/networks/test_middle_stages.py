"""Middle stages under the head: the last map stays, means and maxima of finer maps follow, evidence stays exact."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from eyeline.errors import EyelineError
from eyeline.evidence import class_evidence, map_placement
from eyeline.networks import Views, create_network, fold_batch_norm
from eyeline.runtime.engine import Engine
from eyeline.shipping import to_onnx

NETWORKS = {  # and the last of their stages at 8 and at 16 pixels a cell
    "efficientnet_lite0": ("stage3", "stage5"),
    "mobilenet_v2": ("stage3", "stage5"),
    "resnet18": ("stage2", "stage3"),
    "efficientnet_v2_s": ("stage3", "stage5"),
}


def built(name: str, size: int = 96):
    torch.manual_seed(0)
    return create_network(name, num_classes=2, in_channels=1, image_size=size, middle=True).eval()


@functools.cache
def both():
    plain = create_network("efficientnet_lite0", num_classes=2, in_channels=1)
    return built("efficientnet_lite0", 32), plain.eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_the_head_reads_the_two_grids_before_the_last(name):
    net = built(name)
    assert net.middle == NETWORKS[name]
    x = torch.randn(2, 1, 96, 128)
    with torch.no_grad():
        maps, read = net.features(x), net.forward_features(x)
    last = maps[net.stage_names[-1]]
    finer = [maps[name] for name in net.middle]
    assert [96 // m.shape[2] for m in finer] == [8, 16]
    assert read.shape[1] == last.shape[1] + 2 * sum(m.shape[1] for m in finer) == net.head.in_features
    torch.testing.assert_close(read[:, : last.shape[1]], last)
    at = last.shape[1]
    for m in finer:
        means, maxima = read[:, at : at + m.shape[1]], read[:, at + m.shape[1] : at + 2 * m.shape[1]]
        for found, reduce in ((means, np.mean), (maxima, np.max)):
            expected = m.numpy()
            while expected.shape[2] > last.shape[2]:
                expected = halved(expected, reduce)
            np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-5)
        at += 2 * m.shape[1]


def halved(m, reduce):
    """`reduce` of the cells inside the map among the 3x3 around every second one."""
    rows, columns = range(0, m.shape[2], 2), range(0, m.shape[3], 2)
    windows = [[m[:, :, max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2] for j in columns] for i in rows]
    return np.stack([np.stack([reduce(w, axis=(2, 3)) for w in row], -1) for row in windows], -2)


@settings(max_examples=12, deadline=None)
@given(st.integers(32, 130), st.integers(32, 130))
def test_any_image_size_gives_one_grid(height, width):
    net, plain = both()
    x = torch.randn(1, 1, height, width)
    with torch.no_grad():
        assert net.forward_features(x).shape[2:] == plain.forward_features(x).shape[2:]


@pytest.mark.parametrize(("name", "views"), [("efficientnet_lite0", 4), ("resnet18", 1)])
def test_the_artifact_s_evidence_adds_up_to_its_logits(name, views):
    net = built(name)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 96, 96, 1), dtype=np.uint8)
    x = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.25
    seen = Views(net, views)
    with torch.no_grad():
        logits = seen(x).numpy()
        plain, maps = class_evidence(net, x)
    exported = to_onnx(seen, image_size=(96, 96), mean=[0.5], std=[0.25])
    assert exported.evidence.exact
    outputs = Engine(exported.model.SerializeToString()).run(pixels)
    total = outputs.evidence.sum((2, 3), dtype=np.float64) + exported.evidence.bias
    scale = np.abs(outputs.evidence).sum((2, 3)).max() + 1
    np.testing.assert_allclose(total, outputs.logits, atol=1e-5 * scale)
    np.testing.assert_allclose(outputs.logits, logits, atol=1e-4 * scale)
    torch.testing.assert_close(maps.sum((2, 3)) + net.head.bias, plain, rtol=1e-4, atol=1e-4)


def test_cells_lie_where_they_lay():
    plain = create_network("efficientnet_lite0", num_classes=2, in_channels=1)
    assert map_placement(built("efficientnet_lite0"), (96, 96)) == map_placement(plain, (96, 96))


def test_folded_batch_norm_gives_the_same_numbers():
    net = built("efficientnet_lite0")
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    x = torch.randn(2, 1, 96, 96)
    with torch.no_grad():
        before = net(x)
        fold_batch_norm(net, x)
        torch.testing.assert_close(net(x), before, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["vgg11", "vit_ti_16", "convnext_tiny"])
def test_a_head_that_reads_no_averages_is_refused(name):
    with pytest.raises(EyelineError, match=f"{name} has no middle stages to read"):
        create_network(name, num_classes=2, middle=True)
