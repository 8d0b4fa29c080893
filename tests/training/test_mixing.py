"""mixup and CutMix give what torchvision's give, and depend on the seed and the step alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eyeline.training import Recipe
from eyeline.training.mixing import cut_box, cutmix, mix, mixup
from eyeline.training.objective import Labels
from networks.peers import v2

N, K = 6, 3


def batch():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(N, 2, 9, 12, generator=generator)
    target = torch.eye(K)[torch.tensor([0, 1, 2, 0, 1, 1])]
    return x, Labels(target, torch.ones(N))


ROLLED = torch.arange(N).roll(1)  # torchvision's partners


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_mixup_is_torchvisions(share):
    x, labels = batch()
    params = {"lam": share, "labels": labels.target, "batch_size": N}
    peer = v2.MixUp(num_classes=K)
    torch.testing.assert_close(mixup(x, ROLLED, share), peer.transform(x, params))
    torch.testing.assert_close(labels.blended(ROLLED, share).target, peer.transform(labels.target, params))


@pytest.mark.parametrize("box", [(2, 3, 7, 11), (0, 0, 9, 12), (4, 4, 4, 9)])
def test_cutmix_is_torchvisions(box):
    x, labels = batch()
    top, left, bottom, right = box
    mixed, share = cutmix(x, ROLLED, box)
    params = {
        "box": (left, top, right, bottom),
        "lam_adjusted": share,
        "labels": labels.target,
        "batch_size": N,
    }
    peer = v2.CutMix(num_classes=K)
    assert torch.equal(mixed, peer.transform(x, params))
    torch.testing.assert_close(labels.blended(ROLLED, share).target, peer.transform(labels.target, params))
    assert share == pytest.approx(1 - (bottom - top) * (right - left) / 108)


def test_boxes_have_the_wanted_area_where_the_edge_does_not_cut_them():
    draw = np.random.default_rng(0)
    boxes = [cut_box(200, 100, 0.75, draw) for _ in range(300)]
    inside = [b for b in boxes if b[0] > 0 and b[1] > 0 and b[2] < 200 and b[3] < 100]
    assert len(inside) > 30
    assert {(b[2] - b[0], b[3] - b[1]) for b in inside} == {(100, 50)}
    assert all(0 <= b[0] <= b[2] <= 200 and 0 <= b[1] <= b[3] <= 100 for b in boxes)


def test_labels_mix_by_weight():
    """An image that counts nothing brings nothing; weights themselves mix."""
    target = torch.eye(2)
    mixed = Labels(target, torch.tensor([1.0, 0.0])).blended(torch.tensor([1, 0]), 0.4)
    torch.testing.assert_close(mixed.weight, torch.tensor([0.4, 0.6]))
    torch.testing.assert_close(mixed.target, torch.tensor([[1.0, 0.0], [1.0, 0.0]]))


def test_off_is_untouched_and_on_depends_on_seed_and_step():
    x, labels = batch()
    assert mix(x, labels, Recipe(), seed=0, step=3) == (x, labels)
    on = Recipe(mixup=0.4, cutmix=1.0)
    first, again = (mix(x, labels, on, seed=0, step=3) for _ in range(2))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1].target, again[1].target)
    assert not torch.equal(first[0], mix(x, labels, on, seed=0, step=4)[0])
    assert not torch.equal(first[0], mix(x, labels, on, seed=1, step=3)[0])


def test_the_share_follows_the_beta_distribution_and_both_kinds_occur():
    x, labels = batch()
    shares = []
    for step in range(400):
        _, mixed = mix(x, labels, Recipe(mixup=0.5), seed=0, step=step)
        shares.append(mixed.target.max(1).values.min().item())  # max(lam, 1 - lam), where classes differ
    # Beta(1/2, 1/2) is the arcsine law: P(max(lam, 1 - lam) < 3/4) = 1/3. Some partners share their class.
    assert 0.25 < np.mean(np.array(shares) < 0.75) < 0.42
    kinds = set()
    for step in range(20):
        mixed, _ = mix(x, labels, Recipe(mixup=1.0, cutmix=1.0), seed=0, step=step)
        known = torch.isin(mixed, x).float().mean().item()
        kinds.add("cut" if known == 1 else "blend")
    assert kinds == {"cut", "blend"}
