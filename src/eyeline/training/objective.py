"""What the network should answer, and how far its answer is from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from eyeline.training.balance import class_weights, image_weights, loss_weights, prior_shift
from eyeline.training.batches import Ints
from eyeline.training.examples import Examples
from eyeline.training.recipe import Recipe


@dataclass(frozen=True)
class Labels:
    """The right answers to a batch."""

    target: Tensor  # (N, K), each row a distribution
    weight: Tensor  # (N,) of each image in the loss
    teacher: Tensor | None = None  # (N, K) softened probabilities of another network

    def blended(self, order: Tensor, share: float) -> Labels:
        """`share` of each label and the rest from the label at `order` ``(N,)``, in proportion to their weights."""
        kept, other = share * self.weight, (1 - share) * self.weight[order]
        weight = kept + other

        def blend(rows: Tensor) -> Tensor:
            return (kept[:, None] * rows + other[:, None] * rows[order]) / weight[:, None]

        teacher = None if self.teacher is None else blend(self.teacher)
        return Labels(blend(self.target), weight, teacher)

    def part(self, rows: slice) -> Labels:
        """The labels of some rows."""
        return Labels(
            self.target[rows], self.weight[rows], None if self.teacher is None else self.teacher[rows]
        )

    def chunk(self, parts: int) -> list[Labels]:
        """The labels in order, in at most `parts` parts, cut as `torch.chunk` cuts."""
        if parts == 1:
            return [self]
        targets, weights = self.target.chunk(parts), self.weight.chunk(parts)
        teachers = [None] * len(targets) if self.teacher is None else self.teacher.chunk(parts)
        return [Labels(*part) for part in zip(targets, weights, teachers, strict=True)]


class Answers:
    """The labels of any images of a run, balanced as the recipe says.

    Class weights act on each class's share of a label, so that the correction of `undo_balance` is exact for soft
    labels too. The teacher, who answers at the shares of the training images, is balanced by the same factor.
    """

    def __init__(self, examples: Examples, recipe: Recipe, device: str) -> None:
        self.classes = examples.classes
        self.targets = torch.from_numpy(examples.targets).to(device)
        self.soft: Tensor | None = None
        if examples.soft is None:
            weights = (
                loss_weights(examples, recipe) if recipe.balance == "weights" else image_weights(examples)
            )
        else:
            factors = class_weights(examples, recipe) if recipe.balance == "weights" else 1.0
            mass = examples.soft * factors
            weights = image_weights(examples) * mass.sum(1)
            self.soft = torch.from_numpy(mass / mass.sum(1, keepdims=True)).float().to(device)
        self.weights = torch.from_numpy(np.asarray(weights)).float().to(device)
        self.teacher: Tensor | None = None
        if examples.teacher is not None and recipe.distill:
            logits = examples.teacher + np.log(prior_shift(examples, recipe))
            softened = torch.from_numpy(logits / recipe.temperature).softmax(1)
            self.teacher = softened.float().to(device)

    def __call__(self, images: Ints) -> Labels:
        """The labels of the images numbered `images` ``(N,)``."""
        rows = torch.from_numpy(images).to(self.targets.device)
        hard = self.soft is None
        target = F.one_hot(self.targets[rows], self.classes).float() if hard else self.soft[rows]  # type: ignore[index]
        teacher = None if self.teacher is None else self.teacher[rows]
        return Labels(target, self.weights[rows], teacher)


def objective(logits: Tensor, labels: Labels, recipe: Recipe, total: Tensor) -> Tensor:
    """Cross-entropy with smoothed labels, summed by the images' weights and divided by `total`.

    Parameters
    ----------
    logits : ``(N, K)``.
    total : weight of the whole batch, of which these may be a part: the parts' losses add up to the batch's.

    With `recipe.focal` each class's term is multiplied by ``(1 - p) ** gamma`` (Lin et al. 2017, arXiv 1708.02002,
    §3.2). With a teacher, `recipe.distill` of the loss is ``T² KL(teacher || network)`` of both softened by T: the
    square keeps the gradient's size (Hinton et al. 2015, arXiv 1503.02531, §2).
    """
    target = labels.target * (1 - recipe.label_smoothing) + recipe.label_smoothing / logits.shape[1]
    log_p = F.log_softmax(logits, dim=1)
    if recipe.focal:
        # Below 1e-6 the power has no gradient worth having, and an infinite one for gamma < 1.
        losses = -(target * (-torch.expm1(log_p)).clamp_min(1e-6) ** recipe.focal * log_p).sum(1)
    else:
        losses = -(target * log_p).sum(1)
    if labels.teacher is not None:
        softened = F.log_softmax(logits / recipe.temperature, dim=1)
        distance = F.kl_div(softened, labels.teacher, reduction="none").sum(1)
        losses = (1 - recipe.distill) * losses + recipe.distill * recipe.temperature**2 * distance
    return (labels.weight * losses).sum() / total
