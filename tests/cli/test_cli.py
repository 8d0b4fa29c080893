"""The command line as a user meets it: exit codes, one-line errors, JSON, and nothing heavy at start."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys

import pytest

from eyeline.cli.app import VERBS, run
from eyeline.cli.screen import progress_bars
from eyeline.cli.train import seconds
from eyeline.errors import EyelineError
from parts import write_parts


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_parts(tmp_path_factory.mktemp("parts") / "photos", parts=12, each=6, seed=1)


@pytest.fixture(scope="module")
def model(photos, tmp_path_factory):
    """Trained through the command line, as a user would."""
    out = tmp_path_factory.mktemp("cli") / "run"
    words = ["train", str(photos), "--epochs", "0", "--out", str(out), "--group-by", r"(part\d+)_", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "eyeline", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert {"run", "model", "report", "seconds", "test"} <= set(result)
    assert {"auroc", "escape_rate", "overkill_rate", "threshold", "groups", "claim"} <= set(result["test"])
    assert {"value", "low", "high"} <= set(result["test"]["auroc"])
    assert "exporting" in done.stderr
    return out / "model.onnx"


def call(capsysbinary, *words) -> tuple[int, str, str]:
    code = run([str(word) for word in words])
    out, err = capsysbinary.readouterr()
    return code, out.decode(), err.decode()


def test_importing_eyeline_and_help_import_nothing_heavy():
    script = (
        "import sys, eyeline; from eyeline.cli.app import run; run(['--help']);"
        "heavy = {'torch', 'onnxruntime', 'numpy', 'scipy', 'pyarrow', 'PIL', 'sklearn'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


def test_predict_verify_and_explain_never_import_torch(model, photos, tmp_path):
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "from eyeline.cli.app import run\n"
        f"m = {str(model)!r}; p = {str(photos / 'good')!r}\n"
        f"x = {str(tmp_path / 'x')!r}\n"
        "codes = [run(['predict', m, p]), run(['verify', m]), run(['explain', m, p, '--out', x])]\n"
        "assert codes == [0, 0, 0], codes"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_help_names_every_verb_and_every_verb_has_an_example(capsysbinary):
    code, out, _ = call(capsysbinary, "--help")
    assert code == 0
    assert all(verb in out for verb in VERBS)
    for verb in VERBS:
        code, out, _ = call(capsysbinary, verb, "--help")
        assert code == 0
        assert f"Example: eyeline {verb}" in " ".join(out.split())
    assert call(capsysbinary)[1].startswith("Usage: eyeline")
    assert call(capsysbinary, "--version")[1].startswith("eyeline ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "did you mean train"),
        (["train"], "a SOURCE is needed"),
        (["train", "nowhere"], "nowhere"),
        (["train", "nowhere/at/all"], "nowhere/at/all"),
        (["train", "digits", "--network", "resnett18"], "resnet18"),
        (["train", "digits", "--budget", "fast"], "90s, 5m or 1h"),
        (["train", "digits", "--budget", "5m", "--epochs", "2"], "only one of them"),
        (["train", "digits", "--resume", "x"], "give no SOURCE"),
        (["train", "--resume", "nothing-here"], "not a run folder"),
        (["train", "digits", "--epochs", "many"], "--epochs"),
        (["train", "digits", "--recipe", "none.toml"], "none.toml"),
        (["predict", "none.onnx", "none.png"], "none.png"),
        (["verify", "none.onnx"], "none.onnx"),
        (["networks", "--family", "resnets"], "resnet"),
        (["evaluate", "none.onnx", "digits"], "none.onnx"),
    ],
)
def test_wrong_use_is_one_line_and_exit_2(capsysbinary, words, message):
    code, out, err = call(capsysbinary, *words)
    assert code == 2
    assert out == ""
    lines = [line for line in err.splitlines() if not line.startswith("[")]
    assert len(lines) == 1
    assert lines[0].startswith("eyeline: ")
    assert message in lines[0]


def test_debug_shows_the_traceback():
    with pytest.raises(EyelineError):
        run(["train", "--debug"])


@pytest.mark.parametrize("words", [[], ["--debug"]])
def test_ctrl_c_between_steps_says_so_and_exits_with_75(capsysbinary, monkeypatch, words):
    def ctrl_c():
        raise KeyboardInterrupt

    monkeypatch.setattr("eyeline.cli.networks.network_names", ctrl_c)
    code, out, err = call(capsysbinary, "networks", *words)
    assert (code, out) == (75, "")
    assert err.startswith("eyeline: interrupted; ")


def test_predict_formats_agree(capsysbinary, model, photos):
    code, out, _ = call(capsysbinary, "predict", model, photos / "good")
    table = list(csv.DictReader(io.StringIO(out)))
    assert code == 0
    assert len(table) == 36
    _, lines, _ = call(capsysbinary, "predict", model, photos / "good", "--format", "jsonl")
    rows = [json.loads(line) for line in lines.splitlines()]
    _, whole, _ = call(capsysbinary, "predict", model, photos / "good", "--json")
    assert [row["decision"] for row in rows] == [row["decision"] for row in table]
    assert json.loads(whole)["verdicts"] == rows
    assert {"path", "label", "decision", "probabilities", "error"} <= set(rows[0])


def test_predict_writes_files_whole(capsysbinary, model, photos, tmp_path):
    import pyarrow.parquet as pq

    code, out, _ = call(capsysbinary, "predict", model, photos, "-o", tmp_path / "v.parquet")
    assert code == 0
    assert "72 verdicts" in out
    assert pq.read_table(tmp_path / "v.parquet").num_rows == 72
    code, _, err = call(capsysbinary, "predict", model, photos, "-o", tmp_path / "no" / "v.csv")
    assert code == 2
    assert "cannot write" in err


def test_a_bad_image_is_a_row_and_exit_1(capsysbinary, model, photos, tmp_path):
    (tmp_path / "zero.png").write_bytes(b"")
    code, out, _ = call(
        capsysbinary, "predict", model, tmp_path / "zero.png", photos / "good" / "part00_0.png"
    )
    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 1
    assert rows[0]["error"].startswith("empty")
    assert rows[0]["decision"] == ""
    assert rows[1]["decision"] in ("pass", "fail")


def test_verify_finds_one_flipped_bit(capsysbinary, model, tmp_path):
    code, out, _ = call(capsysbinary, "verify", model)
    assert code == 0
    assert "everything holds" in out
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "flipped.onnx").write_bytes(data)
    code, out, _ = call(capsysbinary, "verify", tmp_path / "flipped.onnx", "--json")
    assert code == 1
    assert json.loads(out)["ok"] is False
    assert call(capsysbinary, "predict", tmp_path / "flipped.onnx", model)[0] == 2


def test_evaluate_and_explain(capsysbinary, model, photos, tmp_path):
    code, out, _ = call(capsysbinary, "evaluate", model, photos, "--group-by", r"(part\d+)_", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["part"] == "test"
    assert call(capsysbinary, "evaluate", model, photos)[1].count("\n") >= 10
    code, out, _ = call(capsysbinary, "explain", model, photos / "good", "--out", tmp_path / "e", "--json")
    image = json.loads(out)["images"][0]
    assert code == 0
    assert {"path", "label", "overlay", "evidence_sum", "logit"} <= set(image)
    assert os.path.exists(image["overlay"])
    assert image["evidence_sum"] == pytest.approx(image["logit"], abs=1e-3)


def test_networks_are_listed_with_their_cost(capsysbinary):
    code, out, _ = call(capsysbinary, "networks", "--json")
    rows = {row["name"]: row for row in json.loads(out)["networks"]}
    assert code == 0
    assert rows["resnet18"]["parameters"] == 11_689_512
    assert rows["efficientnet_lite0"]["macs"] == 385_187_552
    assert rows["efficientnet_lite0"]["weights"] == ["imagenet"]
    assert "25,557,032" in call(capsysbinary, "networks", "--family", "resnet")[1]


@pytest.mark.parametrize(("text", "value"), [("90s", 90), ("5m", 300), ("1.5h", 5400), ("45", 45)])
def test_durations(text, value):
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "-5m", "0", "nan", "5d", "inf"])
def test_bad_durations(text):
    with pytest.raises(EyelineError, match="allowed"):
        seconds(text)


def test_progress_without_a_terminal_is_lines(capsys):
    with progress_bars() as progress:
        progress("decoding", 1, 3, "a.png")
        progress("decoding", 2, 3, "")  # too soon for another line
        progress("decoding", 3, 3, "")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("] ")[1] for line in lines] == ["decoding 1/3 a.png", "decoding 3/3"]


def test_progress_on_a_terminal_is_bars(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress_bars() as progress:
        progress("decoding", 1, 3, "")
        progress("training", 1, 2, "loss 0.5")
    text = capsys.readouterr().err
    assert "decoding" in text
    assert "training" in text
    with progress_bars(quiet=True) as progress:
        progress("decoding", 1, 3, "")
    assert capsys.readouterr().err == ""


def test_a_network_is_described(capsysbinary, model, tmp_path):
    code, out, _ = call(capsysbinary, "describe", "resnet18", "--json", "--defects", "5,7,12")
    found = json.loads(out)
    assert code == 0
    assert found["parameters"] == 11_689_512
    assert found["macs"] == 1_814_073_344
    assert {"network", "input", "peak_activation_bytes", "layers", "defects"} <= set(found)
    assert {"name", "kind", "output", "parameters", "macs", "activation_bytes", "receptive_field"} <= set(
        found["layers"][0]
    )
    page, attachment = tmp_path / "net.html", tmp_path / "net.json"
    code, out, _ = call(capsysbinary, "describe", model, "--html", page, "--every", "--defects", "7")
    assert code == 0
    assert call(capsysbinary, "describe", "resnet20", "--netron", attachment)[0] == 0
    assert "one cell covers" in out or "px" in out
    assert page.read_text().startswith("<!doctype html>")
    assert json.loads(attachment.read_text())["signature"] == "netron:attachment"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["resnet18", "--input", "3x224"], "CxHxW"),
        (["resnet18", "--input", "3x8x8"], "at least"),
        (["resnet18", "--defects", "big"], "such as 5,7,12"),
        (["resnet1"], "did you mean"),
        (["none.onnx"], "none.onnx"),
    ],
)
def test_what_cannot_be_described_is_said_in_one_line(capsysbinary, words, message):
    code, _, err = call(capsysbinary, "describe", *words)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
