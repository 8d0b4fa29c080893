"""The claim leads the report; the threshold section draws the band and tells what the line may expect."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eyeline.reports import ExplainData, ExplainItem, ReportData, write_explain, write_report
from eyeline.verdicts import Wishes, choose_cuts, decisions, evaluate, judge_promises

from .conftest import make_report, tiny_table
from .pages import Page


def asked(data: ReportData, *wishes: str | None) -> ReportData:
    """The same report with promises, chosen on the judged images themselves: only the page matters here."""
    scores = 1 - data.probabilities[:, 0]
    truth = data.table.is_defect[data.rows]
    choice = choose_cuts(scores, truth, Wishes.parse(*wishes))
    evaluation = evaluate(
        data.probabilities, data.table.targets[data.rows], classes=data.table.classes, good=data.table.good,
        threshold=choice.low, resamples=100, stopped="failed" if choice.high is None else "failed or went to review",
    )  # fmt: skip
    promises = judge_promises(choice, evaluation, scores, truth)
    claim = f"{promises.text} {evaluation.claim}".strip()
    return replace(data, evaluation=evaluation.model_copy(update={"claim": claim}), promises=promises)


@pytest.fixture(scope="module")
def report() -> ReportData:
    table = tiny_table(("good", "bad", "good") * 200)
    plain = make_report(table, evidence=None, sharpness=1.5)
    return asked(plain, "escape<=0.2@0.9", "overkill<=0.1@0.9", "escape=500,overkill=4,review=1,line=0.01")


@pytest.fixture(scope="module")
def page(report: ReportData, tmp_path_factory: pytest.TempPathFactory) -> Page:
    return Page(write_report(tmp_path_factory.mktemp("promises") / "report.html", report))


def plain(text: str) -> str:
    return text.replace("\N{NARROW NO-BREAK SPACE}", " ")


def test_the_claim_is_the_headline_and_its_figures_follow(page: Page, report: ReportData) -> None:
    assert report.promises is not None
    assert f"<h1>{report.promises.text}</h1>" in page.source
    assert plain(page.text).count(report.promises.text) == 1
    assert "defects caught" in page.text
    assert "good parts failed or went to review." in page.text
    assert page.problems == []


def test_the_band_is_drawn_where_it_lies(page: Page, report: ReportData) -> None:
    assert report.high is not None
    (band,) = [a for tag, a in page.tags if tag == "rect" and a.get("class") == "doubt"]
    low = report.evaluation.threshold
    assert float(band["x"].rstrip("%")) == pytest.approx(100 * low, abs=1e-3)
    assert float(band["width"].rstrip("%")) == pytest.approx(100 * (report.high - low), abs=1e-2)
    assert (
        f"passes when its defect score is below {low:.3f} , fails from {report.high:.3f} , and" in page.text
    )


def test_the_table_counts_all_three_decisions(page: Page, report: ReportData) -> None:
    scores = 1 - report.probabilities[:, 0]
    words = np.array(decisions(scores, report.evaluation.threshold, report.high))
    truth = report.table.is_defect[report.rows]
    for name, chosen in (("defects", truth), ("good parts", ~truth)):
        counts = [str((words[chosen] == word).sum()) for word in ("pass", "review", "fail")]
        row = rf'<th scope="row">{name}</th>' + "".join(rf'<td class="n">{n}</td>' for n in counts)
        assert row in page.source


def test_the_line_is_told_with_its_intervals(page: Page, report: ReportData) -> None:
    assert report.promises is not None
    line = report.promises.line
    assert line is not None
    assert line.text in plain(page.text)
    assert re.search(r"Cost of 1,000 parts\s*[\d,.]+\s*[\d,.]+ to [\d,.]+", page.text)
    assert "Reviews per 1,000 parts" in page.text


def test_a_refusal_leads_the_page(tmp_path: Path) -> None:
    few = make_report(tiny_table(("good", "bad") * 30), evidence=None)
    data = asked(few, "escape<=0.01@0.95", "overkill<=0.01@0.95")
    page = Page(write_report(tmp_path / "r.html", data))
    assert data.promises is not None
    assert f"<h1>{data.promises.text.replace('<', '&lt;')}</h1>" in page.source
    assert "more caught defects needed" in page.text
    assert page.text.count("refused") == 2
    assert "doubt" not in [a.get("class") for _, a in page.tags]


def test_without_promises_the_page_is_as_before(solar_report: ReportData, tmp_path: Path) -> None:
    page = Page(write_report(tmp_path / "r.html", solar_report))
    assert "promised" not in [a.get("class") for _, a in page.tags]
    assert "review" not in page.text.lower().replace("reviewed", "")


def test_the_page_of_explain_counts_reviews(tmp_path: Path) -> None:
    def item(name: str, decision: str, score: float) -> ExplainItem:
        return ExplainItem(path=name, decision=decision, score=score, label="good")

    fields: dict[str, Any] = {
        "model": "m.onnx", "classes": ("good", "bad"), "good": "good", "threshold": 0.25,
        "items": (item("a.png", "pass", 0.1), item("b.png", "review", 0.4), item("c.png", "fail", 0.9)),
    }  # fmt: skip
    three = Page(write_explain(tmp_path / "three.html", ExplainData(**fields, high=0.75)))
    assert "1 of 3 failed, 1 for review." in three.text
    assert "passes when its defect score is below 0.250, fails from 0.750" in three.text
    two = Page(write_explain(tmp_path / "two.html", ExplainData(**fields)))
    assert "for review" not in two.text
