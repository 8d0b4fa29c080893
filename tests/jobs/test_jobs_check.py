"""The check of a folder with planted faults, and what training makes of what it finds."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from eyeline.cli.app import run
from eyeline.images import DecodeOptions, read_images
from eyeline.jobs import check_images, evaluate_model, train
from eyeline.jobs.check_page import page_data
from eyeline.jobs.looking import look_at_images, tie_duplicates
from parts import write_parts

PATTERN = r"(?P<group>part\d+)_"


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory):
    """Sixteen parts, and among them: a cut file, a file with two labels, a blank one, a JPEG called .png."""
    folder = write_parts(tmp_path_factory.mktemp("check") / "photos")
    good = folder / "good"
    whole = (good / "part00_0.png").read_bytes()
    (good / "part00_0.png").write_bytes(whole[: len(whole) // 2])
    shutil.copy(folder / "scratch" / "part02_1.png", good / "part02_9.png")
    Image.fromarray(np.full((64, 64), 128, np.uint8)).save(good / "part03_9.png")
    with Image.open(good / "part05_1.png") as image:
        image.save(good / "part05_9.png", "JPEG")
    return folder


@pytest.fixture(scope="module")
def found(spoiled, tmp_path_factory):
    page = tmp_path_factory.mktemp("page") / "check.html"
    return check_images(spoiled, group_by=PATTERN, network=None, page=page)


def rows_of(check, kind):
    return {
        check.table.paths[row].rpartition("/")[2] for f in check.findings if f.kind == kind for row in f.rows
    }


def test_every_planted_fault_is_found_where_it_is(found):
    assert "part00_0.png" in rows_of(found, "unreadable")
    assert rows_of(found, "label_conflict") >= {"part02_1.png", "part02_9.png"}
    assert rows_of(found, "blank") == {"part03_9.png"}
    assert rows_of(found, "wrong_extension") == {"part05_9.png"}


def test_errors_come_first_and_then_what_matters_most(found):
    order = ["error", "warning", "note"]
    levels = [order.index(finding.severity) for finding in found.findings]
    assert levels == sorted(levels)
    assert found.errors >= 1
    for severity in order:
        effects = [finding.effect for finding in found.findings if finding.severity == severity]
        assert effects == sorted(effects, reverse=True)
    assert all(finding.message and finding.advice for finding in found.findings)


def test_the_page_shows_the_faults(found):
    html = found.page.read_text("utf-8")
    assert "label conflict" in html
    assert "part02_9.png" in html
    assert "cannot judge these labels" in html  # noise of a part hides its scratches from thumbnails


def test_the_rows_of_the_page_are_a_source_for_training(found, spoiled, tmp_path):
    rows = page_data(found).label_rows
    table = read_images(spoiled, group_by=PATTERN)
    assert [row["path"] for row in rows] == list(table.paths)
    file = tmp_path / "labels.csv"
    with open(file, "w", newline="", encoding="utf-8") as target:
        writer = csv.DictWriter(target, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    again = read_images(file)
    assert again.labels == table.labels
    assert again.groups == table.groups


def test_the_verb_prints_one_object_and_exits_with_1_on_an_error(spoiled, tmp_path, capsysbinary):
    out = tmp_path / "check.html"
    words = ["check", str(spoiled), "--group-by", PATTERN, "--network", "none", "--out", str(out), "--json"]
    assert run(words) == 1
    result = json.loads(capsysbinary.readouterr().out)
    assert {"images", "classes", "findings"} <= set(result)
    assert {"kind", "severity", "paths", "message"} <= set(result["findings"][0])
    assert result["groups"] == 16
    assert out.is_file()


def test_without_errors_the_verb_exits_with_0_and_says_what_it_found(tmp_path, capsysbinary):
    folder = write_parts(tmp_path / "photos", seed=5)
    words = [
        "check",
        str(folder),
        "--group-by",
        PATTERN,
        "--network",
        "none",
        "--out",
        str(tmp_path / "c.html"),
    ]
    assert run(words) == 0
    text = capsysbinary.readouterr().out.decode()
    assert "96 images: 48 good, 48 scratch" in text
    assert "Groups: 16 (given: pattern" in text
    assert "Page:" in text


def test_bursts_leak_by_random_split_and_not_by_group():
    found = check_images("synthetic", network=None)
    leak = next(finding for finding in found.findings if finding.kind == "group_leak")
    assert leak.effect > 0.1
    assert all(np.mean(each.random) > np.mean(each.grouped) + 0.1 for each in found.comparisons)
    assert "your network could win by remembering the part" in leak.message


def test_a_folder_of_bursts_without_groups_is_told_about_its_names(tmp_path):
    from eyeline.images import write_synthetic

    manifest = write_synthetic(tmp_path / "line", images=300, parts=30)
    lines = [line.split(",") for line in manifest.read_text().splitlines()]
    keep = [lines[0].index(name) for name in ("path", "label")]
    bare = manifest.with_name("bare.csv")
    bare.write_text("".join(",".join(line[i] for i in keep) + "\n" for line in lines))
    found = check_images(bare, network=None)
    assert found.table.groups is None
    truth = read_images(manifest).groups
    by_name = next(one for one in found.looked.proposals if one.source == "file names")
    assert len(set(zip(by_name.groups, truth, strict=True))) == len(set(truth)) == by_name.count
    assert by_name.confidence > 0.5
    assert read_images(bare, group_by=by_name.rule).groups == by_name.groups  # the rule as it would be typed
    assert "ungrouped" in {finding.kind for finding in found.findings}


# --- ties -----------------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path):
    return read_images(write_parts(tmp_path / "few", parts=4, each=2), group_by=PATTERN)


def test_groups_that_share_a_picture_become_one(table):
    sets = np.arange(len(table))
    first, other = 0, next(row for row in range(len(table)) if table.groups[row] != table.groups[0])
    sets[other] = first
    tied, left_out = tie_duplicates(table, sets)
    assert len(left_out) == 0
    assert tied.groups[first] == tied.groups[other]
    assert len(set(tied.groups)) == len(set(table.groups)) - 1
    before = {name: {row for row, g in enumerate(table.groups) if g == name} for name in set(table.groups)}
    for rows in before.values():  # nothing is torn apart
        assert len({tied.groups[row] for row in rows}) == 1


def test_one_likeness_among_many_joins_no_groups(table):
    """A chance likeness of one picture in eleven is not the same part."""
    groups = ("a",) * 20 + ("b",) * 11
    base = replace(
        table,
        paths=tuple(map(str, range(31))),
        labels=("good", "scratch") * 15 + ("good",),
        groups=groups,
    )
    sets = np.arange(31)
    sets[25] = 3
    assert tie_duplicates(base, sets)[0] is base
    sets[26] = 4  # two of eleven are
    assert set(tie_duplicates(base, sets)[0].groups) == {"b"}


def test_the_two_takes_of_one_elpv_module_stay_together():
    elpv = read_images("elpv")
    rows = np.r_[1734:1784, 2276:2326, 0:20]
    part = elpv.select(rows)
    twins = part.groups[0], part.groups[50]
    assert twins[0] != twins[1]
    looked = look_at_images(part, DecodeOptions(image_size=(64, 64), channels=1))
    tied, _ = tie_duplicates(part, looked.sets)
    assert tied.groups[0] == tied.groups[50] != tied.groups[-1]


def test_without_groups_only_the_sets_are_tied(table):
    sets = np.arange(len(table))
    sets[[3, 5]] = 1
    tied, _ = tie_duplicates(replace(table, groups=None), sets)
    assert tied.groups[1] == tied.groups[3] == tied.groups[5]
    assert len(set(tied.groups)) == len(table) - 2


def test_a_given_split_keeps_its_test_part_and_loses_the_copies(table):
    splits = ("train", "train", "val", "val", "test", "test", "train", "test")
    given = replace(table, groups=None, splits=splits)
    sets = np.arange(len(table))
    sets[[4, 2]] = 0  # one picture in train, val and test
    tied, left_out = tie_duplicates(given, sets)
    assert tied.splits == splits
    assert sorted(left_out) == [0, 2]


def test_nothing_is_changed_where_nothing_is_double(table):
    tied, left_out = tie_duplicates(table, np.arange(len(table)))
    assert tied is table
    assert len(left_out) == 0


def test_evaluate_finds_the_test_part_of_a_run_whose_groups_were_tied(tmp_path):
    """Otherwise images that were learned from would be measured as test images."""
    folder = write_parts(tmp_path / "photos", seed=7)
    for part in range(8):  # the same picture under another part's name: those parts become one
        for path in (folder / "good").glob(f"part{part:02d}_*.png"):
            shutil.copy(path, path.with_name(path.name.replace(f"part{part:02d}", f"part{part + 20}")))
    run = train(folder, group_by=PATTERN, epochs=0, out=tmp_path / "run")
    record = json.loads((run.folder / "run.json").read_text())
    assert len(set(read_images(folder, group_by=PATTERN).groups)) == 24
    assert run.evaluation.groups is not None
    again = evaluate_model(run.model, folder, group_by=PATTERN)
    assert again.part == "test"
    assert again.evaluation.images == run.evaluation.images == record["splits"].count("test")
    assert again.evaluation.groups == run.evaluation.groups
    assert again.evaluation.confusion == run.evaluation.confusion
    assert again.evaluation.auroc.value == pytest.approx(run.evaluation.auroc.value, abs=1e-6)
