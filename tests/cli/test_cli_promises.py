"""Claims, review and costs on the command line: exit codes that a script can rely on."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout

import pytest

from eyeline.cli.app import run
from eyeline.runtime import load, verify_artifact
from parts import write_parts


def call(capsysbinary, *words) -> tuple[int, str, str]:
    code = run([str(word) for word in words])
    out, err = capsysbinary.readouterr()
    return code, out.decode(), err.decode()


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_parts(tmp_path_factory.mktemp("parts") / "photos", parts=14, seed=1)


@pytest.fixture(scope="module")
def refused(photos, tmp_path_factory):
    """What `train` says and leaves behind when the claim cannot be made."""
    out = tmp_path_factory.mktemp("cli") / "run"
    words = ["train", photos, "--epochs", "0", "--out", out, "--group-by", r"(part\d+)_", "--json"]
    text = io.StringIO()
    with redirect_stdout(text):
        code = run([str(word) for word in [*words, "--claim", "escape<=0.05@0.95"]])
    return code, json.loads(text.getvalue()), out / "model.onnx"


def test_a_refused_claim_is_exit_1_with_a_whole_model(refused):
    code, found, model = refused
    assert code == 1
    claim = found["test"]["promises"]["claim"]
    assert claim["granted"] is False
    assert claim["needed"] > 0
    assert found["test"]["claim"].startswith(claim["text"])
    assert found["test"]["promises"]["kept"] is False
    assert all(check.ok for check in verify_artifact(model))
    assert load(model).contract.threshold.guarantee["granted"] is False


def test_a_kept_claim_with_a_band_and_costs_is_exit_0_and_told(capsysbinary, photos, tmp_path):
    code, out, _ = call(
        capsysbinary, "train", photos, "--epochs", "0", "--out", tmp_path / "run", "--claim", "escape<=40%@80%",
        "--review", "overkill<=0.4@0.8", "--cost", "escape=500,overkill=4,review=1,line=1%",
    )  # fmt: skip
    assert code == 0
    for word in (
        "Claim: At most 40 % of defects escape, with 80 % confidence",
        "Review: ",
        "Line: At a line that",
    ):
        assert word in out
    assert "Overkill of the claim: " in out


def test_evaluate_answers_a_claim_with_its_exit_code(capsysbinary, refused, photos):
    _, _, model = refused
    for claim, expected in (("escape<=0.95@0.9", 0), ("escape<=0.001@0.9", 1)):
        code, out, _ = call(
            capsysbinary, "evaluate", model, photos, "--claim", claim, "--split", "all", "--json"
        )
        assert code == expected
        assert json.loads(out)["promises"]["check"]["demand"] == claim
        assert (json.loads(out)["promises"]["check"]["outcome"] == "supported") == (expected == 0)
    code, out, _ = call(
        capsysbinary, "evaluate", model, photos, "--claim", "escape<=0.001@0.9", "--split", "all"
    )
    assert code == 1
    assert "Claim: " in out
    code, out, _ = call(capsysbinary, "evaluate", model, photos, "--split", "all", "--json")
    assert code == 0
    assert "promises" not in json.loads(out)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "digits", "--claim", "overkill<=0.1"], 'write "escape<=0.05@0.95"'),
        (["train", "digits", "--claim", "escape<=2@0.9"], "needs 0 < escape < 1"),
        (["train", "digits", "--review", "10%"], 'write "overkill<=0.05@0.95"'),
        (["train", "digits", "--cost", "escape=5"], "lack overkill"),
        (["evaluate", "none.onnx", "digits", "--claim", "good"], "cannot read the claim 'good'"),
    ],
)
def test_wrong_words_are_one_line_and_exit_2(capsysbinary, words, message):
    code, out, err = call(capsysbinary, *words)
    assert (code, out) == (2, "")
    lines = [line for line in err.splitlines() if not line.startswith("[")]
    assert len(lines) == 1
    assert message in lines[0]
