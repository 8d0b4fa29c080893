"""Everything switched on together: it learns, resumes inside an epoch to the same bits, and repeats from its seed."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
import torch

from eyeline.errors import Interrupted
from eyeline.images import read_images
from eyeline.networks import create_network
from eyeline.training import Examples, Normalization, Recipe, fit
from eyeline.training.checkpoint import load_checkpoint
from eyeline.training.loop import Trainer
from eyeline.training.plan import make_plan, steps_for_budget
from eyeline.training.stochastic_depth import set_drop_path

NORMALIZE = Normalization((0.5,), (0.5,))
EVERYTHING = Recipe(
    epochs=2,
    batch_size=16,
    learning_rate=5e-3,
    average_decay=0.5,
    balance="sampling",
    focal=1.0,
    soft_labels=True,
    mixup=0.2,
    cutmix=0.5,
    erasing=0.3,
    rand_augment=2,
    magnitude=6.0,
    drop_path=0.1,
    accumulate=2,
    distill=0.3,
    progressive=0.5,
)


@pytest.fixture(scope="module")
def digits() -> Examples:
    """Zeros against few eights, 8 x 8 pixels enlarged to 32 x 32, with doubtful labels and a teacher."""
    table = read_images("digits")
    zeros, eights = (np.flatnonzero(table.targets == kind) for kind in (0, 8))
    part = table.select(np.concatenate([zeros[:60], eights[:50]]))
    targets = (part.targets > 0).astype(np.int64)
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.7, 1, len(targets))
    soft = np.where(targets[:, None] == np.arange(2), sure[:, None], 1 - sure[:, None]).astype(np.float32)
    train = np.concatenate([np.arange(40), np.arange(60, 68)])
    return Examples(
        pixels=np.ascontiguousarray(part.pixels.repeat(4, 1).repeat(4, 2)[:, :, :, :1]),
        targets=targets,
        classes=2,
        train=train,
        val=np.setdiff1d(np.arange(110), train),
        folds=np.arange(len(train)) % 3,
        soft=soft,
        teacher=rng.normal(2 * np.stack([1 - targets, targets], 1), 0.5).astype(np.float32),
        weights=rng.uniform(0.5, 2, len(targets)),
    )


def network():
    torch.manual_seed(0)
    return create_network("resnet20", num_classes=2, in_channels=1)


def bits(net) -> bytes:
    return b"".join(value.contiguous().numpy().tobytes() for value in net.state_dict().values())


def end(folder) -> bytes:
    """Weights, average and optimizer after the last step, whichever epoch was the best."""
    found = load_checkpoint(folder / "checkpoints")
    assert found.step == 6
    return b"".join(value.contiguous().numpy().tobytes() for _, value in sorted(found.tensors.items()))


@pytest.fixture(scope="module")
def whole(digits, tmp_path_factory):
    """The end of a run that nobody interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    fit(network(), digits, EVERYTHING, NORMALIZE, folder=folder)
    return end(folder)


def test_it_learns(digits, tmp_path):
    """From scratch, all at once, on 48 images: validation labels become likelier."""
    recipe = EVERYTHING.replace(accumulate=1)
    found = fit(network(), digits, recipe, NORMALIZE, folder=tmp_path, steps=30)
    losses = [row["val_loss"] for row in found.history]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("stop_at", [2, 4])
def test_interrupted_inside_an_epoch_and_resumed_is_never_interrupted(whole, digits, tmp_path, stop_at):
    def interrupt(stage, done, total, note):
        if stage == "training" and done == stop_at:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        fit(network(), digits, EVERYTHING, NORMALIZE, folder=tmp_path, progress=interrupt)
    fit(network(), digits, EVERYTHING, NORMALIZE, folder=tmp_path, resume=True)
    assert end(tmp_path) == whole


def test_steps_repeat_a_run_and_another_seed_does_not(whole, digits, tmp_path):
    forty = EVERYTHING.replace(epochs=40)
    fit(network(), digits, forty, NORMALIZE, folder=tmp_path / "a", steps=6)
    assert end(tmp_path / "a") == whole
    fit(network(), digits, EVERYTHING, NORMALIZE, folder=tmp_path / "b", seed=1)
    assert end(tmp_path / "b") != whole


@pytest.mark.parametrize(
    "change",
    [
        {"balance": "none"},
        {"focal": 0.0},
        {"mixup": 0.0},
        {"cutmix": 0.0},
        {"erasing": 0.0},
        {"rand_augment": 0},
        {"magnitude": 7.0},
        {"drop_path": 0.0},
        {"distill": 0.0},
        {"temperature": 3.0},
        {"progressive": 1.0},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_option_does_something(digits, tmp_path, change):
    """One step at the same seed ends elsewhere without it."""
    on = EVERYTHING.replace(
        cutmix=0.0 if "mixup" in change else 0.5, mixup=0.0 if "cutmix" in change else 0.2
    )
    ends = []
    for recipe in (on, on.replace(**change)):
        trainer = Trainer(network(), digits, recipe, NORMALIZE, False, 0)
        set_drop_path(trainer.net, recipe.drop_path)
        trainer.train_mode(trainer.net)
        plan = make_plan(4, 3, recipe)
        for step, rows in enumerate(trainer.order(1)):
            trainer.step(rows, 1, step, plan)
        ends.append(bits(trainer.net))
    assert ends[0] != ends[1]


@pytest.mark.parametrize("parts", [2, 3, 16])
def test_a_batch_in_parts_is_the_batch(digits, parts):
    """Gradients of a batch worked off in parts, without dropout and with frozen batch norm."""
    recipe = EVERYTHING.replace(drop_path=0.0, dropout=0.0, batch_norm="freeze", accumulate=1)
    gradients, losses = [], []
    for count in (1, parts):
        trainer = Trainer(network().double(), digits, recipe, NORMALIZE, True, 0)
        trainer.train_mode(trainer.net)
        x, labels, total = trainer.batch(trainer.order(1)[0], recipe, 1, 0)
        losses.append(
            trainer.gradient(trainer.net, x.double(), labels, total, recipe.replace(accumulate=count))
        )
        gradients.append(torch.cat([p.grad.flatten() for p in trainer.net.parameters()]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-6, atol=1e-6)
    assert gradients[0].abs().max() > 1e-3


def test_views_do_not_depend_on_the_batch_they_are_in(digits):
    alone = EVERYTHING.replace(mixup=0.0, cutmix=0.0)
    trainer = Trainer(network(), digits, alone, NORMALIZE, False, 0)
    keys = trainer.order(1)[0]
    together = trainer.batch(keys, alone, 1, 5)[0]
    one = trainer.batch(keys[3:4], alone, 1, 9)[0]
    torch.testing.assert_close(one[0], together[3])


def test_small_sizes_are_part_of_the_measured_rate(digits):
    net = network()
    trainer = Trainer(net, digits, EVERYTHING, NORMALIZE, False, 0)
    seen = []
    net.stem.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape[2]))
    steps_for_budget(
        5.0, trainer.probe, net, batch_size=16, steps_per_epoch=3, validation=62, probes=trainer.probes
    )
    assert set(seen) == {16, 32}
    # One step to warm up, then whole rounds of four sizes.
    assert (len(seen) // EVERYTHING.accumulate - 1) % 4 == 0


def test_progressive_runs_end_at_full_size(digits, tmp_path):
    net = network()
    sizes = []
    net.stem.register_forward_pre_hook(
        lambda module, inputs: sizes.append(inputs[0].shape[2]) if module.training else None
    )
    recipe = EVERYTHING.replace(epochs=1, accumulate=1)
    fit(net, digits, recipe, NORMALIZE, folder=tmp_path, steps=8)
    assert sizes == [16, 16, 16, 16, 32, 32, 32, 32]
