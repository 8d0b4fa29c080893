"""Cross-fitting: nobody judges what it saw, nothing is lost on the way, and the better of two ways ships."""

from __future__ import annotations

import copy
import json
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch

from eyeline.errors import Interrupted
from eyeline.images import read_images
from eyeline.networks import create_network
from eyeline.progress import silent
from eyeline.training import Examples, Normalization, Recipe, cross_fit, fit, predict_logits
from eyeline.training.crossfit import FEW, HEAD, TUNED, worth_it
from eyeline.training.start import freeze_batch_norm
from eyeline.verdicts import auroc

NORMALIZE = Normalization((0.5,), (0.5,))
QUICK = Recipe(
    epochs=2, batch_size=16, learning_rate=3e-5, turns=False, flips=False, shift=0.0, balance="none"
)


@pytest.fixture(scope="module")
def digits() -> Examples:
    """Handwritten threes against eights, enlarged to 32 x 32; ten images make a group, groups make the folds."""
    table = read_images("digits")
    rows = np.flatnonzero(np.isin(table.targets, [3, 8]))[:90]
    part = table.select(rows)
    groups = np.arange(90) // 10
    return Examples(
        pixels=np.ascontiguousarray(part.pixels.repeat(4, 1).repeat(4, 2)[:, :, :, :1]),
        targets=(part.targets == 8).astype(np.int64),
        classes=2,
        train=np.arange(90),
        val=np.arange(0),
        folds=groups % 3,
    )


def network():
    torch.manual_seed(0)
    return create_network("efficientnet_lite0", num_classes=2, in_channels=1, weights="imagenet")


def bits(net) -> bytes:
    return b"".join(value.contiguous().numpy().tobytes() for value in net.state_dict().values())


@pytest.fixture(scope="module")
def whole(digits, tmp_path_factory):
    """A run that nobody interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    return cross_fit(network(), digits, QUICK, NORMALIZE, folder=folder, groups=np.arange(90) // 10), folder


def test_each_image_is_judged_by_a_network_that_never_saw_it(digits, whole, tmp_path):
    """Fold 2 trained by hand, without the images of fold 2: the same logits."""
    found, folder = whole
    assert found.tuned is not None
    inside = digits.folds == 1
    others = replace(
        digits, train=digits.train[~inside], folds=np.unique(digits.folds[~inside], return_inverse=True)[1]
    )
    alone = fit(network(), others, QUICK, NORMALIZE, folder=tmp_path, choose_epoch=False)
    from safetensors.torch import load_file

    saved = load_file(folder / "folds" / "2" / "network.safetensors")
    assert bits(alone.network) == b"".join(
        saved[name].contiguous().numpy().tobytes() for name in alone.network.state_dict()
    )
    if found.method == "fine-tuned":
        expected = predict_logits(alone.network, digits.pixels, digits.train[inside], NORMALIZE)
        np.testing.assert_array_equal(found.logits[inside], expected)


def test_the_choice_follows_the_left_out_images(digits, whole):
    found, _ = whole
    score = float(auroc(found.logits[:, 1] - found.logits[:, 0], digits.targets == 1))
    assert score == pytest.approx(found.tuned if found.fine_tuned else found.head)
    assert found.fine_tuned == worth_it(
        found.gain, fewest=np.unique(digits.targets, return_counts=True)[1].min()
    )
    assert found.gain.difference == pytest.approx(found.tuned - found.head)
    assert found.gain.groups == 9
    assert f"{found.gain.difference:+.3f}" in found.text


def test_what_ships_lies_half_way_from_the_mean_of_the_folds_to_a_pass_over_all(digits, whole, tmp_path):
    from safetensors.torch import load_file

    found, folder = whole
    assert found.fine_tuned
    files = [folder / "folds" / name / "network.safetensors" for name in ("1", "2", "3", "all")]
    *folds, last = [load_file(file) for file in files]
    mean = {name: sum(fold[name].double() for fold in folds) / 3 for name in last}
    for name, value in found.fit.network.state_dict().items():
        torch.testing.assert_close(
            value, ((mean[name] + last[name]) / 2).float(), rtol=1e-5, atol=1e-7, msg=name
        )
    # The pass by hand: from the mean, on every image, for 3/8 of a fold's eight steps at a third of the rate.
    start = copy.deepcopy(found.fit.network)
    start.load_state_dict({name: value.float() for name, value in mean.items()})
    recipe = QUICK.replace(fit_head=False, learning_rate=QUICK.learning_rate / 3)
    alone = fit(start, digits, recipe, NORMALIZE, folder=tmp_path, steps=3, choose_epoch=False)
    for name, value in alone.network.state_dict().items():
        torch.testing.assert_close(value, last[name], rtol=1e-5, atol=1e-7, msg=name)
    assert not torch.equal(last["head.weight"], mean["head.weight"].float())
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    expected = [(k, e) for k in (1, 2, 3) for e in (1, 2)] + [("all", 1)]
    assert [(line["fold"], line["epoch"]) for line in lines] == expected
    assert [row["epoch"] for row in found.fit.history] == [0, 1, 2, 3]
    assert found.fit.history[-1]["step"] == 8 + 3


def test_the_last_pass_learns_balanced_and_ships_at_the_shares_of_the_images(digits, tmp_path):
    """With a rate of zero nothing moves: the weights of the classes are put in and taken out again."""
    from eyeline.training.balance import prior_shift
    from eyeline.training.folds import last_pass
    from eyeline.training.plan import make_plan
    from eyeline.training.ranks import ALONE

    few = np.concatenate([np.flatnonzero(digits.targets == 0), np.flatnonzero(digits.targets == 1)[:12]])
    rare = replace(digits, train=few, folds=digits.folds[few])
    recipe = QUICK.replace(balance="weights", learning_rate=0.0)
    assert abs(np.log(prior_shift(rare, recipe))).max() > 0.3
    net = network()
    freeze_batch_norm(net, recipe, torch.zeros(1, 1, 32, 32))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    about = {"folder": tmp_path, "seed": 0, "resume": False, "ranks": ALONE, "progress": silent}
    last_pass(net, rare, recipe, NORMALIZE, plan=make_plan(8, 4, recipe), **about)
    for name, value in net.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=1e-6, atol=1e-6)


def test_the_published_network_ships_with_the_fitted_head_where_fine_tuning_is_worse(digits, tmp_path):
    """A rate that does harm: no pass follows, and no weight but the head's has changed."""
    found = cross_fit(
        network(), digits, QUICK.replace(learning_rate=1e-3, epochs=1), NORMALIZE, folder=tmp_path, seed=0
    )
    assert not found.fine_tuned
    assert not (tmp_path / "folds" / "all").exists()
    plain = network()
    freeze_batch_norm(plain, QUICK, torch.zeros(1, 1, 32, 32))
    for name, value in plain.state_dict().items():
        if not name.startswith("head"):
            assert torch.equal(found.fit.network.state_dict()[name], value)


def test_views_are_kept_where_left_out_images_gain_by_them(digits, tmp_path):
    """The fitted head knows two views, the image and its half turn; fine-tuned networks any."""
    found = cross_fit(
        network(),
        digits,
        QUICK.replace(epochs=1, flips=True),
        NORMALIZE,
        folder=tmp_path,
        groups=np.arange(90) // 10,
        views=4,
    )
    several = 4 if found.method == "fine-tuned" else 2
    assert found.views_gain is not None
    assert found.views == (several if found.views_gain.difference > 0 else 1)
    score = float(auroc(found.logits[:, 1] - found.logits[:, 0], digits.targets == 1))
    one = found.tuned if found.method == "fine-tuned" else found.head
    assert score == pytest.approx(one + max(0.0, found.views_gain.difference))
    assert "views of each image" in found.text


def test_labels_that_nothing_explains_keep_the_fitted_head_or_say_unsure(digits, tmp_path):
    noise = replace(digits, targets=np.random.default_rng(0).permutation(digits.targets))
    found = cross_fit(
        network(), noise, QUICK.replace(epochs=1), NORMALIZE, folder=tmp_path, groups=np.arange(90) // 10
    )
    assert found.method == "fitted head" or "too few to be sure" in found.text


@pytest.mark.parametrize(
    ("difference", "low", "of_few", "of_many"),
    [
        (0.13, -0.22, False, True),
        (0.06, -0.05, True, True),
        (0.18, 0.06, True, True),
        (0.0, 0.0, False, False),
        (-0.1, -0.2, False, False),
    ],
)
def test_of_few_images_the_fitted_head_stays_within_one_standard_error(
    whole, difference, low, of_few, of_many
):
    """Half of a 95 % interval is 1.96 standard errors: 0.18, 0.056, 0.061 here."""
    run, _ = whole
    gain = run.gain.model_copy(update={"difference": difference, "low": low})
    assert worth_it(gain, fewest=FEW) == of_many
    chosen = worth_it(gain, fewest=FEW - 1)
    assert chosen == of_few
    found = replace(run, gain=gain, method=TUNED if chosen else HEAD)
    assert ("too little with fewer than 30 images" in found.text) == (difference > 0 and not chosen)


def test_a_fitted_head_alone_takes_no_steps(digits, tmp_path):
    found = cross_fit(network(), digits, QUICK.replace(epochs=0), NORMALIZE, folder=tmp_path)
    assert (found.method, found.tuned, found.gain, found.fit.plan.steps) == ("fitted head", None, None, 0)
    assert not (tmp_path / "folds").exists()
    seen = predict_logits(found.fit.network, digits.pixels, digits.train, NORMALIZE)
    # Left out, a head does worse than on images it was fitted to, but about as the training set suggests.
    assert found.head <= float(auroc(seen[:, 1] - seen[:, 0], digits.targets == 1))
    assert found.head > 0.8


def test_a_budget_too_short_for_a_step_keeps_the_fitted_head_and_says_so(digits, tmp_path):
    found = cross_fit(network(), digits, QUICK, NORMALIZE, folder=tmp_path, budget=0.0)
    assert (found.method, found.tuned) == ("fitted head", None)
    assert "no time for a single step" in found.fit.notes[0]


@pytest.mark.parametrize("stop_at", [3, 11, 25])
def test_interrupted_in_any_fold_and_resumed_is_never_interrupted(digits, whole, tmp_path, stop_at):
    """Four steps an epoch, eight a fold, three in the last pass."""
    expected, _ = whole

    def interrupt(stage, done, total, note):
        if stage == "training" and done == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)

    groups = np.arange(90) // 10
    with pytest.raises(Interrupted, match=r"fold [12]|last pass") as caught:
        cross_fit(network(), digits, QUICK, NORMALIZE, folder=tmp_path, groups=groups, progress=interrupt)
    assert str(tmp_path) in (caught.value.hint or "")
    resumed = cross_fit(network(), digits, QUICK, NORMALIZE, folder=tmp_path, groups=groups, resume=True)
    assert bits(resumed.fit.network) == bits(expected.fit.network)
    np.testing.assert_array_equal(resumed.logits, expected.logits)
    assert resumed.text == expected.text
