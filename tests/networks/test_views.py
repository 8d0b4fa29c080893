"""Views are the symmetries of a square, their average is a mean of logits, and the evidence stays exact."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eyeline.errors import EyelineError
from eyeline.networks import VIEWS, Views, create_network
from eyeline.networks.views import unview, view


def test_the_eight_views_are_the_dihedral_group():
    x = torch.arange(9.0).reshape(3, 3)
    square = x.numpy()
    group = {np.rot90(s, k).tobytes() for s in (square, square.T) for k in range(4)}
    views = [view(x, k).contiguous().numpy().tobytes() for k in range(8)]
    assert len(set(views)) == 8
    assert set(views) == group
    np.testing.assert_array_equal(view(x, 1), np.rot90(square, 2))  # two views: the image and its half turn
    assert {view(x, k).contiguous().numpy().tobytes() for k in range(4)} == {
        s.tobytes() for s in (square, square[::-1], square[:, ::-1], square[::-1, ::-1])
    }


@pytest.mark.parametrize("number", range(8))
def test_a_view_is_taken_back(number):
    x = torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(unview(view(x, number), number), x, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "vit_ti_16"])
@pytest.mark.parametrize("views", VIEWS)
def test_logits_are_the_mean_over_the_views(name, views):
    torch.manual_seed(0)
    size = 224 if name.startswith("vit") else 64
    net = create_network(name, num_classes=3, image_size=(size, size)).eval()
    x = torch.randn(2, 3, size, size)
    with torch.no_grad():
        expected = torch.stack([net(view(x, k)) for k in range(views)]).mean(0)
        found = Views(net, views)(x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_turned_image_gives_the_same_logits_and_the_turned_map():
    torch.manual_seed(0)
    net = Views(create_network("resnet20", num_classes=2).eval(), 8)
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(net(x.rot90(1, (2, 3))), net(x), rtol=1e-4, atol=1e-5)
        turned = net.forward_features(x.rot90(1, (2, 3)))
        torch.testing.assert_close(turned, net.forward_features(x).rot90(1, (2, 3)), rtol=1e-4, atol=1e-5)


def test_eight_views_need_a_square():
    net = Views(create_network("resnet20", num_classes=2).eval(), 8)
    with pytest.raises(EyelineError, match="square images, not 32x48"):
        net(torch.randn(1, 3, 32, 48))
    with pytest.raises(EyelineError, match="views is 3; allowed: 1, 2, 4, 8"):
        Views(net, 3)
