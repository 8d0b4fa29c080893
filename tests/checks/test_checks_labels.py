"""Confident learning against cleanlab, planted flips, and the table written back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cleanlab.count import compute_confident_joint
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from eyeline.checks.labels import (
    confident_joint,
    label_findings,
    label_quality,
    suspicious_labels,
    write_labels,
)
from eyeline.checks.neighbours import neighbour_probabilities, unit_rows
from eyeline.errors import EyelineError
from eyeline.images import read_images
from eyeline.verdicts import auroc
from parts import write_parts


def noisy(seed, n=400, classes=4, sharpness=3.0, flips=0.15):
    """Probabilities of a fair classifier, and labels of which some were flipped."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, n)
    logits = rng.normal(size=(n, classes)) + sharpness * (truth[:, None] == np.arange(classes))
    p = np.exp(logits)
    p /= p.sum(axis=1, keepdims=True)
    flipped = rng.random(n) < flips
    given_labels = np.where(flipped, (truth + rng.integers(1, classes, n)) % classes, truth)
    return p, given_labels, flipped


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    classes=st.integers(2, 8),
    sharpness=st.floats(0.0, 4.0),
    flips=st.floats(0.0, 0.5),
)
def test_the_same_labels_as_cleanlab_in_the_same_order(seed, classes, sharpness, flips):
    p, y, _ = noisy(seed, n=60 * classes, classes=classes, sharpness=sharpness, flips=flips)
    joint = compute_confident_joint(y, p, calibrate=True)
    ours = confident_joint(p, y)
    if (
        ours != joint
    ).any():  # only where several roundings are equally good does the last bit of a float decide
        raw = compute_confident_joint(y, p, calibrate=False)
        exact = raw / raw.sum(axis=1, keepdims=True) * np.bincount(y)[:, None]
        assert np.abs(ours - joint).max() == 1
        assert np.allclose(np.sort(np.abs(ours - exact)), np.sort(np.abs(joint - exact)))
        return
    for quality in ("self_confidence", "normalized_margin"):
        report = suspicious_labels(p, y, quality=quality)
        peer = find_label_issues(
            y, p, filter_by="prune_by_noise_rate", return_indices_ranked_by=quality, n_jobs=1
        )
        assert report.rows.tolist() == list(peer)
        assert np.allclose(report.quality, get_label_quality_scores(y, p, method=quality), atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_order_of_the_rows_does_not_matter(seed):
    p, y, _ = noisy(seed)
    order = np.random.default_rng(seed).permutation(len(y))
    plain, mixed = suspicious_labels(p, y), suspicious_labels(p[order], y[order])
    assert sorted(order[mixed.rows]) == sorted(plain.rows)
    assert np.allclose(plain.joint, mixed.joint)


def test_the_joint_counts_every_label_and_gives_the_noise_back():
    p, y, flipped = noisy(0, n=4000, classes=3, sharpness=6.0, flips=0.2)
    counts = confident_joint(p, y)
    assert (counts.sum(axis=1) == np.bincount(y)).all()
    report = suspicious_labels(p, y)
    assert np.isclose(report.joint.sum(), 1)
    assert np.abs(report.noise - [flipped[y == c].mean() for c in range(3)]).max() < 0.02


def judge(p, y, flipped):
    """Report, AUROC of the quality score, and precision and recall of what is suspected."""
    report = suspicious_labels(p, y)
    found = np.zeros(len(y), bool)
    found[report.rows] = True
    precision, recall = (found & flipped).sum() / found.sum(), (found & flipped).sum() / flipped.sum()
    return report, auroc(1 - report.quality, flipped), precision, recall


def plant(truth, classes, seed, share=0.05):
    rng = np.random.default_rng(seed)
    flipped = np.zeros(len(truth), bool)
    flipped[rng.choice(len(truth), round(share * len(truth)), replace=False)] = True
    return np.where(flipped, (truth + rng.integers(1, classes, len(truth))) % classes, truth), flipped


def test_flips_planted_into_digits_are_found():
    table = read_images("digits")
    x = table.pixels.reshape(len(table), -1) / 255.0
    y, flipped = plant(table.targets, 10, seed=0)
    p = cross_val_predict(LogisticRegression(max_iter=300), x, y, cv=5, method="predict_proba")
    report, area, precision, recall = judge(p, y, flipped)
    assert area > 0.97
    assert precision > 0.7
    assert recall > 0.8
    right = np.isin(report.rows, np.flatnonzero(flipped))
    assert (report.suggested == table.targets[report.rows])[right].mean() > 0.9


def test_flips_planted_into_digits_are_found_without_any_network():
    table = read_images("digits")
    y, flipped = plant(table.targets, 10, seed=1)
    x = table.pixels.reshape(len(table), -1).astype(np.float32)
    p = neighbour_probabilities(unit_rows(x - x.mean(axis=1, keepdims=True)), y, classes=10)
    _, area, precision, recall = judge(p, y, flipped)
    assert area > 0.98
    assert precision > 0.85
    assert recall > 0.8


def test_flips_planted_into_synthetic_data_are_found():
    x, truth = make_classification(
        1500, 20, n_informative=8, n_classes=2, class_sep=2.0, flip_y=0, random_state=0
    )
    y, flipped = plant(truth, 2, seed=2)
    model = make_pipeline(StandardScaler(), LogisticRegression())
    p = cross_val_predict(model, x, y, cv=5, method="predict_proba")
    _, area, precision, recall = judge(p, y, flipped)
    assert area > 0.95
    assert recall > 0.85
    assert precision > 0.5


def test_wrong_probabilities_are_refused():
    p, y, _ = noisy(0, n=20)
    for wrong, targets in ((p * 2, y), (p[:, :1], y), (p[:-1], y), (p, y - 1), (np.full_like(p, np.nan), y)):
        with pytest.raises(EyelineError):
            suspicious_labels(wrong, targets)
    with pytest.raises(EyelineError, match="entropy"):
        label_quality(p, y, "entropy")


def test_a_class_without_images_and_clean_labels_are_no_trouble():
    p = np.array([[0.9, 0.05, 0.05], [0.8, 0.1, 0.1], [0.1, 0.85, 0.05], [0.2, 0.7, 0.1]])
    report = suspicious_labels(p, [0, 0, 1, 1])
    assert len(report.rows) == 0
    assert report.noise.tolist() == [0, 0, 0]
    assert label_findings(report, ["a", "b", "c"]) == []


def test_labels_of_the_test_part_are_a_finding_of_their_own():
    p, y, _ = noisy(3, n=300, classes=3)
    report = suspicious_labels(p, y)
    splits = np.array(["train", "test"])[np.arange(300) % 2]
    findings = label_findings(report, ["good", "pore", "scratch"], splits)
    assert [finding.kind for finding in findings] == ["suspicious_label", "suspicious_test_label"]
    rows = [row for finding in findings for row in finding.rows]
    assert sorted(rows) == sorted(report.rows)
    assert all(splits[row] == "test" for row in findings[1].rows)
    assert list(findings[0].rows) == [row for row in report.rows if splits[row] == "train"]
    assert findings[0].effect == pytest.approx(len(findings[0].rows) / 150)
    assert findings[0].to_dict([str(i) for i in range(300)])["details"]["suggested"][0] in (
        "good",
        "pore",
        "scratch",
    )


# --- decisions written back -----------------------------------------------------------------------


@pytest.fixture
def table(tmp_path):
    return read_images(write_parts(tmp_path / "photos", parts=4, each=3), group_by="(part[0-9]+)")


def test_the_table_comes_back_with_the_decisions_and_nothing_else_changed(table, tmp_path):
    before = {path: Path(path).read_bytes() for path in table.paths}
    other = "good" if table.labels[3] == "scratch" else "scratch"
    written = write_labels(tmp_path / "labels.csv", table, {3: other, 5: "remove"})
    again = read_images(written)
    kept = [row for row in range(len(table)) if row != 5]
    assert again.paths == tuple(table.paths[row] for row in kept)
    assert again.labels == tuple(other if row == 3 else table.labels[row] for row in kept)
    assert again.groups == tuple(table.groups[row] for row in kept)
    assert {path: Path(path).read_bytes() for path in table.paths} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.csv", "photos"]
    assert "photos/good/" in written.read_text()  # relative, so that both can move together


def test_every_column_survives(table, tmp_path):
    splits = tuple("test" if row % 3 == 0 else "train" for row in range(len(table)))
    weights = tuple(1 + row / 7 for row in range(len(table)))
    masks = tuple(table.paths[0] if row == 1 else None for row in range(len(table)))
    slices = {"type, of cell": tuple("ab"[row % 2] for row in range(len(table)))}
    rich = replace(table, splits=splits, weights=weights, masks=masks, slices=slices)
    (tmp_path / "elsewhere").mkdir()
    again = read_images(write_labels(tmp_path / "elsewhere" / "labels.csv", rich, {}))
    assert (again.paths, again.labels, again.groups) == (rich.paths, rich.labels, rich.groups)
    assert (again.splits, again.weights, again.masks, again.slices) == (splits, weights, masks, slices)


def test_test_labels_change_only_when_told(table, tmp_path):
    held = replace(table, splits=("test",) * 6 + ("train",) * 6)
    for decision in ("good", "remove"):
        with pytest.raises(EyelineError, match="test part"):
            write_labels(tmp_path / "labels.csv", held, {0: decision})
    assert not (tmp_path / "labels.csv").exists()
    again = read_images(write_labels(tmp_path / "labels.csv", held, {0: "scratch"}, allow_test=True))
    assert again.labels[0] == "scratch"


def test_what_cannot_be_written_is_refused(table, tmp_path):
    target = tmp_path / "labels.csv"
    with pytest.raises(EyelineError, match="did you mean scratch"):
        write_labels(target, table, {0: "scrach"})
    with pytest.raises(EyelineError, match="row 99"):
        write_labels(target, table, {99: "good"})
    good = [row for row, label in enumerate(table.labels) if label == "good"]
    with pytest.raises(EyelineError, match="would keep 1 image"):
        write_labels(target, table, dict.fromkeys(good[1:], "remove"))
    with pytest.raises(EyelineError, match="live in memory"):
        write_labels(target, read_images("digits"), {})
    with pytest.raises(EyelineError, match="one of the images"):
        write_labels(table.paths[0], table, {}, overwrite=True)
    with pytest.raises(EyelineError, match="blanks"):
        write_labels(target, replace(table, groups=("a ",) * len(table)), {})
    with pytest.raises(EyelineError, match="no valid text"):
        write_labels(target, replace(table, groups=("\udcff",) * len(table)), {})
    renamed = tuple("remove" if label == "scratch" else label for label in table.labels)
    with pytest.raises(EyelineError, match="word for leaving"):
        write_labels(target, replace(table, labels=renamed, classes=("good", "remove")), {})
    assert not target.exists()
    write_labels(target, table, {})
    with pytest.raises(EyelineError, match="exists already"):
        write_labels(target, table, {})
    write_labels(target, table, {0: "remove"}, overwrite=True)
    assert len(read_images(target)) == len(table) - 1
