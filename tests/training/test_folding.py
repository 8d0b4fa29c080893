"""Batch norm folded into convolutions gives the same answers, and leaves no training mode behind."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from eyeline.networks import create_network, fold_batch_norm


def randomise_statistics(net: nn.Module, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.normal_(0, 0.1, generator=generator)


@pytest.mark.parametrize("name", ["resnet18", "resnet20", "efficientnet_lite0", "mobilenet_v2"])
def test_the_same_answers_without_batch_norm(name):
    net = create_network(name, num_classes=3, in_channels=1).eval()
    randomise_statistics(net)
    x = torch.randn(2, 1, 64, 64)
    with torch.no_grad():
        expected = net(x)
        count = sum(isinstance(module, nn.BatchNorm2d) for module in net.modules())
        assert fold_batch_norm(net, x) == count > 0
        assert not any(isinstance(module, nn.BatchNorm2d) for module in net.modules())
        torch.testing.assert_close(net(x), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
        assert fold_batch_norm(net, x) == 0
    assert torch.equal(net.train()(x), net(x)) or any(isinstance(m, nn.Dropout) for m in net.modules())


def test_gradients_reach_the_folded_kernels():
    net = create_network("resnet20", num_classes=2)
    fold_batch_norm(net, torch.zeros(1, 3, 32, 32))
    net(torch.randn(2, 3, 32, 32)).sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_a_convolution_that_feeds_two_places_is_left_alone():
    class Forked(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3)
            self.norm = nn.BatchNorm2d(2)

        def forward(self, x):
            y = self.conv(x)
            return self.norm(y) + y

    net = Forked().eval()
    randomise_statistics(net)
    x = torch.randn(1, 1, 8, 8)
    with torch.no_grad():
        expected = net(x)
        fold_batch_norm(net, x)
        torch.testing.assert_close(net(x), expected)


def test_a_norm_before_its_convolution_is_left_alone():
    net = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 2, 3))
    assert fold_batch_norm(net, torch.zeros(1, 3, 5, 5)) == 0
    assert isinstance(net[0], nn.BatchNorm2d)


def test_the_mode_of_the_network_is_kept():
    net = create_network("resnet20", num_classes=2).train()
    fold_batch_norm(net, torch.zeros(1, 3, 32, 32))
    assert net.training
