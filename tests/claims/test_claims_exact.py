"""The exact parts, against published figures and torch itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from eyeline.claims import (
    Check,
    Settings,
    batch_norm,
    claim_names,
    compound,
    equivariance,
    find_claim,
    image_size,
    little_data,
    receptive_field,
    residual,
    separable,
    stacked_kernels,
    weight_sharing,
)
from eyeline.claims.bench import Arm, Bench, arm_facts, new
from eyeline.claims.receptive_field import Step, by_formula, by_gradient, by_table, random_stack, stack
from eyeline.errors import EyelineError


def bench() -> Bench:
    return Bench(Settings(budget=None, seeds=2))


def all_hold(checks: tuple[Check, ...]) -> bool:
    assert checks
    return all(check.holds for check in checks)


@pytest.mark.parametrize("claim", [image_size.CLAIM, equivariance.CLAIM, receptive_field.CLAIM])
def test_exact_claims_hold(claim: object) -> None:
    found = claim.measure(bench())  # type: ignore[attr-defined]
    assert all_hold(found.checks)
    assert found.contrasts == ()
    assert found.charts


# --- receptive field -----------------------------------------------------------------------------------

CONV, POOL = Step(3), Step(2, 2, pool=True)
VGG16 = [CONV, CONV, POOL] * 2 + [CONV, CONV, CONV, POOL] * 3


@pytest.mark.parametrize(
    ("layers", "field"),
    [
        (VGG16, 212),  # google-research/receptive_field, RECEPTIVE_FIELD_TABLE.md
        (VGG16[:3], 6),
        (VGG16[:6], 16),
        (VGG16[:10], 44),
        (VGG16[:14], 100),
        ([Step(11, 4), Step(3, 2, pool=True), Step(5), Step(3, 2, pool=True), CONV, CONV, CONV,
          Step(3, 2, pool=True)], 195),  # AlexNet
        ([Step(3, dilation=2)], 5),
    ],
)  # fmt: skip
def test_the_formula_gives_published_fields(layers: list[Step], field: int) -> None:
    assert by_formula(layers) == field


def test_the_gradient_disproves_a_wrong_formula() -> None:
    """Were strides not multiplied, half of the random stacks would come out otherwise."""
    rng = np.random.default_rng(0)
    stacks = [random_stack(rng) for _ in range(20)]
    naive = [1 + sum(s.dilation * (s.kernel - 1) for s in steps) for steps in stacks]
    sides = [by_formula(steps) + 2 * math.prod(s.stride for s in steps) for steps in stacks]
    found = [
        by_gradient(new(lambda s=s: stack(s), 0), side)[0] for s, side in zip(stacks, sides, strict=True)
    ]  # type: ignore[misc]
    assert found == [by_formula(steps) for steps in stacks]
    assert sum(a != b for a, b in zip(found, naive, strict=True)) >= 8
    assert [by_table(stack(s), side) for s, side in zip(stacks, sides, strict=True)] == found


# --- two 3×3 and one 5×5 --------------------------------------------------------------------------------


def test_two_small_kernels_see_and_cost_what_is_claimed() -> None:
    assert all_hold(stacked_kernels.exact_checks())
    assert pytest.approx(0.28) == 1 - 18 / 25
    two, one, even, linear = (arm_facts(arm) for arm in stacked_kernels.ARMS)
    assert two.parameters == linear.parameters
    assert one.parameters / two.parameters > 1.3
    assert abs(even.parameters / two.parameters - 1) <= stacked_kernels.EQUAL


def test_the_composed_kernel_is_that_of_numpy() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 3, 3))
    image = rng.normal(size=(9, 9))

    def conv(x: np.ndarray, k: np.ndarray) -> np.ndarray:
        return F.conv2d(torch.tensor(x)[None, None], torch.tensor(k)[None, None])[0, 0].numpy()

    product = np.zeros((5, 5))  # a product of polynomials in two variables
    for i in range(3):
        for j in range(3):
            product[i : i + 3, j : j + 3] += first[i, j] * second
    assert np.allclose(conv(conv(image, first), second), conv(image, product))
    assert stacked_kernels.composed()[0] < 1e-12


# --- the other claims' equal cost ------------------------------------------------------------------------


def test_a_locally_connected_layer_with_equal_kernels_is_a_convolution() -> None:
    layer, conv = weight_sharing.LocallyConnected(3, 5, 14), nn.Conv2d(3, 5, 3, 2, 1)
    assert conv.bias is not None
    with torch.no_grad():
        layer.weight.copy_(conv.weight.flatten(1).expand_as(layer.weight))
        layer.bias.copy_(conv.bias[:, None, None].expand_as(layer.bias))
    x = torch.randn(2, 3, 14, 14)
    assert torch.allclose(layer(x), conv(x), atol=1e-5)


def test_arms_of_weight_sharing_cost_the_same() -> None:
    facts = tuple(arm_facts(arm) for arm in weight_sharing.ARMS)
    assert all_hold(weight_sharing.equal_cost(facts))
    assert facts[1].parameters > 5 * facts[0].parameters


def test_shares_of_initial_statistics_are_powers_of_nine_tenths() -> None:
    norm = nn.BatchNorm2d(1)
    for step in range(1, 45):
        norm(torch.full((2, 1, 3, 3), 7.0) + torch.randn(2, 1, 3, 3) * 0)
        if step in batch_norm.STEPS:
            assert norm.running_mean is not None
            assert float(norm.running_mean) == pytest.approx(7 * (1 - 0.9**step), rel=1e-4)
    assert [round(100 * 0.9**k) for k in (5, 10, 15, 20, 44)] == [59, 35, 21, 12, 1]


def test_batch_norm_in_training_mode_depends_on_the_batch() -> None:
    assert all_hold(batch_norm.exact_checks(torch.randn(64, 1, 14, 14)))


def test_plain_and_residual_networks_cost_the_same() -> None:
    shallow, deep, residual_shallow, residual_deep = (arm_facts(arm) for arm in residual.MAIN)
    assert (shallow.parameters, deep.parameters) == (residual_shallow.parameters, residual_deep.parameters)
    assert (shallow.macs, deep.macs) == (residual_shallow.macs, residual_deep.macs)
    assert round(shallow.macs / 1e6, 2) == 2.12
    assert round(deep.macs / 1e6, 2) == 6.60
    convolutions = [m for m in residual.network(56, True).modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 55  # and the linear layer


def test_a_residual_block_of_zero_weights_is_its_shortcut() -> None:
    block = residual.Block(4, 8, 2, skip=True, norm=False)
    for parameter in block.parameters():
        nn.init.zeros_(parameter)
    x = torch.rand(2, 4, 14, 14)
    y = block(x)
    assert torch.equal(y[:, :4], x[:, :, ::2, ::2])
    assert torch.equal(y[:, 4:], torch.zeros(2, 4, 7, 7))


def test_separable_networks_cost_what_the_formula_says() -> None:
    full, cheap = arm_facts(separable.PLAIN), arm_facts(separable.SEPARABLE)
    assert all_hold(separable.exact_checks(full, cheap))
    wrong = cheap.model_copy(update={"macs": cheap.macs + 1})
    assert not separable.exact_checks(full, wrong)[0].holds
    ratios = [1 / (1 / n + 1 / 9) for n in (32, 64, 128, 512, 1024)]  # what K = 3 saves, by the layer's width
    assert [round(r, 1) for r in ratios] == [7.0, 7.9, 8.4, 8.8, 8.9]


def test_a_speedup_is_measured_on_both_networks() -> None:
    found = separable.measured_speedup(64, rounds=3)
    assert found.shape == (3,)
    assert (found > 0.2).all()


def test_scaled_networks_cost_the_same() -> None:
    costs = [arm_facts(arm).macs for arm in compound.SCALED]
    assert max(costs) / min(costs) < 1.06
    assert np.mean(costs) / arm_facts(compound.BASE).macs == pytest.approx(4, rel=0.03)


def test_convolution_and_transformer_cost_about_the_same() -> None:
    cnn, vit = arm_facts(little_data.CNN), arm_facts(little_data.VIT)
    assert abs(vit.parameters / cnn.parameters - 1) <= little_data.EQUAL
    assert abs(vit.macs / cnn.macs - 1) <= little_data.EQUAL


def test_a_transformer_without_positions_does_not_see_order() -> None:
    net = new(little_data.patches, 0).double().eval()
    x = torch.randn(1, 1, 28, 28, dtype=torch.float64)
    other = x.flip(2).unflatten(2, (4, 7)).flip(3).flatten(2, 3)  # the rows of patches, back to front
    with torch.no_grad():
        assert not torch.allclose(net(x), net(other))
        net.position.zero_()  # type: ignore[operator, union-attr]
        assert torch.allclose(net(x), net(other))


# --- the list --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", claim_names())
def test_every_claim_says_what_it_is(name: str) -> None:
    claim = find_claim(name)
    assert claim.name == name
    for text in (claim.statement, claim.experiment, claim.change, claim.source):
        assert len(text) > 40
        assert text.endswith(".")


def test_an_unknown_claim_names_the_nearest() -> None:
    with pytest.raises(EyelineError, match="did you mean residual"):
        find_claim("residul")


def test_every_arm_can_be_described() -> None:
    arms: list[Arm] = [
        *stacked_kernels.ARMS,
        *compound.SCALED,
        little_data.STEM,
        batch_norm.ARM,
        *residual.BARE[:1],
    ]
    assert all(arm_facts(arm).macs > 0 for arm in arms)
