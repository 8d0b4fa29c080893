"""Batch-norm health against statistics calculated by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from eyeline.anatomy import batch_norm_findings, batch_norm_health, reestimate_batch_norm
from eyeline.anatomy.batchnorm import initial_share
from eyeline.errors import EyelineError
from eyeline.networks import create_network


def trained(steps: int, images: torch.Tensor, momentum: float | None = 0.1) -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, momentum=momentum), nn.ReLU()).train()
    with torch.no_grad():
        for _ in range(steps):
            net(images)
    return net.eval()


def test_the_share_left_is_what_is_left() -> None:
    """On constant batches the running mean is ``(1 - share)`` of the batch mean, for it starts at 0."""
    torch.manual_seed(1)
    images = torch.rand(8, 3, 6, 6) + 3
    for steps in (1, 5, 20):
        net = trained(steps, images)
        row = batch_norm_health(net, images)[0]
        assert row.steps == steps
        assert row.initial_share == pytest.approx(0.9**steps)
        mean = net[0](images).mean((0, 2, 3))
        assert torch.allclose(net[1].running_mean, (1 - row.initial_share) * mean, rtol=1e-4)  # type: ignore[arg-type]
    assert initial_share(None, 0) == 1
    assert initial_share(None, 3) == 0
    assert initial_share(0.1, 0) == 1


def test_statistics_of_the_same_images_are_healthy() -> None:
    images = torch.rand(16, 3, 8, 8)
    row = batch_norm_health(trained(100, images), images)[0]
    assert row.healthy
    assert row.mean_shift == pytest.approx(0, abs=1e-3)
    assert row.variance_ratio == pytest.approx(1, abs=5e-3)
    assert batch_norm_findings([row]) == []


def test_other_data_are_noticed() -> None:
    images = torch.rand(16, 3, 8, 8)
    row = batch_norm_health(trained(100, images), images * 3 + 2)[0]
    assert not row.healthy
    assert row.mean_shift > 1
    assert row.variance_ratio == pytest.approx(1 / 9, rel=0.05)
    sentence = batch_norm_findings([row])[0]
    assert "made for other data" in sentence
    assert row.to_dict()["healthy"] is False


def test_too_few_steps_and_dead_channels_are_noticed() -> None:
    images = torch.rand(16, 3, 8, 8)
    net = trained(10, images)
    with torch.no_grad():
        net[0].weight[2] = 0  # type: ignore[index]
    rows = batch_norm_health(net, images)
    assert rows[0].dead == 1
    sentences = batch_norm_findings(rows)
    assert "35% of their initial statistics after 10 steps" in sentences[0]
    assert "1 of 4 normalised channels never vary" in sentences[-1]


def test_reestimation_gives_the_statistics_of_the_images() -> None:
    torch.manual_seed(0)
    images = torch.rand(33, 3, 8, 8)  # 32 and one: the last image joins the batch before it
    net = trained(3, torch.rand(4, 3, 8, 8) - 5)
    weight = net[0].weight.clone()  # type: ignore[operator]
    reestimate_batch_norm(net, images)
    outputs = net[0](images)
    assert torch.allclose(net[1].running_mean, outputs.mean((0, 2, 3)), atol=1e-5)  # type: ignore[arg-type]
    assert torch.allclose(net[1].running_var, outputs.var((0, 2, 3)), atol=1e-5)  # type: ignore[arg-type]
    assert net[1].momentum == 0.1
    assert torch.equal(net[0].weight, weight)  # type: ignore[arg-type]
    assert not net.training


def test_health_changes_nothing_and_goes_through_a_network() -> None:
    torch.manual_seed(0)
    net = create_network("resnet20").eval()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    rows = batch_norm_health(net, torch.rand(8, 3, 32, 32))
    assert len(rows) == sum(isinstance(m, nn.BatchNorm2d) for m in net.modules())
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert batch_norm_health(create_network("convnext_atto"), torch.rand(2, 3, 64, 64)) == []


def test_one_image_is_refused() -> None:
    with pytest.raises(EyelineError, match="at least 2"):
        batch_norm_health(nn.Sequential(nn.BatchNorm2d(3)), torch.rand(1, 3, 8, 8))


def test_batch_norms_without_statistics_are_left_out() -> None:
    net = nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False), nn.BatchNorm2d(3))
    rows = batch_norm_health(net, torch.rand(4, 3, 8, 8))
    assert [(row.name, row.steps, row.initial_share) for row in rows] == [("1", 0, 1.0)]
