"""After training, on real files: the inspector as an appraiser, its curve by size, and a line that changes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from eyeline.cli.app import run as eyeline
from eyeline.errors import EyelineError
from eyeline.images import read_images, write_synthetic
from eyeline.jobs import appraise_model, detection_by_size, monitor_shift, predictions, train
from eyeline.runtime import load, write_verdicts


def make_line(folder: Path, *, images: int, parts: int, burst: int, seed: int) -> Path:
    """A table of surfaces of which half carry a dark disc of 1 to 16 pixels: the larger, the easier to see."""
    table, rng = (
        read_images(_surfaces(folder / "made", images, parts, burst, seed)),
        np.random.default_rng(seed),
    )
    y, x = np.mgrid[:64, :64]
    rows = ["path,label,group,mask"]
    for number, (path, group) in enumerate(zip(table.paths, table.groups, strict=True)):
        pixels, mask = np.asarray(Image.open(path)).astype(float), np.zeros((64, 64), dtype=bool)
        if rng.random() < 0.5:
            radius, (cy, cx) = np.exp(rng.uniform(np.log(0.6), np.log(8))), rng.uniform(14, 50, 2)
            mask = (y - cy) ** 2 + (x - cx) ** 2 <= radius**2
        label = "defective" if mask.any() else "good"
        name = f"{number:03d}.png"
        Image.fromarray(np.where(mask, 0.6 * pixels, pixels).astype(np.uint8)).save(folder / name)
        if mask.any():
            Image.fromarray(mask.astype(np.uint8) * 255).save(folder / f"mask_{name}")
        rows.append(f"{name},{label},{group},{f'mask_{name}' if mask.any() else ''}")
    (folder / "line.csv").write_text("\n".join(rows) + "\n")
    return folder / "line.csv"


def _surfaces(folder: Path, images: int, parts: int, burst: int, seed: int) -> Path:
    table = write_synthetic(folder, images=images, parts=parts, burst=burst, defect_rate=0.0, seed=seed)
    rows = table.read_text().splitlines()
    rows[1:3] = [row.replace(",good,", ",bad,", 1) for row in rows[1:3]]  # a table needs two classes
    table.write_text("\n".join(rows) + "\n")
    return table


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    return make_line(tmp_path_factory.mktemp("line"), images=200, parts=40, burst=5, seed=0)


@pytest.fixture(scope="module")
def model(parts, tmp_path_factory):
    return train(parts, epochs=0, folds=0, out=tmp_path_factory.mktemp("run") / "run").model


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """Another day of the same line: other parts, made alike."""
    return make_line(tmp_path_factory.mktemp("fresh"), images=240, parts=60, burst=4, seed=7)


def judge(model: Path, files: list[str], log: Path) -> Path:
    inspector = load(model)
    write_verdicts(predictions(inspector, files), log, classes=inspector.contract.classes)
    return log


def images_of(table: Path) -> list[str]:
    return list(read_images(table).paths)


# --- appraise -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def study(fresh, model, tmp_path_factory):
    """Pictures of one part with one truth are its trials; Anna errs once, Ben never looks twice."""
    table = read_images(fresh)
    rows, seen = [["path", "part", "reference", "trial", "appraiser:Anna", "appraiser:Ben"]], {}
    for path, label, group in zip(table.paths, table.labels, table.groups, strict=True):
        part = f"{group} {label}"
        seen[part] = seen.get(part, 0) + 1
        anna = "ok" if len(rows) == 1 and label == "defective" else ("NOK" if label == "defective" else "ok")
        rows.append([path, part, label, str(seen[part]), anna, label if seen[part] == 1 else ""])
    path = tmp_path_factory.mktemp("study") / "study.csv"
    path.write_text("\n".join(",".join(row) for row in rows) + "\n")
    return path


def test_the_study_agrees_with_the_verdicts_one_by_one(model, study, tmp_path):
    result = appraise_model(model, study, page=tmp_path / "appraise.html")
    rows = list(csv.DictReader(study.open()))
    verdicts = list(load(model).predict([row["path"] for row in rows]))
    fails = np.array([verdict.decision != "pass" for verdict in verdicts])
    defective = np.array([row["reference"] == "defective" for row in rows])
    machine, anna, ben = result.appraisal.appraisers
    assert machine.miss_rate.count == int((~fails & defective).sum())
    assert machine.false_alarm_rate.count == int((fails & ~defective).sum())
    assert machine.decisions == len(rows)
    right = {}
    for row, fail in zip(rows, fails, strict=True):
        right[row["part"]] = right.get(row["part"], True) and fail == (row["reference"] == "defective")
    assert machine.effectiveness.count == sum(right.values())
    assert machine.effectiveness.n == result.appraisal.parts == len(right)
    assert anna.human
    assert ben.decisions == len(right)
    assert ben.effectiveness.value == 1
    assert "Anna" in (tmp_path / "appraise.html").read_text()
    json.dumps(result.to_dict(), allow_nan=False)


def test_appraise_on_the_command_line(model, study, tmp_path, capsys):
    code = eyeline(["appraise", str(model), str(study), "--out", str(tmp_path / "a.html")])
    out = capsys.readouterr().out
    assert code in (0, 1)
    assert "model  effectiveness" in out
    assert "model and Anna: kappa" in out
    code = eyeline(["appraise", str(model), str(study), "--out", str(tmp_path / "a.html"), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (code == 1) == (found["appraisers"][0]["verdict"] == "unacceptable")
    assert {"effectiveness", "miss_rate", "false_alarm_rate", "kappa"} <= set(found["appraisers"][0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,part\na.png,1\n", "no column 'reference'"),
        ("path,part,reference\n", "has no rows"),
        (
            "path,part,reference\na.png,1,ok\nb.png,1,defective\n",
            "line 3: the part '1' has another reference on line 2",
        ),
        ("path,part,reference\na.png,1,ok\na.png,1,ok\n", "line 3: a.png stands on line 2 already"),
        ("path,part,reference\na.png,1,fine?\n", "line 2: reference says 'fine?'"),
        ("path,part,reference\na.png,1,\n", "line 2: reference says ''"),
        ("path,part,reference,appraiser:A\na.png,1,ok,hm\n", "appraiser:A says 'hm'"),
        ("path,part,reference,appraiser:model\na.png,1,ok,ok\n", "not 'model'"),
        ("path,part,reference\na.png,,ok\n", "path or part is empty"),
        ("path,part,reference\na.png,1\n", "line 2: 2 cells"),
        ("path,part,part\na.png,1,1\n", "stands twice"),
        ("path,part,reference\na.png,1,ok\n", "no picture could be judged"),
    ],
)
def test_a_wrong_study_is_refused_with_its_line(model, tmp_path, text, message):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(EyelineError, match=message.replace("?", r"\?")):
        appraise_model(model, tmp_path / "s.csv")


def test_a_study_that_is_no_text_is_refused(model, tmp_path):
    (tmp_path / "s.csv").write_bytes(b"path,part,reference\n\xff\xfe,1,ok\n")
    with pytest.raises(EyelineError, match="UTF-8"):
        appraise_model(model, tmp_path / "s.csv")
    with pytest.raises(EyelineError, match="cannot be read"):
        appraise_model(model, tmp_path / "none.csv")


# --- monitor --------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_shift_of_the_same_line_is_quiet(model, parts, tmp_path, ending):
    """The validation part: the same line, and not chosen for its scores."""
    rows = pq.read_table(model.parent / "predictions.parquet").to_pylist()
    names = {Path(row["path"]).name: row for row in rows if row["split"] == "val"}
    files = [path for path in images_of(parts) if Path(path).name in names]
    log = judge(model, files, tmp_path / f"shift.{ending}")
    found = monitor_shift(model, log, batch="20", page=tmp_path / "m.html")
    assert not found.void
    assert found.drift.images == len(files)
    assert found.drift.stopped == sum(row["decision"] == "fail" for row in names.values())
    assert "The promise stands." in (tmp_path / "m.html").read_text()
    json.dumps(found.to_dict(), allow_nan=False)


def test_dirt_on_the_lens_voids_the_promise(model, fresh, tmp_path, capsys):
    dirty = tmp_path / "dirty"
    dirty.mkdir()
    y, x = np.mgrid[:64, :64]
    spot = (y - 20) ** 2 + (x - 36) ** 2 <= 40
    for path in images_of(fresh):
        pixels = np.asarray(Image.open(path))
        Image.fromarray(np.where(spot, 0.5 * pixels, pixels).astype(np.uint8)).save(dirty / Path(path).name)
    log = judge(model, sorted(str(path) for path in dirty.iterdir()), tmp_path / "dirty.csv")
    good_day = judge(model, images_of(fresh), tmp_path / "good.csv")
    words = ["monitor", str(model), str(log), "--baseline", str(good_day), "--out", str(tmp_path / "m.html")]
    code = eyeline([*words, "--batch", "40"])
    out = capsys.readouterr().out
    assert code == 1
    assert out.startswith("Void: ")
    assert load(model).contract.test["claim"][:60] in out
    assert "RINGS" in out
    assert "The promise is void." in (tmp_path / "m.html").read_text()
    code = eyeline([*words, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert code == 1
    assert found["void"] is True
    assert len(found["tests"]) == 5


def test_a_good_shift_can_be_the_baseline(model, fresh, tmp_path):
    files = images_of(fresh)
    first = judge(model, files[::2], tmp_path / "monday.csv")
    second = judge(model, files[1::2], tmp_path / "tuesday.csv")
    found = monitor_shift(model, second, baseline=first, batch="30")
    assert not found.void
    assert found.drift.baseline_images == len(files[::2])
    assert found.drift.baseline_groups is None
    assert found.page is None


def test_the_baseline_is_weighted_to_the_line(model, fresh, tmp_path):
    log = judge(model, images_of(fresh), tmp_path / "shift.csv")
    plain = monitor_shift(model, log).drift
    at_line = monitor_shift(model, log, defect_rate=0.01).drift
    assert at_line.baseline_rate < plain.baseline_rate
    assert at_line.defect_rate == 0.01
    assert plain.baseline_groups >= 3


def test_batches_by_a_column_and_unreadable_pictures(model, fresh, tmp_path):
    files = images_of(fresh)
    log = judge(model, files, tmp_path / "shift.csv")
    rows = list(csv.reader(log.open()))
    head = [*rows[0], "hour"]
    body = [[*row, f"{6 + i // 80}:00"] for i, row in enumerate(rows[1:])]
    for row in body[:60]:
        row[1:-1] = [""] * (len(row) - 3) + ["truncated: half a file"]
    with (tmp_path / "hours.csv").open("w", newline="") as file:
        csv.writer(file).writerows([head, *body])
    found = monitor_shift(model, tmp_path / "hours.csv", batch="hour")
    assert [batch.name for batch in found.drift.batches] == ["6:00", "7:00", "8:00"]
    assert found.drift.batches[0].images == 20
    assert found.drift.unreadable == 60
    assert next(test for test in found.drift.tests if test.name == "unreadable pictures").rings
    with pytest.raises(EyelineError, match="no column 'shift'"):
        monitor_shift(model, tmp_path / "hours.csv", batch="shift")
    with pytest.raises(EyelineError, match="a batch of 0"):
        monitor_shift(model, tmp_path / "hours.csv", batch="0")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("l.csv", "path,label\na,b\n", "has no decision"),
        ("l.csv", "decision,score\n", "holds no verdicts"),
        ("l.csv", "decision,score,error\n,,\n", "neither a decision nor an error"),
        ("l.csv", "decision,score\nmaybe,0.2\n", "is no verdict"),
        ("l.csv", "decision,score\npass,high\n", "is no verdict"),
        ("l.csv", "decision,score\npass,0.999999\n", "the threshold of this artifact"),
        ("l.csv", "decision,score,p_cat,p_dog\npass,0.001,1,0\n", "cat, dog"),
        ("l.jsonl", "{\n", "cannot be read"),
        ("l.jsonl", "[1]\n", "holds no verdicts"),
        (
            "l.jsonl",
            '{"decision": "pass", "score": 0.001, "probabilities": {"cat": 1}}\n',
            "the classes are cat",
        ),
        ("l.parquet", "no parquet", "cannot be read"),
        ("l.txt", "x", "not a log of verdicts"),
    ],
)
def test_what_is_no_log_of_this_model_is_refused(model, tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(EyelineError, match=message):
        monitor_shift(model, tmp_path / name)


def test_without_a_baseline_it_says_what_to_give(model, fresh, tmp_path):
    log = judge(model, images_of(fresh)[:40], tmp_path / "shift.csv")
    alone = tmp_path / "model.onnx"
    alone.write_bytes(model.read_bytes())
    with pytest.raises(EyelineError, match="give --baseline"):
        monitor_shift(alone, log)
    with pytest.raises(EyelineError, match="no such file"):
        monitor_shift(model, tmp_path / "none.csv")


# --- detection by size ----------------------------------------------------------------------------


def test_the_curve_by_mask_counts_what_the_model_catches(model, fresh, tmp_path):
    found = detection_by_size(model, fresh, page=tmp_path / "pod.html")
    table = read_images(fresh)
    verdicts = list(load(model).predict(table.paths))
    fails = np.array([verdict.decision != "pass" for verdict in verdicts])
    assert found.part == "all"
    assert found.detection.images == int(table.is_defect.sum())
    assert found.detection.caught == int(fails[table.is_defect].sum())
    assert found.false_calls.count == int(fails[~table.is_defect].sum())
    assert found.left_out == 0
    areas = [
        (np.asarray(Image.open(mask)) > 0).sum()
        for mask, defect in zip(table.masks, table.is_defect, strict=True)
        if defect
    ]
    assert found.detection.largest == pytest.approx(np.sqrt(4 * max(areas) / np.pi))
    assert "a90/95" in (tmp_path / "pod.html").read_text()
    json.dumps(found.to_dict(), allow_nan=False)


def with_sizes(fresh: Path, path: Path, change=None) -> Path:
    table = read_images(fresh)
    rows = [["path", "label", "group", "size_mm"]]
    for name, label, group, mask in zip(table.paths, table.labels, table.groups, table.masks, strict=True):
        size = "" if mask is None else f"{np.sqrt((np.asarray(Image.open(mask)) > 0).sum() * 4 / np.pi):.17g}"
        rows.append([name, label, group, size if change is None or not size else change(size)])
    path.write_text("\n".join(",".join(row) for row in rows) + "\n")
    return path


def test_a_column_of_the_same_sizes_gives_the_same_curve(model, fresh, tmp_path, capsys):
    table = with_sizes(fresh, tmp_path / "sized.csv")
    by_mask, by_column = detection_by_size(model, fresh), detection_by_size(model, table, size="size_mm")
    assert by_column.detection.bound == pytest.approx(by_mask.detection.bound, rel=1e-9)
    code = eyeline(
        ["pod", str(model), str(table), "--size", "size_mm", "--out", str(tmp_path / "pod.html"), "--json"]
    )
    assert code == 0
    assert json.loads(capsys.readouterr().out)["bound"] == by_column.detection.bound
    assert eyeline(["pod", str(model), str(fresh), "--out", str(tmp_path / "pod.html")]) == 0
    assert "caught in  90%" in capsys.readouterr().out


def test_sizes_that_are_none_are_refused(model, fresh, tmp_path):
    with pytest.raises(EyelineError, match="no column 'length'"):
        detection_by_size(model, fresh, size="length")
    with pytest.raises(EyelineError, match="no number"):
        detection_by_size(model, with_sizes(fresh, tmp_path / "a.csv", lambda s: "large"), size="size_mm")
    with pytest.raises(EyelineError, match="must be positive"):
        detection_by_size(model, with_sizes(fresh, tmp_path / "b.csv", lambda s: "-1"), size="size_mm")
    with pytest.raises(EyelineError, match="no image has a mask"):
        detection_by_size(model, with_sizes(fresh, tmp_path / "c.csv"))
    with pytest.raises(EyelineError, match="allowed: test, all"):
        detection_by_size(model, fresh, split="train")
    with pytest.raises(EyelineError, match="no test part"):
        detection_by_size(model, fresh, split="test")
