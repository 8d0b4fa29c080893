"""Groups proposed from names, times and order: found where they are, not claimed where they are not."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from eyeline.checks.groups import (
    SURE,
    _otsu,
    capture_order,
    group_findings,
    propose_groups,
)
from eyeline.checks.likeness import group_evidence
from eyeline.checks.neighbours import describe_thumbnails, unit_rows
from eyeline.images import read_images
from parts import write_parts


def same_partition(a, b):
    pairs = set(zip(a, b, strict=True))
    return len(pairs) == len(set(a)) == len(set(b))


def agreement(a, b):
    """Adjusted Rand index."""
    from sklearn.metrics import adjusted_rand_score

    return adjusted_rand_score(list(a), list(b))


def bursts(seed, *, parts=30, each=6, spread=0.3, shown=True):
    """Images of parts in the order taken, some of each part defective: descriptors, classes, part of each."""
    rng = np.random.default_rng(seed)
    part = np.repeat(np.arange(parts), each)
    y = (rng.random(len(part)) < 0.4).astype(np.int64)
    look = rng.normal(size=(parts, 40))[part] if shown else 0.0
    x = look + spread * rng.normal(size=(len(part), 40))
    x[:, 0] += y
    return unit_rows(x), y, part


def best_by_source(proposals):
    best = {}
    for proposal in proposals:
        best.setdefault(proposal.source, proposal)
    return best


# --- the measure ----------------------------------------------------------------------------------


def test_evidence_is_one_for_clear_groups_and_a_half_for_none():
    x, y, part = bursts(0)
    clear = group_evidence(x, part, y)
    assert clear.alike > 0.99
    assert clear.confidence > 0.9
    assert abs(clear.chance - 0.5) < 0.05
    none = [group_evidence(bursts(seed, shown=False)[0], part, y) for seed in range(10)]
    assert all(abs(one.alike - 0.5) < 0.06 for one in none)
    assert all(one.confidence < 0.05 for one in none)


def test_evidence_is_the_share_of_triplets():
    x, y, part = bursts(1, parts=6, each=4, spread=1.5)
    similar = x @ x.T
    won = []
    for i in range(len(y)):  # every triplet, each anchor weighing alike
        mates = [j for j in range(len(y)) if j != i and part[j] == part[i] and y[j] == y[i]]
        strangers = [k for k in range(len(y)) if part[k] != part[i] and y[k] == y[i]]
        if mates and strangers:
            won.append(np.mean([similar[i, j] > similar[i, k] for j in mates for k in strangers]))
    many = [group_evidence(x, part, y, seed=seed).alike for seed in range(60)]
    assert np.mean(many) == pytest.approx(np.mean(won), abs=0.02)


def test_groups_that_are_only_the_label_are_no_evidence():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 100)
    x = unit_rows(rng.normal(size=(200, 10)) + 5 * y[:, None])
    split_at_random = y * 10 + rng.integers(
        0, 10, 200
    )  # each group is of one class, and only the class shows
    assert group_evidence(x, split_at_random, y).confidence < 0.05
    assert np.isnan(group_evidence(x, y, y).alike)
    assert group_evidence(x, np.arange(200), y).confidence == 0


@settings(max_examples=30, deadline=None)
@given(values=st.lists(st.integers(-5, 5), min_size=2, max_size=30))
def test_otsu_maximises_the_variance_between(values):
    cut = _otsu(np.array(values, float))
    if len(set(values)) == 1:
        assert cut is None
        return

    def between(at):
        low, high = [v for v in values if v < at], [v for v in values if v > at]
        return len(low) * len(high) * (np.mean(low) - np.mean(high)) ** 2

    cuts = sorted(set(values))
    assert between(cut) == pytest.approx(max(between((a + b) / 2) for a, b in pairwise(cuts)))


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "{label}/part{part:02d}_{shot:03d}.png",
        "{label}/{part:04d}-{shot}.jpg",
        "train/{label}/lot A/p{part}/{shot}.png",
        "{label}/2024-05-17_p{part}_cam{shot}.png",
        "{label}/{shot} {part}.tif",
        "{label}/{label}_p{part}_{shot}.png",
        "{label}/bolt{part:02d}v{shot}.png",
    ],
)
def test_the_part_in_the_name_is_found_with_a_pattern_that_reproduces_it(name):
    x, y, part = bursts(2)
    paths = [
        "/data/set/" + name.format(label=["good", "scratch"][label], part=p, shot=row % 6)
        for row, (label, p) in enumerate(zip(y, part, strict=True))
    ]
    best = propose_groups(paths, y, x)[0]
    assert best.confidence > 0.8
    assert same_partition(best.groups, part)
    assert best.count == 30
    pattern = re.compile(best.rule)
    assert best.groups == tuple(pattern.search(path).group("group") for path in paths)


def test_the_pattern_means_the_same_to_the_reader(tmp_path):
    folder = write_parts(tmp_path / "photos", parts=10, each=4)
    table = read_images(folder)
    thumbnails = np.stack([np.asarray(Image.open(path)) for path in table.paths])
    x = unit_rows(
        thumbnails.reshape(len(table), -1) - thumbnails.mean(dtype=np.float32)
    )  # the grey tells parts apart
    best = propose_groups(table.paths, table.targets, x)[0]
    assert read_images(folder, group_by=best.rule).groups == best.groups
    assert best.count == 10
    finding = group_findings([best], given=False)[0]
    assert best.rule in finding.advice.replace("\\\\", "\\")
    assert group_findings([best], given=True) == []


def test_days_in_names_are_sessions():
    rng = np.random.default_rng(4)
    day = np.repeat(np.arange(12), 20)
    y = rng.integers(0, 2, 240)
    x = unit_rows(rng.normal(size=(12, 30))[day] + 0.5 * rng.normal(size=(240, 30)))
    paths = [
        f"x/{'ab'[label]}/IMG_202403{d + 1:02d}_{rng.integers(0, 24):02d}{rng.integers(0, 60):02d}{row:02d}.jpg"
        for row, (d, label) in enumerate(zip(day, y, strict=True))
    ]
    best = propose_groups(paths, y, x)[0]
    assert same_partition(best.groups, day)
    assert best.confidence > 0.8


def test_names_that_the_pixels_do_not_confirm_are_not_claimed():
    for seed in range(5):
        x, y, part = bursts(seed, shown=False)
        paths = [
            f"{'gs'[label]}/part{p:02d}_{row % 6}.png"
            for row, (label, p) in enumerate(zip(y, part, strict=True))
        ]
        assert all(proposal.confidence < 0.1 for proposal in propose_groups(paths, y, x))


def test_an_mvtec_like_tree_gives_no_groups():
    rng = np.random.default_rng(0)
    paths, splits, y = [], [], []
    for split, label, count in (("train", 0, 80), ("test", 0, 20), ("test", 1, 20), ("test", 2, 20)):
        for row in range(count):
            paths.append(f"/d/bottle/{split}/{['good', 'broken_large', 'broken_small'][label]}/{row:03d}.png")
            splits.append(split)
            y.append(label)
    x = unit_rows(rng.normal(size=(len(y), 20)) + 3 * np.eye(20)[y])
    for parts in (splits, None):
        assert group_findings(propose_groups(paths, y, x, splits=parts), given=False) == []


# --- times and order ------------------------------------------------------------------------------


def test_bursts_are_found_by_their_times_when_names_say_nothing():
    x, y, part = bursts(5)
    rng = np.random.default_rng(5)
    taken = np.cumsum(
        np.where(
            np.diff(part, prepend=-1) > 0, rng.uniform(20, 60, len(part)), rng.uniform(0.2, 1, len(part))
        )
    )
    order = rng.permutation(len(part))
    paths = [f"{'gs'[label]}/{rng.bytes(6).hex()}.png" for label in y]
    best = propose_groups(
        [paths[r] for r in order], y[order], x[order], modified=(taken[order] * 1e9).astype(np.int64)
    )[0]
    assert best.source == "capture times"
    assert same_partition(best.groups, part[order])
    assert best.confidence > 0.8
    assert "pauses" in best.reason


def test_bursts_are_found_in_the_order_of_a_counter():
    x, y, part = bursts(6)
    paths = [f"/d/{'gs'[label]}/DSC{row:05d}.JPG" for row, label in enumerate(y)]
    best = propose_groups(paths, y, x)[0]
    assert (best.source, best.rule) == ("file order", None)
    assert agreement(best.groups, part) > 0.95
    assert best.confidence > SURE
    assert "column" in group_findings([best], given=False)[0].advice


def test_shuffled_files_have_no_order():
    for seed in range(5):
        x, y, _ = bursts(seed)
        order = np.random.default_rng(seed).permutation(len(y))
        paths = [f"/d/{'gs'[label]}/DSC{row:05d}.JPG" for row, label in enumerate(y[order])]
        assert all(proposal.confidence < 0.1 for proposal in propose_groups(paths, y[order], x[order]))


def test_copies_with_equal_times_are_no_bursts():
    x, y, _ = bursts(7)
    assert "capture times" not in best_by_source(
        propose_groups([f"{row}.png" for row in range(len(y))], y, x, modified=np.zeros(len(y), np.int64))
    )


def test_near_duplicates_are_groups_by_construction():
    x, y, part = bursts(8, shown=False)
    found = best_by_source(propose_groups([f"{row}.png" for row in range(len(y))], y, x, duplicate_sets=part))
    assert found["near duplicates"].confidence == 1
    assert same_partition(found["near duplicates"].groups, part)
    assert "near duplicates" not in best_by_source(
        propose_groups([f"{row}.png" for row in range(len(y))], y, x, duplicate_sets=np.arange(len(y)))
    )


def test_counters_are_capture_orders_only_when_no_number_comes_twice():
    assert capture_order(["a/x_7.png", "b/x_12.png"]).tolist() == [7, 12]
    assert capture_order(["a/x_7.png", "b/x_07.png"]) is None
    assert capture_order(["a/x.png", "b/y.png"]) is None


# --- ELPV -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def elpv():
    table = read_images("elpv")
    thumbnails = [
        np.asarray(Image.open(path).resize((64, 64), Image.Resampling.BILINEAR)) for path in table.paths
    ]
    return table, describe_thumbnails(np.stack(thumbnails))


def test_nothing_is_claimed_from_the_names_of_elpv(elpv):
    table, x = elpv
    order = np.random.default_rng(0).permutation(len(table))
    shuffled = [f"/d/images/cell{row + 1:04d}.png" for row in range(len(table))]
    assert group_findings(propose_groups(shuffled, table.targets[order], x[order]), given=False) == []
    in_order = propose_groups(table.paths, table.targets, x)
    assert [one.source for one in in_order if one.source.startswith("file names")] == []
    assert group_findings(in_order, given=False) == []  # module boundaries hardly show: no sure claim


def test_the_modules_of_elpv_show_in_the_pixels(elpv):
    table, x = elpv
    evidence = group_evidence(x, table.groups, table.targets)
    assert evidence.low > evidence.chance
    assert evidence.alike > 0.6
