"""Options of training as a user types them."""

from __future__ import annotations

import json

import pytest

from eyeline.cli.app import run
from parts import write_parts


def call(capsysbinary, *words) -> tuple[int, str, str]:
    code = run([str(word) for word in words])
    out, err = capsysbinary.readouterr()
    return code, out.decode(), err.decode()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--steps", "3", "--budget", "5m"], "only one of them"),
        (["--steps", "3", "--epochs", "2"], "only one of them"),
        (["--recipe", "gentel"], "did you mean gentle"),
        (["--recipe", "nothing.toml"], "neither a recipe's name nor a file"),
        (["--teacher", "nothing.onnx", "--find-lr"], "asks no teacher"),
    ],
)
def test_wrong_use_is_one_line(capsysbinary, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(capsysbinary, "train", "photos", *words)
    assert code == 2
    assert out == ""
    assert said in err.splitlines()[-1]


def test_the_rate_is_suggested_and_a_named_recipe_runs(capsysbinary, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_parts(tmp_path / "photos", parts=10, each=4)
    small = ["photos", "--network", "resnet20", "--weights", "none", "--image-size", "32"]
    code, out, _ = call(capsysbinary, "train", *small, "--find-lr")
    assert code == 0
    assert out.startswith("Suggested: learning_rate = ")
    assert not (tmp_path / "runs").exists()
    code, out, err = call(
        capsysbinary, "train", *small, "--recipe", "fast", "--steps", "1", "--json", "--out", "run"
    )
    assert code == 0, err
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["steps"] == 1
    assert record["recipe"]["progressive"] == 0.5
    assert json.loads(out)["notes"] == []
