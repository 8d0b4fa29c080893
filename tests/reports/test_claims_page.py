"""`claims.html`: whole, offline, and true to the results."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from eyeline.claims import (
    ArmFacts,
    Chart,
    Check,
    ClaimResult,
    Contrast,
    Findings,
    Series,
    Settings,
    contrast,
    judge_together,
)
from eyeline.claims.judging import deciding, p_of, word
from eyeline.reports import write_claims

from .pages import Page

NASTY = "</script><img src=x onerror=alert(1)>"


def claim(name: str, effect: float | None = 0.03, *, share: float = 1.0, holds: bool = True) -> ClaimResult:
    rng = np.random.default_rng(len(name))
    values = rng.normal(0, 0.004, 5)
    contrasts: tuple[Contrast, ...] = ()
    if effect is not None:
        contrasts = (
            contrast("main", f"One over the other {NASTY}", effect + values, margin=0.01),
            contrast("beside", "Told as well", values, margin=0.8, unit="share", required=False),
        )
    curve = Series(name="one", x=(100.0, 1000.0), values=((0.5, 0.6), (0.7, 0.75)))
    charts = (
        Chart(title="Curves", kind="curves", x_label="n", y_label="a", series=(curve,), log_x=True),
        Chart(title="Dots", kind="dots", x_label="", y_label="a",
              series=tuple(Series(name=f"arm {i}", x=(0.0,), values=((0.1, 0.1),)) for i in range(9))),
    )  # fmt: skip
    found = Findings(
        checks=(Check(text="Counted", expected="18", found="18" if holds else "19", holds=holds),),
        contrasts=contrasts,
        arms=(ArmFacts(name="one", parameters=1234, macs=56789, rates=(0.001, 0.003, 0.001)),),
        charts=charts,
        notes=("A note.",),
    )
    p, decides = p_of(found), deciding(found)
    return ClaimResult(
        name=name, title=f"Title of {name}", statement=f"Statement {NASTY}.", experiment="Experiment.",
        change="Change.", source="Source.", verdict=word(found, p, share),
        effect=decides.effect if decides else 0, low=decides.low if decides else 0,
        high=decides.high if decides else 0, unit="accuracy", margin=0.01 if decides else None, p_value=p,
        adjusted_p=p, findings=found, settings=Settings(), share=share, seconds=61, version="0",
    )  # fmt: skip


RESULTS = judge_together(
    [
        claim("big"), claim("small", 0.0), claim("between", 0.0125), claim("exact", None),
        claim("wrong", None, holds=False), claim("short", 0.05, share=0.1),
    ]
)  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    path = tmp_path_factory.mktemp("claims") / "claims.html"
    return Page(write_claims(path, RESULTS, {"random-split": f"not here {NASTY}"}))


def test_the_page_is_whole_loads_nothing_and_runs_nothing(page: Page) -> None:
    assert page.problems == []
    assert page.loads() == []
    assert "x" not in page.attributes("img", "src")
    for path in page.attributes("path", "d"):
        assert not re.search("nan|inf", path)
    assert NASTY in page.text


def test_the_verdicts_of_the_page_are_those_of_the_results(page: Page) -> None:
    assert [r.verdict for r in RESULTS] == [
        "holds",
        "fails",
        "inconclusive",
        "holds",
        "fails",
        "inconclusive",
    ]
    assert "2 of 6 claims hold, 2 fail, 2 are inconclusive." in page.text
    kicker = re.findall(r'<p class="kicker"><span class="verdict-word (\w+)">', page.source)
    assert kicker == [r.verdict for r in RESULTS]
    links = [href[1:] for href in page.attributes("a", "href") if href != "#main"]
    assert links == [r.name for r in RESULTS]
    assert set(links) <= set(page.attributes("section", "id"))


def test_every_story_tells_all_of_it(page: Page) -> None:
    for title in ("The experiment", "The verdict", "What would change it"):
        assert page.text.count(title) == len(RESULTS)
    assert page.text.count("Told as well") == 4
    assert "Below a quarter of the planned steps no verdict is given" in page.text
    assert "The budget allowed 10 % of the planned steps" in page.text.replace("\u202f", " ")
    assert "Counted, 19 instead of 18" in page.text
    assert "All of it is exact" in page.text
    assert "was not measured" in page.text
    assert "0.001, 0.003" in page.text


def test_effects_are_told_in_points_of_accuracy(page: Page) -> None:
    big = RESULTS[0]
    assert f"{100 * big.effect:+.2f} pp" in page.text
    assert f"{100 * big.low:+.2f} to {100 * big.high:+.2f} pp" in page.text


def test_intervals_margins_and_seeds_are_drawn(page: Page) -> None:
    classes = page.attributes("circle", "class")
    assert classes.count("seed") == 8 * 5  # four claims with two contrasts of five seeds
    assert page.attributes("line", "class").count("margin") == 8


def test_one_claim_alone(tmp_path: Path) -> None:
    alone = Page(write_claims(tmp_path / "c.html", [claim("big")]))
    assert "1 of 1 claim holds." in alone.text
    assert alone.problems == []
