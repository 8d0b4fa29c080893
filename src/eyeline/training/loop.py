"""The training loop: fitted head, then a short fine-tuning; the validation part alone chooses the epoch."""

from __future__ import annotations

import copy
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from eyeline.errors import EyelineError, Interrupted
from eyeline.files import append_line, write_atomically
from eyeline.interruption import catch_interruption
from eyeline.networks import Network
from eyeline.progress import Progress, silent
from eyeline.training.augment import augment
from eyeline.training.balance import balanced_order, image_of, prior_shift, undo_balance
from eyeline.training.batches import Ints, Normalization, epoch_order, steps_per_epoch
from eyeline.training.checkpoint import (
    load_checkpoint,
    optimizer_tensors,
    read_tensors,
    restore_optimizer,
    save_checkpoint,
    write_tensors,
)
from eyeline.training.divergence import refuse_divergence
from eyeline.training.erasing import erase
from eyeline.training.examples import Examples
from eyeline.training.inference import predict_logits
from eyeline.training.memory import give_freed_memory_back, keep_freed_memory, memory_parts
from eyeline.training.mixing import mix
from eyeline.training.objective import Answers, Labels, objective
from eyeline.training.plan import PROBE_STEPS, Plan, make_plan, parameter_groups, steps_for_budget
from eyeline.training.precision import in_bfloat16, use_bfloat16
from eyeline.training.progressive import shrink, stage_of, stages
from eyeline.training.rand_augment import rand_augment
from eyeline.training.randomness import Purpose, torch_seed
from eyeline.training.ranks import ALONE, Ranks
from eyeline.training.recipe import Recipe
from eyeline.training.shared_norm import share_batch_norm, unshare_batch_norm
from eyeline.training.start import set_up, start_head
from eyeline.verdicts import auroc, softmax

SAVE_SECONDS = 60.0  # a checkpoint at least this often
NO_TIME = (
    "the budget left no time for a single step of training: the head is fitted, nothing else has learned"
)


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A trained network and how it came about."""

    network: Network  # the weights of the best epoch
    history: tuple[dict[str, Any], ...]  # a row an epoch; epoch 0 is the fitted head alone
    best_epoch: int
    metric: str  # what chose the epoch
    plan: Plan
    penalty: float | None  # of the fitted head
    seconds: float
    notes: tuple[str, ...]


def fit(
    net: Network,
    examples: Examples,
    recipe: Recipe,
    normalize: Normalization,
    *,
    folder: Path,
    seed: int = 0,
    budget: float | None = None,
    steps: int | None = None,
    resume: bool = False,
    choose_epoch: bool = True,
    ranks: Ranks = ALONE,
    progress: Progress = silent,
) -> Fit:
    """Train `net` in place and return it with the weights of its best epoch.

    Parameters
    ----------
    folder : of the run: `metrics.jsonl` and `checkpoints/` are written there.
    budget : seconds for this call; the schedule is fitted to it by a short probe. `steps` sets it directly.
    resume : go on from the newest checkpoint of `folder`, to the same bits as if never stopped (same number of
        threads and versions assumed).
    choose_epoch : keep the epoch that does best on the validation part. Without it there need be none, and the
        last moving average is kept: the schedule ends at rest, and a fold that judges must not choose as well.
    ranks : the processes that train together, each calling with the same arguments; the first one writes.

    Raises
    ------
    Interrupted : stopped by a signal; everything needed to resume has been saved.
    EyelineError : the loss stopped being finite or exploded (``code="diverged"``), the disk is full
        (``code="write_failed"``), the budget is too short for a single step of a network without a fitted head
        (``code="bad_option"``), or there is nothing to resume. What was saved before is kept.
    """
    started = time.monotonic()
    keep_freed_memory()
    folder.mkdir(parents=True, exist_ok=True)
    checkpoints = folder / "checkpoints"
    freeze = set_up(net, examples, recipe, normalize)
    if recipe.batch_size < ranks.count:
        raise EyelineError(
            f"batch_size is {recipe.batch_size}; allowed for {ranks.count} processes: {ranks.count} or more",
            code="bad_option",
        )
    saved = load_checkpoint(checkpoints) if resume else None
    if saved is not None:
        penalty = saved.state["penalty"]
    else:
        penalty = start_head(net, examples, recipe, normalize, progress=progress) if ranks.first else None
        penalty = ranks.tell(penalty)
        ranks.copy(net.state_dict().values())
    if ranks.count > 1 and not freeze:
        share_batch_norm(net)

    trainer = Trainer(net, examples, recipe, normalize, freeze, seed, ranks)
    per_epoch = steps_per_epoch(len(examples.train), recipe.batch_size)
    if saved is not None:
        plan = make_plan(int(saved.state["steps"]), per_epoch, recipe)
    elif steps is not None:
        plan = make_plan(steps, per_epoch, recipe)
    elif budget is not None:
        left = budget - (time.monotonic() - started)
        fitting = steps_for_budget(
            left,
            trainer.probe,
            net,
            batch_size=recipe.batch_size,
            steps_per_epoch=per_epoch,
            validation=len(examples.val),
            probes=trainer.probes,
        )
        plan = make_plan(ranks.tell(fitting), per_epoch, recipe)
        if plan.steps == 0 and penalty is None:
            raise EyelineError(
                f"the budget leaves {max(0.0, left):.1f} s for training, too little for a single step: "
                "the network would have learned nothing",
                code="bad_option",
                hint="reading and checking count towards it: begin anew with a larger --budget, or with --epochs",
            )
    else:
        plan = make_plan(recipe.epochs * per_epoch, per_epoch, recipe)
    fitted = trainer.run(plan, folder, saved, penalty, choose_epoch, progress)
    if budget is not None and plan.steps == 0:
        return replace(fitted, notes=(*fitted.notes, NO_TIME))
    return fitted


class Trainer:
    """One run's network, its moving average and its optimizer."""

    def __init__(
        self,
        net: Network,
        examples: Examples,
        recipe: Recipe,
        normalize: Normalization,
        freeze: bool,
        seed: int,
        ranks: Ranks = ALONE,
    ) -> None:
        self.net, self.examples, self.recipe, self.normalize = net, examples, recipe, normalize
        self.answers = Answers(examples, recipe, normalize.device)
        self.freeze, self.seed, self.ranks = freeze, seed, ranks
        self.stages = stages(recipe)
        self.bfloat16 = use_bfloat16(recipe, normalize.device)
        self.optimizer = torch.optim.AdamW(parameter_groups(net, recipe), fused=True)
        self.average = copy.deepcopy(net).eval().requires_grad_(False)

    def order(self, epoch: int) -> list[Ints]:
        """The batches of an epoch, as keys of views (see `image_of`)."""
        train, size = self.examples.train, self.recipe.batch_size
        if self.recipe.balance == "sampling":
            return balanced_order(train, self.examples.targets, size, seed=self.seed, epoch=epoch)
        return epoch_order(train, size, seed=self.seed, epoch=epoch)

    def batch(self, keys: Ints, recipe: Recipe, epoch: int, step: int) -> tuple[Tensor, Labels, Tensor]:
        """Views ``(N, C, H, W)`` of images and their labels: each view by its key, blends by the step.

        Of several processes each gets its share. The last value is the weight of the whole batch.
        """
        labels = self.answers(image_of(keys))
        own = self.ranks.share(len(keys))
        blending = bool(recipe.mixup or recipe.cutmix)  # with partners from the whole batch
        keys = keys if blending else keys[own]
        images = image_of(keys)
        counters: dict[str, Any] = {"seed": self.seed, "epoch": epoch, "indices": keys}
        pixels = rand_augment(self.examples.pixels[images], recipe, **counters)
        moved, gain, offset = augment(pixels, recipe, **counters)
        x = self.normalize(erase(moved, recipe, **counters), gain, offset)
        if blending:
            x, labels = mix(x, labels, recipe, seed=self.seed, step=step)
            x = x[own]
        x = shrink(x, recipe.progressive, self.net.minimum_size)
        return x, labels.part(own), labels.weight.sum()

    def gradient(self, net: Network, x: Tensor, labels: Labels, total: Tensor, recipe: Recipe) -> float:
        """Add the gradient of the loss of a batch of weight `total`, worked off in parts; returns the loss."""
        parts, value = recipe.accumulate, 0.0
        if self.freeze:  # no layer looks at more than one image, so parts change nothing but the memory
            parts = max(parts, memory_parts(x))
        for images, answers in zip(x.chunk(parts), labels.chunk(parts), strict=True):
            with in_bfloat16(x.device.type, self.bfloat16):
                logits = net(images)
            loss = objective(logits.float(), answers, recipe, total)
            loss.backward()  # type: ignore[no-untyped-call]
            value += loss.item()
        return value

    def probe(self, net: Network, number: int) -> None:
        """One step's work on a copy, for measuring the rate; progressive sizes take turns."""
        recipe = self.stages[number % len(self.stages)]
        self.train_mode(net)
        x, labels, total = self.batch(self.order(0)[0], recipe, 0, 0)
        self.gradient(net, x, labels, total, recipe)

    @property
    def probes(self) -> int:
        """How many steps show the rate of a whole run: one of each size."""
        return PROBE_STEPS if self.recipe.progressive == 1 else len(self.stages)

    def train_mode(self, net: Network) -> None:
        """Training mode, but frozen batch norms that could not be folded stay in evaluation mode."""
        net.train()
        if self.freeze:
            for module in net.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()

    def step(self, keys: Ints, epoch: int, step: int, plan: Plan) -> float:
        """One update; returns the loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * plan.rate(step)
        torch.manual_seed(torch_seed(self.seed, Purpose.DROPOUT, step, self.ranks.rank))
        recipe = self.stages[stage_of(step, plan.steps)]
        if isinstance(self.net.dropout, nn.Dropout):
            self.net.dropout.p = recipe.dropout
        x, labels, total = self.batch(keys, recipe, epoch, step)
        self.optimizer.zero_grad(set_to_none=True)
        value = self.gradient(self.net, x, labels, total, recipe)
        value = self.ranks.sum_gradients(self.net.parameters(), value)
        norm = nn.utils.clip_grad_norm_(self.net.parameters(), self.recipe.clip)
        refuse_divergence(value, float(norm), step, self.examples.classes, self.recipe)
        self.optimizer.step()
        self.update_average(step)
        return value

    @torch.no_grad()
    def update_average(self, step: int) -> None:
        """Exponential moving average of the weights; young averages forget faster, so short runs profit too."""
        decay = min(self.recipe.average_decay, (1 + step) / (10 + step))
        for mean, value in zip(self.average.parameters(), self.net.parameters(), strict=True):
            if value.requires_grad:
                mean.lerp_(value, 1 - decay)
        for average, now in zip(self.average.buffers(), self.net.buffers(), strict=True):
            average.copy_(now)  # running statistics are averages already

    def validate(self) -> dict[str, float]:
        """Figures of the moving average on the validation part."""
        logits = predict_logits(
            self.average, self.examples.pixels, self.examples.val, self.normalize, ranks=self.ranks
        )
        targets = self.examples.targets[self.examples.val]
        probabilities = softmax(logits.astype(np.float64))
        chosen = np.maximum(probabilities[np.arange(len(targets)), targets], 1e-12)
        hits = probabilities.argmax(1) == targets
        recalls = [hits[targets == k].mean() for k in range(self.examples.classes) if (targets == k).any()]
        return {
            "val_loss": float(-np.log(chosen).mean()),
            "val_auroc": float(auroc(1 - probabilities[:, 0], targets != 0)),
            "val_balanced_accuracy": float(np.mean(recalls)),
        }

    def run(
        self,
        plan: Plan,
        folder: Path,
        saved: Any,
        penalty: float | None,
        choose_epoch: bool,
        progress: Progress,
    ) -> Fit:
        """The loop. Everything it needs to go on is in `state` and the tensors of a checkpoint."""
        checkpoints, metrics = folder / "checkpoints", folder / "metrics.jsonl"
        best_file = checkpoints / "best.safetensors"
        metric = "val_auroc" if self.examples.classes == 2 else "val_balanced_accuracy"
        state: dict[str, Any] = {"steps": plan.steps, "penalty": penalty, "history": [], "best_epoch": -1}
        step, losses, before = 0, 0.0, 0.0
        if saved is not None:
            self.restore(saved.tensors)
            state = saved.state
            step, losses, before = saved.step, state["losses"], state["seconds"]
        if self.ranks.first:  # a killed run may have written a line that its checkpoint does not know
            write_atomically(metrics, "".join(json.dumps(row) + "\n" for row in state["history"]))
        clock = time.monotonic()

        def save() -> None:
            if self.ranks.first:
                state.update(losses=losses, seconds=before + time.monotonic() - clock)
                save_checkpoint(checkpoints, step, self.tensors(), state)

        def finish_epoch(epoch: int, loss: float | None) -> None:
            figures = self.validate() if choose_epoch else {}
            seconds = round(before + time.monotonic() - clock, 2)
            row = {"epoch": epoch, "step": step, "loss": loss, **figures, "seconds": seconds}
            state["history"].append(row)
            if self.ranks.first:
                append_line(metrics, json.dumps(row))
            rows = state["history"]
            if not choose_epoch:
                state["best_epoch"] = epoch
            elif state["best_epoch"] < 0 or row[metric] > next(
                r[metric] for r in rows if r["epoch"] == state["best_epoch"]
            ):
                state["best_epoch"] = epoch
                if self.ranks.first:
                    checkpoints.mkdir(parents=True, exist_ok=True)
                    write_tensors(best_file, dict(self.average.state_dict()), {"epoch": epoch})

        last_saved = time.monotonic()
        with catch_interruption() as interrupted:
            if saved is None and choose_epoch:
                finish_epoch(0, None)
            self.train_mode(self.net)
            order: list[Ints] = []
            while step < plan.steps:
                epoch, position = step // plan.steps_per_epoch + 1, step % plan.steps_per_epoch
                if position == 0 or not order:
                    order = self.order(epoch)
                losses += self.step(order[position], epoch, step, plan)
                step += 1
                mean_loss = losses / (position + 1)
                if position + 1 == plan.steps_per_epoch or step == plan.steps:
                    finish_epoch(epoch, mean_loss)
                    losses = 0.0
                best = [row[metric] for row in state["history"] if metric in row]
                note = f"epoch {epoch}, loss {mean_loss:.3f}" + (
                    f", best {metric} {max(best):.3f}" if best else ""
                )
                progress("training", step, plan.steps, note)
                stop = self.ranks.any(bool(interrupted))  # all stop after the same step
                if stop or time.monotonic() - last_saved > SAVE_SECONDS:
                    save()
                    last_saved = time.monotonic()
                if stop:
                    self.ranks.wait()  # nobody leaves before everything is saved
                    raise Interrupted(
                        f"stopped after step {step} of {plan.steps}; everything is saved",
                        code="interrupted",
                        path=folder,
                        hint=f"go on with: eyeline train --resume {folder}",
                    )
            save()

        self.optimizer.zero_grad(set_to_none=True)
        give_freed_memory_back()  # what comes next, exporting above all, takes other blocks
        self.ranks.wait()  # for the best weights to be written
        unshare_batch_norm(self.average)
        if choose_epoch:
            self.average.load_state_dict(read_tensors(best_file)[0])
        undo_balance(self.average, prior_shift(self.examples, self.recipe))
        return Fit(
            network=self.average,
            history=tuple(state["history"]),
            best_epoch=int(state["best_epoch"]),
            metric=metric,
            plan=plan,
            penalty=penalty,
            seconds=before + time.monotonic() - clock,
            notes=() if saved is None else saved.skipped,
        )

    def tensors(self) -> dict[str, Tensor]:
        """Everything that changes while training."""
        return {
            **{f"net.{name}": value for name, value in self.net.state_dict().items()},
            **{f"average.{name}": value for name, value in self.average.state_dict().items()},
            **optimizer_tensors(self.optimizer),
        }

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Put the tensors of a checkpoint back."""
        for prefix, module in (("net.", self.net), ("average.", self.average)):
            module.load_state_dict(
                {
                    name.removeprefix(prefix): value
                    for name, value in tensors.items()
                    if name.startswith(prefix)
                }
            )
        restore_optimizer(self.optimizer, tensors)
