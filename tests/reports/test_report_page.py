"""The report: everything is on it, nothing is loaded, nothing in it can become code."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eyeline.errors import EyelineError
from eyeline.images import ImageTable
from eyeline.reports import EvidenceMaps, Protocol, ReportData, write_report
from eyeline.reports.figures import inflation
from eyeline.verdicts import reliability_curve

from .conftest import make_report, tiny_table
from .pages import Page


@pytest.fixture(scope="module")
def solar_page(solar_report: ReportData, tmp_path_factory: pytest.TempPathFactory) -> Page:
    return Page(write_report(tmp_path_factory.mktemp("report") / "report.html", solar_report))


@pytest.fixture(scope="module")
def digits_page(digits_report: ReportData, tmp_path_factory: pytest.TempPathFactory) -> Page:
    return Page(write_report(tmp_path_factory.mktemp("report") / "report.html", digits_report))


def curve_of(page: Page) -> dict[str, list[float]]:
    return json.loads(next(script for script in page.scripts if script.startswith("{")))  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", ["solar_page", "digits_page"])
def test_the_page_is_whole_and_stands_alone(name: str, request: pytest.FixtureRequest) -> None:
    page: Page = request.getfixturevalue(name)
    assert page.problems == []
    assert page.loads() == []
    assert not re.search(r"https?://|//cdn|@import", page.source)
    assert len(page.source.encode()) < 6_000_000
    assert max(map(len, page.attributes("img", "src"))) <= 60_000
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert all(attrs.get("alt") for tag, attrs in page.tags if tag == "img")
    assert all(
        attrs.get("aria-label") or attrs.get("aria-hidden") for tag, attrs in page.tags if tag == "svg"
    )
    anchors = [value[1:] for value in page.attributes("a", "href")]
    assert set(anchors) <= set(ids)


def test_only_the_scripts_of_the_page_may_run(solar_page: Page) -> None:
    policy = next(
        a["content"] for _, a in solar_page.tags if a.get("http-equiv") == "Content-Security-Policy"
    )
    assert "default-src 'none'" in policy
    script = next(s for s in solar_page.scripts if '"use strict"' in s)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy


def test_sections_stand_in_their_order(solar_page: Page) -> None:
    sections = [attrs["id"] for tag, attrs in solar_page.tags if tag == "section"]
    assert sections == [
        "figures", "threshold", "data", "protocols", "curves", "classes", "mistakes", "training", "making",
    ]  # fmt: skip


def test_figures_stand_with_what_is_behind_them(solar_page: Page, solar_report: ReportData) -> None:
    e, text = solar_report.evaluation, solar_page.text.replace("\N{NARROW NO-BREAK SPACE}", " ")
    assert e.claim in text
    assert e.escape_rate.value is not None
    assert e.overkill_rate.value is not None
    escaped, failed = e.confusion[1][0], e.confusion[0][1]
    defects, goods = sum(e.confusion[1]), sum(e.confusion[0])
    assert f"{defects - escaped} of {defects} defects caught, {failed} of {goods} good parts failed." in text
    assert f"{100 * e.escape_rate.value:.1f} %" in text
    assert f"{100 * e.overkill_rate.value:.1f} %" in text
    assert text.index("Escape rate") < text.index("Overkill rate") < text.index("AUROC")
    for rate in (e.auroc, e.average_precision, e.f1, e.brier, e.ece):
        assert f"{rate.value:.3f}" in text
        assert f"{rate.low:.3f}\u2009–\u2009{rate.high:.3f}" in solar_page.source
    assert f"{e.images} images in {e.groups} groups" in text
    assert "the largest balanced accuracy on" in text
    assert "Calibrated with a temperature of 1.3." in text


def test_the_reliability_diagram_has_a_band_by_group_and_the_ece_beside_it(
    solar_page: Page, digits_page: Page, solar_report: ReportData
) -> None:
    scores, groups = 1 - solar_report.probabilities[:, 0], np.array(solar_report.table.groups)
    curve = reliability_curve(
        scores,
        solar_report.table.is_defect[solar_report.rows],
        groups=groups[solar_report.rows],
    )
    found = re.findall(
        r'class="whisker" x1="[\d.]+" y1="([\d.]+)" x2="[\d.]+" y2="([\d.]+)"', solar_page.source
    )
    height = 330 - 14 - 44  # of the plot's area
    drawn = [((330 - 44 - float(low)) / height, (330 - 44 - float(high)) / height) for low, high in found]
    np.testing.assert_allclose(drawn, np.column_stack([curve.low, curve.high]), atol=5e-4)
    assert "from draws of whole groups" in solar_page.text
    assert "exact, by image" in digits_page.text
    ece = solar_report.evaluation.ece
    assert f"(ECE) {ece.value:.3f}, interval {ece.low:.3f}" in solar_page.text


def test_data_section_counts_images_groups_and_examples(
    solar_page: Page, solar_report: ReportData, solar: ImageTable
) -> None:
    text = solar_page.text
    for part in ("train", "val", "test"):
        here = np.asarray(solar_report.splits) == part
        assert re.search(rf"\b{(here & solar.is_defect).sum()}\b", text)
        assert re.search(rf"\b{len(set(np.asarray(solar.groups)[here]))}\b", text)
    assert "Groups are inferred (file order" in text
    assert "No group is on two sides of the split." in text
    assert "CC BY-NC-SA 4.0" in text
    alts = solar_page.attributes("img", "alt")
    for name in solar.classes:
        assert sum(alt.startswith(f"{name}: ") for alt in alts) == 8


def test_torn_groups_are_told(solar: ImageTable, tmp_path: Path) -> None:
    splits = tuple(("train", "val", "test")[i % 3] for i in range(len(solar)))
    report = make_report(solar, splits=splits, evidence=None)
    text = Page(write_report(tmp_path / "r.html", report)).text
    assert "44 groups have images on both sides of the split" in text


def test_explorer_counts_what_each_threshold_does(solar_page: Page, solar_report: ReportData) -> None:
    curve = curve_of(solar_page)
    good = solar_report.table.classes.index(solar_report.table.good)
    scores = 1 - solar_report.probabilities[:, good]
    defect = solar_report.table.is_defect[solar_report.rows]
    assert curve["threshold"] == sorted(curve["threshold"])
    for t, escapes, overkills in zip(curve["threshold"], curve["escapes"], curve["overkills"], strict=True):
        # Rounded for display: compare where no score lies within the rounding.
        if np.abs(scores - t).min() > 1e-6:
            assert escapes == (defect & (scores < t)).sum()
            assert overkills == (~defect & (scores >= t)).sum()
    chosen = curve["chosen"]
    assert curve["escapes"][chosen] == solar_report.evaluation.escape_rate.count
    assert curve["overkills"][chosen] == solar_report.evaluation.overkill_rate.count


def test_explorer_stays_small_on_many_images(tmp_path: Path) -> None:
    table = tiny_table(("good", "bad") * 3000)
    report = make_report(table, evidence=None, pixels=lambda row: np.zeros((8, 8, 1), np.uint8))
    page = Page(write_report(tmp_path / "r.html", report))
    curve = curve_of(page)
    assert len(curve["threshold"]) < 700
    assert curve["escapes"][curve["chosen"]] == report.evaluation.escape_rate.count
    assert len(page.source) < 400_000


def test_mistakes_are_the_worst_first(solar_page: Page, solar_report: ReportData) -> None:
    table, threshold = solar_report.table, solar_report.evaluation.threshold
    scores = 1 - solar_report.probabilities[:, 0]
    defect = table.is_defect[solar_report.rows]
    order = np.argsort(scores)
    escapes = [i for i in order if defect[i] and scores[i] < threshold]
    overkills = [i for i in order[::-1] if not defect[i] and scores[i] >= threshold]
    assert escapes
    assert overkills
    expected = [table.paths[solar_report.rows[i]] for i in [*escapes[:12], *overkills[:12]]]
    shown = [label.removeprefix("Enlarge ") for label in solar_page.attributes("button", "aria-label")]
    mistakes = [path for path in shown if path != "Close"][: len(expected)]
    assert mistakes == expected
    assert f"{len(escapes)} defects passed" in solar_page.text


def test_evidence_scale_is_one_for_all(solar_report: ReportData, tmp_path: Path) -> None:
    """Ten times the evidence on ten times the scale draws the same pictures."""
    assert solar_report.evidence is not None
    evidence = replace(solar_report.evidence, scale=0.7)
    louder = replace(evidence, maps=10 * evidence.maps, scale=7.0)
    first, second = (
        Page(write_report(tmp_path / f"{i}.html", replace(solar_report, evidence=e)))
        for i, e in enumerate((evidence, louder))
    )
    assert first.attributes("img", "src") == second.attributes("img", "src")
    assert "−0.70" in first.text
    assert "−7.00" in second.text


def test_protocols_show_every_fold_and_the_inflation(solar_page: Page) -> None:
    text = solar_page.text
    assert "0.826 ± 0.027" in text
    assert "0.905 ± 0.005" in text
    assert "reads AUROC 0.905" in text
    assert "flatters by 0.079" in text
    folds = [a for tag, a in solar_page.tags if tag == "circle" and a.get("class") == "fold"]
    assert len(folds) == 8


def test_inflation_compares_like_with_like() -> None:
    def protocol(by: str, method: str, *values: float) -> Protocol:
        return Protocol(name="p", by=by, auroc=values, images=10, method=method)  # type: ignore[arg-type]

    head, tuned = protocol("group", "head", 0.8), protocol("image", "tuned", 0.9)
    assert inflation((head, tuned)) == ""
    assert "flatters by 0.050" in inflation((head, protocol("image", "head", 0.85), tuned))
    assert "do not raise the figure" in inflation((head, protocol("image", "head", 0.79)))


def test_proof_recipe_and_commands_are_told(solar_page: Page) -> None:
    text = solar_page.text
    assert re.search(r"0 of \d+ decisions changed", text)
    assert "3.2 × 10⁻⁷" in text.replace("\N{NARROW NO-BREAK SPACE}", " ")
    for word in (
        "ab" * 32,
        "cd" * 32,
        "optimizer.lr",
        "0.0001",
        "13.4 MB",
        "eyeline predict model.onnx",
        "2.13.0",
    ):
        assert word in text


def test_a_changed_decision_is_not_dressed_up(solar_report: ReportData, tmp_path: Path) -> None:
    assert solar_report.model is not None
    broken = replace(solar_report, model=replace(solar_report.model, changed_decisions=3))
    page = Page(write_report(tmp_path / "r.html", broken))
    assert any("proof panel broken" in attrs.get("class", "") for _, attrs in page.tags)


def test_ten_classes_have_a_dense_confusion_and_mixed_up_defects(
    digits_page: Page, digits_report: ReportData
) -> None:
    cells = re.findall(r'<td class="(?:zero|right|wrong)" style="[^"]*"><b>([\d,]+)</b>', digits_page.source)
    assert np.array_equal(np.array(cells, dtype=int).reshape(10, 10), digits_report.evaluation.confusion)
    assert "Mixed-up defects" in digits_page.text
    assert "No groups are known" in digits_page.text
    sections = [attrs["id"] for tag, attrs in digits_page.tags if tag == "section"]
    assert "protocols" not in sections
    assert "training" not in sections


def test_many_classes_tell_only_the_worst_confusions(tmp_path: Path) -> None:
    names = tuple(f"class{i:02d}" for i in range(20))
    table = tiny_table(names * 30, classes=names)
    page = Page(write_report(tmp_path / "r.html", make_report(table, sharpness=1.0)))
    assert page.problems == []
    assert "The most frequent confusions" in page.text
    assert 'class="confusion' not in page.source


HOSTILE = (
    "<script>alert(1)</script>",
    "quo\"te' onload=x",
    "line\nbreak\tand\x1b[31m",
    "\u202egnp.exe",
    "undecodable\udcff",
    "{{ 7 * 7 }}",
    "</script><img src=x onerror=y>",
)


def test_names_cannot_break_out_of_the_page(tmp_path: Path) -> None:
    """Class names, groups, slices, paths, titles: all of it comes from the user's disk."""
    bad = HOSTILE[0]
    count = 140
    table = tiny_table(
        tuple("good" if i % 2 else bad for i in range(count)),
        paths=tuple(
            f"{HOSTILE[i % len(HOSTILE)]}/{HOSTILE[(i // 7) % len(HOSTILE)]}{i}" for i in range(count)
        ),
        groups=tuple(f"{HOSTILE[i % 70 % len(HOSTILE)]}{i % 70}" for i in range(count)),
        slices={HOSTILE[1]: tuple(HOSTILE[i % len(HOSTILE)] for i in range(count))},
        licence=HOSTILE[6],
        name=HOSTILE[0],
    )
    report = make_report(
        table,
        sharpness=0.7,
        splits=tuple(("train", "val", "test")[i % 70 % 3] for i in range(count)),
        title=HOSTILE[6],
        recipe={HOSTILE[0]: HOSTILE[6]},
        environment={"x": HOSTILE[4]},
        unusable={HOSTILE[2]: HOSTILE[3]},
        commands=((HOSTILE[0], HOSTILE[6]),),
        protocols=(Protocol(name=HOSTILE[0], by="group", auroc=(0.5,), images=1),),
    )
    page = Page(write_report(tmp_path / "r.html", report))
    assert page.problems == []
    assert page.loads() == []
    tags = [tag for tag, _ in page.tags]
    assert tags.count("script") == 2  # the curve and the script of the page
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert "\u202e" not in page.source
    assert "\x1b" not in page.source
    assert "<script>alert(1)</script>" in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert r"line\nbreak\tand\x1b" in page.text


def test_the_poorest_data_gives_a_page(tmp_path: Path) -> None:
    """No groups, no mistakes, no evidence, no history, no protocols, no licence, one epoch, one class judged."""
    table = tiny_table(("good", "bad") * 40)
    perfect = make_report(
        table, sharpness=60.0, evidence=None, protocols=(), history=({"epoch": 1, "loss": 0.5},), seconds=None,
        model=None, recipe={}, environment={}, fingerprint="", commands=(), calibration_note="",
        threshold_note="",
    )  # fmt: skip
    page = Page(write_report(tmp_path / "perfect.html", perfect))
    assert page.problems == []
    assert "There are none: every judged image was decided rightly." in page.text
    assert "1 epoch" in page.text

    from eyeline.verdicts import evaluate

    rows = perfect.rows[~table.is_defect[perfect.rows]]
    kept = ~table.is_defect[perfect.rows]
    probabilities = perfect.probabilities[kept]
    goods = replace(
        perfect,
        rows=rows,
        probabilities=probabilities,
        history=(),
        evaluation=evaluate(
            probabilities,
            table.targets[rows],
            classes=table.classes,
            good="good",
            threshold=0.5,
            resamples=100,
        ),
    )
    page = Page(write_report(tmp_path / "goods.html", goods))
    assert page.problems == []
    assert "The judged images hold no defects." in page.text
    assert "no defect was judged" in page.text


def test_training_begins_at_epoch_0_and_tells_the_figure_it_chose_by(tmp_path: Path) -> None:
    """The row of epoch 0 is the network before training: it has no loss."""
    rows = (
        {"epoch": 0, "loss": None, "val_auroc": 0.8, "val_balanced_accuracy": 0.31},
        {"epoch": 1, "loss": float("nan"), "val_auroc": 0.85, "val_balanced_accuracy": 0.42},
        {"epoch": 2, "loss": 0.4, "val_auroc": 0.9, "val_balanced_accuracy": 0.53},
    )
    table = tiny_table(("good", "bad", "worse", "good") * 20)
    page = Page(write_report(tmp_path / "several.html", make_report(table, history=rows)))
    assert page.problems == []
    assert "2 epochs" in page.text
    titles = [
        a["aria-label"] for tag, a in page.tags if tag == "svg" and "by epoch" in a.get("aria-label", "")
    ]
    assert titles[1] == "Balanced accuracy on validation by epoch. validation ends at 0.53."
    assert "epoch 0: validation 0.31" in page.text
    two = make_report(tiny_table(("good", "bad") * 40), history=rows)
    assert "AUROC on validation by epoch. validation ends at 0.9." in write_report(
        tmp_path / "two.html", two
    ).read_text("utf-8")


def test_unusable_and_skipped_files_are_listed(tmp_path: Path) -> None:
    table = tiny_table(("good", "bad") * 40, skipped={"photos/notes.txt": "no image"})
    unusable = {f"photos/{i}.jpg": "truncated: the file ends early" for i in range(23)}
    page = Page(write_report(tmp_path / "r.html", make_report(table, unusable=unusable)))
    assert page.problems == []
    assert "23 unusable." in page.text
    assert "photos/19.jpg" in page.text
    assert "photos/20.jpg" not in page.text
    assert "1 other file in the source is no image of the table." in page.text


def test_tiny_pictures_stay_sharp(digits_page: Page) -> None:
    uris = digits_page.attributes("img", "src")
    sizes = [Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).size for uri in uris[:3]]
    assert min(min(size) for size in sizes) >= 80


def test_arrays_that_do_not_fit_are_refused(solar_report: ReportData) -> None:
    with pytest.raises(EyelineError, match="probabilities"):
        replace(solar_report, probabilities=solar_report.probabilities[:-1])
    with pytest.raises(EyelineError, match="splits"):
        replace(solar_report, splits=solar_report.splits[:-1])
    with pytest.raises(EyelineError, match="evidence"):
        replace(solar_report, evidence=EvidenceMaps(maps=np.zeros((1, 2, 3, 3))))


def test_writing_is_all_or_nothing(solar_report: ReportData, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("before")

    def broken(row: int) -> np.ndarray:
        raise EyelineError("gone")

    with pytest.raises(EyelineError, match="gone"):
        write_report(path, replace(solar_report, pixels=broken))
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(EyelineError) as caught:
        write_report(tmp_path / "missing" / "report.html", solar_report)
    assert caught.value.code == "write_failed"
