"""bfloat16 only where it pays, and training in it is training: the same direction, the same bits every time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eyeline.images import read_images
from eyeline.networks import create_network
from eyeline.training import Examples, Normalization, Recipe, fit, use_bfloat16
from eyeline.training.loop import Trainer
from eyeline.training.precision import in_bfloat16

NORMALIZE = Normalization((0.5,), (0.5,))


@pytest.fixture(scope="module")
def digits() -> Examples:
    table = read_images("digits")
    pixels = table.pixels.repeat(2, 1).repeat(2, 2)[:, :, :, :1]
    rows = np.arange(len(table))
    return Examples(
        pixels=np.ascontiguousarray(pixels),
        targets=table.targets,
        classes=10,
        train=rows[:256],
        val=rows[256:512],
        folds=np.arange(256) % 3,
    )


def network():
    torch.manual_seed(0)
    return create_network("resnet20", num_classes=10, in_channels=1)


@pytest.mark.parametrize("able", [{"avx512_bf16": True}, {"amx_bf16": True}, {"avx512_bf16": False}, {}])
def test_auto_takes_it_where_the_processor_has_it(monkeypatch, able):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able, raising=False)
    assert use_bfloat16(Recipe(precision="auto"), "cpu") == any(able.values())
    assert use_bfloat16(Recipe(precision="bfloat16"), "cpu")
    assert not use_bfloat16(Recipe(), "cpu")


def test_dense_layers_run_in_bfloat16_and_depthwise_ones_in_float32():
    net = create_network("mobilenet_v2", num_classes=2, in_channels=1)
    seen = {}
    for name, module in net.named_modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(
                lambda module, x, y, name=name: seen.update({name: (module.groups, y.dtype)})
            )
    x = torch.randn(2, 1, 64, 64)
    with in_bfloat16("cpu", True):
        net(x)
    assert {(groups > 1, dtype) for groups, dtype in seen.values()} == {
        (True, torch.float32),
        (False, torch.bfloat16),
    }
    with in_bfloat16("cpu", False):
        net(x)
    assert {dtype for _, dtype in seen.values()} == {torch.float32}


def gradient(digits, precision):
    recipe = Recipe(batch_size=64, dropout=0.0, precision=precision)
    net = network()
    trainer = Trainer(net, digits, recipe, NORMALIZE, False, 0)
    trainer.train_mode(net)
    x, labels, total = trainer.batch(trainer.order(1)[0], recipe, 1, 0)
    loss = trainer.gradient(net, x, labels, total, recipe)
    assert all(p.dtype == p.grad.dtype == torch.float32 for p in net.parameters())
    return loss, torch.cat([p.grad.flatten() for p in net.parameters()])


def test_it_goes_the_same_way_and_to_the_same_bits(digits):
    (exact, down), (loss, rounded), (_, again) = (
        gradient(digits, precision) for precision in ("float32", "bfloat16", "bfloat16")
    )
    assert loss == pytest.approx(exact, rel=1e-2)
    assert loss != exact
    assert torch.cosine_similarity(down, rounded, dim=0) > 0.97
    assert torch.equal(rounded, again)


def test_it_learns_and_what_ships_is_float32(digits, tmp_path):
    recipe = Recipe(
        epochs=6, learning_rate=5e-3, average_decay=0.8, flips=False, turns=False, precision="bfloat16"
    )
    found = fit(network(), digits, recipe, NORMALIZE, folder=tmp_path)
    assert max(row["val_balanced_accuracy"] for row in found.history) > 0.7
    assert {value.dtype for value in found.network.parameters()} == {torch.float32}
