"""A teacher, soft labels, exact steps, a search for the rate and a resume elsewhere, through the whole job."""

from __future__ import annotations

import csv
import json
import os
import signal

import numpy as np
import pytest
from safetensors.numpy import load_file
from scipy.special import softmax

from eyeline.errors import EyelineError, Interrupted
from eyeline.images import read_images
from eyeline.jobs import suggest_learning_rate, train
from eyeline.jobs.run_folder import environment, environment_notes
from eyeline.jobs.soft_labels import soft_labels
from eyeline.runtime import load
from eyeline.training import Examples, Recipe
from parts import write_parts

PATTERN = r"(?P<group>part\d+)_"
QUICK = {"network": "resnet20", "weights": "none", "group_by": PATTERN, "image_size": 32}


def prepared(monkeypatch, source, out, **options) -> Examples:
    """What a run would train on; it ends there."""
    seen = []

    def take(net, examples, *arguments, **more):
        seen.append(examples)
        raise KeyboardInterrupt

    monkeypatch.setattr("eyeline.jobs.run.fit", take)
    with pytest.raises(KeyboardInterrupt):
        train(source, out=out, **options)
    return seen[0]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_parts(tmp_path_factory.mktemp("parts") / "photos", parts=12, each=4)


@pytest.fixture(scope="module")
def teacher(photos, tmp_path_factory):
    return train(photos, out=tmp_path_factory.mktemp("teacher") / "run", steps=3, **QUICK)


def record(run) -> dict:
    return json.loads((run.folder / "run.json").read_text())


def tensors(run) -> bytes:
    """The weights after the last step, whichever epoch was the best."""
    return sorted((run.folder / "checkpoints").glob("step-*.safetensors"))[-1].read_bytes()


def test_steps_repeat_a_run(teacher, photos, tmp_path):
    assert record(teacher)["steps"] == 3
    again = train(photos, out=tmp_path / "again", steps=3, **QUICK)
    assert tensors(again) == tensors(teacher)


def test_a_teacher_is_asked_recorded_and_followed(teacher, photos, tmp_path):
    taught = train(photos, out=tmp_path / "taught", steps=3, teacher=str(teacher.model), **QUICK)
    found = record(taught)
    assert found["teacher"] == {"model": str(teacher.model), "sha256": load(teacher.model).sha256}
    assert found["recipe"]["distill"] == 0.5
    assert taught.notes == (), "the teacher has the same split: it has seen no test image"
    assert tensors(taught) != tensors(teacher)


@pytest.mark.parametrize("size", [32, 48], ids=["the cached pixels", "the files, in its own size"])
def test_a_teacher_judges_the_training_part(teacher, photos, tmp_path, monkeypatch, size):
    options = QUICK | {"image_size": size, "teacher": str(teacher.model)}
    examples = prepared(monkeypatch, photos, tmp_path / "run", **options)
    paths = read_images(photos).paths
    inspector = load(teacher.model)
    temperature = inspector.contract.calibration.temperature
    verdicts = list(inspector.predict(paths[row] for row in examples.train[:6]))
    said = np.array([[v.probabilities[name] for name in ("good", "scratch")] for v in verdicts])
    np.testing.assert_allclose(
        softmax(examples.teacher[examples.train[:6]] / temperature, 1), said, atol=1e-5
    )
    assert not examples.teacher[examples.val].any()


def test_a_teacher_that_saw_the_test_part_is_refused(teacher, photos, tmp_path):
    with pytest.raises(EyelineError, match="another split") as caught:
        train(photos, out=tmp_path / "run", seed=1, epochs=0, teacher=str(teacher.model), **QUICK)
    assert caught.value.code == "teacher_saw_test"
    assert "--seed 0" in caught.value.hint


def test_a_teacher_from_other_data_is_noted(teacher, tmp_path):
    other = write_parts(tmp_path / "other", parts=12, each=4, seed=5)
    run = train(other, out=tmp_path / "run", epochs=0, teacher=str(teacher.model), **QUICK)
    assert len(run.notes) == 1
    assert "other data" in run.notes[0]
    assert record(run)["notes"] == run.to_dict()["notes"] == list(run.notes)


def test_a_teacher_of_other_classes_is_refused(teacher, tmp_path):
    other = write_parts(tmp_path / "other", parts=12, each=4)
    (other / "scratch").rename(other / "dent")
    with pytest.raises(EyelineError, match=r"tells good, scratch.*labelled good, dent") as caught:
        train(other, out=tmp_path / "run", teacher=str(teacher.model), **QUICK)
    assert caught.value.code == "other_classes"


def test_distillation_without_a_teacher_is_refused(photos, tmp_path):
    recipe = Recipe(distill=0.3).to_dict()
    with pytest.raises(EyelineError, match="no teacher"):
        train(photos, out=tmp_path / "run", recipe=recipe, **QUICK)
    assert not (tmp_path / "run").exists()


def test_a_search_for_the_rate_asks_no_teacher(photos):
    with pytest.raises(EyelineError, match="no teacher"):
        suggest_learning_rate(photos, teacher="model.onnx", **QUICK)


def test_resumed_with_other_threads_is_noted(photos, tmp_path):
    def interrupt(stage, done, total, note):
        if stage == "training" and done == 1:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        train(photos, out=tmp_path / "run", steps=2, progress=interrupt, **QUICK)
    path = tmp_path / "run" / "run.json"
    began = json.loads(path.read_text())
    began["environment"] |= {"threads": 97, "torch": "1.0"}
    path.write_text(json.dumps(began))
    said = []
    run = train(resume=tmp_path / "run", progress=lambda stage, done, total, note: said.append((stage, note)))
    assert [("threads" in note and "97" in note, "PyTorch" in note) for note in run.notes] == [
        (True, False),
        (False, True),
    ]
    assert [note for stage, note in said if stage == "resuming"] == list(run.notes)
    assert record(run)["notes"] == list(run.notes)


def test_the_same_environment_is_not_worth_a_note():
    assert environment_notes(environment()) == ()


# --- soft labels ----------------------------------------------------------------------------------


def write_table(photos, path, values) -> None:
    """A CSV of the photos in which every picture has a probability."""
    files = sorted(photos.rglob("*.png"))
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "probability"])
        for number, picture in enumerate(files):
            writer.writerow([str(picture), picture.parent.name, values[number % len(values)]])


def test_a_column_gives_soft_labels_and_they_are_learned(photos, tmp_path, monkeypatch):
    write_table(photos, tmp_path / "table.csv", ["0", "0.33", "0.67", "1"])
    soft = soft_labels(read_images(tmp_path / "table.csv"))
    np.testing.assert_allclose(soft.sum(1), 1)
    np.testing.assert_allclose(np.unique(soft[:, 1]), [0, 0.33, 0.67, 1], rtol=1e-6)
    options = QUICK | {"group_by": None}
    for on in (True, False):
        recipe = Recipe(soft_labels=on).to_dict()
        examples = prepared(monkeypatch, tmp_path / "table.csv", tmp_path / f"{on}", recipe=recipe, **options)
        assert np.array_equal(examples.soft, soft) if on else examples.soft is None


@pytest.mark.parametrize("wrong", ["1.5", "nan", "likely"])
def test_a_value_that_is_no_probability_is_named(photos, tmp_path, wrong):
    write_table(photos, tmp_path / "table.csv", ["0", wrong])
    with pytest.raises(EyelineError, match=f"probability is '{wrong}'"):
        soft_labels(read_images(tmp_path / "table.csv"))


def test_a_table_without_the_column_is_told_so(photos):
    with pytest.raises(EyelineError, match="needs a column 'probability'"):
        soft_labels(read_images(photos))
    with pytest.raises(EyelineError, match="two classes"):
        soft_labels(read_images("digits"))


def test_the_solar_cells_have_their_annotators_doubts():
    pytest.importorskip("elpv_dataset")
    table = read_images("elpv")
    soft = soft_labels(table)
    assert sorted(set(soft[:, 1].round(2).tolist())) == pytest.approx([0, 0.33, 0.67, 1], abs=1e-6)
    np.testing.assert_array_equal(soft[:, 1] >= 0.5, table.is_defect)


# --- middle stages --------------------------------------------------------------------------------


def test_middle_stages_ship_with_exact_evidence_and_are_resumed(photos, tmp_path):
    recipe = Recipe(middle=True).to_dict()

    def interrupt(stage, done, total, note):
        if stage == "training" and done == 1:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        train(photos, out=tmp_path / "run", recipe=recipe, steps=3, progress=interrupt, **QUICK)
    resumed = train(resume=tmp_path / "run")
    whole = train(photos, out=tmp_path / "whole", recipe=recipe, steps=3, **QUICK)
    assert tensors(resumed) == tensors(whole)
    inspector = load(whole.model)
    assert inspector.contract.evidence.exact
    weights = load_file(sorted((whole.folder / "checkpoints").glob("step-*.safetensors"))[-1])
    heads = {value.shape for name, value in weights.items() if name.endswith("head.weight")}
    # ResNet-20 has 64 channels at the end, 32 and 16 on the two grids before; means and maxima of these.
    assert heads == {(2, 64 + 2 * (32 + 16))}


def test_middle_stages_of_a_network_without_averages_are_refused(photos, tmp_path):
    options = QUICK | {"network": "vgg11", "recipe": Recipe(middle=True).to_dict()}
    with pytest.raises(EyelineError, match="vgg11 has no middle stages"):
        train(photos, out=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()
