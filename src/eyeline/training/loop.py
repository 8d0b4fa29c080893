"""The training loop: fitted head, then a short fine-tuning; the validation part alone chooses the epoch."""

from __future__ import annotations

import copy
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from eyeline.errors import EyelineError, Interrupted
from eyeline.files import write_atomically
from eyeline.interruption import catch_interruption
from eyeline.networks import Network, fold_batch_norm
from eyeline.progress import Progress, silent
from eyeline.training.augment import augment
from eyeline.training.batches import Ints, Normalization, Pixels, epoch_order
from eyeline.training.checkpoint import (
    load_checkpoint,
    optimizer_tensors,
    read_tensors,
    restore_optimizer,
    save_checkpoint,
    write_tensors,
)
from eyeline.training.head import fit_head
from eyeline.training.inference import embed_pixels, predict_logits
from eyeline.training.memory import keep_freed_memory
from eyeline.training.plan import Plan, make_plan, parameter_groups, steps_for_budget
from eyeline.training.randomness import Purpose, torch_seed
from eyeline.training.recipe import Recipe
from eyeline.verdicts import auroc, softmax

SAVE_SECONDS = 60.0  # a checkpoint at least this often


@dataclass(frozen=True, kw_only=True)
class Examples:
    """What a run learns from: decoded pixels, class numbers and the parts they belong to."""

    pixels: Pixels  # uint8 (N, H, W, C), may be memory-mapped
    targets: Ints  # (N,) class numbers, 0 = good
    classes: int
    train: Ints  # numbers of the training images
    val: Ints
    folds: Ints  # fold of each training image, for choosing the penalty of the fitted head
    features: NDArray[np.float32] | None = None  # (V, N, C) of `embed_pixels`, when they are known already
    weights: NDArray[np.float64] | None = None  # (N,) of each image in the loss


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
    progress: Progress = silent,
) -> Fit:
    """Train `net` in place and return it with the weights of its best epoch.

    Parameters
    ----------
    folder : of the run: `metrics.jsonl` and `checkpoints/` are written there.
    budget : seconds for this call; the schedule is fitted to it by a short probe. `steps` sets it directly.
    resume : go on from the newest checkpoint of `folder`, to the same bits as if never stopped (same number of
        threads and versions assumed).

    Raises
    ------
    Interrupted : stopped by a signal; everything needed to resume has been saved.
    EyelineError : the loss stopped being finite (``code="diverged"``), or there is nothing to resume.
    """
    started = time.monotonic()
    keep_freed_memory()
    folder.mkdir(parents=True, exist_ok=True)
    checkpoints = folder / "checkpoints"
    pretrained = net.load_report is not None
    freeze = freeze_batch_norm(net, recipe, normalize(examples.pixels[examples.train[:1]]))
    if isinstance(net.dropout, nn.Dropout):
        net.dropout.p = recipe.dropout
    weights = loss_weights(examples, recipe)

    saved = load_checkpoint(checkpoints) if resume else None
    penalty: float | None = None
    if saved is not None:
        penalty = saved.state["penalty"]
    elif recipe.fit_head and pretrained:
        train = examples.train
        if examples.features is None:
            features = embed_pixels(
                net, examples.pixels, train, normalize, half_turn=recipe.flips, progress=progress
            )
        else:
            features = examples.features[:, train]
        views = len(features)  # every view is an example of its own, in the fold of its picture
        head = fit_head(
            features.reshape(views * len(train), -1),
            np.tile(examples.targets[train], views),
            np.tile(examples.folds, views),
            classes=examples.classes,
            weights=np.tile(weights[train], views),
        )
        penalty = head.penalty
        with torch.no_grad():
            net.head.weight.copy_(torch.from_numpy(head.weight))
            net.head.bias.copy_(torch.from_numpy(head.bias))

    trainer = _Trainer(net, examples, recipe, normalize, weights, freeze, seed)
    per_epoch = len(epoch_order(examples.train, recipe.batch_size, seed=seed, epoch=0))
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
        )
        plan = make_plan(fitting, per_epoch, recipe)
    else:
        plan = make_plan(recipe.epochs * per_epoch, per_epoch, recipe)
    return trainer.run(plan, folder, saved, penalty, started, progress)


def freeze_batch_norm(net: Network, recipe: Recipe, example: Tensor) -> bool:
    """Whether batch norms keep their published statistics; if so they are folded into the convolutions.

    Statistics re-estimated from a few hundred images are noise: fine-tuning keeps the published ones, and
    learning from scratch has none to keep. A second call changes nothing.
    """
    freeze = recipe.batch_norm == "freeze" or (recipe.batch_norm == "auto" and net.load_report is not None)
    if freeze:
        fold_batch_norm(net, example)
    return freeze


def loss_weights(examples: Examples, recipe: Recipe) -> NDArray[np.float64]:
    """Weight of each image ``(N,)`` in the loss: its own, times its class's if classes are balanced."""
    weights = (
        np.ones(len(examples.targets)) if examples.weights is None else examples.weights.astype(np.float64)
    )
    return np.asarray(weights * class_weights(examples, recipe)[examples.targets])


def class_weights(examples: Examples, recipe: Recipe) -> NDArray[np.float64]:
    """Weight of each class ``(K,)``: inverse to its share of the training images, or one."""
    counts = np.bincount(examples.targets[examples.train], minlength=examples.classes)
    if recipe.balance == "none":
        return np.ones(examples.classes)
    return np.asarray(counts.sum() / (np.maximum(counts, 1) * np.count_nonzero(counts)))


class _Trainer:
    """One run's network, its moving average and its optimizer."""

    def __init__(
        self,
        net: Network,
        examples: Examples,
        recipe: Recipe,
        normalize: Normalization,
        weights: NDArray[np.float64],
        freeze: bool,
        seed: int,
    ) -> None:
        self.net, self.examples, self.recipe, self.normalize = net, examples, recipe, normalize
        self.weights = torch.from_numpy(weights).float().to(normalize.device)
        self.targets = torch.from_numpy(examples.targets).to(normalize.device)
        self.freeze, self.seed = freeze, seed
        self.optimizer = torch.optim.AdamW(parameter_groups(net, recipe), fused=True)
        self.average = copy.deepcopy(net).eval().requires_grad_(False)

    def loss(self, net: Network, batch: Ints, epoch: int) -> Tensor:
        """Cross-entropy with smoothed labels of one augmented batch, averaged by the images' weights."""
        moved, gain, offset = augment(
            self.examples.pixels[batch], self.recipe, seed=self.seed, epoch=epoch, indices=batch
        )
        logits = net(self.normalize(moved, gain, offset))
        classes = self.examples.classes
        rows = torch.from_numpy(batch).to(logits.device)
        target = F.one_hot(self.targets[rows], classes).float()
        target = target * (1 - self.recipe.label_smoothing) + self.recipe.label_smoothing / classes
        weight = self.weights[rows]
        losses = -(target * F.log_softmax(logits, dim=1)).sum(1)
        return (weight * losses).sum() / weight.sum()

    def probe(self, net: Network) -> None:
        """One step's work on a copy, for measuring the rate."""
        self.train_mode(net)
        self.loss(net, self.examples.train[: self.recipe.batch_size], 0).backward()  # type: ignore[no-untyped-call]

    def train_mode(self, net: Network) -> None:
        """Training mode, but frozen batch norms that could not be folded stay in evaluation mode."""
        net.train()
        if self.freeze:
            for module in net.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()

    def step(self, batch: Ints, epoch: int, step: int, plan: Plan) -> float:
        """One update; returns the loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * plan.rate(step)
        torch.manual_seed(torch_seed(self.seed, Purpose.DROPOUT, step))
        loss = self.loss(self.net, batch, epoch)
        value = loss.item()
        if not np.isfinite(value):
            raise EyelineError(
                f"the loss is {value} at step {step}",
                code="diverged",
                hint="the last checkpoint is kept; try a smaller learning_rate in the recipe",
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.net.parameters(), self.recipe.clip)
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
        logits = predict_logits(self.average, self.examples.pixels, self.examples.val, self.normalize)
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
        self, plan: Plan, folder: Path, saved: Any, penalty: float | None, started: float, progress: Progress
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
        # A killed run may have written a line that its checkpoint does not know.
        write_atomically(metrics, "".join(json.dumps(row) + "\n" for row in state["history"]))
        clock = time.monotonic()

        def save() -> None:
            state.update(losses=losses, seconds=before + time.monotonic() - clock)
            save_checkpoint(checkpoints, step, self.tensors(), state)

        def finish_epoch(epoch: int, loss: float | None) -> None:
            figures = self.validate()
            seconds = round(before + time.monotonic() - clock, 2)
            row = {"epoch": epoch, "step": step, "loss": loss, **figures, "seconds": seconds}
            state["history"].append(row)
            _append(metrics, row)
            rows = state["history"]
            if state["best_epoch"] < 0 or row[metric] > next(
                r[metric] for r in rows if r["epoch"] == state["best_epoch"]
            ):
                state["best_epoch"] = epoch
                checkpoints.mkdir(parents=True, exist_ok=True)
                write_tensors(best_file, dict(self.average.state_dict()), {"epoch": epoch})

        last_saved = time.monotonic()
        with catch_interruption() as interrupted:
            if saved is None:
                finish_epoch(0, None)
            self.train_mode(self.net)
            order: list[Ints] = []
            while step < plan.steps:
                epoch, position = step // plan.steps_per_epoch + 1, step % plan.steps_per_epoch
                if position == 0 or not order:
                    order = epoch_order(
                        self.examples.train, self.recipe.batch_size, seed=self.seed, epoch=epoch
                    )
                losses += self.step(order[position], epoch, step, plan)
                step += 1
                mean_loss = losses / (position + 1)
                if position + 1 == plan.steps_per_epoch or step == plan.steps:
                    finish_epoch(epoch, mean_loss)
                    losses = 0.0
                best = max(row[metric] for row in state["history"])
                progress(
                    "training",
                    step,
                    plan.steps,
                    f"epoch {epoch}, loss {mean_loss:.3f}, best {metric} {best:.3f}",
                )
                if interrupted or time.monotonic() - last_saved > SAVE_SECONDS:
                    save()
                    last_saved = time.monotonic()
                if interrupted:
                    raise Interrupted(
                        f"stopped after step {step} of {plan.steps}; everything is saved",
                        code="interrupted",
                        path=folder,
                        hint=f"go on with: eyeline train --resume {folder}",
                    )
            save()

        self.average.load_state_dict(read_tensors(best_file)[0])
        undo_balance(self.average, class_weights(self.examples, self.recipe))
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


@torch.no_grad()
def undo_balance(net: Network, weights: NDArray[np.float64]) -> None:
    """Take the class weights of the loss out of the probabilities, in the bias of the last layer.

    Training with weights w makes p(k) proportional to w(k) times the true probability; subtracting log w(k) from
    the logit gives back the probability at the shares of the training images.
    """
    net.head.bias.sub_(torch.from_numpy(np.log(weights)).to(net.head.bias))


def _append(path: Path, row: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
        file.flush()
        os.fsync(file.fileno())
