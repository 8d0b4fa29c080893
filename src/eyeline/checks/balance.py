"""How many images, classes and groups there are, and what a test on them could prove at best."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from eyeline.checks.findings import Finding, Severity, rank_findings
from eyeline.errors import EyelineError
from eyeline.images import ImageTable
from eyeline.verdicts import design_effect, intraclass_correlation

# The share of the images that ends in the test part when the source brings no split of its own.
TEST_SHARE = 0.25
# What is worth claiming: at most one defective part in twenty escapes, with 95 % confidence.
ESCAPE, CONFIDENCE = 0.05, 0.95
# With fewer of a class its rates in a quarter of the images rest on five images or less.
FEWEST_IMAGES = 20
# Train, validation and test need a group each; below five the folds of a cross-validation lack the class.
FEWEST_GROUPS_AT_ALL, FEWEST_GROUPS = 3, 5
# A class below one in twenty is hardly met in a batch of 32 and swayed by single images in the test.
RARE = 0.05
# A design effect of two halves what the images are worth.
WORTH_SAYING = 2.0


@dataclass(frozen=True, kw_only=True)
class Balance:
    """The counts of a table, and what they are worth."""

    images: int
    classes: dict[str, int]
    """Images of each class, the good one first."""
    defects: int
    rarest_share: float
    """Share of the images that the rarest class has."""
    groups: int | None
    images_per_group: dict[str, float] | None
    """``fewest``, ``median`` and ``most``."""
    groups_per_class: dict[str, int] | None
    """Groups in which a class is seen."""
    purity: float | None
    """Share of the images whose class is the most frequent one of their group; 1 when a group has one class."""
    intraclass_correlation: float | None
    """Share of the variance of the label good or defective that lies between groups (Donner 1986)."""
    design_effect: float | None
    """1 + (m - 1) ICC, m the size of an average image's group (Kish 1965)."""
    effective_images: float
    """How many independent images the table is worth for its defect rate: images over design effect."""
    test_defects: int
    """Independent defects to be expected in the test part: images, or groups with a defect where there are
    groups, since without a miss nothing shows how groups differ and each counts once."""
    provable_escape: float
    """The escape rate that they would bound when every one is caught."""
    needed_defects: int
    """Independent test defects, all caught, that `claimed_escape` needs."""
    claimed_escape: float
    confidence: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def measure_balance(
    table: ImageTable,
    *,
    escape: float = ESCAPE,
    confidence: float = CONFIDENCE,
    test_share: float = TEST_SHARE,
) -> Balance:
    """Count images, classes and groups.

    Parameters
    ----------
    escape : the escape rate that the user wants to stay below.
    confidence : with which the claim is made.
    test_share : share of the images that will be tested on; the given split counts when there is one.

    Raises
    ------
    EyelineError : no images, or a rate that does not lie between 0 and 1.
    """
    for name, value in (("escape", escape), ("confidence", confidence), ("test_share", test_share)):
        if not 0 < value < 1:
            raise EyelineError(f"{name} is {value}; it must lie between 0 and 1", code="bad_option")
    if not len(table):
        raise EyelineError("there are no images to count", code="empty", path=table.name)
    counted = Counter(table.labels)
    classes = {name: counted[name] for name in table.classes}
    correlation = effect = purity = None
    groups_per_class = images_per_group = None
    if table.groups is not None:
        sizes = np.array(list(Counter(table.groups).values()))
        images_per_group = {
            "fewest": float(sizes.min()),
            "median": float(np.median(sizes)),
            "most": float(sizes.max()),
        }
        pairs = Counter(zip(table.groups, table.labels, strict=True))
        groups_per_class = {name: sum(label == name for _, label in pairs) for name in table.classes}
        largest: dict[str, int] = defaultdict(int)
        for (group, _), count in pairs.items():
            largest[group] = max(largest[group], count)
        purity = sum(largest.values()) / len(table)
        correlation = intraclass_correlation(table.is_defect, table.groups)
        effect = max(1.0, design_effect(sizes, correlation))
    test_defects = _test_defects(table, test_share)
    return Balance(
        images=len(table),
        classes=classes,
        defects=int(table.is_defect.sum()),
        rarest_share=min(classes.values()) / len(table),
        groups=None if table.groups is None else len(set(table.groups)),
        images_per_group=images_per_group,
        groups_per_class=groups_per_class,
        purity=purity,
        intraclass_correlation=correlation,
        design_effect=effect,
        effective_images=len(table) / (effect or 1.0),
        test_defects=test_defects,
        provable_escape=_provable_escape(test_defects, confidence),
        needed_defects=_needed_defects(escape, confidence),
        claimed_escape=escape,
        confidence=confidence,
    )


def balance_findings(table: ImageTable, balance: Balance | None = None) -> list[Finding]:
    """Too few images or groups of a class, rare classes, labels that go by group, and the claim in reach."""
    balance = balance or measure_balance(table)
    return rank_findings(
        [
            *_too_few_images(table, balance),
            *_too_few_groups(table, balance),
            *_imbalance(table, balance),
            *_label_by_group(balance),
            *_claim(balance),
        ]
    )


def _test_defects(table: ImageTable, test_share: float) -> int:
    groups = table.groups
    split = table.splits if table.splits is not None and "test" in table.splits else None
    rows = [row for row in np.flatnonzero(table.is_defect).tolist() if split is None or split[row] == "test"]
    units = len(rows) if groups is None else len({groups[row] for row in rows})
    return units if split is not None else math.floor(units * test_share)


def _needed_defects(escape: float, confidence: float) -> int:
    """`verdicts.success_run` without a miss, in closed form, since the base tier has no SciPy."""
    return math.ceil(math.log(1 - confidence) / math.log(1 - escape) - 1e-9)


def _provable_escape(defects: int, confidence: float) -> float:
    """`verdicts.provable_detection` without a miss, in closed form: the largest escape rate still possible."""
    return 1 - (1 - confidence) ** (1 / defects) if defects else 1.0


def _too_few_images(table: ImageTable, balance: Balance) -> list[Finding]:
    few = {name: count for name, count in balance.classes.items() if count < FEWEST_IMAGES}
    if not few:
        return []
    shown = ", ".join(f"{name} {count}" for name, count in few.items())
    return [
        Finding(
            kind="too_few_images",
            severity="warning",
            message=f"{len(few)} of {len(balance.classes)} classes have fewer than {FEWEST_IMAGES} images: {shown}.",
            advice="Collect more of them, or join them with another class; whatever is measured on so few says "
            "next to nothing.",
            effect=1 - min(few.values()) / FEWEST_IMAGES,
            rows=_rows_of(table, few),
            details={"classes": few},
        )
    ]


def _too_few_groups(table: ImageTable, balance: Balance) -> list[Finding]:
    few = {name: count for name, count in (balance.groups_per_class or {}).items() if count < FEWEST_GROUPS}
    if not few:
        return []
    shown = ", ".join(f"{name} in {count}" for name, count in few.items())
    severity: Severity = "error" if min(few.values()) < FEWEST_GROUPS_AT_ALL else "warning"
    return [
        Finding(
            kind="too_few_groups",
            severity=severity,
            message=f"Of {balance.groups} groups, classes are seen in fewer than {FEWEST_GROUPS}: {shown}.",
            advice=f"Collect these classes from more parts: training, validation and test need "
            f"{FEWEST_GROUPS_AT_ALL} groups of each at the least.",
            effect=1 - min(few.values()) / FEWEST_GROUPS,
            rows=_rows_of(table, few),
            details={"classes": few},
        )
    ]


def _imbalance(table: ImageTable, balance: Balance) -> list[Finding]:
    rare = {name: count for name, count in balance.classes.items() if count < RARE * balance.images}
    if not rare:
        return []
    shown = ", ".join(f"{name} {count / balance.images:.1%}" for name, count in rare.items())
    return [
        Finding(
            kind="imbalance",
            severity="note",
            message=f"Rare among {balance.images} images: {shown}.",
            advice="Judge by escape and overkill, not by accuracy: always guessing the most frequent class is "
            f"right in {max(balance.classes.values()) / balance.images:.0%}. A little more of the rare class "
            "helps more than much more of the others.",
            effect=RARE - balance.rarest_share,
            rows=_rows_of(table, rare),
            details={"classes": rare},
        )
    ]


def _label_by_group(balance: Balance) -> list[Finding]:
    effect, correlation = balance.design_effect, balance.intraclass_correlation
    if effect is None or correlation is None or effect < WORTH_SAYING:
        return []
    return [
        Finding(
            kind="label_by_group",
            severity="note",
            message=f"Which group an image belongs to says much about its label (intraclass correlation "
            f"{correlation:.2f}): {balance.images:,} images in {balance.groups} groups are worth "
            f"{balance.effective_images:.0f} independent ones for the defect rate (design effect {effect:.0f}).",
            advice="Split by group, as is done when groups are known, and collect new groups rather than more "
            "images of these.",
            effect=correlation,
            details={
                "intraclass_correlation": round(correlation, 4),
                "design_effect": round(effect, 2),
                "effective_images": round(balance.effective_images, 1),
                "purity": None if balance.purity is None else round(balance.purity, 4),
            },
        )
    ]


def _claim(balance: Balance) -> list[Finding]:
    have, need = balance.test_defects, balance.needed_defects
    if have >= need:
        return []
    what = "groups with a defect" if balance.groups is not None else "defects"
    new = "defective parts" if balance.groups is not None else "defects"
    return [
        Finding(
            kind="weak_claim",
            severity="warning",
            message=f"The test will have about {have} {what}. Even if none is missed, that proves an escape rate of "
            f"at most {balance.provable_escape:.0%} with {balance.confidence:.0%} confidence; a claim of "
            f"{balance.claimed_escape:.0%} needs {need}.",
            advice=f"Collect about {need - have} more {new} to test on, or claim no more than that.",
            effect=balance.provable_escape,
            details={
                "test_defects": have,
                "needed": need,
                "provable_escape": round(balance.provable_escape, 4),
                "by": "image" if balance.groups is None else "group",
            },
        )
    ]


def _rows_of(table: ImageTable, classes: dict[str, int]) -> tuple[int, ...]:
    """Rows of these classes, the rarest class first."""
    order = sorted(classes, key=lambda name: classes[name])
    return tuple(row for name in order for row, label in enumerate(table.labels) if label == name)
