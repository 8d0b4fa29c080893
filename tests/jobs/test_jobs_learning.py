"""The learning curve and the next images to label, on real files with published weights."""

from __future__ import annotations

import csv
import itertools
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from eyeline.cli.app import run as eyeline
from eyeline.errors import EyelineError
from eyeline.images import read_images, write_synthetic
from eyeline.jobs import learning, learning_curve
from eyeline.jobs.learning import SHARES, measure_growth


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    return write_synthetic(tmp_path_factory.mktemp("learn") / "parts", images=240, parts=40, burst=6, seed=3)


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unlabelled")
    table = write_synthetic(folder / "made", images=40, parts=20, burst=2, seed=11)
    shutil.move(table.parent / "images", folder / "new")
    (folder / "new" / "broken.png").write_bytes(b"\x89PNG")
    return folder / "new"


@pytest.fixture(scope="module")
def learned(parts, unlabelled, tmp_path_factory):
    out = tmp_path_factory.mktemp("learned")
    return learning_curve(
        parts,
        draws=6,
        unlabelled=unlabelled,
        count=5,
        next_labels=out / "next.csv",
        page=out / "learn.html",
    )


def test_the_error_falls_with_parts_and_the_answer_is_an_interval(learned):
    curve = learned.curves["1 - AUROC"]
    assert (curve.unit, curve.draws, learned.groups) == ("part", 6, 40)
    assert curve.sizes == (4, 8, 15, 22, 30)
    assert curve.errors[-1] < curve.errors[0]
    assert curve.errors[-1] < 0.3
    assert len(learned.forecasts) == 4  # as many parts again and half as many, for two figures
    for forecast in learned.forecasts:
        assert 0 <= forecast.low <= forecast.error <= forecast.high
        assert f"{forecast.more} more parts → " in forecast.text
    assert learned.text.startswith(learned.forecasts[1].text)
    assert set(learned.images_only) == {"1 - AUROC", "balanced error"}
    assert "From half to all of the parts" in learned.text
    assert ("may not help" in learned.text) == (not all(curve.falls for curve in learned.curves.values()))
    json.dumps(learned.to_dict(), allow_nan=False)
    assert "learning curve" in learned.page.read_text()


def test_images_to_label_next_are_named_and_readable(learned, unlabelled):
    rows = list(csv.DictReader(learned.next_labels.open()))
    assert len(rows) == len({row["path"] for row in rows}) == 5
    assert all(str(unlabelled) in row["path"] and "broken" not in row["path"] for row in rows)
    assert all(0 <= float(row["uncertainty"]) <= 1 for row in rows)
    parts = [row["path"].rpartition("part")[2][:4] for row in rows]
    assert len(set(parts)) >= 4  # two pictures of a part are alike: one of them is enough


def test_the_command_line_says_the_same(parts, learned, tmp_path, capsys):
    words = ["learn", str(parts), "--draws", "6", "--out", str(tmp_path / "l.html"), "--json"]
    assert eyeline(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["curves"]["1 - AUROC"]["errors"] == pytest.approx(list(learned.curves["1 - AUROC"].errors))
    assert found["next_labels"] is None
    assert eyeline(["learn"]) == 2


# --- how the subsets are dealt: features that know the answer, no network ----------------------------


def made_features(table, seed=0, sharpness=2.0):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(len(table), 12))
    features[:, 0] += sharpness * table.is_defect
    return features.astype(np.float32)


def test_subsets_are_nested_and_no_held_out_part_is_trained_on(parts, monkeypatch):
    table = read_images(parts)
    units = np.unique(table.groups, return_inverse=True)[1]
    seen = []

    def watched(table, features, rows, held):
        seen.append(
            (set(units[rows].tolist()), set(units[np.flatnonzero(held)].tolist()), set(rows.tolist()))
        )
        return 0.1, 0.1

    monkeypatch.setattr(learning, "head_errors", watched)
    sizes, by_part, by_image = measure_growth(table, made_features(table), units, draws=5)
    assert by_part.shape == by_image.shape == (5, len(SHARES), 2)
    assert not np.isnan(by_image).any()
    each = 2 * len(SHARES) - 1  # the largest subset serves both curves
    for draw in range(5):
        calls = seen[draw * each : (draw + 1) * each]
        assert len({frozenset(held) for _, held, _ in calls}) == 1
        assert all(not trained & held for trained, held, _ in calls)
        whole = [calls[0], calls[2], calls[4], calls[6], calls[8]]
        assert [len(trained) for trained, _, _ in whole] == sizes.tolist()
        assert all(a[2] < b[2] for a, b in itertools.pairwise(whole))
        spread = [calls[1], calls[3], calls[5], calls[7], calls[8]]
        assert all(a[2] < b[2] for a, b in itertools.pairwise(spread))
        assert len(spread[1][0]) > len(whole[1][0])  # the same number of images, of many more parts


def test_without_groups_images_are_counted(parts):
    table = read_images(parts)
    alone = replace(table.select(np.arange(0, len(table), 3)), groups=None)
    sizes, errors, by_image = measure_growth(alone, made_features(alone), np.arange(len(alone)), draws=5)
    assert sizes[-1] == 60
    assert not np.isnan(errors).any()
    assert np.isnan(by_image).all()
    assert errors[:, -1, 0].mean() < errors[:, 0, 0].mean()


def test_too_few_parts_and_missing_weights_are_refused(parts, tmp_path):
    table = read_images(parts)
    few = table.select(np.isin(table.groups, sorted(set(table.groups))[:5]))
    units = np.unique(few.groups, return_inverse=True)[1]
    with pytest.raises(EyelineError, match=r"more than 5 parts|no subset of the parts"):
        measure_growth(few, made_features(few), units)
    with pytest.raises(EyelineError, match="no published weights"):
        learning_curve(parts, network="lenet5")
