"""The loss against PyTorch's, torchvision's and the papers' formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from eyeline.training import Examples, Recipe
from eyeline.training.objective import Answers, Labels, objective
from networks.peers import torchvision


def batch(n=7, k=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, k, generator=generator, dtype=torch.float64).mul_(3).requires_grad_()
    target = torch.randn(n, k, generator=generator, dtype=torch.float64).softmax(1)
    weight = torch.rand(n, generator=generator, dtype=torch.float64) + 0.1
    return logits, target, weight


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_it_is_cross_entropy_with_probabilities(smoothing):
    logits, target, weight = batch()
    recipe = Recipe(label_smoothing=smoothing)
    each = F.cross_entropy(logits, target, reduction="none", label_smoothing=smoothing)
    expected = (weight * each).sum() / weight.sum()
    torch.testing.assert_close(objective(logits, Labels(target, weight), recipe, weight.sum()), expected)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
def test_focal_loss_of_two_classes_is_torchvisions(gamma):
    logits, _, weight = batch(k=2)
    y = torch.tensor([0, 1, 1, 0, 1, 0, 0])
    peer = torchvision.ops.sigmoid_focal_loss(logits[:, 1] - logits[:, 0], y.double(), alpha=-1, gamma=gamma)
    expected = (weight * peer).sum() / weight.sum()
    labels = Labels(F.one_hot(y, 2).double(), weight)
    ours = objective(logits, labels, Recipe(focal=gamma, label_smoothing=0.0), weight.sum())
    torch.testing.assert_close(ours, expected)
    (mine,) = torch.autograd.grad(ours, logits, retain_graph=True)
    (theirs,) = torch.autograd.grad(expected, logits)
    torch.testing.assert_close(mine, theirs)


def test_focal_gradients_are_finite_where_the_network_is_certain():
    logits = torch.tensor([[80.0, -80.0], [-80.0, 80.0]], requires_grad=True)
    labels = Labels(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.ones(2))
    objective(logits, labels, Recipe(focal=0.5), torch.tensor(2.0)).backward()
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("t", [1.0, 2.0, 5.0])
def test_the_teachers_pull_is_hintons_gradient(t):
    """d T² KL / dz = T (p - q), with p and q the softened answers (§2.1 of the paper)."""
    logits, target, weight = batch()
    teacher = torch.randn(7, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    q = (teacher / t).softmax(1)
    recipe = Recipe(distill=1.0, temperature=t)
    loss = objective(logits, Labels(target, weight, q), recipe, weight.sum())
    (gradient,) = torch.autograd.grad(loss, logits)
    expected = weight[:, None] / weight.sum() * t * ((logits / t).softmax(1) - q)
    torch.testing.assert_close(gradient, expected.detach())
    agreed = objective(teacher, Labels(target, weight, q), recipe, weight.sum())
    assert abs(agreed.item()) < 1e-12


def test_the_share_of_the_teacher_is_a_share():
    logits, target, weight = batch()
    labels = Labels(target, weight, torch.full((7, 3), 1 / 3, dtype=torch.float64))
    parts = [
        objective(logits, labels, Recipe(distill=share), weight.sum()).item() for share in (1e-9, 0.3, 1.0)
    ]
    assert parts[1] == pytest.approx(0.7 * parts[0] + 0.3 * parts[2])


def test_parts_add_up_to_the_batch():
    logits, target, weight = batch(n=10)
    labels = Labels(target, weight, target.flip(1))
    recipe = Recipe(focal=2.0, distill=0.4)
    whole = objective(logits, labels, recipe, weight.sum())
    pieces = zip(logits.chunk(4), labels.chunk(4), strict=True)
    torch.testing.assert_close(sum(objective(z, part, recipe, weight.sum()) for z, part in pieces), whole)


def test_the_answers_of_a_run():
    soft = np.array([[1, 0], [2 / 3, 1 / 3], [0, 1]], np.float32)
    logits = np.array([[2, -2], [0, 1], [-1, 3]], np.float32)
    rows = np.arange(3)
    part = Examples(
        pixels=np.zeros((3, 8, 8, 1), np.uint8),
        targets=np.array([0, 0, 1]),
        classes=2,
        train=rows,
        val=rows,
        folds=rows,
        soft=soft,
        teacher=logits,
        weights=np.array([1.0, 2.0, 3.0]),
    )
    plain = Answers(part, Recipe(balance="none", distill=0.5, temperature=2.0), "cpu")(rows[::-1].copy())
    np.testing.assert_allclose(plain.target, soft[::-1], rtol=1e-6)
    assert plain.weight.tolist() == [3, 2, 1]
    np.testing.assert_allclose(plain.teacher, torch.from_numpy(logits[::-1] / 2.0).softmax(1), rtol=1e-6)
    assert Answers(part, Recipe(balance="none"), "cpu")(rows).teacher is None
    balanced = Answers(part, Recipe(balance="weights", distill=0.5), "cpu")(rows)
    assert balanced.teacher[0, 1] > plain.teacher[2, 1], (
        "the rarer class is as likely to the balanced teacher"
    )
