"""Skipped blocks: rates that rise linearly with depth, only where there is a way around."""

from __future__ import annotations

import pytest
import torch

from eyeline.errors import EyelineError
from eyeline.networks import DropPath, create_network
from eyeline.training import Recipe
from eyeline.training.stochastic_depth import set_drop_path


def rates(net) -> list[float]:
    return [module.rate for module in net.modules() if isinstance(module, DropPath)]


def test_it_is_the_rule_the_networks_are_built_with():
    built = create_network("resnet20", num_classes=2, drop_path=0.3)
    later = create_network("resnet20", num_classes=2)
    assert set_drop_path(later, 0.3) == 9
    assert rates(later) == pytest.approx(rates(built))
    assert rates(later)[-1] == 0.3


def test_blocks_without_a_way_around_are_not_counted():
    net = create_network("efficientnet_lite0", num_classes=2)
    skipped = set_drop_path(net, 0.2)
    assert 0 < skipped < len(rates(net))
    used = [m.drop_path.rate for m in net.modules() if getattr(m, "skip", False)]
    torch.testing.assert_close(torch.tensor(used), torch.linspace(0, 0.2, skipped))


def test_nothing_changes_when_off():
    net = create_network("resnet20", num_classes=2, drop_path=0.3)
    before = rates(net)
    assert set_drop_path(net, Recipe().drop_path) == 0
    assert rates(net) == before


@pytest.mark.parametrize("name", ["lenet5", "plain20"])
def test_a_network_without_residual_blocks_is_named(name):
    net = create_network(name, num_classes=2, in_channels=1)
    with pytest.raises(EyelineError, match=f"{name} has no residual blocks") as caught:
        set_drop_path(net, 0.1)
    assert caught.value.code == "bad_recipe"
