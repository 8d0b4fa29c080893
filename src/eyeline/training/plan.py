"""How many steps, and how fast each part of the network learns."""

from __future__ import annotations

import copy
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from eyeline.networks import Network
from eyeline.training.recipe import Recipe

PROBE_STEPS = 3
PROBE_SHARE, MOST_ROUNDS = 0.02, 25
VALIDATION_COST = 1 / 3  # of an image, against a training step on it: one pass instead of three


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The schedule of one run; recorded, so that a rerun is the same whatever the machine's speed."""

    steps: int
    steps_per_epoch: int
    warmup: int

    def rate(self, step: int) -> float:
        """Learning rate of `step` (from 0) as a share of its peak: a linear rise, then half a cosine to zero."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def make_plan(steps: int, steps_per_epoch: int, recipe: Recipe) -> Plan:
    """A schedule of `steps` steps."""
    return Plan(steps=steps, steps_per_epoch=steps_per_epoch, warmup=max(1, round(recipe.warmup * steps)))


def steps_for_budget(
    seconds: float,
    step: Callable[[Network, int], None],
    net: Network,
    *,
    batch_size: int,
    steps_per_epoch: int,
    validation: int,
    probes: int = PROBE_STEPS,
) -> int:
    """How many training steps fit into `seconds`, validations of `validation` images included.

    The rate is that of numbered steps on a copy of the network, which is then thrown away: the median over rounds of
    `probes` steps, so that what else the machine does for a moment does not count. There are as many rounds as fit into
    a fiftieth of the time, one at least and 25 at most.
    """
    probe = copy.deepcopy(net)
    began = time.perf_counter()
    step(probe, -1)  # the first pass prepares kernels and memory
    rounds: list[float] = []
    while not rounds or (sum(rounds) < PROBE_SHARE * seconds and len(rounds) < MOST_ROUNDS):
        started = time.perf_counter()
        for number in range(probes):
            step(probe, number)
        rounds.append(time.perf_counter() - started)
    per_step = statistics.median(rounds) / probes
    seconds -= time.perf_counter() - began
    per_validation = per_step / batch_size * VALIDATION_COST * validation
    epochs = seconds / (per_step * steps_per_epoch + per_validation)
    return max(0, int(epochs * steps_per_epoch))


def parameter_groups(net: Network, recipe: Recipe) -> list[dict[str, object]]:
    """AdamW's groups: each earlier stage learns slower; only kernels are decayed, never biases and norms.

    Of a network with published weights, the first `recipe.frozen` share of the stages gets no gradient and
    belongs to no group: edges and textures serve as they are, and a step costs less.
    """
    frozen_stages = round(recipe.frozen * len(net.stage_names)) if net.load_report is not None else 0
    rates: dict[torch.nn.Parameter, float] = {}
    for depth, name in enumerate(net.stage_names):
        frozen = depth < frozen_stages
        decay = recipe.stage_decay ** (len(net.stage_names) - 1 - depth)
        for parameter in net.get_submodule(name).parameters():
            parameter.requires_grad_(not frozen)
            rates[parameter] = recipe.learning_rate * decay
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for parameter in net.parameters():
        if parameter.requires_grad:
            rate = rates.get(parameter, recipe.learning_rate)
            decay = recipe.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
    return [
        {"params": parameters, "lr": rate, "peak": rate, "weight_decay": decay}
        for (rate, decay), parameters in groups.items()
    ]
