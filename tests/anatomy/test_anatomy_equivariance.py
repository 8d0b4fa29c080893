"""Shifts: exact for multiples of the stride, aliased for others, and what becomes of the verdict."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from eyeline.anatomy import equivariance_error, shift_consistency
from eyeline.errors import EyelineError
from eyeline.networks import create_network


def net_of_strides() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2, padding=1),
        nn.MaxPool2d(2),
    )


def test_zero_for_multiples_of_the_stride_and_not_for_others() -> None:
    rows = equivariance_error(net_of_strides(), torch.rand(2, 3, 72, 72), (0, 1, 2, 4, 8))
    assert {(row.layer, row.stride) for row in rows} == {("1", 1), ("3", 2), ("4", 4), ("5", 8)}
    for row in rows:
        assert row.cells > 0
        assert row.error is not None
        if row.multiple:
            assert row.error < 1e-6, row
        else:
            assert row.error > 0.01, row
        assert row.multiple == (row.shift % row.stride == 0)


def test_a_smoothed_stride_makes_fewer_aliases() -> None:
    """Blur before subsampling (Zhang 2019): the same error, smaller."""
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 8, 3, padding=1)
    images = torch.rand(2, 3, 64, 64)
    plain = equivariance_error(nn.Sequential(conv, nn.AvgPool2d(1, 4)), images, (2,))[-1]
    blurred = equivariance_error(
        nn.Sequential(conv, nn.AvgPool2d(5, 1, 2), nn.AvgPool2d(1, 4)), images, (2,)
    )[-1]
    assert plain.stride == blurred.stride == 4
    assert plain.error is not None
    assert blurred.error is not None
    assert blurred.error < plain.error / 2


def test_a_gate_sees_the_border_and_a_border_without_interior_is_not_judged() -> None:
    net = create_network("mobilenet_v3_small")
    rows = equivariance_error(net, torch.rand(1, 3, 96, 96), (0, 32))
    assert any(row.is_global for row in rows)
    last = rows[-1]
    assert last.stride == 32
    assert last.error is None
    assert last.cells == 0
    assert last.to_dict()["error"] is None


def test_chosen_layers_and_a_network_left_as_it_was() -> None:
    net = create_network("resnet20").train()
    rows = equivariance_error(net, torch.rand(1, 3, 160, 160), (4,), layers=["stage1", "stage2"])
    assert [(row.stride, row.multiple) for row in rows] == [(1, True), (2, True)]
    assert all(row.error is not None and row.error < 1e-5 for row in rows)
    assert net.training


def test_the_verdict_of_an_average_does_not_move_and_that_of_a_position_does() -> None:
    """Pixels on a torus have the same mean wherever they are; one fixed pixel has not."""

    class MeanSign(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            value = x.mean((1, 2, 3)) - 0.5
            return torch.stack([value, -value], 1)

    class Corner(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            value = x[:, 0, 8, 8] - 0.5
            return torch.stack([value, -value], 1)

    torch.manual_seed(0)
    images = (torch.rand(16, 1, 24, 24) > torch.linspace(0.1, 0.9, 16)[:, None, None, None]).float()
    steady = shift_consistency(MeanSign(), images, reach=4)
    assert steady.shifts[0] == (-4, -4)
    assert steady.shifts[-1] == (4, 4)
    assert steady.agreement[4] == 1.0  # no shift
    assert steady.mean > 0.9
    jumpy = shift_consistency(Corner(), images, reach=4, batch=5)
    assert jumpy.mean < steady.mean
    assert jumpy.worst <= min(jumpy.agreement)
    assert jumpy.images == 16
    assert jumpy.to_dict()["mean"] == jumpy.mean


def test_another_rule_for_the_verdict() -> None:
    class Level(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean((2, 3))

    images = torch.full((3, 1, 16, 16), 0.4)
    result = shift_consistency(Level(), images, reach=2, decide=lambda scores: scores[:, 0] > 0.5)
    assert result.mean == 1.0


def test_shifts_that_do_not_fit_are_refused() -> None:
    for shifts in ((-1,), (40,)):
        with pytest.raises(EyelineError, match="shifts") as caught:
            equivariance_error(net_of_strides(), torch.rand(1, 3, 40, 40), shifts)
        assert caught.value.code == "bad_shift"
    with pytest.raises(EyelineError, match="reach of 16"):
        shift_consistency(net_of_strides(), torch.rand(1, 3, 16, 16))
