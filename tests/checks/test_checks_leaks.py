"""The leak doctor on planted leaks, on data without any, and on ELPV."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from eyeline.checks.leaks import (
    LeakScore,
    group_identity,
    inflation,
    leak_findings,
    metadata_findings,
    metadata_leaks,
    thumbnail_leaks,
)
from eyeline.checks.neighbours import describe_thumbnails, unit_rows
from eyeline.errors import EyelineError
from eyeline.images import read_images


def bursts(seed, *, parts=60, each=8, part=1.0, label=0.0, mixed=0.0):
    """Vectors that carry the part with strength `part` and the label with `label`; whole parts are defective,
    but for a share `mixed` of the images."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(parts), each)
    y = (np.arange(parts) % 2)[group] ^ (rng.random(len(group)) < mixed)
    x = part * rng.normal(size=(parts, 20))[group] + 0.5 * rng.normal(size=(len(group), 20))
    x[:, 0] += label * y
    return unit_rows(x), y.astype(np.int64), group


def test_remembering_the_part_is_caught():
    x, y, group = bursts(0)
    for score in thumbnail_leaks(x, y, group):
        assert score.random > 0.98  # the part gives the label away
        assert abs(score.grouped - 0.5) < 0.15  # and nothing else does
        assert score.leaks
        assert score.low < score.inflation < score.high
        assert score.inflation == pytest.approx(score.random - score.grouped)
    finding = leak_findings(thumbnail_leaks(x, y, group))[0]
    assert (finding.kind, finding.severity) == ("group_leak", "warning")
    assert "remembering the part" in finding.message
    assert finding.effect > 0.4


def test_where_only_the_label_shows_nothing_is_claimed():
    for seed in range(3):
        x, y, group = bursts(seed, part=0.0, label=1.5)
        scores = thumbnail_leaks(x, y, group)
        assert all(score.random > 0.75 and score.grouped > 0.75 for score in scores)
        assert not any(score.leaks for score in scores)
        assert leak_findings(scores) == []
        assert not any("could win" in score.sentence() for score in scores)


def test_the_sentence_is_that_of_the_issue():
    found = {"probe": "a head", "random": 0.89, "grouped": 0.82, "inflation": 0.07}
    score = LeakScore(**found, low=0.04, high=0.1)
    assert score.sentence() == (
        "random 0.89, grouped 0.82: inflation 0.07 (0.04 to 0.10); your network could win by remembering the part"
    )
    assert "inconclusive" in LeakScore(**found, low=-0.02, high=0.16).sentence()
    assert "does not pay" in LeakScore(**(found | {"inflation": 0.0}), low=-0.01, high=0.01).sentence()


def test_the_inflation_is_the_difference_of_two_areas_of_scikit_learn():
    rng = np.random.default_rng(0)
    defect, groups = rng.random(300) < 0.3, np.arange(300) // 10
    random = defect + rng.normal(0, 0.5, (3, 300))
    grouped = defect + rng.normal(0, 1.0, (2, 300))
    score = inflation(random, grouped, defect, groups, probe="noise")
    assert score.random == pytest.approx(np.mean([roc_auc_score(defect, row) for row in random]))
    assert score.grouped == pytest.approx(np.mean([roc_auc_score(defect, row) for row in grouped]))
    assert score.low < score.inflation < score.high
    assert score.leaks
    same = inflation(random, random, defect, groups, probe="none")
    assert (same.inflation, same.low, same.high) == (0, 0, 0)


def test_the_interval_of_the_inflation_covers_the_truth():
    """Plants of 40 parts with a part effect in the random scores only: the truth is in 95 % of the intervals."""
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(40), 5)

    def plant() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rate = rng.beta(1, 2, 40)[groups]
        defect = rng.random(200) < rate
        return defect, defect + rng.normal(0, 1, 200) + 2 * rate, defect + rng.normal(0, 1, 200)

    many = [plant() for _ in range(300)]
    truth = float(np.mean([roc_auc_score(d, r) - roc_auc_score(d, g) for d, r, g in many]))
    scores = [inflation(r, g, d, groups, probe="plant") for d, r, g in many[:100]]
    assert np.mean([score.low <= truth <= score.high for score in scores]) >= 0.88


def test_large_tables_are_judged_on_whole_groups_drawn_by_chance(monkeypatch):
    from eyeline.checks import leaks

    monkeypatch.setattr(leaks, "MOST_IMAGES", 200)
    unit = np.repeat(np.arange(60), 8)
    rows = leaks._draw_groups(unit, np.random.default_rng(0))
    assert 200 <= len(rows) < 216
    assert set(np.bincount(unit[rows])) <= {0, 8}


def test_folds_keep_groups_whole_and_are_about_equal():
    from eyeline.checks.leaks import deal_folds

    unit = np.random.default_rng(0).integers(0, 40, 500)
    fold = deal_folds(unit, 5, np.random.default_rng(1))
    assert all(len(set(fold[unit == group])) == 1 for group in range(40))
    assert np.ptp(np.bincount(fold)) < 40


def test_nothing_to_compare_is_said():
    x, y, group = bursts(0, parts=4)
    for targets, groups in ((y, np.zeros_like(group)), (np.zeros_like(y), group)):
        with pytest.raises(EyelineError, match="nothing to compare"):
            thumbnail_leaks(x, targets, groups)
    with pytest.raises(EyelineError, match="two groups"):
        group_identity(x, np.arange(len(x)))


def test_groups_that_show_are_recognised_and_others_are_not():
    x, y, group = bursts(1, mixed=0.5)
    seen = group_identity(x, group, y)
    assert seen.rate > 0.95
    assert seen.p_value < 0.01
    assert seen.low <= seen.rate <= seen.high
    assert seen.chance == pytest.approx(7 / 479, abs=0.01)
    assert leak_findings([], seen)[0].kind == "group_identity"
    blind = [group_identity(bursts(seed, part=0.0)[0], group, y).p_value for seed in range(20)]
    assert sum(p <= 0.05 for p in blind) <= 4


def test_groups_of_one_class_do_not_pass_for_recognised():
    x, y, group = bursts(2, part=0.0, label=4.0)  # groups are pure in class, and only the class shows
    naive, fair = group_identity(x, group), group_identity(x, group, y)
    assert naive.p_value < 0.05 < fair.p_value
    assert fair.chance > naive.chance


def test_columns_that_give_the_label_away_are_named():
    rng = np.random.default_rng(0)
    defect = rng.random(600) < 0.3
    group = np.arange(600) // 4
    columns = {
        "bytes": rng.normal(50_000, 5000, 600) + 20_000 * defect,
        "mode": np.where(defect | (rng.random(600) < 0.1), "L", "RGB"),
        "height": np.where(
            defect, 100, rng.choice([50, 150], 600)
        ),  # the middle: no rank correlation sees it
        "width": np.full(600, 64),
        "modified": rng.permutation(600),
    }
    scores = metadata_leaks(columns, defect, group)
    by_name = {score.column: score for score in scores}
    assert "width" not in by_name
    assert by_name["height"].auroc > 0.99
    assert by_name["bytes"].auroc > 0.95
    assert by_name["mode"].auroc > 0.9
    assert by_name["modified"].auroc < 0.6
    findings = metadata_findings(scores)
    assert {finding.details["column"] for finding in findings} == {"height", "bytes", "mode"}
    assert findings[0].message.startswith("height alone predicts the label: AUROC 1.00")
    assert {finding.severity for finding in findings} == {"warning"}


def test_a_column_that_only_knows_the_group_predicts_nothing_out_of_group():
    group = np.repeat(np.arange(100), 6)
    defect = np.random.default_rng(0).random(100)[group] < 0.4
    serial = {"serial": np.array([f"p{g}" for g in group])}
    assert metadata_leaks(serial, defect)[0].auroc > 0.99  # by single images the serial number gives it away
    assert metadata_leaks(serial, defect, group)[0].auroc < 0.55


def test_classes_taken_one_after_the_other_are_a_note():
    defect = np.arange(300) >= 200
    finding = metadata_findings(metadata_leaks({"order": np.arange(300)}, defect))[0]
    assert (finding.severity, finding.kind) == ("note", "metadata_leak")
    assert "one after the other" in finding.advice


def test_one_class_or_one_group_has_nothing_to_predict():
    assert metadata_leaks({"bytes": np.arange(9)}, np.zeros(9, bool)) == []
    assert metadata_leaks({"bytes": np.arange(9)}, np.arange(9) > 4, np.zeros(9)) == []


def test_elpv_thumbnails_recognise_the_module_and_the_inflation_shows():
    table = read_images("elpv")
    thumbnails = np.stack(
        [np.asarray(Image.open(path).resize((64, 64), Image.Resampling.BILINEAR)) for path in table.paths]
    )
    x = describe_thumbnails(thumbnails)
    one, ten = thumbnail_leaks(x, table.targets, table.groups, repeats=1)
    assert ten.random > ten.grouped
    identity = group_identity(x, table.groups, table.targets)
    assert identity.rate > 3 * identity.chance
    assert identity.p_value < 0.01
    assert one.probe == "1-nearest-neighbour on thumbnails"
