"""Counts, and what they are worth, against published and textbook figures."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eyeline.checks.balance import Balance, balance_findings, measure_balance
from eyeline.errors import EyelineError
from eyeline.images import ImageTable, read_images
from eyeline.verdicts import provable_detection, success_run


def table_of(
    labels: list[str], groups: list[str] | None = None, splits: list[str] | None = None
) -> ImageTable:
    return ImageTable(
        name="counts",
        paths=tuple(f"{row}" for row in range(len(labels))),
        labels=tuple(labels),
        classes=("good", *sorted(set(labels) - {"good"})),
        good="good",
        groups=None if groups is None else tuple(groups),
        splits=None if splits is None else tuple(splits),
    )


def kinds(table: ImageTable, balance: Balance | None = None) -> list[str]:
    return [finding.kind for finding in balance_findings(table, balance)]


def test_elpv_as_published() -> None:
    """Intraclass correlation 0.38, design effect 23, 114 of 2,624 images, 44 modules."""
    table = read_images("elpv")
    balance = measure_balance(table)
    assert balance.images == 2624
    assert balance.classes == {"functional": 1803, "defective": 821}
    assert balance.groups == 44
    assert balance.images_per_group == {"fewest": 48, "median": 60, "most": 72}
    assert balance.intraclass_correlation == pytest.approx(0.38, abs=0.006)
    assert balance.design_effect == pytest.approx(23, abs=0.5)
    assert balance.effective_images == pytest.approx(114, abs=0.5)
    assert balance.needed_defects == 59
    found = balance_findings(table, balance)
    assert [finding.kind for finding in found] == ["weak_claim", "label_by_group"]
    assert "44 groups are worth 114" in found[1].message
    assert found[1].severity == "note"
    json.dumps(balance.to_dict())


@settings(max_examples=50, deadline=None)
@given(
    escape=st.sampled_from([0.001, 0.01, 0.02, 0.05, 0.1]),
    confidence=st.sampled_from([0.8, 0.9, 0.95, 0.99]),
    defects=st.integers(4, 400),
)
def test_the_closed_forms_are_those_of_the_verdicts(escape: float, confidence: float, defects: int) -> None:
    table = table_of(["good"] * 30 + ["bad"] * defects)
    balance = measure_balance(table, escape=escape, confidence=confidence, test_share=0.25)
    assert balance.needed_defects == success_run(1 - escape, confidence)
    assert balance.test_defects == defects // 4
    proven = provable_detection(balance.test_defects, 0, confidence)
    assert balance.provable_escape == pytest.approx(1 - proven)


@pytest.mark.parametrize(
    ("escape", "needed"), [(0.1, 29), (0.05, 59), (0.02, 149), (0.01, 299), (0.001, 2995)]
)
def test_success_run_table(escape: float, needed: int) -> None:
    assert measure_balance(table_of(["good", "bad"] * 20), escape=escape).needed_defects == needed


def test_a_given_split_counts_as_it_is() -> None:
    labels = ["bad"] * 100 + ["good"] * 100
    splits = ["test"] * 60 + ["train"] * 40 + ["train"] * 100
    assert measure_balance(table_of(labels, splits=splits)).test_defects == 60
    assert kinds(table_of(labels, splits=splits)) == []
    assert measure_balance(table_of(labels)).test_defects == 25
    only_val = measure_balance(table_of(labels, splits=["val"] * 10 + ["train"] * 190))
    assert only_val.test_defects == 25  # the test part will be carved out
    groups = [f"{row // 10}" for row in range(200)]
    grouped = measure_balance(table_of(labels, groups=groups, splits=splits))
    assert grouped.test_defects == 6


def test_enough_of_everything_is_silent() -> None:
    rng = np.random.default_rng(0)
    labels = ["bad" if bad else "good" for bad in rng.random(3000) < 0.5]
    assert kinds(table_of(labels)) == []
    groups = [f"part {row // 6}" for row in range(3000)]
    assert kinds(table_of(labels, groups)) == []


def test_planted_faults_are_found_and_nothing_else() -> None:
    many = ["good"] * 500 + ["scratch"] * 400
    assert kinds(table_of([*many, *["void"] * 19])) == ["too_few_images", "imbalance"]
    assert kinds(table_of([*many, *["void"] * 46])) == ["imbalance"]
    assert kinds(table_of([*many, *["void"] * 100])) == []
    finding = balance_findings(table_of([*many, *["void"] * 19]))[0]
    assert finding.rows == tuple(range(900, 919))
    assert finding.details == {"classes": {"void": 19}}

    groups = [f"{row}" for row in range(len(many))]
    for count, severity in ((2, "error"), (4, "warning")):
        parts = [*groups, *[f"v{row % count}" for row in range(100)]]
        found = balance_findings(table_of([*many, *["void"] * 100], parts))
        assert [(f.kind, f.severity) for f in found if f.kind == "too_few_groups"] == [
            ("too_few_groups", severity)
        ]
    parts = [*groups, *[f"v{row % 5}" for row in range(100)]]
    assert "too_few_groups" not in kinds(table_of([*many, *["void"] * 100], parts))


def test_a_label_that_goes_by_group() -> None:
    labels = (["good"] * 10 + ["bad"] * 10) * 50
    groups = [f"{row // 10}" for row in range(1000)]
    balance = measure_balance(table_of(labels, groups))
    assert balance.intraclass_correlation == 1
    assert balance.design_effect == pytest.approx(10)
    assert balance.effective_images == pytest.approx(100)
    assert balance.purity == 1
    assert balance.groups_per_class == {"good": 50, "bad": 50}
    assert kinds(table_of(labels, groups)) == ["weak_claim", "label_by_group"]
    mixed = [f"{row % 100}" for row in range(1000)]
    assert measure_balance(table_of(labels, mixed)).purity == 1
    even = [f"{row % 10 + row // 20 * 10}" for row in range(1000)]  # one good and one bad in each
    balance = measure_balance(table_of(labels, even))
    assert balance.purity == 0.5
    assert balance.intraclass_correlation == 0
    assert balance.effective_images == 1000


def test_without_groups_nothing_is_said_about_them() -> None:
    balance = measure_balance(table_of(["good", "bad"] * 30))
    assert balance.groups is None
    assert balance.purity is None
    assert balance.design_effect is None
    assert balance.effective_images == 60
    assert kinds(table_of(["good", "bad"] * 30)) == ["weak_claim"]
    assert "7 defects" in balance_findings(table_of(["good", "bad"] * 30))[0].message


@pytest.mark.parametrize(
    "wrong", [{"escape": 0}, {"escape": 1.5}, {"confidence": 1}, {"test_share": float("nan")}]
)
def test_rates_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(EyelineError, match="between 0 and 1"):
        measure_balance(table_of(["good", "bad"]), **wrong)


def test_no_images() -> None:
    with pytest.raises(EyelineError, match="no images"):
        measure_balance(table_of(["good", "bad"]).select([]))


def test_no_defect_in_the_test() -> None:
    balance = measure_balance(table_of(["good"] * 50 + ["bad"] * 3))
    assert balance.test_defects == 0
    assert balance.provable_escape == 1
