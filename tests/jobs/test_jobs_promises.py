"""A claim, a review band and costs through the whole job: asked, chosen, shipped, applied and told."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from eyeline.errors import EyelineError
from eyeline.images import read_images
from eyeline.jobs import evaluate_model, train
from eyeline.runtime import load, verify_artifact
from eyeline.verdicts import choose_threshold, guaranteed_threshold
from parts import write_parts

ASKED = {"claim": "escape<=0.25@0.9", "review": "overkill<=0.25@0.9"}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_parts(tmp_path_factory.mktemp("parts") / "photos", parts=30)


@pytest.fixture(scope="module")
def run(photos, tmp_path_factory):
    """Images taken as independent: about a dozen defects and a dozen good parts calibrate."""
    stages = set()

    def progress(stage, *_):
        stages.add(stage)

    found = train(photos, epochs=0, out=tmp_path_factory.mktemp("run") / "kept", progress=progress, **ASKED)
    assert "reading features" in stages
    assert "predicting" not in stages  # the features say it already
    return found


def rows_of(run, part):
    rows = pq.read_table(run.folder / "predictions.parquet").to_pylist()
    return [row for row in rows if row["split"] == part]


def left_out(run):
    """The images that the cuts were chosen on, and their scores."""
    rows = [row for row in rows_of(run, "train") + rows_of(run, "val") if row["left_out_score"] is not None]
    return [row["left_out_score"] for row in rows], [row["truth"] == "scratch" for row in rows]


def test_the_threshold_is_chosen_on_left_out_images_by_the_claim(run):
    promise = guaranteed_threshold(*left_out(run), ASKED["claim"])
    assert len(left_out(run)[0]) == len(rows_of(run, "train"))
    assert not rows_of(run, "val")
    threshold = load(run.model).contract.threshold
    assert promise.granted
    assert threshold.value == pytest.approx(promise.threshold)
    assert threshold.rule == "claim"
    assert threshold.guarantee == run.promises.claim.to_dict()
    assert threshold.guarantee["escaped"] == promise.escaped


def test_the_claim_is_checked_on_test_and_told_everywhere(run):
    test = rows_of(run, "test")
    defects = [row for row in test if row["truth"] == "scratch"]
    check = run.promises.check
    assert check.defects == len(defects)
    assert check.escape_rate.count == sum(row["decision"] == "pass" for row in defects)
    record = json.loads((run.folder / "run.json").read_text())
    told = load(run.model).contract.test
    assert record["test"] == run.to_dict()["test"] == told
    assert told["claim"].startswith("At most 25 % of defects escape, with 90 % confidence; ")
    assert told["promises"]["check"]["outcome"] == check.outcome
    page = run.report.read_text()
    assert f"<h1>{run.promises.text}</h1>" in page


def test_the_decisions_of_the_file_are_those_of_the_run(run):
    rows = pq.read_table(run.folder / "predictions.parquet").to_pylist()
    inspector = load(run.model)
    for row, verdict in zip(rows, inspector.predict([row["path"] for row in rows]), strict=True):
        assert verdict.decision == row["decision"]
    assert all(check.ok for check in verify_artifact(run.model))


def test_the_band_reviews_what_it_says(run):
    review, threshold = run.promises.review, load(run.model).contract.threshold
    scores, test = np.array(left_out(run)[0]), rows_of(run, "test")
    assert review.granted
    if review.high is None:
        pytest.fail("these parts are made so that some need a review")
    assert threshold.review == (review.low, review.high)
    assert review.load.count == np.sum((scores >= review.low) & (scores < review.high))
    assert run.promises.reviewed.load.count == sum(row["decision"] == "review" for row in test)
    assert "failed or went to review" in run.evaluation.claim


def test_other_data_supports_a_claim_or_does_not(run, photos, tmp_path):
    other = write_parts(tmp_path / "other", parts=10, seed=9)
    weak = evaluate_model(run.model, other, claim="escape<=0.9@0.9")
    strong = evaluate_model(run.model, other, claim="escape<=0.001@0.9")
    assert weak.promises.kept
    assert weak.promises.check.outcome == "supported"
    assert not strong.promises.kept
    assert weak.promises.check.threshold == load(run.model).contract.threshold.value
    assert weak.promises.reviewed.load.n == 60
    assert weak.to_dict()["promises"]["check"]["demand"] == "escape<=0.9@0.9"
    again = evaluate_model(run.model, photos, claim=ASKED["claim"])
    assert again.part == "test"
    assert again.promises.check.escape_rate == run.promises.check.escape_rate
    with pytest.raises(EyelineError, match="cannot read the claim"):
        evaluate_model(run.model, other, claim="none")


def test_a_refused_claim_ships_a_model_that_says_so(photos, tmp_path):
    run = train(
        photos,
        epochs=0,
        out=tmp_path / "refused",
        folds=0,
        group_by=r"(part\d+)_",
        claim="escape<=0.05@0.95",
        unknown=0.01,
    )
    assert not run.promises.kept
    assert run.promises.claim.groups < 10
    assert "cannot be claimed from" in run.promises.text
    assert "more caught defects needed, each from a new group" in run.promises.text
    contract = load(run.model).contract
    usual = choose_threshold(*left_out(run))
    # Without cross-fitting these are the scores of the validation part, as the artifact gives them.
    assert [row["left_out_score"] for row in rows_of(run, "val")] == [
        pytest.approx(row["score"], abs=1e-6) for row in rows_of(run, "val")
    ]
    assert contract.threshold.value == pytest.approx(usual)
    assert contract.threshold.rule == "balanced_accuracy"
    assert contract.threshold.guarantee["granted"] is False
    assert contract.test["claim"].startswith(run.promises.text)
    assert f"<h1>{run.promises.text.replace('<', '&lt;')}</h1>" in run.report.read_text()
    # Too few images to tell the unknown at one false alarm in a hundred: refused as well.
    assert "99 are needed" in run.promises.unknown.text
    assert contract.novelty is None


@pytest.fixture(scope="module")
def priced(photos, tmp_path_factory):
    return train(
        photos,
        epochs=0,
        out=tmp_path_factory.mktemp("run") / "priced",
        cost="escape=500,overkill=4,review=1,line=0.01",
        unknown=0.05,
    )


def test_costs_reach_the_artifact_and_the_report(priced):
    threshold = load(priced.model).contract.threshold
    assert threshold.rule == "cost"
    assert priced.promises.line.costs.defect_rate == 0.01
    assert priced.promises.text == ""
    assert priced.promises.kept
    page = priced.report.read_text()
    assert "Cost of 1,000 parts" in page
    assert "At a line that makes 10,000 ppm defects" in page
    rate = np.mean(left_out(priced)[1])
    odds = (1 / 500) / (1 - 1 / 500) * (rate / (1 - rate)) / (0.01 / 0.99)
    assert threshold.value == pytest.approx(odds / (1 + odds))


def test_unknown_objects_are_told_by_the_artifact(priced, photos):
    told = priced.promises.unknown
    test = rows_of(priced, "test")
    inspector = load(priced.model)
    assert told.granted
    assert told.images == len(left_out(priced)[0])
    assert inspector.contract.novelty.threshold == told.threshold
    assert priced.promises.alarms.alarms.count == sum(row["unknown"] for row in test)
    assert priced.evaluation.escape_rate.count == sum(
        row["decision"] == "pass" for row in test if row["truth"] == "scratch"
    )
    noise = np.random.default_rng(0).integers(0, 256, (10, 64, 64, 1), dtype=np.uint8)
    digits = read_images("digits")
    foreign = [*noise, *(digits.source(row) for row in range(0, 100, 10))]
    verdicts = list(inspector.predict(foreign))
    assert np.mean([verdict.unknown for verdict in verdicts]) >= 0.9
    assert all(verdict.decision == "review" for verdict in verdicts if verdict.unknown)
    assert "Unknown objects" in priced.report.read_text()
    again = evaluate_model(priced.model, photos)
    assert again.evaluation.confusion == priced.evaluation.confusion
    assert again.promises.alarms == priced.promises.alarms


def test_a_network_without_pooled_features_cannot_tell_the_unknown(photos, tmp_path):
    with pytest.raises(EyelineError, match="lenet5 cannot tell unknown objects"):
        train(photos, network="lenet5", weights="none", image_size=32, out=tmp_path / "lenet", unknown=0.1)
    assert not (tmp_path / "lenet").exists()


@pytest.mark.parametrize(
    "asked", [{"claim": "escape"}, {"review": "escape<=0.1"}, {"cost": "escape=1"}, {"unknown": 2.0}]
)
def test_what_cannot_be_read_stops_before_any_work(photos, tmp_path, asked):
    with pytest.raises(EyelineError):
        train(photos, out=tmp_path / "never", **asked)
    assert not (tmp_path / "never").exists()
