"""What pictures that stand in a table more than once mean for the result."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eyeline.checks.duplicates import KINDS, Pairs
from eyeline.checks.findings import Finding, Severity

Ints = NDArray[np.int64]

_RUN = 5  # pairs at one distance that are no coincidence
_SHOWN = 1000  # pairs listed in the details of a finding
_WORDS = {
    "same_bytes": "the same file",
    "same_pixels": "the same pixels",
    "near": "near duplicates",
    "turned": "turned",
}


def duplicate_findings(
    pairs: Pairs,
    labels: Sequence[str],
    *,
    splits: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
) -> list[Finding]:
    """What the pairs mean for the result: a leak across a given split and two labels of one picture are errors.

    `labels`, `splits` and `groups` hold a name for each image. Near duplicates that a group holds together anyway are
    only worth a note.
    """
    label, kind = np.asarray(labels), np.asarray(pairs.kind, dtype=object)
    a, b = pairs.first, pairs.second
    across_splits = _differ(splits, a, b)
    across_classes = label[a] != label[b]
    held = np.zeros(len(pairs), bool) if groups is None else ~_differ(groups, a, b)
    plain = ~across_splits & ~across_classes
    images = max(len(label), 1)

    def finding(
        name: str, severity: Severity, which: NDArray[np.bool_], message: str, advice: str, of: int = images
    ) -> list[Finding]:
        chosen = np.flatnonzero(which)
        if not len(chosen):
            return []
        chosen = chosen[np.argsort(-pairs.score[chosen], kind="stable")]
        rows = list(dict.fromkeys(np.stack([a[chosen], b[chosen]], axis=1).ravel().tolist()))
        kinds = ", ".join(
            f"{int((kind[chosen] == k).sum())} {w}" for k, w in _WORDS.items() if (kind[chosen] == k).any()
        )
        return [
            Finding(
                kind=name,
                severity=severity,
                message=message.format(pairs=_count(len(chosen), "pair"), images=len(rows), kinds=kinds),
                advice=advice,
                effect=min(1.0, len(rows) / of),
                rows=tuple(rows),
                details={
                    "pairs": [
                        [int(a[p]), int(b[p]), pairs.kind[p], round(float(pairs.score[p]), 4)]
                        for p in chosen[:_SHOWN]
                    ],
                    "count": len(chosen),
                },
            )
        ]

    exact, near, turned = np.isin(kind, KINDS[:2]), kind == "near", kind == "turned"
    outside = sum(name != "train" for name in splits or ()) or images
    return [
        *finding(
            "split_leak",
            "error",
            across_splits,
            "{pairs} of the same picture stand on both sides of the given split ({kinds})",
            "keep each picture, its near duplicates and its augmented copies in one part; augment after splitting",
            outside,
        ),
        *finding(
            "label_conflict",
            "error",
            exact & across_classes,
            "{pairs} of one picture with different labels ({kinds})",
            "decide which label is right, or remove one of them",
        ),
        *finding(
            "near_conflict",
            "warning",
            ~exact & across_classes,
            "{pairs} of nearly the same picture with different labels ({kinds})",
            "look at both: one label may be wrong, or the defect too small to see here",
        ),
        *finding(
            "exact_duplicate",
            "warning",
            exact & plain,
            "{images} images stand in the table more than once ({kinds})",
            "remove the copies: they count double and may stand on both sides of a split",
        ),
        *finding(
            "near_duplicate",
            "warning",
            near & plain & ~held,
            "{images} images have a near duplicate ({pairs}: shifted, brighter, recompressed or taken twice)"
            + _repeated(a[near & ~held], b[near & ~held]),
            "group them, so that a split keeps them together; training ties them by itself",
        ),
        *finding(
            "near_duplicate",
            "note",
            near & plain & held,
            "{images} images have a near duplicate in their own group ({pairs})",
            "nothing to do: the groups keep them together; they count as fewer images than they are",
        ),
        *finding(
            "augmented_copy",
            "warning",
            turned & plain,
            "{images} images are turned or mirrored copies of others ({pairs})",
            "remove them and augment while training: copies made before splitting end up on both sides",
        ),
    ]


def _repeated(a: Ints, b: Ints) -> str:
    """Pairs at one distance in the table are a part that was taken twice, image by image."""
    distances, counts = np.unique(b - a, return_counts=True)
    if not len(counts) or counts.max() < _RUN:
        return ""
    far = int(distances[counts.argmax()])
    first = int(a[b - a == far].min())
    return (
        f"; {int(counts.max())} of the pairs lie {far:,} rows apart, from row {first + 1:,} on: a part that was "
        "taken twice"
    )


def _differ(names: Sequence[str] | None, a: Ints, b: Ints) -> NDArray[np.bool_]:
    if names is None:
        return np.zeros(len(a), dtype=np.bool_)
    values = np.asarray(names)
    return np.asarray(values[a] != values[b], dtype=np.bool_)


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}" + ("" if number == 1 else "s")
