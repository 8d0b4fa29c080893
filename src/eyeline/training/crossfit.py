"""Cross-fitting: every training image is judged by a network that never saw its part, and none is set aside.

A validation part takes a seventh of the labels and then speaks for few parts. Here the training images are dealt
into folds, whole groups at a time, and a network is fine-tuned for each fold on the others. What these say about the
images they did not see chooses between fine-tuning and the fitted head alone, and later calibrates the probabilities
and the cuts. What ships is one network, at the cost of one: the average of their weights, since networks fine-tuned
from the same weights lie close enough for that (Wortsman et al. 2022, "Model soups", arXiv 2203.05482), and from there
half of the way that a short pass over all training images goes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeline.files import write_atomically
from eyeline.networks import Network, Views
from eyeline.progress import Progress, silent
from eyeline.training.balance import prior_shift, undo_balance
from eyeline.training.batches import Ints, Normalization
from eyeline.training.examples import Examples
from eyeline.training.folds import LAST, average_weights, each_fold, last_pass, no_steps
from eyeline.training.inference import Floats, embed_pixels, predict_logits
from eyeline.training.loop import Fit
from eyeline.training.plan import make_plan
from eyeline.training.ranks import ALONE, Ranks
from eyeline.training.recipe import Recipe
from eyeline.training.start import freeze_batch_norm, put_head
from eyeline.verdicts import (
    Comparison,
    auroc,
    compare_models,
    defect_scores,
    group_permutation_test,
    negative_log_likelihood,
    softmax,
)

HEAD, TUNED = "fitted head", "fine-tuned"
FEW = 30  # images of the rarest class: of fewer, fine-tuning has to be better by more than a standard error


@dataclass(frozen=True, kw_only=True)
class CrossFit:
    """A network trained on every training image, and what was said of each by networks that did not see it."""

    fit: Fit  # its network is made of the folds' networks (`last_pass`), or the published one with the fitted head
    logits: Floats  # (len(examples.train), K), left out, in the order of examples.train
    method: str  # "fine-tuned" or "fitted head"
    figure: str  # "auroc", or "accuracy" of more than two classes
    head: float  # the figure of the fitted head on left-out images
    tuned: float | None  # that of fine-tuning; None when it was not tried
    gain: Comparison | None  # fine-tuned minus fitted head, on the same images, by whole groups
    views: int = 1  # of each image that pay to be averaged, of those asked for
    views_gain: Comparison | None = None  # several views minus one, with the chosen method

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for the record of a run."""
        return {
            "method": self.method,
            "figure": self.figure,
            "fitted head": self.head,
            "fine-tuned": self.tuned,
            "gain": None if self.gain is None else self.gain.to_dict(),
            "views": self.views,
            "views gain": None if self.views_gain is None else self.views_gain.to_dict(),
            "text": self.text,
        }

    @property
    def fine_tuned(self) -> bool:
        """Whether more of the network than its head was changed."""
        return self.method == TUNED

    @property
    def text(self) -> str:
        """What was chosen, and by how much."""
        name = "AUROC" if self.figure == "auroc" else self.figure
        if self.views_gain is None:
            views = ""
        elif self.views > 1:
            views = f" {self.views} views of each image are averaged: {self.views_gain.difference:+.3f}."
        else:
            views = f" Several views of each image do not pay: {self.views_gain.difference:+.3f}."
        if self.gain is None or self.tuned is None:
            return f"A head fitted on frozen features; {name} {self.head:.3f} on left-out images.{views}"
        gain, chosen = self.gain, self.fine_tuned
        units = (
            f"{gain.images:,} images"
            if gain.groups is None
            else f"{gain.images:,} images of {gain.groups} groups"
        )
        sure = "" if gain.conclusive() else "; too few to be sure of the sign"
        if gain.difference > 0 and not chosen:
            sure = f", no more than its standard error: too little with fewer than {FEW} images of a class"
        return (
            f"{'Fine-tuning was' if chosen else 'The fitted head was'} chosen by cross-validation: {name} "
            f"{self.tuned:.3f} fine-tuned, {self.head:.3f} with the fitted head alone, a difference of "
            f"{gain.difference:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}] on {units} left out{sure}.{views}"
        )


def cross_fit(
    net: Network,
    examples: Examples,
    recipe: Recipe,
    normalize: Normalization,
    *,
    folder: Path,
    groups: NDArray[Any] | None = None,
    views: int = 1,
    seed: int = 0,
    budget: float | None = None,
    steps: int | None = None,
    resume: bool = False,
    ranks: Ranks = ALONE,
    progress: Progress = silent,
) -> CrossFit:
    """Train one network a fold of ``examples.folds``, and make them one if that beats the fitted head.

    Parameters
    ----------
    net : with published weights; changed in place to the network that ships.
    examples : no validation part is needed. `folds` are those of cross-validation.
    folder : of the run: ``metrics.jsonl``, and a folder in ``folds/`` for each fold with its network.
    groups : of the training images, ``(len(examples.train),)``; the comparison is made by whole groups.
    views : of each image (see `Views`) that may be averaged, and are where left-out images gain by it; a fitted
        head alone averages two at most.
    budget : seconds for all folds and the last pass together; `steps` sets the steps of each fold.
    resume : go on with what `folder` holds.
    ranks : the processes that train together; this is the first, and the others call `follow_folds`.

    Raises
    ------
    Interrupted, EyelineError : as `fit`.
    """
    train = examples.train
    freeze_batch_norm(net, recipe, normalize(examples.pixels[train[:1]]))
    if examples.features is None:
        features = np.zeros((1 + recipe.half_turn, len(examples.targets), net.head.in_features), np.float32)
        features[:, train] = embed_pixels(
            net, examples.pixels, train, normalize, half_turn=recipe.half_turn, progress=progress
        )
        examples = replace(examples, features=features)
    head_views, penalty = _fit_head_to_all(net, examples, recipe)
    figure = "auroc" if examples.classes == 2 else "accuracy"
    targets = examples.targets[train]

    def judged(one: Floats, many: Floats | None, count: int) -> dict[str, Any]:
        """Left-out logits by one view or several, whichever is better."""
        if many is None:
            return {"logits": one}
        gain = _compare(many, one, targets, figure, groups)
        gain = gain.model_copy(update={"a": f"{count} views", "b": "one view"})
        pays = gain.difference > 0
        return {"logits": many if pays else one, "views": count if pays else 1, "views_gain": gain}

    head_logits = head_views[0]
    rows: list[dict[str, Any]] = [{"epoch": 0, "step": 0, "loss": None, **_figures(head_logits, targets)}]
    score = _score(head_logits, targets, figure)
    both = head_views.mean(0) if views > 1 and len(head_views) > 1 else None
    alone = CrossFit(
        fit=Fit(
            network=net.eval(),
            history=tuple(rows),
            best_epoch=0,
            metric="cross-validation",
            plan=make_plan(0, 1, recipe),
            penalty=penalty,
            seconds=0.0,
            notes=(),
        ),
        method=HEAD,
        figure=figure,
        head=score,
        tuned=None,
        gain=None,
        **judged(head_logits, both, 2),
    )
    if no_steps(recipe, steps, budget):
        return alone

    fits: list[Fit] = []
    last: list[Fit] = []
    logits = np.zeros_like(head_logits)
    averaged = np.zeros_like(head_logits) if views > 1 else None
    how: dict[str, Any] = {"folder": folder, "seed": seed, "budget": budget, "steps": steps, "resume": resume}
    for unseen, fitted in each_fold(net, examples, recipe, normalize, ranks=ranks, progress=progress, **how):
        if fitted.plan.steps == 0:  # no time for a single step, which its notes say
            return replace(alone, fit=replace(alone.fit, notes=fitted.notes))
        logits[unseen] = predict_logits(fitted.network, examples.pixels, train[unseen], normalize)
        if averaged is not None:
            several = Views(fitted.network, views)
            averaged[unseen] = predict_logits(several, examples.pixels, train[unseen], normalize)
        fits.append(fitted)
        _write_metrics(folder, fits, last)
    gain = _compare(logits, head_logits, targets, figure, groups)
    chosen = worth_it(gain, fewest=int(np.unique(targets, return_counts=True)[1].min()))
    for epoch in range(1, max(len(fitted.history) for fitted in fits) + 1):
        same = [row for fitted in fits for row in fitted.history if row["epoch"] == epoch]
        rows.append(
            {"epoch": epoch, "step": same[0]["step"], "loss": float(np.mean([r["loss"] for r in same]))}
        )
    rows[-1] |= _figures(logits, targets)
    if ranks.tell(chosen):
        average_weights(net, [fitted.network for fitted in fits])
        plan = fits[0].plan
        last.append(
            last_pass(net, examples, recipe, normalize, plan=plan, ranks=ranks, progress=progress, **how)
        )
        _write_metrics(folder, fits, last)
        start = rows[-1]
        rows += [
            {"epoch": start["epoch"] + row["epoch"], "step": start["step"] + row["step"], "loss": row["loss"]}
            for row in last[0].history
        ]
    whole = Fit(
        network=net.eval(),
        history=tuple(rows),
        best_epoch=rows[-1]["epoch"] if chosen else 0,
        metric="cross-validation",
        plan=fits[0].plan,
        penalty=penalty,
        seconds=sum(fitted.seconds for fitted in fits + last),
        notes=tuple(note for fitted in fits + last for note in fitted.notes),
    )
    return CrossFit(
        fit=whole,
        method=TUNED if chosen else HEAD,
        figure=figure,
        head=score,
        tuned=_score(logits, targets, figure),
        gain=gain,
        **(judged(logits, averaged, views) if chosen else judged(head_logits, both, 2)),
    )


def worth_it(gain: Comparison, fewest: int) -> bool:
    """Whether fine-tuning ships, where the rarest class has `fewest` images: if its figure is the larger one.

    Of fewer than `FEW` the fitted head stays unless the other is better by more than the error of their difference
    (the rule of one standard error: Breiman et al. 1984, "Classification and Regression Trees", section 3.4.3).
    The limit was set after results on solar cells, and fresh draws of cells do not settle whether it is a good one
    (docs/training.md, "With few labels").
    """
    error = (gain.difference - gain.low) / NormalDist().inv_cdf(0.975)
    return gain.difference > (error if fewest < FEW else 0.0)


def _write_metrics(folder: Path, fits: list[Fit], last: list[Fit]) -> None:
    named = [*enumerate(fits, 1), *((LAST, fitted) for fitted in last)]
    lines = [row | {"fold": name} for name, fitted in named for row in fitted.history]
    write_atomically(folder / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))


def _fit_head_to_all(net: Network, examples: Examples, recipe: Recipe) -> tuple[Floats, float]:
    """Put the head fitted to all training images into `net`; its logits of left-out images, its penalty.

    The logits ``(V, M, K)`` are of each view in `Examples.features`; the first is the image as it is.
    """
    assert examples.features is not None
    train, shift = examples.train, prior_shift(examples, recipe)
    head = put_head(net, examples.features[:, train], examples, recipe)
    undo_balance(net, shift)
    left_out = head.left_out.reshape(-1, len(train), examples.classes) - np.log(shift)
    return left_out.astype(np.float32), head.penalty


def _compare(
    tuned: Floats, head: Floats, targets: Ints, figure: str, groups: NDArray[Any] | None
) -> Comparison:
    if figure == "accuracy":
        right = [(logits.argmax(1) == targets).astype(np.float64) for logits in (tuned, head)]
        found = group_permutation_test(right[0], right[1], groups, figure="accuracy", resamples=2000)
    else:
        scores = {TUNED: _defect(tuned), HEAD: _defect(head)}
        found = compare_models(scores, targets != 0, groups=groups)[0]
    return found.model_copy(update={"a": TUNED, "b": HEAD})


def _score(logits: Floats, targets: Ints, figure: str) -> float:
    if figure == "auroc":
        return float(auroc(_defect(logits), targets != 0))
    return float((logits.argmax(1) == targets).mean())


def _figures(logits: Floats, targets: Ints) -> dict[str, float]:
    """As in the history of a run with a validation part."""
    hits = logits.argmax(1) == targets
    return {
        "val_loss": negative_log_likelihood(logits, targets),
        "val_auroc": float(auroc(_defect(logits), targets != 0)),
        "val_balanced_accuracy": float(np.mean([hits[targets == k].mean() for k in np.unique(targets)])),
    }


def _defect(logits: Floats) -> NDArray[np.float64]:
    return np.asarray(defect_scores(softmax(logits.astype(np.float64)), 0))
