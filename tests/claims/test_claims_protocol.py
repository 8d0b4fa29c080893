"""The protocol: what arms share, what the budget changes, and that it finds what is planted and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from eyeline.claims import Settings, contrast
from eyeline.claims.bench import (
    RATES,
    Arm,
    Bench,
    Cell,
    Race,
    accuracy,
    arm_facts,
    fit,
    new,
    training_loss,
)
from eyeline.claims.judging import LEVEL
from eyeline.claims.pictures import load_pictures, permuted, resized, shifted

from .planted import Columns, planted

SEES = Arm(name="sees", build=Columns, side=28)
TWIN = Arm(name="twin", build=lambda: Columns(other=True), side=28)
BLIND = Arm(name="blind", build=lambda: Columns(blind=True), side=28)


def race(arms: tuple[Arm, ...], seeds: int = 5, steps: int = 40, **options: object) -> tuple[Bench, Race]:
    bench = Bench(Settings(budget=None, seeds=seeds), planted(), **options)  # type: ignore[arg-type]
    return bench, bench.race([Cell(arm=arm, images=200, steps=steps) for arm in arms])


def test_a_planted_effect_is_found_and_its_opposite_refuted() -> None:
    _, found = race((SEES, BLIND))
    difference = found.accuracy("sees", 200) - found.accuracy("blind", 200)
    assert difference.mean() > 0.2  # half of the bars are out of sight
    assert contrast("", "", difference, margin=0.01).verdict == "holds"
    assert contrast("", "", -difference, margin=0.01).verdict == "fails"


def test_a_planted_null_is_not_found() -> None:
    """Arms that differ in their initial weights alone: real training noise, grouped into experiments of five."""
    pictures = planted(strength=0.5)

    def trained(arm: Arm, seed: int) -> float:
        net = new(arm.build, seed)
        fit(net, pictures.drawn(seed, 60, 20), steps=12, rate=0.01, seed=seed, batch=10)
        return accuracy(net, pictures.tested(seed, 60))

    noise = np.array([trained(SEES, seed) - trained(TWIN, seed) for seed in range(60)])
    assert len(np.unique(noise)) > 5
    assert abs(noise.mean()) < 4 * noise.std() / np.sqrt(len(noise))
    rng, draws = np.random.default_rng(0), 2000
    verdicts = [
        contrast("", "", rng.choice(noise - noise.mean(), 5), margin=0.0).verdict for _ in range(draws)
    ]
    wrong = draws - verdicts.count("inconclusive")
    assert wrong <= stats.binom.ppf(0.999, draws, LEVEL)


def test_arms_are_paired() -> None:
    again = Arm(name="again", build=Columns, side=28)
    _, found = race((SEES, again), seeds=2, steps=10)
    assert found.runs["sees", 200] == found.runs["again", 200]  # same weights, pictures, order, tests
    assert found.arms[0].rates == found.arms[1].rates


def test_pictures_that_are_moved_about_are_moved_in_training_and_in_tests() -> None:
    """A bar's place tells its class, and they stand two pixels apart: moved by two, half of that is lost."""
    moved = Arm(name="moved", build=Columns, side=28, scattered=2)
    _, found = race((SEES, moved), seeds=2, steps=60)
    assert found.accuracy("moved", 200).max() < found.accuracy("sees", 200).min() - 0.2


def test_the_number_of_workers_changes_nothing() -> None:
    one, two = (race((SEES, BLIND), seeds=2, steps=10, workers=n)[1] for n in (1, 2))
    assert one.runs == two.runs


def test_rates_come_from_the_grid_and_from_validation_alone() -> None:
    bench, found = race((SEES,), seeds=2, steps=30)
    assert set(found.arms[0].rates) <= set(RATES["adamw"])
    images, labels = bench.pictures.test
    spoiled = Bench(bench.settings, planted())
    spoiled.pictures.test[1].copy_(labels.flip(0))
    other = spoiled.race([Cell(arm=SEES, images=200, steps=30)])
    assert other.arms[0].rates == found.arms[0].rates
    assert other.accuracy("sees", 200).mean() < found.accuracy("sees", 200).mean()
    assert len(images) == len(labels)


def test_a_budget_shortens_all_arms_alike_and_is_told() -> None:
    bench = Bench(Settings(budget=0.01, seeds=2), planted())
    bench.race([Cell(arm=SEES, images=100, steps=5000)])
    assert bench.share < 0.05
    assert bench.steps(5000) < 300
    free = Bench(Settings(budget=1e6, seeds=2), planted())
    free.race([Cell(arm=SEES, images=100, steps=6)])
    assert free.share == 1.0


def test_the_full_protocol_takes_three_times_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []

    def count(net: nn.Module, part: object, *, steps: int, **_: object) -> None:
        taken.append(steps)

    monkeypatch.setattr("eyeline.claims.bench.fit", count)
    cells = [Cell(arm=SEES, images=100, steps=30)]
    for full in (False, True):
        Bench(Settings(budget=None, seeds=2, full=full), planted(), workers=1).race(cells)
    assert sorted(taken) == [10] * 3 + [30] * 5 + [90] * 2


def test_an_interruption_ends_the_race() -> None:
    def stop(stage: str, done: int, total: int, note: str) -> None:
        raise KeyboardInterrupt

    bench = Bench(Settings(budget=None, seeds=5), planted(), progress=stop)
    with pytest.raises(KeyboardInterrupt):
        bench.race([Cell(arm=SEES, images=100, steps=400)])
    with pytest.raises(KeyboardInterrupt):
        bench.check_stop()


def test_training_lowers_the_loss_and_weights_depend_on_the_seed_alone() -> None:
    pictures = planted()
    before = torch.random.get_rng_state()
    nets = [new(Columns, seed) for seed in (3, 3, 4)]
    assert torch.equal(torch.random.get_rng_state(), before)
    first, same, other = (net.linear.weight for net in nets)  # type: ignore[union-attr]
    assert torch.equal(first, same)  # type: ignore[arg-type]
    assert not torch.equal(first, other)  # type: ignore[arg-type]
    untrained = training_loss(nets[0], pictures.train)
    fit(nets[0], pictures.train, steps=60, rate=0.01, seed=0)
    assert training_loss(nets[0], pictures.train) < 0.8 * untrained


def test_a_rate_of_zero_and_too_large_a_rate_stay_finite() -> None:
    pictures, net = planted(), new(Columns, 0)
    fit(net, pictures.train, steps=5, rate=1e30, seed=0, optimizer="sgd")
    assert training_loss(net, pictures.train) <= 1e6


def test_cost_is_that_of_the_layer_table() -> None:
    facts = arm_facts(SEES)
    assert (facts.parameters, facts.macs) == (28 * 10 + 10, 28 * 10)


# --- pictures ------------------------------------------------------------------------------------------


def test_seeds_share_no_picture() -> None:
    pictures = planted(600)
    drawn = [pictures.drawn(seed, 5, 100)[0].flatten(1) for seed in range(5)]
    tested = [pictures.tested(seed, 5)[0].flatten(1) for seed in range(5)]
    for parts, count in ((drawn, 500), (tested, 600)):
        whole = torch.cat(parts)
        assert len(torch.unique(whole, dim=0)) == len(whole) == count
    assert torch.equal(pictures.drawn(1, 5, 50)[0], pictures.drawn(1, 5, 100)[0][:50])  # nested in size
    assert len(pictures.drawn(1, 5, 300)[0]) == 300  # more than there are: drawn at random instead


def test_digits_are_cut_into_three_parts() -> None:
    pictures = load_pictures("digits")
    sizes = [len(part[1]) for part in (pictures.train, pictures.validation, pictures.test)]
    assert sum(sizes) == 1797
    assert sizes[2] == round(0.25 * 1797)
    assert pictures.train[0].shape[1:] == (1, 28, 28)
    assert pictures.classes == 10
    whole = torch.cat([part[0].flatten(1) for part in (pictures.train, pictures.validation, pictures.test)])
    assert len(torch.unique(whole, dim=0)) == len(whole)


def test_permuting_keeps_every_value_and_is_always_the_same() -> None:
    images = torch.randn(3, 1, 14, 14)
    other = permuted(images)
    assert torch.equal(other, permuted(images))
    assert torch.equal(other.flatten(1).sort()[0], images.flatten(1).sort()[0])
    assert (other != images).float().mean() > 0.9


def test_shifting_moves_whole_pixels_and_repeats_the_border() -> None:
    image = torch.zeros(1, 1, 9, 9)
    image[0, 0, 4, 4] = 1
    moved = shifted(image.repeat(400, 1, 1, 1), np.random.default_rng(0))
    places = {(int(i), int(j)) for _, _, i, j in torch.nonzero(moved)}
    assert places == {(i, j) for i in range(2, 7) for j in range(2, 7)}
    assert torch.equal(shifted(torch.ones(4, 1, 9, 9), np.random.default_rng(0)), torch.ones(4, 1, 9, 9))


def test_resizing_to_half_averages() -> None:
    images = torch.randn(2, 1, 28, 28)
    assert resized(images, 28) is images
    assert resized(images, 14).mean() == pytest.approx(float(images.mean()), abs=0.03)
    assert torch.allclose(resized(torch.full((1, 1, 28, 28), 0.3), 18), torch.full((1, 1, 18, 18), 0.3))
