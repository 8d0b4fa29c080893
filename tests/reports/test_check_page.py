"""The page of `eyeline check`: findings with their images, groups, and labels that can be judged."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from eyeline.checks import Finding
from eyeline.images import ImageTable
from eyeline.reports import CheckData, Comparison, Proposal, Suspect, write_check

from .pages import Page

NASTY = "photos/</script><img src=x onerror=alert(1)>.png"


def table() -> ImageTable:
    return ImageTable(
        name="parts",
        paths=(NASTY, *(f"photos/{i}.png" for i in range(1, 12))),
        labels=("ok", "crack") * 6,
        classes=("ok", "crack"),
        good="ok",
        groups=tuple(f"part {i // 3}" for i in range(12)),
        group_source="given: column group",
        splits=("train",) * 8 + ("test",) * 4,
    )


def picture(row: int) -> np.ndarray | None:
    if row == 11:
        return None
    return np.random.default_rng(row).integers(0, 256, (90, 120, 1), dtype=np.uint8)


def data(**changes: object) -> CheckData:
    t = table()
    values: dict[str, object] = {
        "table": t,
        "picture": picture,
        "facts": {"Images": "12"},
        "findings": (
            Finding(
                kind="label_conflict",
                severity="error",
                message="one picture has two labels",
                advice="decide which is right",
                rows=(0, 1),
                details={"pairs": [[0, 1], [2, 3]]},
            ),
            Finding(
                kind="unreadable",
                severity="warning",
                message="10 of 12 images look odd",
                advice="look at them",
                rows=tuple(range(2, 12)),
            ),
        ),
        "comparisons": (
            Comparison(name="a head", random=(0.9, 0.88), grouped=(0.8, 0.7), sentence="it flatters"),
        ),
        "proposals": (
            Proposal(
                source="file names",
                rule=r"(part\d+)_",
                confidence=0.7,
                reason="they say so",
                groups=t.groups or (),
            ),
        ),
        "suspects": (
            Suspect(row=4, given="ok", suggested="crack", probability=0.03),
            Suspect(row=9, given="crack", suggested="ok", probability=0.2, split="test"),
        ),
        "labels_note": "judged by a test",
        "label_rows": [{"path": path, "label": label} for path, label in zip(t.paths, t.labels, strict=True)],
    }
    return CheckData(**(values | changes))  # type: ignore[arg-type]


def test_the_page_is_whole_and_loads_nothing(tmp_path: Path) -> None:
    page = Page(write_check(tmp_path / "c.html", data()))
    assert page.problems == []
    assert page.loads() == []
    assert "1 error and 1 warning." in page.text
    assert "One picture has two labels." in page.text
    assert "it flatters" in page.text.lower()
    assert r"(part\d+)_" in page.text
    assert "2 more images" in page.text  # ten rows, eight shown


def test_hostile_names_stay_text_and_come_back_whole(tmp_path: Path) -> None:
    page = Page(write_check(tmp_path / "c.html", data()))
    assert "x" not in page.attributes("img", "src")
    rows = next(json.loads(script) for script in page.scripts if script.lstrip().startswith("["))
    assert rows[0]["path"] == NASTY
    assert len(rows) == 12


def test_labels_of_the_test_part_are_locked(tmp_path: Path) -> None:
    page = Page(write_check(tmp_path / "c.html", data()))
    choices = page.attributes("button", "data-label")
    assert choices == ["", "crack", "remove"]  # of the training image alone
    assert "test part: locked" in page.text


def test_pictures_without_files_have_no_labels_to_save(tmp_path: Path) -> None:
    page = Page(write_check(tmp_path / "c.html", data(label_rows=())))
    assert "save-labels" not in page.source.split("<script>")[0]
    assert "no labels.csv can name them" in page.text


@pytest.mark.parametrize("findings", [(), data().findings[1:]])
def test_the_headline_counts(tmp_path: Path, findings: tuple[Finding, ...]) -> None:
    page = Page(write_check(tmp_path / "c.html", data(findings=findings)))
    assert ("1 warning." if findings else "Nothing stands in the way.") in page.text
