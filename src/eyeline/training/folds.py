"""One network a fold: trained on the other folds, kept when finished; their mean learns once more from all images."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eyeline.errors import Interrupted
from eyeline.networks import Network
from eyeline.progress import Progress, silent
from eyeline.training.balance import prior_shift, undo_balance
from eyeline.training.batches import Normalization
from eyeline.training.checkpoint import read_tensors, write_tensors
from eyeline.training.examples import Examples
from eyeline.training.loop import Fit, fit
from eyeline.training.plan import Plan, make_plan
from eyeline.training.ranks import Ranks
from eyeline.training.recipe import Recipe
from eyeline.training.start import freeze_batch_norm

LAST = "all"  # the name of the last pass, beside the numbers of the folds
LAST_STEPS, LAST_RATE = 3 / 8, 1 / 3  # of the last pass, as shares of a fold's steps and of its learning rate


def follow_folds(
    net: Network,
    examples: Examples,
    recipe: Recipe,
    normalize: Normalization,
    *,
    ranks: Ranks,
    steps: int | None,
    budget: float | None,
    **rest: Any,
) -> None:
    """What the other processes do while the first one calls `cross_fit` with the same arguments."""
    if no_steps(recipe, steps, budget):
        return
    freeze_batch_norm(net, recipe, normalize(examples.pixels[examples.train[:1]]))
    rest |= {"steps": steps, "budget": budget}
    plan = None
    for _, fitted in each_fold(net, examples, recipe, normalize, ranks=ranks, progress=silent, **rest):
        if fitted.plan.steps == 0:
            return
        plan = fitted.plan
    assert plan is not None
    if ranks.tell(None):  # whether fine-tuning was chosen
        last_pass(net, examples, recipe, normalize, plan=plan, ranks=ranks, progress=silent, **rest)


def no_steps(recipe: Recipe, steps: int | None, budget: float | None) -> bool:
    """Whether the head alone is fitted."""
    return steps == 0 or (steps is None and budget is None and recipe.epochs == 0)


def each_fold(
    net: Network,
    examples: Examples,
    recipe: Recipe,
    normalize: Normalization,
    *,
    folder: Path,
    seed: int,
    budget: float | None,
    steps: int | None,
    resume: bool,
    ranks: Ranks,
    progress: Progress,
) -> Iterator[tuple[NDArray[np.bool_], Fit]]:
    """For each fold which training images it leaves out, and the network trained on the others."""
    numbers = np.unique(examples.folds)
    for position, number in enumerate(numbers):
        seen = examples.folds != number
        part = replace(
            examples,
            train=examples.train[seen],
            val=examples.train[:0],
            folds=np.unique(examples.folds[seen], return_inverse=True)[1].astype(np.int64),  # without gaps
        )
        fitted = _fit_fold(
            net,
            part,
            recipe,
            normalize,
            run=folder,
            name=str(position + 1),
            seed=seed,
            budget=None if budget is None else budget / (len(numbers) + LAST_STEPS),
            steps=steps,
            resume=resume,
            ranks=ranks,
            progress=_of_fold(progress, position, len(numbers)),
        )
        steps = fitted.plan.steps  # a budget is measured once
        yield ~seen, fitted


def last_pass(
    net: Network,
    examples: Examples,
    recipe: Recipe,
    normalize: Normalization,
    *,
    plan: Plan,
    folder: Path,
    seed: int,
    resume: bool,
    ranks: Ranks,
    progress: Progress,
    **_: Any,  # what only the folds need
) -> Fit:
    """The mean of the folds' networks, `net`, half way to where a short pass over all training images takes it.

    Each of the averaged networks missed a part of the images, and a pass over all of them makes up for it; the mean of
    before and after is steadier than either. `plan` is that of a fold. Changes nothing but `net`, in place.
    """
    start = copy.deepcopy(net)
    undo_balance(start, 1 / prior_shift(examples, recipe))  # back to how it was while they learned
    fitted = _fit_fold(
        start,
        examples,
        recipe.replace(fit_head=False, learning_rate=LAST_RATE * recipe.learning_rate),
        normalize,
        run=folder,
        name=LAST,
        seed=seed,
        budget=None,
        steps=last_steps(plan.steps),
        resume=resume,
        ranks=ranks,
        progress=_of_last(progress, plan.steps, len(np.unique(examples.folds))),
    )
    average_weights(net, [net, fitted.network])
    return fitted


def last_steps(steps: int) -> int:
    """Of the last pass, where each fold had `steps`."""
    return max(1, round(LAST_STEPS * steps))


@torch.no_grad()
def average_weights(net: Network, networks: list[Network]) -> None:
    """Give `net` the mean of the weights of networks of its own shape."""
    states = [network.state_dict() for network in networks]
    mean: dict[str, Tensor] = {}
    for name, value in states[0].items():
        values = torch.stack([state[name].double() for state in states])
        mean[name] = values.mean(0).to(value.dtype) if value.is_floating_point() else value
    net.load_state_dict(mean)


def _fit_fold(
    net: Network,
    examples: Examples,
    recipe: Recipe,
    normalize: Normalization,
    *,
    run: Path,
    name: str,
    resume: bool,
    ranks: Ranks,
    **rest: Any,
) -> Fit:
    """`fit` on a copy of `net`, or what an interrupted run has finished of it already."""
    own, folder = copy.deepcopy(net), run / "folds" / name
    finished = folder / "network.safetensors"
    state: dict[str, Any] | None = None
    if resume and ranks.first and finished.with_suffix(".json").exists():
        tensors, state = read_tensors(finished)
        own.load_state_dict(tensors)
    state = ranks.tell(state)
    if state is not None:
        return Fit(
            network=own.eval(),
            history=tuple(state["history"]),
            best_epoch=state["history"][-1]["epoch"],
            metric="",
            plan=make_plan(state["steps"], state["steps_per_epoch"], recipe),
            penalty=state["penalty"],
            seconds=state["seconds"],
            notes=(),
        )
    try:
        fitted = fit(
            own,
            examples,
            recipe,
            normalize,
            folder=folder,
            resume=resume,
            choose_epoch=False,
            ranks=ranks,
            **rest,
        )
    except Interrupted as stop:
        raise Interrupted(
            f"{'last pass' if name == LAST else f'fold {name}'}: {stop.message}",
            code=stop.code,
            path=run,
            hint=f"go on with: eyeline train --resume {run}",
        ) from None
    if ranks.first and fitted.plan.steps:
        state = {
            "history": fitted.history,
            "steps": fitted.plan.steps,
            "steps_per_epoch": fitted.plan.steps_per_epoch,
            "penalty": fitted.penalty,
            "seconds": fitted.seconds,
        }
        write_tensors(finished, dict(fitted.network.state_dict()), state)
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return fitted


def _of_fold(progress: Progress, position: int, count: int) -> Progress:
    """Training of one fold as its share of the whole."""

    def report(stage: str, done: int, total: int, note: str) -> None:
        if stage == "training":
            whole = count * total + last_steps(total)
            progress(stage, position * total + done, whole, f"fold {position + 1} of {count}, {note}")

    return report


def _of_last(progress: Progress, steps: int, count: int) -> Progress:
    """Training after `count` folds of `steps` each."""

    def report(stage: str, done: int, total: int, note: str) -> None:
        if stage == "training":
            progress(stage, count * steps + done, count * steps + total, f"all images, {note}")

    return report
