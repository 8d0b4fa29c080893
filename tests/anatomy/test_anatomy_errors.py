"""Bad input ends in one clear line that names the layer, with the table up to there."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from eyeline.anatomy import UntraceableError, describe
from eyeline.errors import EyelineError
from eyeline.networks import create_network
from networks import peers


def refused(net: nn.Module, size: tuple[int, ...]) -> UntraceableError:
    with pytest.raises(UntraceableError) as caught:
        describe(net, size)
    assert "\n" not in str(caught.value)
    return caught.value


def test_the_wrong_number_of_channels() -> None:
    error = refused(peers.create("torchvision", "resnet18"), (1, 64, 64))
    assert error.code == "wrong_channels"
    assert "layer conv1 (Conv2d)" in str(error)
    assert "takes 3 channels, not 1" in str(error)
    assert error.table.layers == ()
    ours = refused(create_network("resnet18"), (1, 64, 64))
    assert "3" in str(ours)
    assert ours.code == "bad_input_shape"


def test_too_small_an_image() -> None:
    error = refused(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 5)), (3, 6, 6))
    assert error.code == "too_small"
    assert "layer 1 (Conv2d)" in str(error)
    assert [row.name for row in error.table.layers] == ["0"]
    pooled = refused(peers.create("torchvision", "alexnet"), (3, 32, 32))
    assert pooled.code == "too_small"
    assert "features" in str(pooled)
    assert len(pooled.table.layers) >= 2
    assert refused(create_network("vgg11"), (3, 16, 16)).code == "image_too_small"


def test_the_wrong_size_for_a_linear_layer() -> None:
    error = refused(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 5)), (1, 9, 9))
    assert error.code == "wrong_size"
    assert "layer 2 (Linear)" in str(error)
    assert "98" in str(error)
    assert error.table.macs == 2 * 9 * 49


def test_a_module_that_fails_is_named() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise KeyError("no such\nthing")

    error = refused(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.ReLU(), Broken())), (3, 8, 8))
    assert error.code == "untraceable"
    assert "layer 1.1 (Broken)" in str(error)
    assert [row.name for row in error.table.layers] == ["0", "1.0"]


def test_a_module_that_needs_the_image_and_refuses_zeros_is_named() -> None:
    class Undecided(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if float(x.sum()) == 0:
                raise ValueError("an empty picture")
            return x

    error = refused(nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), Undecided()), (3, 8, 8))
    assert "layer 1 (Undecided)" in str(error)
    assert str(error).endswith("an empty picture")
    assert [row.name for row in error.table.layers] == ["0", "1"]  # its sum
    assert error.table.notes


def test_what_is_no_network_or_no_size() -> None:
    with pytest.raises(EyelineError, match="not str") as caught:
        describe("resnet18", (3, 64, 64))  # type: ignore[arg-type]
    assert caught.value.code == "bad_network"
    with pytest.raises(EyelineError, match="lazy") as lazy:
        describe(nn.LazyConv2d(4, 3), (3, 8, 8))
    assert lazy.value.code == "bad_network"
    for size in ((3,), (3, 0, 8), (3, 8.0, 8)):
        with pytest.raises(EyelineError, match="input size"):
            describe(nn.ReLU(), size)  # type: ignore[arg-type]
    with pytest.raises(EyelineError, match="batch 0"):
        describe(nn.ReLU(), (3, 8, 8), batch=0)


def test_a_real_run_decides_what_is_said_about_foreign_errors() -> None:
    class Net(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.view(7, -1)

    error = refused(Net(), (3, 4, 4))
    assert "its own forward" in str(error)
    with pytest.raises(RuntimeError) as real:
        torch.zeros(1, 3, 4, 4).view(7, -1)
    assert str(real.value).splitlines()[0] in str(error)
