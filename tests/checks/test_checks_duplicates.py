"""Planted copies: exact, shifted, brighter, recompressed, turned; found, and nothing else claimed."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from eyeline.checks import Pairs, connected_sets, duplicate_findings, find_duplicates
from eyeline.checks.alignment import smooth, unexplained
from eyeline.errors import EyelineError
from eyeline.images import read_images

Bilinear = Image.Resampling.BILINEAR


def thumbnail(picture):
    return np.asarray(Image.fromarray(picture).resize((64, 64), Bilinear))


def perturbed(picture, rng, shift=0.03):
    """Shift up to 3 % of the side, brightness and contrast +-20 %, noise up to sd 5, resize +-10 %, JPEG 50 to 95."""
    height, width = picture.shape
    edge = int(np.ceil(shift * height)) + 2
    right, down = edge + rng.uniform(-shift, shift, 2) * height
    moved = Image.fromarray(np.pad(picture, edge, mode="edge")).transform(
        (width, height), Image.Transform.AFFINE, (1, 0, right, 0, 1, down), Bilinear
    )
    grey = np.asarray(moved).astype(np.float32)
    grey = ((grey - grey.mean()) * rng.uniform(0.8, 1.2) + grey.mean()) * rng.uniform(0.8, 1.2)
    grey = np.clip(np.rint(grey + rng.normal(0, rng.uniform(0, 5), grey.shape)), 0, 255).astype(np.uint8)
    scale = rng.uniform(0.9, 1.1)
    resized = Image.fromarray(grey).resize(
        (round(width * scale), round(height * scale)), Image.Resampling.BICUBIC
    )
    file = io.BytesIO()
    resized.save(file, "JPEG", quality=int(rng.integers(50, 96)))
    return np.asarray(Image.open(file).convert("L"))


def parts(count, seed):
    """Synthetic parts of 128 by 128: a ring on a plate, all alike but for grain and dirt."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:128, :128] - 63.5
    ring = 60.0 * (np.abs(np.hypot(y, x) - 40) < 8)
    pictures = []
    for _ in range(count):
        grain = np.asarray(
            Image.fromarray(rng.normal(0, 25, (24, 24)).astype(np.float32)).resize((128, 128), Bilinear)
        )
        picture = 110 + ring + grain + rng.normal(0, 3, (128, 128))
        for _ in range(6):
            at, size, depth = rng.uniform(-55, 55, 2), rng.uniform(2, 6), rng.uniform(-60, 40)
            picture = picture + depth * np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / (2 * size**2))
        pictures.append(np.clip(picture, 0, 255).astype(np.uint8))
    return pictures


def judge(found, originals, sources, allowed=()):
    """Recall of the planted copies, and precision among the pairs that concern a copy."""
    origin = np.append(np.arange(originals), sources)
    got = {(int(a), int(b)) for a, b in zip(found.first, found.second, strict=True)}
    planted = {(int(source), originals + place) for place, source in enumerate(sources)}
    of_copies = [pair for pair in got if pair[1] >= originals]
    right = [origin[a] == origin[b] or tuple(sorted((origin[a], origin[b]))) in allowed for a, b in of_copies]
    return len(planted & got) / len(planted), np.mean(right), len(got) - len(of_copies)


# --- planted near duplicates ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def elpv():
    """Every cell of ELPV at 64 by 64, and 200 perturbed copies of its 300 by 300 pictures."""
    table, rng = read_images("elpv"), np.random.default_rng(7)
    pictures = [np.asarray(Image.open(path).convert("L")) for path in table.paths]
    sources = rng.choice(len(pictures), 200, replace=False)
    copies = [thumbnail(perturbed(pictures[source], rng)) for source in sources]
    plain = np.stack([thumbnail(picture) for picture in pictures])
    return plain, sources, np.stack(copies), find_duplicates(np.concatenate([plain, copies]), turned=False)


def test_copies_planted_into_elpv_are_found_and_nothing_else(elpv):
    plain, sources, copies, found = elpv
    # ELPV as shipped has real twins (a module photographed twice, wafers cut from one ingot next to each other);
    # a copy of one twin is rightly found to be like the other.
    n = len(plain)
    of_originals = found.second < n
    merged = connected_sets(found, n + len(copies))
    twins = {
        (a, b)
        for a, b in zip(found.first[of_originals].tolist(), found.second[of_originals].tolist(), strict=True)
    }
    recall, precision, extra = judge(found, n, sources, twins)
    assert recall >= 0.95
    assert precision >= 0.95
    assert 60 < extra < 140  # the twins; 92 of 3.4 million pairs
    assert len(set(merged[n:])) <= len(copies)


def test_elpv_holds_one_module_twice(elpv):
    _, _, _, found = elpv
    # Rows 1734 to 1783 and 2276 to 2325 show the same 50 cells, once sharp and once blurred.
    apart = found.second - found.first == 542
    twice = found.first[apart & (found.second < 2624)]
    assert len(twice) >= 40
    assert twice.min() >= 1734
    assert twice.max() <= 1783


def test_copies_planted_into_digits_are_found():
    rng = np.random.default_rng(1)
    table = read_images("digits")
    plain = [
        np.asarray(Image.fromarray(grey).resize((96, 96), Image.Resampling.BICUBIC))
        for grey in table.pixels[..., 0]
    ]
    sources = rng.choice(len(plain), 200, replace=False)
    copies = [thumbnail(perturbed(plain[source], rng)) for source in sources]
    images = np.stack([thumbnail(picture) for picture in plain] + copies)
    recall, precision, extra = judge(find_duplicates(images, turned=False), len(plain), sources)
    assert recall >= 0.95
    assert precision >= 0.95
    assert extra <= 50  # of 1.6 million pairs: ones and sevens of 8 by 8 pixels that one writer wrote twice


def test_copies_planted_into_synthetic_parts_are_found():
    rng = np.random.default_rng(2)
    plain = parts(400, seed=3)
    sources = rng.choice(400, 100, replace=False)
    copies = [thumbnail(perturbed(plain[source], rng)) for source in sources]
    images = np.stack([thumbnail(picture) for picture in plain] + copies)
    recall, precision, extra = judge(find_duplicates(images, turned=False), 400, sources)
    assert recall >= 0.95
    assert precision >= 0.95
    assert extra == 0


def test_parts_that_differ_by_noise_only_are_not_called_duplicates():
    rng = np.random.default_rng(0)
    base = parts(1, seed=0)[0].astype(np.float32)
    images = [
        thumbnail(np.clip(base + rng.normal(0, 4, base.shape), 0, 255).astype(np.uint8)) for _ in range(150)
    ]
    assert len(find_duplicates(np.stack(images))) <= 5


def test_a_scratch_is_a_difference():
    plain = parts(60, seed=4)
    scratched = plain[0].copy()
    scratched[60:64, 20:50] = 20
    images = np.stack([thumbnail(picture) for picture in [*plain, scratched]])
    assert 60 not in find_duplicates(images).second


def test_turned_and_mirrored_copies_are_found():
    rng = np.random.default_rng(5)
    plain = parts(120, seed=6)
    copies, sources = [], rng.choice(120, 42, replace=False)
    for place, source in enumerate(sources):
        turned = np.rot90(plain[source], place % 4)
        turned = turned[:, ::-1] if place % 7 > 3 or place % 4 == 0 else turned
        copies.append(thumbnail(np.ascontiguousarray(turned)))
    found = find_duplicates(np.stack([thumbnail(picture) for picture in plain] + copies))
    pairs = {(int(a), int(b)) for a, b in zip(found.first, found.second, strict=True)}
    assert pairs == {(int(source), 120 + place) for place, source in enumerate(sources)}
    assert set(found.kind) == {"turned"}
    assert (
        len(find_duplicates(np.stack([thumbnail(picture) for picture in plain] + copies), turned=False)) == 0
    )


# --- exact copies, sets, invariances --------------------------------------------------------------


def test_exact_copies_are_told_by_their_digests():
    images = np.stack([thumbnail(picture) for picture in parts(5, seed=7)])[[0, 1, 0, 2, 0, 3]]
    found = find_duplicates(
        images, contents=["a", "b", "a", "c", "z", ""], pixels=["p", "q", "p", "r", "p", ""]
    )
    assert list(zip(found.first, found.second, found.kind, found.score, strict=True)) == [
        (0, 2, "same_bytes", 1.0),
        (0, 4, "same_pixels", 1.0),
    ]


def test_rows_without_a_picture_are_left_alone():
    images = np.stack([thumbnail(picture) for picture in parts(4, seed=8)])[[0, 0, 1, 1]]
    found = find_duplicates(images, usable=[True, False, True, True], contents=["", "", "x", "y"])
    assert list(zip(found.first, found.second, strict=True)) == [(2, 3)]
    even = np.full((5, 64, 64), 128, np.uint8)
    assert len(find_duplicates(even)) == 0
    assert len(find_duplicates(even[:0])) == 0
    with pytest.raises(EyelineError, match="64x64"):
        find_duplicates(np.zeros((2, 32, 32), np.uint8))


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 1000))
def test_the_order_of_the_rows_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    plain = parts(40, seed=9)
    images = np.stack(
        [thumbnail(p) for p in plain] + [thumbnail(perturbed(p, np.random.default_rng(0))) for p in plain[:8]]
    )
    order = rng.permutation(len(images))
    plainly, mixed = find_duplicates(images, turned=False), find_duplicates(images[order], turned=False)
    back = {
        tuple(sorted((int(order[a]), int(order[b])))) for a, b in zip(mixed.first, mixed.second, strict=True)
    }
    assert back == set(zip(plainly.first.tolist(), plainly.second.tolist(), strict=True))


@settings(max_examples=50, deadline=None)
@given(edges=st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=40))
def test_connected_sets_are_those_of_scipy(edges):
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = [(min(a, b), max(a, b)) for a, b in edges if a != b]
    pairs = made([(a, b, "near", 1.0) for a, b in edges])
    ours = connected_sets(pairs, 30)
    graph = coo_array((np.ones(len(edges)), ([a for a, _ in edges], [b for _, b in edges])), shape=(30, 30))
    theirs = connected_components(graph, directed=False)[1]
    assert all((ours == ours[i]).tolist() == (theirs == theirs[i]).tolist() for i in range(30))
    assert all(ours[row] == np.flatnonzero(ours == ours[row])[0] for row in range(30))
    assert (connected_sets(pairs, 30, ["turned"]) == np.arange(30)).all()


def test_what_is_unexplained_vanishes_for_a_shifted_brighter_copy_and_grows_with_noise():
    picture = np.asarray(Image.fromarray(parts(1, seed=10)[0]))
    one = smooth(thumbnail(picture)[None])
    other = smooth(thumbnail(np.roll(picture, (4, -4), axis=(0, 1)))[None])
    assert unexplained(one, one)[0] < 1e-5
    assert unexplained(one, 0.5 * one + 30)[0] < 1e-5
    assert unexplained(one, other)[0] < 0.01
    assert unexplained(one, 255 - one)[0] == 1.0
    strangers = [smooth(thumbnail(picture)[None]) for picture in parts(5, seed=11)]
    assert min(float(unexplained(one, stranger)[0][0]) for stranger in strangers) > 0.05


# --- findings -------------------------------------------------------------------------------------


def made(pairs):
    first, second, kind, score = zip(*pairs, strict=True) if pairs else ((), (), (), ())
    return Pairs(
        first=np.array(first, int),
        second=np.array(second, int),
        kind=tuple(kind),
        score=np.array(score, float),
    )


PAIRS = made(
    [
        (0, 1, "same_bytes", 1.0),
        (2, 3, "same_pixels", 1.0),
        (4, 5, "near", 0.99),
        (6, 7, "near", 0.995),
        (8, 9, "turned", 0.99),
    ]
)


def by_kind(findings):
    return {(finding.kind, finding.severity): finding for finding in findings}


def test_copies_within_a_class_are_warnings():
    found = by_kind(duplicate_findings(PAIRS, ["good"] * 20))
    assert set(found) == {
        ("exact_duplicate", "warning"),
        ("near_duplicate", "warning"),
        ("augmented_copy", "warning"),
    }
    near = found["near_duplicate", "warning"]
    assert near.rows == (6, 7, 4, 5)  # the surest first
    assert near.effect == pytest.approx(4 / 20)
    assert near.details["pairs"][0] == [6, 7, "near", 0.995]


def test_copies_with_two_labels_contradict_each_other():
    labels = ["good", "scratch"] + ["good"] * 5 + ["scratch"] + ["good"] * 12
    found = by_kind(duplicate_findings(PAIRS, labels))
    conflict = found["label_conflict", "error"]
    assert conflict.rows == (0, 1)
    assert conflict.message == "1 pair of one picture with different labels (1 the same file)"
    near = found["near_conflict", "warning"]
    assert near.rows == (6, 7)
    assert near.message == "1 pair of nearly the same picture with different labels (1 near duplicates)"
    assert found["near_duplicate", "warning"].rows == (4, 5)


def test_a_part_that_was_taken_twice_is_told_by_its_distance():
    twice = Pairs(
        first=np.arange(10, 18), second=np.arange(52, 60), kind=("near",) * 8, score=np.full(8, 0.99)
    )
    (finding,) = duplicate_findings(twice, ["good"] * 80)
    assert "8 of the pairs lie 42 rows apart, from row 11 on: a part that was taken twice" in finding.message


def test_copies_across_the_split_are_a_leak():
    splits = ["train"] * 20
    for row in (3, 9, 15, 16):
        splits[row] = "test"
    found = by_kind(duplicate_findings(PAIRS, ["good"] * 20, splits=splits))
    leak = found["split_leak", "error"]
    assert leak.rows == (2, 3, 8, 9)
    assert leak.effect == 1.0  # as many images as the test part has
    assert ("augmented_copy", "warning") not in found


def test_near_duplicates_that_a_group_holds_together_are_a_note():
    groups = [f"part {row // 2}" for row in range(20)]
    found = by_kind(duplicate_findings(PAIRS, ["good"] * 20, groups=groups))
    assert ("near_duplicate", "warning") not in found
    assert found["near_duplicate", "note"].rows == (6, 7, 4, 5)
    assert duplicate_findings(made([]), ["good"] * 3) == []
