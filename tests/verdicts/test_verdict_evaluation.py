"""The whole evaluation: figures, methods chosen, honesty at the edges, plain JSON, speed."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from eyeline.errors import EyelineError
from eyeline.verdicts import choose_threshold, clopper_pearson, delong, evaluate, softmax

KEYS = {
    "images", "auroc", "average_precision", "accuracy", "f1", "balanced_accuracy", "brier", "ece",
    "escape_rate", "overkill_rate", "threshold", "groups", "claim", "per_class", "confusion",
}  # fmt: skip
RATES = [
    "auroc", "average_precision", "accuracy", "balanced_accuracy", "f1", "macro_f1", "brier", "ece",
    "escape_rate", "overkill_rate",
]  # fmt: skip


def plant(seed=0, n=660, groups=44, k=2, spread=0.7):
    """Probabilities, targets and groups of a plant whose groups differ in defect rate and difficulty."""
    rng = np.random.default_rng(seed)
    group = np.arange(n) * groups // n
    defect = rng.random(n) < rng.beta(0.8, 1.2, groups)[group]
    targets = defect * rng.integers(1, k, n) if k > 2 else defect.astype(int)
    z = rng.normal(size=(n, k))
    z[np.arange(n), targets] += 1.8 + spread * rng.normal(size=groups)[group]
    return softmax(z), targets, group


def judged(p, t, **options):
    names = ["good", "crack", "stain", "dent"][: p.shape[1]]
    return evaluate(p, t, classes=names, good="good", threshold=options.pop("threshold", 0.5), **options)


def test_figures_equal_sklearn():
    p, t, group = plant()
    e = judged(p, t, groups=group, threshold=0.4)
    fails = p[:, 1] >= 0.4
    assert e.images == 660
    assert e.groups == 44
    assert e.auroc.value == pytest.approx(sk.roc_auc_score(t, p[:, 1]))
    assert e.average_precision.value == pytest.approx(sk.average_precision_score(t, p[:, 1]))
    assert e.brier.value == pytest.approx(sk.brier_score_loss(t, p[:, 1]))
    assert e.accuracy.value == pytest.approx(sk.accuracy_score(t, fails))
    assert e.balanced_accuracy.value == pytest.approx(sk.balanced_accuracy_score(t, fails))
    assert e.f1.value == pytest.approx(sk.f1_score(t, fails))
    assert e.macro_f1.value == pytest.approx(sk.f1_score(t, fails, average="macro"))
    assert e.escape_rate.value == pytest.approx(1 - sk.recall_score(t, fails))
    assert e.overkill_rate.value == pytest.approx(np.mean(fails[t == 0]))
    assert e.confusion == sk.confusion_matrix(t, fails).tolist()
    assert e.per_class["crack"].recall.value == pytest.approx(sk.recall_score(t, fails))
    assert e.per_class["crack"].precision.value == pytest.approx(sk.precision_score(t, fails))
    assert e.per_class["good"].images == int((t == 0).sum())
    for name in RATES:
        rate = getattr(e, name)
        assert 0 <= rate.low <= rate.value <= rate.high <= 1, name


def test_several_classes_call_the_likeliest_defect():
    p, t, _ = plant(k=4, n=400)
    e = judged(p, t, threshold=0.6)
    calls = np.where(1 - p[:, 0] >= 0.6, 1 + p[:, 1:].argmax(axis=1), 0)
    assert e.confusion == sk.confusion_matrix(t, calls).tolist()
    assert e.macro_f1.value == pytest.approx(sk.f1_score(t, calls, average="macro"))
    assert e.f1.value == pytest.approx(sk.f1_score(t > 0, calls > 0))
    assert e.escape_rate.value == pytest.approx(np.mean(calls[t > 0] == 0))
    assert e.auroc.value == pytest.approx(sk.roc_auc_score(t > 0, 1 - p[:, 0]))
    assert set(e.per_class) == {"good", "crack", "stain", "dent"}


def test_the_good_class_need_not_come_first():
    p, t, _ = plant(n=300)
    first = judged(p, t)
    last = evaluate(p[:, ::-1], 1 - t, classes=["crack", "good"], good="good", threshold=0.5)
    assert last.escape_rate == first.escape_rate
    assert last.auroc.value == pytest.approx(first.auroc.value)


def test_methods_without_groups():
    p, t, _ = plant()
    e = judged(p, t)
    assert e.groups is None
    assert e.escape_rate.method == e.overkill_rate.method == e.accuracy.method == "Clopper-Pearson"
    assert (e.escape_rate.low, e.escape_rate.high) == pytest.approx(
        clopper_pearson(e.escape_rate.count, e.escape_rate.n)
    )
    assert e.auroc.method == "DeLong"
    assert e.f1.method == e.brier.method == "image bootstrap"
    chosen = (t == 0) | (np.cumsum(t) <= 6)
    assert judged(p[chosen], t[chosen]).auroc.method == "Clopper-Pearson on pairs of images"


def test_methods_with_groups_are_wider_than_by_image():
    p, t, group = plant(spread=1.5)
    grouped, alone = judged(p, t, groups=group), judged(p, t)
    assert grouped.f1.method == "group bootstrap"
    assert grouped.auroc.method == "group bootstrap on the logit scale"
    assert "group" in grouped.escape_rate.method
    for name in ("auroc", "escape_rate", "accuracy", "f1", "brier"):
        a, b = getattr(grouped, name), getattr(alone, name)
        assert a.value == pytest.approx(b.value)
        assert a.high - a.low > 1.15 * (b.high - b.low), name


def test_the_claim_names_images_groups_and_intervals():
    p, t, group = plant()
    e = judged(p, t, groups=group)
    defects = int(t.sum())
    holding = len(np.unique(group[t == 1]))
    assert e.claim.startswith("On 660 images in 44 groups, of ")
    assert f"of {defects} defects in {holding} groups, {e.escape_rate.count} escaped: escape rate " in e.claim
    low, high = (f"{100 * x:.1f}" for x in (e.escape_rate.low, e.escape_rate.high))
    assert f"(95 % interval {low} to {high} %, by " in e.claim
    assert "overkill rate" in e.claim
    assert "independent because no groups are known" in judged(p, t).claim


def test_perfection_is_bounded_not_believed():
    t = np.repeat([0, 1], 30)
    p = np.stack([0.9 - 0.8 * t, 0.1 + 0.8 * t], axis=1)
    e = judged(p, t)
    assert e.auroc.value == e.f1.value == e.average_precision.value == 1.0
    assert e.escape_rate.high == pytest.approx(1 - 0.025 ** (1 / 30))
    for name in ("auroc", "average_precision", "f1", "macro_f1", "balanced_accuracy", "accuracy"):
        rate = getattr(e, name)
        assert rate.low < 0.95, name
        assert rate.high == 1.0
    by_group = judged(p, t, groups=np.arange(60) // 6)
    assert by_group.escape_rate.high == pytest.approx(1 - 0.025 ** (1 / 5))
    assert by_group.escape_rate.method == "Clopper-Pearson on groups"
    assert by_group.auroc.low < 0.5
    # All wrong is not certain either.
    wrong = judged(p[:, ::-1], t)
    assert wrong.f1.value == 0.0
    assert wrong.f1.high > 0.05
    assert wrong.balanced_accuracy.high > 0.05


@pytest.mark.parametrize("groups", [None, np.arange(60) // 6])
def test_a_network_that_says_the_same_of_everything_is_judged_too(groups):
    """As after a training that came to nothing: no figure may fail for want of spread."""
    t = np.tile([0, 1], 30)
    e = judged(np.full((60, 2), 0.5), t, groups=groups)
    assert e.auroc.value == 0.5
    assert 0 < e.auroc.low < 0.35
    assert 0.65 < e.auroc.high < 1


def _no_nan(text):
    raise AssertionError(f"{text} is no JSON")


@pytest.mark.parametrize("target", [0, 1])
def test_one_class_gives_none_never_nan(target):
    e = judged(np.full((4, 2), 0.5), np.full(4, target), groups=[1, 1, 1, 1])
    assert e.auroc.value is None
    assert e.auroc.n == 0
    missing = e.escape_rate if target == 0 else e.overkill_rate
    assert missing.value is None
    assert e.brier.low is None
    assert "(no interval: a single group has no spread)" in e.brier.interval_text(0.95)
    assert missing.low is None
    assert "so the" in e.claim
    assert "unknown" in e.claim
    json.loads(json.dumps(e.to_dict(), allow_nan=False), parse_constant=_no_nan)


def test_to_dict_is_plain_json_with_the_agreed_keys():
    p, t, group = plant(k=3)
    kind = np.where(np.arange(len(t)) % 2, "mono", "poly")
    e = judged(p, t, groups=group, slices={"type": tuple(kind)})
    d = e.to_dict()
    assert set(d) >= KEYS
    assert json.loads(json.dumps(d, allow_nan=False)) == d
    assert set(d["auroc"]) >= {"value", "low", "high", "method", "n"}
    assert isinstance(d["threshold"], float)
    assert type(e).model_validate(d) == e


def test_slices_are_evaluations_of_their_own():
    p, t, group = plant()
    kind = np.where(group % 2, "mono", "poly")
    e = judged(p, t, groups=group, slices={"type": kind.tolist()})
    mono = e.slices["type"]["mono"]
    alone = judged(p[kind == "mono"], t[kind == "mono"], groups=group[kind == "mono"])
    assert mono.images == alone.images
    assert mono.groups == 22
    assert mono.defects == int(t[kind == "mono"].sum())
    assert mono.escape_rate == alone.escape_rate
    assert mono.auroc == alone.auroc


def test_the_same_seed_gives_the_same_intervals():
    p, t, group = plant()
    assert judged(p, t, groups=group) == judged(p, t, groups=group)
    other = judged(p, t, groups=group, seed=1)
    assert other.auroc.value == judged(p, t, groups=group).auroc.value
    assert other.auroc.low != judged(p, t, groups=group).auroc.low


def test_group_auroc_interval_covers_new_plants():
    """The true AUROC over all groups lies inside about as often as said; by image it does not."""
    shift, rho = 1.5, 0.5
    # A defect and a good part of different groups differ by N(shift, 2).
    true = stats.norm.cdf(shift / np.sqrt(2))
    inside = naive = 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        group = np.repeat(np.arange(30), 12)
        t = (np.repeat(rng.random(30) < 0.5, 12)).astype(int)
        s = np.sqrt(rho) * rng.normal(size=30)[group] + np.sqrt(1 - rho) * rng.normal(size=360) + shift * t
        p = softmax(np.stack([np.zeros(360), s], axis=1))
        e = judged(p, t, groups=group, resamples=200)
        inside += e.auroc.low <= true <= e.auroc.high
        low, high = delong(p[:, 1], t == 1)
        naive += low <= true <= high
    assert inside / 150 >= 0.90
    assert naive / 150 <= 0.70


def test_speed_at_the_size_of_a_data_set():
    p, t, group = plant(n=2624)
    threshold = choose_threshold(p[:, 1], t == 1)
    judged(p[:50], t[:50])  # import SciPy
    start = time.process_time()
    judged(p, t, groups=group, threshold=threshold, resamples=1000)
    assert time.process_time() - start < 1.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"good": "fine"}, "good class 'fine'"),
        ({"threshold": float("nan")}, "threshold is nan"),
        ({"targets": [0, 2]}, "whole numbers from 0 to 1"),
        ({"targets": [0.5, 1.0]}, "whole numbers"),
        ({"targets": [0]}, "do not fit"),
        ({"probabilities": [[0.5, 0.2], [0.5, 0.5]]}, "sum to 1"),
        ({"probabilities": np.empty((0, 2)), "targets": []}, "no images"),
        ({"classes": ["good", "crack", "dent"]}, "2 columns for 3 classes"),
        ({"groups": [1]}, "groups name 1 images"),
        ({"slices": {"type": ["mono"]}}, "slicing 'type' names 1 images"),
        ({"confidence": 95}, "confidence is 95"),
        ({"resamples": 3}, "resamples 3"),
    ],
)
def test_wrong_use_is_told_in_one_line(change, message):
    call = {
        "probabilities": [[0.5, 0.5], [0.2, 0.8]],
        "targets": [0, 1],
        "classes": ["good", "crack"],
        "good": "good",
        "threshold": 0.5,
    } | change
    with pytest.raises(EyelineError, match=message):
        evaluate(call.pop("probabilities"), call.pop("targets"), **call)


def test_import_is_cheap():
    code = (
        "import sys, eyeline.verdicts; print([m for m in ('torch', 'scipy', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
