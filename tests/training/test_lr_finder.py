"""The learning-rate finder leaves no trace, and reads a curve as fastai does."""

from __future__ import annotations

import bisect
import json
import random

import numpy as np
import pytest
import torch

from eyeline.errors import EyelineError
from eyeline.images import read_images
from eyeline.networks import create_network
from eyeline.training import Examples, Normalization, Recipe, find_learning_rate, fit
from eyeline.training.checkpoint import load_checkpoint
from eyeline.training.lr_finder import steepest, valley

NORMALIZE = Normalization((0.5,), (0.5,))
RECIPE = Recipe(epochs=1, batch_size=16, learning_rate=5e-3)


@pytest.fixture(scope="module")
def digits() -> Examples:
    table = read_images("digits")
    part = table.select(np.flatnonzero(np.isin(table.targets, [0, 8]))[:96])
    rows = np.arange(96)
    return Examples(
        pixels=np.ascontiguousarray(part.pixels.repeat(2, 1).repeat(2, 2)[:, :, :, :1]),
        targets=(part.targets > 0).astype(np.int64),
        classes=2,
        train=rows[:48],
        val=rows[48:],
        folds=rows[:48] % 3,
    )


def network():
    torch.manual_seed(0)
    return create_network("resnet20", num_classes=2, in_channels=1)


def trace(net) -> list[object]:
    """Every bit that a search could have moved."""
    return [
        {name: value.clone() for name, value in net.state_dict().items()},
        [p.requires_grad for p in net.parameters()],
        [None if p.grad is None else p.grad.clone() for p in net.parameters()],
        [(type(m), m.training) for m in net.modules()],
        torch.get_rng_state(),
        np.random.get_state()[1].copy(),
        random.getstate(),
    ]


def same(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def test_no_trace_is_left(digits, tmp_path):
    net, untouched = network(), network()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    net(torch.ones(2, 1, 16, 16)).sum().backward()
    optimizer.step()
    with torch.no_grad():
        net.load_state_dict(untouched.state_dict())
    before = trace(net)
    moments = [{k: v.clone() for k, v in state.items()} for state in optimizer.state.values()]
    found = find_learning_rate(net, digits, RECIPE, NORMALIZE, steps=12)
    assert len(found.rates) >= 5
    assert same(before, trace(net))
    assert same(moments, [dict(state) for state in optimizer.state.values()])
    net.zero_grad()
    fit(net, digits, RECIPE, NORMALIZE, folder=tmp_path / "after")
    fit(untouched, digits, RECIPE, NORMALIZE, folder=tmp_path / "never")
    after, never = (load_checkpoint(tmp_path / name / "checkpoints").tensors for name in ("after", "never"))
    assert same(after, never)


def test_the_curve_explodes_and_the_suggestion_lies_below(digits):
    found = find_learning_rate(network(), digits, RECIPE, NORMALIZE, low=1e-5, high=1e3, steps=40)
    assert found.exploded
    np.testing.assert_allclose(found.rates, np.geomspace(1e-5, 1e3, 40)[: len(found.rates)])
    assert found.rates[0] < found.valley < found.rates[-1]
    assert found.steepest in found.rates
    assert found.smoothed[0] == pytest.approx(found.losses[0])
    average = 0.98 * (0.02 * found.losses[0]) + 0.02 * found.losses[1]
    assert found.smoothed[1] == pytest.approx(average / (1 - 0.98**2))
    json.dumps(found.to_dict(), allow_nan=False)
    again = find_learning_rate(
        network(), digits, RECIPE.replace(learning_rate=0.0), NORMALIZE, low=1e-5, high=1e3, steps=40
    )
    assert np.array_equal(again.losses, found.losses), "the recipe's own rate makes no difference"


def longest_descents(losses) -> list[int]:
    """Length of the longest decreasing subsequence of each prefix, by patience sorting."""
    piles: list[float] = []  # the largest last value of a descent of each length, negated
    lengths = []
    for loss in losses:
        place = bisect.bisect_left(piles, -loss)
        piles[place : place + 1] = [-loss]
        lengths.append(len(piles))
    return lengths


def fastai_valley(rates, losses):
    """The rule of fastai 2.8: a third and a half of a third into the window as long as the descent."""
    lengths = longest_descents(losses)
    end = lengths.index(max(lengths))
    third = max(lengths) / 3
    return rates[end - max(lengths) + int(third) + int(third / 2)]


@pytest.mark.parametrize("seed", range(20))
def test_the_valley_is_fastais(seed):
    rng = np.random.default_rng(seed)
    rates = np.geomspace(1e-7, 10, 80)
    losses = (
        1 / (1 + np.exp(np.linspace(-4, 4, 80))) + np.linspace(0, 1.2, 80) ** 12 + rng.normal(0, 0.03, 80)
    )
    assert valley(rates, losses) == pytest.approx(fastai_valley(rates, losses))


def test_the_steepest_point_of_a_known_curve():
    rates = np.geomspace(1e-6, 1, 200)
    losses = -np.tanh(2 * (np.log10(rates) + 3))  # falls fastest at 1e-3
    assert steepest(rates, losses) == pytest.approx(1e-3, rel=0.1)
    assert valley(rates, losses[::-1]) == rates[0], "a loss that only rises has no valley"


@pytest.mark.parametrize("wrong", [{"low": 0.0}, {"low": 2.0, "high": 1.0}, {"steps": 3}])
def test_wrong_ranges_are_refused(digits, wrong):
    with pytest.raises(EyelineError, match="allowed"):
        find_learning_rate(network(), digits, RECIPE, NORMALIZE, **wrong)
