"""What is chosen without being asked: size, colour, shape, weights, names, folders."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from eyeline.errors import EyelineError
from eyeline.images import read_images
from eyeline.jobs import TrainOptions, train
from eyeline.jobs.inputs import choose_decoding, choose_weights, display_names, sample_rows
from eyeline.jobs.options import choose_device
from eyeline.jobs.run_folder import create_run, read_record, write_record
from eyeline.networks import network_info
from parts import write_parts


def folder_of(tmp_path, size, mode):
    rng = np.random.default_rng(0)
    for label in ("ok", "dent"):
        (tmp_path / label).mkdir(parents=True)
        for number in range(3):
            shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], 3)
            Image.fromarray(rng.integers(0, 255, shape, dtype=np.uint8)).save(
                tmp_path / label / f"{number}.png"
            )
    return read_images(tmp_path)


@pytest.mark.parametrize(
    ("size", "mode", "expected"),
    [
        ((200, 200), "L", ((200, 200), 1, "squash")),
        ((200, 190), "RGB", ((200, 200), 3, "squash")),
        ((1000, 500), "RGB", ((320, 320), 3, "letterbox")),
        ((20, 20), "L", ((64, 64), 1, "squash")),
    ],
)
def test_the_pictures_decide(tmp_path, size, mode, expected):
    options = choose_decoding(folder_of(tmp_path, size, mode), None)
    assert (options.image_size, options.channels, options.resize) == expected
    assert choose_decoding(read_images(tmp_path), 96).image_size == (96, 96)


def test_a_grey_picture_saved_in_colour_is_grey(tmp_path):
    table = folder_of(tmp_path, (40, 40), "L")
    for path in table.paths:
        Image.open(path).convert("RGB").save(path)
    assert choose_decoding(table, None).channels == 1


def test_weights():
    lite, resnet = network_info("efficientnet_lite0"), network_info("resnet18")
    assert choose_weights(lite, None) == "imagenet"
    assert choose_weights(lite, "none") is None
    assert choose_weights(resnet, None) is None
    assert choose_weights(resnet, "w.safetensors") == "w.safetensors"


def test_names_lose_only_what_all_share():
    assert display_names(("/data/a/x.png", "/data/b/x.png")) == ("a/x.png", "b/x.png")
    assert display_names(("digits/1", "digits/2")) == ("1", "2")
    assert display_names(("/data/a.png",)) == ("a.png",)
    assert display_names(("/data/a.png", "b.png")) == ("/data/a.png", "b.png")


def test_run_folders_are_new(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(create_run(None, "parts")) == "runs/parts"
    assert str(create_run(None, "parts")) == "runs/parts-2"
    assert str(create_run(None, "../x y")) == "runs/x-y"
    (tmp_path / "file").write_text("")
    with pytest.raises(EyelineError, match="exists already"):
        create_run(tmp_path / "file", "x")
    with pytest.raises(EyelineError, match="cannot make"):
        create_run(tmp_path / "file" / "below", "x")


def test_records(tmp_path):
    with pytest.raises(EyelineError, match="not a run folder"):
        read_record(tmp_path)
    write_record(tmp_path, {"path": "odd-\udcff"})
    assert read_record(tmp_path) == {"path": "odd-\udcff"}
    (tmp_path / "run.json").write_text("[1]")
    with pytest.raises(EyelineError, match="not the record"):
        read_record(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(EyelineError, match="unreadable"):
        read_record(tmp_path)


def test_devices():
    assert choose_device("cpu") == "cpu"
    with pytest.raises(EyelineError, match="auto, cpu, cuda"):
        choose_device("tpu")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"network": "resnet81"}, "did you mean resnet18"),
        ({"weights": "nothing.pth"}, "no such weights file"),
        ({"image_size": 16}, "at least"),
        ({"recipe": {"learning_rat": 1}}, "learning_rate"),
        ({"group_by": "colour"}, "colour"),
        ({"good": "fine"}, "fine"),
    ],
)
def test_a_wrong_wish_leaves_no_folder(tmp_path, options, words):
    photos = write_parts(tmp_path / "photos", parts=3, each=4)
    with pytest.raises(EyelineError, match=words):
        train(photos, out=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_sample_takes_whole_groups_and_no_more_than_asked_for():
    table = read_images("digits")
    grouped = replace(table, groups=tuple(f"part{row // 7:03d}" for row in range(len(table))))
    rows = np.arange(10, 1500)
    found = sample_rows(grouped, rows, 100)
    assert 90 < len(found) <= 100
    assert np.isin(found, rows).all()
    assert (np.diff(found) > 0).all()
    names = np.array(grouped.groups)
    inside = np.isin(names[rows], names[found])
    assert set(rows[inside]) == set(found)
    assert sample_rows(table, rows, 2000) is rows
    assert len(sample_rows(table, rows, 100)) == 100


def test_splits_of_a_large_table_are_compared_on_some_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr("eyeline.jobs.run.MOST_COMPARED", 60)
    photos = write_parts(tmp_path / "photos", parts=16, each=6)
    by = {"group_by": r"(?P<group>part\d+)_", "recipe": {"epochs": 0}}
    with_validation = train(photos, out=tmp_path / "val", folds=0, **by)
    crossed = train(photos, out=tmp_path / "crossed", folds=2, **by)
    for run in (with_validation, crossed):
        assert {protocol.images for protocol in run.protocols} == {60}
        assert run.evaluation.auroc.value is not None


def test_options_are_keyword_only():
    with pytest.raises(TypeError):
        TrainOptions("photos")
    with pytest.raises(EyelineError, match="source of images"):
        train()
