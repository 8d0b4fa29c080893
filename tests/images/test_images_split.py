"""Honest splits: groups whole, classes balanced, given splits kept, the same seed the same split."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from eyeline.errors import EyelineError
from eyeline.images import ImageTable, make_folds, read_images, split_images


def table(
    labels: list[str],
    groups: list[str] | None = None,
    splits: list[str] | None = None,
    types: list[str] | None = None,
) -> ImageTable:
    return ImageTable(
        name="parts",
        paths=tuple(f"{row}" for row in range(len(labels))),
        labels=tuple(labels),
        classes=("good", *sorted(set(labels) - {"good"})),
        good="good",
        groups=None if groups is None else tuple(groups),
        splits=None if splits is None else tuple(splits),
        slices={} if types is None else {"type": tuple(types)},
    )


@pytest.fixture(scope="module")
def elpv() -> ImageTable:
    return read_images("elpv")


grouped = st.lists(
    st.tuples(st.integers(0, 12), st.sampled_from(["good", "good", "crack", "void"])),
    min_size=6,
    max_size=120,
)


def kinds(rows: ImageTable, names: tuple[object, ...]) -> dict[object, set[bool]]:
    found: dict[object, set[bool]] = defaultdict(set)
    for name, defect in zip(names, rows.is_defect.tolist(), strict=True):
        found[name].add(defect)
    return found


@settings(max_examples=60, deadline=None)
@given(grouped, st.integers(0, 3))
def test_no_group_stands_on_both_sides(pairs: list[tuple[int, str]], seed: int) -> None:
    """Whatever the groups: none is torn, every part has both kinds, or it is refused in words."""
    rows = table([label for _, label in pairs], [f"g{number}" for number, _ in pairs])
    try:
        names = split_images(rows, seed=seed)
    except EyelineError as error:
        assert error.code == "bad_split"  # noqa: PT017
        return
    assert rows.groups is not None
    assert len(set(zip(rows.groups, names, strict=True))) == len(set(rows.groups))
    assert kinds(rows, names) == {part: {True, False} for part in ("train", "val", "test")}
    assert {label for label, name in zip(rows.labels, names, strict=True) if name == "train"} == set(
        rows.labels
    )


@settings(max_examples=60, deadline=None)
@given(grouped, st.integers(2, 5), st.integers(0, 3))
def test_folds_never_tear_a_group(pairs: list[tuple[int, str]], k: int, seed: int) -> None:
    rows = table([label for _, label in pairs], [f"g{number}" for number, _ in pairs])
    try:
        folds = make_folds(rows, k=k, seed=seed)
    except EyelineError as error:
        assert error.code == "bad_split"  # noqa: PT017
        return
    assert rows.groups is not None
    assert folds.dtype == np.int64
    assert len(set(zip(rows.groups, folds.tolist(), strict=True))) == len(set(rows.groups))
    assert kinds(rows, tuple(folds.tolist())) == {fold: {True, False} for fold in range(k)}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=3, max_size=25), st.integers(0, 3)
)
def test_what_can_be_split_is_split(groups: list[tuple[int, int]], seed: int) -> None:
    """Three groups with both kinds are enough for three parts."""
    labels, names = [], []
    for number, (good, bad) in enumerate(groups):
        labels += ["good"] * good + ["crack"] * bad
        names += [f"g{number}"] * (good + bad)
    assert set(split_images(table(labels, names), seed=seed)) == {"train", "val", "test"}


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 60), st.lists(st.sampled_from(["a", "b", "c", "d"]), min_size=3, max_size=40),
       st.integers(0, 3))  # fmt: skip
def test_three_of_each_kind_are_enough_by_image(good: int, defects: list[str], seed: int) -> None:
    # The train part needs one of each class, the two others any defect.
    defects += sorted(set(defects))[: max(0, len(set(defects)) + 2 - len(defects))]
    rows = table(["good"] * good + defects)
    names = split_images(rows, seed=seed)
    assert kinds(rows, names) == {part: {True, False} for part in ("train", "val", "test")}


def test_a_single_defect_among_many_groups_is_found_a_place() -> None:
    """2,000 groups of one image, three of them with a defect: one goes to each part."""
    labels = ["good"] * 1997 + ["crack"] * 3
    rows = table(labels, [str(row) for row in range(2000)])
    for by in ("group", "image"):
        names = split_images(rows, by=by)
        assert sorted(name for name, label in zip(names, labels, strict=True) if label == "crack") == [
            "test", "train", "val",
        ]  # fmt: skip
        counts = Counter(names)
        assert abs(counts["train"] - 1400) <= 5
        assert abs(counts["test"] - 300) <= 5


def test_by_image_the_shares_are_exact(elpv: ImageTable) -> None:
    """Stratified by class and type: every cell of the table within two images of its share."""
    fractions = (0.6, 0.15, 0.25)
    names = split_images(elpv, by="image", fractions=fractions)
    strata = list(zip(elpv.labels, elpv.slices["type"], strict=True))
    for part, share in zip(("train", "val", "test"), fractions, strict=True):
        assert abs(names.count(part) - share * 2624) <= 1
        for stratum, number in Counter(strata).items():
            held = sum(name == part and s == stratum for name, s in zip(names, strata, strict=True))
            assert abs(held - share * number) <= 2


def test_elpv_by_module(elpv: ImageTable) -> None:
    """Modules vary from 0 to 93 % defects; still every part comes within 2 % of the whole's share."""
    for seed in range(5):
        names = np.array(split_images(elpv, seed=seed))
        for part, share in (("train", 0.7), ("val", 0.15), ("test", 0.15)):
            inside = names == part
            assert abs(inside.sum() - share * 2624) <= 30
            assert abs(elpv.is_defect[inside].mean() - 821 / 2624) < 0.02


def test_folds_are_at_least_as_even_as_scikit_learns(elpv: ImageTable) -> None:
    assert elpv.groups is not None

    def unevenness(folds: np.ndarray) -> float:
        counts = np.array(
            [[np.sum((folds == fold) & (elpv.is_defect == kind)) for kind in (0, 1)] for fold in range(5)]
        )
        return float((counts / counts.mean(axis=0)).std())

    for seed in range(3):
        peer = np.zeros(2624, dtype=int)
        splitter = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
        for fold, (_, held) in enumerate(splitter.split(peer, elpv.targets, elpv.groups)):
            peer[held] = fold
        assert unevenness(make_folds(elpv, seed=seed)) <= unevenness(peer)


def test_image_folds_are_as_even_as_scikit_learns(elpv: ImageTable) -> None:
    ours = make_folds(elpv, by="image")
    peer = [len(held) for _, held in StratifiedKFold(5).split(np.zeros(2624), elpv.targets)]
    assert sorted(np.bincount(ours).tolist()) == sorted(peer)
    defects = np.bincount(ours[elpv.is_defect])
    assert defects.max() - defects.min() <= 1


def test_seeds(elpv: ImageTable) -> None:
    for by in ("group", "image"):
        assert split_images(elpv, by=by, seed=3) == split_images(elpv, by=by, seed=3)
        assert split_images(elpv, by=by, seed=3) != split_images(elpv, by=by, seed=4)
        assert np.array_equal(make_folds(elpv, by=by, seed=3), make_folds(elpv, by=by, seed=3))
        assert not np.array_equal(make_folds(elpv, by=by, seed=3), make_folds(elpv, by=by, seed=4))


def test_the_order_of_rows_does_not_matter_to_groups(elpv: ImageTable) -> None:
    order = np.random.default_rng(0).permutation(len(elpv))
    names = split_images(elpv)
    assert split_images(elpv.select(order)) == tuple(names[row] for row in order)


def test_parts_may_be_left_out(elpv: ImageTable) -> None:
    names = split_images(elpv, fractions=(3, 0, 1))
    assert set(names) == {"train", "test"}
    assert abs(names.count("test") - 656) <= 30
    assert set(split_images(elpv, fractions=(1, 0, 0))) == {"train"}


def test_a_given_split_is_kept() -> None:
    labels = ["good", "bad"] * 6
    given_splits = ["train"] * 6 + ["val"] * 2 + ["test"] * 4
    assert split_images(table(labels, splits=given_splits)) == tuple(given_splits)


def test_a_missing_part_is_carved_out_of_train() -> None:
    labels = ["good", "good", "bad"] * 40
    groups = [str(row // 6) for row in range(120)]
    rows = table(labels, groups, splits=["train"] * 90 + ["test"] * 30)
    names = split_images(rows, fractions=(0.6, 0.2, 0.2))
    assert names[90:] == ("test",) * 30
    assert set(names[:90]) == {"train", "val"}
    assert abs(names.count("val") - 90 / 4) <= 6
    assert len(set(zip(groups, names, strict=True))) == len(set(groups))
    no_val = split_images(rows, fractions=(0.8, 0, 0.2))
    assert no_val == rows.splits


def test_a_given_split_that_tears_a_group_is_a_leak() -> None:
    rows = table(["good", "bad"] * 6, ["a"] * 12, splits=["train"] * 8 + ["test"] * 4)
    with pytest.raises(EyelineError, match="tears group 'a' apart: it is in train and in test") as caught:
        split_images(rows)
    assert caught.value.code == "leak"
    assert set(split_images(rows, by="image")) == {"train", "val", "test"}


def test_what_cannot_be_split_says_why() -> None:
    labels = ["good"] * 10 + ["bad"] * 10
    groups = [f"g{row // 5}" for row in range(20)]  # two groups with defects
    with pytest.raises(
        EyelineError, match=r"no defects; 2 groups have any, and 3 parts need at least 3"
    ) as caught:
        split_images(table(labels, groups))
    assert caught.value.code == "bad_split"
    tied = replace(
        table(labels, ["one"] * 20), group_source="given: folders; those that share pictures joined"
    )
    with pytest.raises(EyelineError, match=r"1 group has any.*\(groups: given: folders; those that share"):
        split_images(tied)
    with pytest.raises(EyelineError, match="the table has 2 for 3 parts"):
        split_images(table(["good"] * 9 + ["bad"] * 2))
    with pytest.raises(EyelineError, match="part would have no defects; the table has 4 for 5 parts"):
        make_folds(table(["good"] * 20 + ["bad"] * 4), k=5)
    with pytest.raises(EyelineError, match="no train part"):
        split_images(table(["good", "bad"] * 3, splits=["test"] * 6))
    with pytest.raises(EyelineError, match="class 'void' never appears in the train part"):
        split_images(
            table(["good", "bad"] * 3 + ["good", "void"], splits=["train"] * 4 + ["val"] * 2 + ["test"] * 2)
        )
    with pytest.raises(EyelineError, match="train part would have no defects"):
        split_images(table(["good", "good", "good", "bad"], splits=["train", "train", "test", "test"]),
                     fractions=(0.5, 0, 0.5))  # fmt: skip


@pytest.mark.parametrize(
    "call",
    [
        lambda rows: split_images(rows, by="group"),
        lambda rows: make_folds(rows, by="group"),
        lambda rows: split_images(rows, by="colour"),
        lambda rows: split_images(rows, fractions=(0, 0.5, 0.5)),
        lambda rows: split_images(rows, fractions=(0.5, 0.5)),
        lambda rows: split_images(rows, fractions=(0.5, -0.1, 0.6)),
        lambda rows: split_images(rows, fractions=(0.5, float("nan"), 0.6)),
        lambda rows: make_folds(rows, k=1),
        lambda rows: split_images(rows.select([])),
    ],
)
def test_wrong_use(call) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(EyelineError):
        call(table(["good", "bad"] * 10))


def test_many_groups_stay_quick() -> None:
    import time

    rng = np.random.default_rng(0)
    labels = rng.choice(["good", "crack", "void"], 30_000, p=[0.9, 0.07, 0.03]).tolist()
    groups = rng.integers(0, 8000, 30_000).astype(str).tolist()
    started = time.process_time()
    names = np.array(split_images(table(labels, groups)))
    assert time.process_time() - started < 5
    for label in ("good", "crack", "void"):
        inside = np.array(labels) == label
        assert abs((names[inside] == "test").mean() - 0.15) < 0.01
