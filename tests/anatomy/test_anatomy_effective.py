"""The effective receptive field on networks where it can be calculated, and on real ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from eyeline.anatomy import against_untrained, effective_field, untrained_copy
from eyeline.anatomy.effective import shares_text
from eyeline.errors import EyelineError
from eyeline.networks import create_network


def linear_chain(depth: int) -> nn.Sequential:
    """3x3 kernels of equal weights: the influence is the uniform distribution convolved with itself."""
    net = nn.Sequential(*(nn.Conv2d(1, 1, 3, padding=1, bias=False) for _ in range(depth)))
    for layer in net:
        nn.init.constant_(layer.weight, 1 / 9)  # type: ignore[arg-type]
    return net


@pytest.mark.parametrize("depth", [4, 9, 16])
def test_a_linear_chain_is_a_gaussian_of_known_width(depth: int) -> None:
    """Luo et al., section 2: the variance of n uniform kernels adds up to n (k² - 1) / 12, so sigma grows as √n."""
    net = linear_chain(depth).double()
    field = effective_field(net, torch.rand(20, 1, 65, 65, dtype=torch.float64))
    assert field.sigma == pytest.approx(np.sqrt(depth * 8 / 12), rel=1e-9)
    assert field.theoretical == (2 * depth + 1,) * 2
    assert field.center == (32, 32)
    assert field.influence.sum() == pytest.approx(1)
    # A two-dimensional Gaussian holds 50 % within 1.177 sigma and 95 % within 2.448.
    assert field.radius[50] == pytest.approx(1.177 * field.sigma, abs=1)
    assert field.radius[95] == pytest.approx(2.448 * field.sigma, abs=1)
    assert field.spread == pytest.approx(
        {50: 0, 68: 0, 95: 0}, abs=1e-9
    )  # no ReLU: the gradient is the same for every image


def test_it_fills_less_of_a_deeper_field() -> None:
    images = torch.rand(20, 1, 65, 65)
    shares = [effective_field(linear_chain(n), images).radius[95] / (2 * n + 1) for n in (4, 9, 16)]
    assert shares[0] > shares[1] > shares[2]


def test_a_strided_unit_is_where_the_table_says() -> None:
    net = nn.Sequential(nn.Conv2d(1, 1, 4, 4, bias=False), nn.Conv2d(1, 1, 3, padding=1, bias=False)).double()
    for layer in net:
        nn.init.ones_(layer.weight)  # type: ignore[arg-type]
    field = effective_field(net, torch.rand(20, 1, 32, 32, dtype=torch.float64))
    rows, columns = np.indices((32, 32))
    mean = (field.influence * rows).sum(), (field.influence * columns).sum()
    assert mean == pytest.approx(field.center)
    assert field.center == (17.5, 17.5)
    assert field.theoretical == (12, 12)


def test_a_real_network_layer_by_layer() -> None:
    torch.manual_seed(0)
    net = create_network("resnet20").train()
    images = torch.rand(20, 3, 32, 32)
    early, late = (effective_field(net, images, layer=name) for name in ("stage1", "stage2"))
    assert early.sigma < late.sigma
    assert early.radius[50] < early.radius[68] < early.radius[95]
    assert net.training  # left as it was
    assert all(parameter.grad is None for parameter in net.parameters())
    assert all(value > 0 for value in late.spread.values())
    assert "influence" not in late.to_dict()
    assert "95 % within" in shares_text(late)


def test_tokens_have_a_centre_too() -> None:
    torch.manual_seed(0)
    net = create_network("vit_ti_16", image_size=64)
    field = effective_field(net, torch.rand(20, 3, 64, 64))
    assert field.images == 20
    assert field.theoretical == (64, 64)  # global from the first block
    inside = field.influence[32:48, 32:48].sum()  # the unit's own patch
    assert 0.05 < inside < 1


def test_trained_against_untrained() -> None:
    torch.manual_seed(0)
    net = create_network("resnet20").eval()
    with torch.no_grad():
        for module in net.modules():  # "training" that lets every kernel look sideways only
            if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
                module.weight[:, :, 1, 1] *= 0.01
    trained, untrained = against_untrained(net, torch.rand(20, 3, 32, 32), layer="stage2")
    assert trained.layer == untrained.layer
    assert trained.sigma > untrained.sigma


def test_an_untrained_copy_is_reproducible_and_the_original_untouched() -> None:
    net = create_network("resnet20")
    before = {key: value.clone() for key, value in net.state_dict().items()}
    state = torch.random.get_rng_state()
    first, second = untrained_copy(net, seed=1), untrained_copy(net, seed=1)
    other = untrained_copy(net, seed=2)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert torch.equal(first.head.weight, second.head.weight)  # type: ignore[union-attr,arg-type]
    assert not torch.equal(first.head.weight, other.head.weight)  # type: ignore[union-attr,arg-type]


def test_what_is_no_measurement_is_refused() -> None:
    with pytest.raises(EyelineError, match="at least 20") as few:
        effective_field(linear_chain(2), torch.rand(19, 1, 32, 32))
    assert few.value.code == "too_few_images"
    with pytest.raises(EyelineError, match="no layer 'nope'") as unknown:
        effective_field(linear_chain(2), torch.rand(20, 1, 32, 32), layer="nope")
    assert unknown.value.hint is not None
    dead = linear_chain(2)
    nn.init.zeros_(dead[0].weight)  # type: ignore[arg-type]
    with pytest.raises(EyelineError, match="no gradient"):
        effective_field(dead, torch.rand(20, 1, 32, 32))
    with pytest.raises(EyelineError, match="no map"):
        effective_field(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), torch.rand(20, 1, 8, 8))
