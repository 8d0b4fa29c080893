"""The learning-rate finder: a short run with a rate that grows until the loss explodes, on a copy.

Smith 2017, "Cyclical learning rates for training neural networks", arXiv 1506.01186, §3.3, with the rules by which
fastai reads the curve. Nothing of it stays: the network, and the generators of torch, NumPy and Python, are afterwards
what they were before, bit for bit.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from eyeline.errors import EyelineError
from eyeline.networks import Network
from eyeline.progress import Progress, silent
from eyeline.training.batches import Ints, Normalization
from eyeline.training.examples import Examples
from eyeline.training.loop import Trainer
from eyeline.training.memory import keep_freed_memory
from eyeline.training.plan import Plan
from eyeline.training.recipe import Recipe
from eyeline.training.start import set_up, start_head

LOWEST, HIGHEST, STEPS = 1e-7, 10.0, 100
SMOOTHING = 0.98  # of the moving average of the loss
EXPLODED = 4.0  # times the best smoothed loss, which ends the search
FEWEST = 5  # points that a curve is read from

Doubles = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class RateSearch:
    """The curve and what it suggests for `Recipe.learning_rate`."""

    rates: Doubles  # (S,) learning rate of each step
    losses: Doubles  # (S,) of each step's batch, before the step
    smoothed: Doubles  # (S,)
    valley: float  # half way down the longest descent: the suggestion
    steepest: float  # where the smoothed loss falls fastest
    exploded: bool  # whether the search ended before the highest rate

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; a loss that is not finite is None."""
        return {
            "learning_rate": self.valley,
            "valley": self.valley,
            "steepest": self.steepest,
            "exploded": self.exploded,
            "rates": self.rates.tolist(),
            "losses": [loss if np.isfinite(loss) else None for loss in self.losses.tolist()],
            "smoothed": [loss if np.isfinite(loss) else None for loss in self.smoothed.tolist()],
        }


def find_learning_rate(
    net: Network,
    examples: Examples,
    recipe: Recipe,
    normalize: Normalization,
    *,
    seed: int = 0,
    low: float = LOWEST,
    high: float = HIGHEST,
    steps: int = STEPS,
    progress: Progress = silent,
) -> RateSearch:
    """Train a copy of `net` for at most `steps` steps at rates that grow exponentially from `low` to `high`.

    The copy starts where training would: batch norm frozen or not, a fitted head, the same batches and views. Earlier
    stages learn slower by the recipe's own factors. The search ends when the smoothed loss is four times its best.

    Raises
    ------
    EyelineError : not ``0 < low < high``, fewer than ten steps (``code="bad_option"``), or a loss that explodes before
        there is a curve (``code="diverged"``).
    """
    if not 0 < low < high or steps < 2 * FEWEST:
        raise EyelineError(
            f"rates from {low:g} to {high:g} in {steps} steps; allowed: 0 < low < high, {2 * FEWEST} steps or more",
            code="bad_option",
        )
    recipe = recipe.replace(learning_rate=1.0)  # what is left are the factors of the stages
    keep_freed_memory()
    rates = np.geomspace(low, high, steps)
    losses: list[float] = []
    smoothed: list[float] = []
    mean = 0.0
    cuda = [torch.cuda.current_device()] if normalize.device == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        probe = copy.deepcopy(net)
        freeze = set_up(probe, examples, recipe, normalize)
        start_head(probe, examples, recipe, normalize, progress=progress)
        trainer = Trainer(probe, examples, recipe, normalize, freeze, seed)
        trainer.stages = trainer.stages[-1:] * len(trainer.stages)  # progressive sizes: the full one counts
        trainer.train_mode(probe)
        order: list[Ints] = []
        epoch = 0
        for step, rate in enumerate(rates):
            if not order:
                epoch += 1
                order = trainer.order(epoch)
            plan = _Rate(steps=steps, steps_per_epoch=1, warmup=1, constant=float(rate))
            try:
                loss = trainer.step(order.pop(0), epoch, step, plan)
            except EyelineError as error:
                if error.code != "diverged":
                    raise
                break
            losses.append(loss)
            mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
            smoothed.append(mean / (1 - SMOOTHING ** (step + 1)))
            progress("finding rate", step + 1, steps, f"rate {rate:.1e}, loss {smoothed[-1]:.3f}")
            if smoothed[-1] > EXPLODED * min(smoothed):
                break
    if len(losses) < FEWEST:
        raise EyelineError(
            f"the loss exploded after {len(losses)} steps", code="diverged", hint=f"search from below {low:g}"
        )
    found = np.array(smoothed)
    # The first tenth settles the average and the last five steps explode: neither tells where to learn.
    first, last = steps // 10, len(found) - 5
    if last - first < FEWEST:
        first, last = 0, len(found)
    curve = rates[first:last], found[first:last]
    return RateSearch(
        rates=rates[: len(found)],
        losses=np.array(losses),
        smoothed=found,
        valley=valley(*curve),
        steepest=steepest(*curve),
        exploded=len(found) < steps,
    )


def steepest(rates: Doubles, losses: Doubles) -> float:
    """The rate at which the loss falls fastest by the logarithm of the rate."""
    slopes = np.diff(losses) / np.diff(np.log(rates))
    return float(rates[np.argmin(slopes)])


def valley(rates: Doubles, losses: Doubles) -> float:
    """The rate half way down the longest descent of the loss, which is its longest decreasing subsequence."""
    lengths = np.ones(len(losses), dtype=int)
    for end in range(1, len(losses)):
        earlier = lengths[:end][losses[:end] > losses[end]]
        lengths[end] = 1 + earlier.max(initial=0)
    end = int(lengths.argmax())
    start = end - int(lengths[end])
    third = (end - start) / 3
    return float(rates[max(0, start + int(third) + int(third / 2))])


@dataclass(frozen=True, kw_only=True)
class _Rate(Plan):
    """A schedule that says one rate."""

    constant: float

    def rate(self, step: int) -> float:
        return self.constant
