"""The loop learns, chooses by validation alone, and goes on after an interruption to the very same bits."""

from __future__ import annotations

import itertools
import json
import os
import signal

import numpy as np
import pytest
import torch

from eyeline.errors import EyelineError, Interrupted
from eyeline.images import read_images, split_images
from eyeline.networks import create_network
from eyeline.training import (
    Examples,
    Normalization,
    Recipe,
    embed_pixels,
    fit,
    head_logits,
    predict_logits,
)
from eyeline.training.balance import class_weights, undo_balance
from eyeline.training.loop import Trainer
from eyeline.training.plan import make_plan, parameter_groups, steps_for_budget

NORMALIZE = Normalization((0.5,), (0.5,))
QUICK = Recipe(
    epochs=2, batch_size=32, learning_rate=5e-3, average_decay=0.5, turns=False, flips=False, shift=0.0
)


@pytest.fixture(scope="module")
def digits() -> Examples:
    """Handwritten zeros against eights, 8 x 8 pixels enlarged to 16 x 16."""
    table = read_images("digits")
    rows = np.flatnonzero(np.isin(table.targets, [0, 8]))
    part = table.select(rows)
    splits = np.array(split_images(part, fractions=(0.5, 0.25, 0.25)))
    pixels = part.pixels.repeat(2, 1).repeat(2, 2)[:, :, :, :1]
    return Examples(
        pixels=np.ascontiguousarray(pixels),
        targets=(part.targets > 0).astype(np.int64),
        classes=2,
        train=np.flatnonzero(splits == "train")[:96],
        val=np.flatnonzero(splits == "val"),
        folds=np.arange(96) % 3,
    )


def network():
    torch.manual_seed(0)
    return create_network("resnet20", num_classes=2, in_channels=1)


def bits(net) -> bytes:
    return b"".join(value.contiguous().numpy().tobytes() for value in net.state_dict().values())


def test_it_learns_and_validation_chooses_the_epoch(digits, tmp_path):
    found = fit(network(), digits, QUICK.replace(epochs=4), NORMALIZE, folder=tmp_path)
    aurocs = [row["val_auroc"] for row in found.history]
    assert [row["epoch"] for row in found.history] == [0, 1, 2, 3, 4]
    assert found.best_epoch == int(np.argmax(aurocs))
    assert max(aurocs) > 0.9
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows == list(found.history)
    assert not found.network.training


def test_the_same_seed_gives_the_same_bits_and_another_does_not(digits, tmp_path):
    one = QUICK.replace(epochs=1)
    runs = [
        bits(fit(network(), digits, one, NORMALIZE, folder=tmp_path / name, seed=seed).network)
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert runs[0] == runs[1] != runs[2]


@pytest.fixture(scope="module")
def whole(digits, tmp_path_factory):
    """A run that nobody interrupted."""
    return fit(network(), digits, QUICK, NORMALIZE, folder=tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize(
    ("stop_at", "number"), [(2, signal.SIGINT), (3, signal.SIGTERM), (4, signal.SIGINT), (6, signal.SIGTERM)]
)
def test_interrupted_and_resumed_is_never_interrupted(whole, digits, tmp_path, stop_at, number):
    """Inside epochs and at their ends: three steps an epoch."""
    assert whole.plan.steps_per_epoch == 3

    def interrupt(stage, done, total, note):
        if stage == "training" and done == stop_at:
            os.kill(os.getpid(), number)

    folder = tmp_path / "stopped"
    with pytest.raises(Interrupted, match=f"after step {stop_at} of 6"):
        fit(network(), digits, QUICK, NORMALIZE, folder=folder, progress=interrupt)
    resumed = fit(network(), digits, QUICK, NORMALIZE, folder=folder, resume=True)
    assert bits(resumed.network) == bits(whole.network)
    same = [{k: v for k, v in row.items() if k != "seconds"} for row in whole.history]
    assert [{k: v for k, v in row.items() if k != "seconds"} for row in resumed.history] == same
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [0, 1, 2]


def test_a_loss_that_is_not_finite_stops_with_a_hint(digits, tmp_path):
    wild = QUICK.replace(learning_rate=1.0, clip=1e30, epochs=50)
    net = network()
    with torch.no_grad():
        net.head.weight.mul_(1e38)
    with pytest.raises(EyelineError, match="learning_rate") as caught:
        fit(net, digits, wild, NORMALIZE, folder=tmp_path)
    assert caught.value.code == "diverged"


def test_zero_epochs_is_the_network_as_it_came(digits, tmp_path):
    net = network()
    before = bits(net.eval())
    found = fit(net, digits, QUICK.replace(epochs=0, balance="none"), NORMALIZE, folder=tmp_path)
    assert found.best_epoch == 0
    assert bits(found.network) == before


def test_a_budget_too_short_for_a_step_is_no_training(digits, tmp_path):
    """A network that knows nothing would be shipped; only a fitted head is an answer (see cross-fitting)."""
    with pytest.raises(EyelineError, match="too little for a single step") as caught:
        fit(network(), digits, QUICK, NORMALIZE, folder=tmp_path / "new", budget=0.0)
    assert caught.value.code == "bad_option"
    assert not (tmp_path / "new" / "checkpoints").exists()


def test_a_budget_becomes_steps_and_leaves_the_network_alone(digits):
    net = network()
    trainer = Trainer(net, digits, QUICK, NORMALIZE, False, 0)
    before = bits(net)
    arguments = {"batch_size": 32, "steps_per_epoch": 3, "validation": 90}
    few = steps_for_budget(2.0, trainer.probe, net, **arguments)
    many = steps_for_budget(20.0, trainer.probe, net, **arguments)
    assert 0 < few < many
    assert bits(net) == before


def test_what_else_the_machine_does_for_a_moment_does_not_count(monkeypatch):
    now = 0.0
    monkeypatch.setattr("eyeline.training.plan.time.perf_counter", lambda: now)

    def steps(hiccup):
        counted = 0

        def step(net, number):
            nonlocal now, counted
            counted += 1
            now += 1.0 if hiccup and 2 <= counted <= 4 else 0.1

        return steps_for_budget(
            600.0, step, torch.nn.Identity(), batch_size=32, steps_per_epoch=100, validation=0
        )

    calm = steps(False)
    assert 5900 < calm < 6000
    # What was lost is taken off the time, but the rate is not thought to be that of the hiccup.
    assert calm - 100 < steps(True) < calm


def test_no_time_is_no_step(digits):
    net = network()
    trainer = Trainer(net, digits, QUICK, NORMALIZE, False, 0)
    assert steps_for_budget(0.0, trainer.probe, net, batch_size=32, steps_per_epoch=3, validation=90) == 0


def test_the_rate_rises_and_falls_to_zero():
    plan = make_plan(100, 10, Recipe(warmup=0.1))
    rates = [plan.rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == rates[10] == 1.0
    assert all(a >= b for a, b in itertools.pairwise(rates[10:]))
    assert rates[-1] < 0.001


def test_earlier_stages_learn_slower_and_frozen_ones_not_at_all():
    net = create_network("efficientnet_lite0", num_classes=2, weights="imagenet")
    recipe = Recipe(learning_rate=1e-3, stage_decay=0.5, frozen=0.12, weight_decay=0.1)
    groups = parameter_groups(net, recipe)
    rate = {id(p): group["lr"] for group in groups for p in group["params"]}
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    first, *_, last = net.stage_names
    assert all(id(p) not in rate and not p.requires_grad for p in net.get_submodule(first).parameters())
    assert {rate[id(p)] for p in net.get_submodule(last).parameters()} == {1e-3}
    assert {rate[id(p)] for p in net.get_submodule(net.stage_names[-2]).parameters()} == {5e-4}
    assert rate[id(net.head.weight)] == 1e-3
    assert decay[id(net.head.weight)] == 0.1
    assert decay[id(net.head.bias)] == 0.0


def test_nothing_is_frozen_without_published_weights():
    net = network()
    groups = parameter_groups(net, Recipe(frozen=1.0))
    assert sum(len(group["params"]) for group in groups) == len(list(net.parameters()))


def test_class_balance_is_taken_out_of_the_probabilities(digits):
    """With class weights the optimum is p_w ~ w p; the corrected bias gives p back."""
    recipe = Recipe(balance="weights")
    uneven = Examples(
        pixels=digits.pixels,
        targets=digits.targets,
        classes=2,
        train=np.concatenate([digits.train[digits.targets[digits.train] == 0], digits.train[:10]]),
        val=digits.val,
        folds=digits.folds,
    )
    weights = class_weights(uneven, recipe)
    counts = np.bincount(uneven.targets[uneven.train])
    np.testing.assert_allclose(weights * counts, counts.sum() / 2)
    net = network()
    p = np.array([0.8, 0.2])
    with torch.no_grad():
        net.head.bias.copy_(torch.from_numpy(np.log(weights * p)))
    undo_balance(net, weights)
    np.testing.assert_allclose(torch.softmax(net.head.bias, 0).detach().numpy(), p, rtol=1e-5)
    assert class_weights(uneven, Recipe(balance="none")).tolist() == [1.0, 1.0]


def test_published_weights_start_from_a_fitted_head(tmp_path, digits):
    big = np.ascontiguousarray(digits.pixels.repeat(2, 1).repeat(2, 2))
    examples = Examples(**(digits.__dict__ | {"pixels": big}))
    net = create_network("efficientnet_lite0", num_classes=2, in_channels=1, weights="imagenet")
    found = fit(net, examples, Recipe(epochs=0), Normalization((0.5,), (0.5,)), folder=tmp_path)
    assert found.penalty is not None
    assert found.history[0]["val_auroc"] > 0.95
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in found.network.modules())


def test_the_head_of_a_large_table_is_fitted_to_some_of_it(tmp_path, digits, monkeypatch):
    monkeypatch.setattr("eyeline.training.start.MOST_FITTED", 64)
    big = np.ascontiguousarray(digits.pixels.repeat(2, 1).repeat(2, 2))
    examples = Examples(**(digits.__dict__ | {"pixels": big}))
    net = create_network("efficientnet_lite0", num_classes=2, in_channels=1, weights="imagenet")
    read = []

    def progress(stage, done, total, note):
        if stage == "reading features":
            read.append(total)

    arguments = {"folder": tmp_path, "progress": progress}
    found = fit(net, examples, Recipe(epochs=0), Normalization((0.5,), (0.5,)), **arguments)
    assert set(read) == {64}
    assert found.history[0]["val_auroc"] > 0.9


def test_both_views_and_the_maximum_are_read(digits):
    net = create_network("resnet20", num_classes=2, in_channels=1).eval()
    rows = np.arange(5)
    found = embed_pixels(net, digits.pixels, rows, NORMALIZE, half_turn=True, maximum=True)
    assert found.shape == (2, 5, 2 * net.head.in_features)
    turned = np.ascontiguousarray(digits.pixels[:5, ::-1, ::-1])
    with torch.no_grad():
        for view, pixels in zip(found, (digits.pixels[:5], turned), strict=True):
            last = net.forward_features(NORMALIZE(pixels))
            expected = torch.cat((last.mean((2, 3)), last.amax((2, 3))), 1)
            np.testing.assert_allclose(view, expected.numpy(), rtol=1e-5, atol=1e-6)
    assert embed_pixels(net, digits.pixels, rows, NORMALIZE).shape == (1, 5, net.head.in_features)


def test_the_head_on_what_was_read_says_what_the_network_says(digits):
    net = create_network("resnet20", num_classes=2, in_channels=1).eval()
    rows = np.arange(40)
    read = embed_pixels(net, digits.pixels, rows, NORMALIZE)[0]
    whole = predict_logits(net, digits.pixels, rows, NORMALIZE)
    np.testing.assert_allclose(head_logits(net, read), whole, rtol=1e-5, atol=1e-6)
