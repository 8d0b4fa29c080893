"""The table of bad inputs, row by row, through the library and through the command line: the same answer from both.

Exit codes of ``eyeline predict``: 0 when every image got a verdict, 1 when some are rows with an error, 2 when
nothing could be judged at all because a path, a table or the artifact is wrong.
"""

from __future__ import annotations

import csv
import io
import json
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest

from corpus.builders import encode, picture, valid
from corpus.make import AWKWARD_NAMES, cases, ranged_cases, special_files
from corpus.tables import write_tables
from eyeline.cli.app import run
from eyeline.errors import EyelineError
from eyeline.images import DecodeOptions, ImageTable, open_cache, read_images
from eyeline.runtime import Contract, Inspector, load, make_probe, open_artifact, seal, verify_artifact
from runtime.conftest import CHANNELS, SIZE, make_contract, make_model

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return make_model()


@pytest.fixture(scope="module")
def contract(model: onnx.ModelProto) -> Contract:
    return make_contract(model)


@pytest.fixture(scope="module")
def artifact(model: onnx.ModelProto, contract: Contract, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("walk") / "model.onnx"
    path.write_bytes(seal(model.SerializeToString(), contract))
    return path


@pytest.fixture(scope="module")
def inspector(artifact: Path) -> Inspector:
    return load(artifact, threads=1)


@pytest.fixture
def call(capsysbinary: pytest.CaptureFixture[bytes]):
    def call(*words: object) -> tuple[int, str, str]:
        code = run([str(word) for word in words])
        out, err = capsysbinary.readouterr()
        return code, out.decode(), err.decode()

    return call


def code_of(error: str | None) -> str:
    return "ok" if error is None else error.partition(":")[0]


def test_rows_1_to_14(artifact: Path, inspector: Inspector, tmp_path: Path, call) -> None:
    """One call for all files: every file is a row, in order, and the line does not stop."""
    written = {}
    for number, case in enumerate(cases()):
        path = tmp_path / f"{number:03d}-{case.name}"
        path.write_bytes(case.data)
        written[path] = case
    exit_code, out, err = call("predict", artifact, *written, "--threads", 1, "--json")
    rows = json.loads(out)["verdicts"]
    assert exit_code == 1
    assert "Traceback" not in err
    assert [row["path"] for row in rows] == [str(path) for path in written]
    for (path, case), row in zip(written.items(), rows, strict=True):
        assert code_of(row["error"]) in case.codes, (case.name, row["error"])
        from_bytes, from_path = inspector.inspect(case.data), inspector.inspect(path)
        assert from_path.error == row["error"]
        assert code_of(from_bytes.error) == code_of(row["error"])
        if row["error"] is None:
            values = list(row["probabilities"].values())
            assert np.isfinite(values).all()
            assert sum(values) == pytest.approx(1, abs=1e-5)
            assert np.isfinite(from_bytes.logits).all()
            assert values == pytest.approx(list(from_bytes.probabilities.values()), abs=1e-6)
            if case.pixels is not None and case.tolerance == 0:  # the pixels are those that they should be
                assert values == pytest.approx(
                    list(inspector.inspect(case.pixels).probabilities.values()), abs=1e-6
                ), case.name
        else:
            assert row["decision"] is None
            assert row["probabilities"] == {}


@pytest.mark.parametrize("data", [b"", valid("JPEG")[:200], b"%PDF-1.7\n"])
def test_a_single_bad_file_is_exit_1(artifact: Path, tmp_path: Path, call, data: bytes) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    code, out, _ = call("predict", artifact, path)
    assert code == 1
    (row,) = csv.DictReader(io.StringIO(out, newline=""))
    assert row["path"] == str(path)
    assert row["error"]
    assert row["decision"] == ""


def test_row_8_under_the_range_of_the_artifact(model: onnx.ModelProto, tmp_path: Path, call) -> None:
    """The range travels in the artifact: files of floats become verdicts, NaN stays an error."""
    by_range: dict[object, list] = {}
    for number, case in enumerate(ranged_cases()):
        path = tmp_path / f"{number:03d}-{case.name}"
        path.write_bytes(case.data)
        by_range.setdefault(case.range, []).append((path, case))
    for value_range, files in by_range.items():
        decode = DecodeOptions(image_size=SIZE, channels=CHANNELS, range=value_range)  # type: ignore[arg-type]
        contract = make_contract(model, decode=decode, decode_probe=make_probe(decode))
        artifact = tmp_path / "ranged.onnx"
        artifact.write_bytes(seal(model.SerializeToString(), contract))
        inspector = load(artifact, threads=1)
        assert inspector.contract.decode.range == value_range
        _, out, _ = call("predict", artifact, *(path for path, _ in files), "--json")
        for (_, case), row in zip(files, json.loads(out)["verdicts"], strict=True):
            assert code_of(row["error"]) in case.codes, (case.name, row["error"])
            if case.pixels is not None and case.tolerance == 0:
                expected = inspector.inspect(case.pixels).probabilities
                assert row["probabilities"] == pytest.approx(expected, abs=1e-6), case.name


def plain(cell: str) -> str:
    return cell[1:] if cell[:1] == "'" and cell[1:2] in ("=", "+", "-", "@", "\t", "\r") else cell


def test_row_15_names_come_through(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call
) -> None:
    folder = tmp_path / "names"
    folder.mkdir()
    for name in AWKWARD_NAMES:
        (folder / name).write_bytes(valid("PNG"))
    monkeypatch.chdir(folder)
    names = sorted(AWKWARD_NAMES)
    escaped = [name.encode("utf-8", "backslashreplace").decode() for name in names]
    for format in ("csv", "jsonl", "parquet"):
        code, _, err = call("predict", artifact, ".", "-o", tmp_path / f"out.{format}")
        assert code == 0, err
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text("utf-8"), newline="")))
    assert [plain(row["path"]) for row in rows] == escaped
    assert not any(row["path"].startswith(("=", "+", "-", "@")) for row in rows)
    lines = (tmp_path / "out.jsonl").read_text("ascii").splitlines()
    assert [json.loads(line)["path"] for line in lines] == names
    assert pq.read_table(tmp_path / "out.parquet")["path"].to_pylist() == escaped
    # In a message a name can neither break the line nor the terminal.
    for name in names:
        Path(name).write_bytes(b"")
    code, out, err = call("predict", artifact, ".", "--format", "jsonl")
    assert (code, out.count("\n")) == (1, len(names))
    assert "\n" not in err.rstrip("\n")


def test_row_16_special_files(artifact: Path, inspector: Inspector, tmp_path: Path, call) -> None:
    made = special_files(tmp_path / "in", tmp_path / "out")
    expected = {
        "fifo": "unreadable",
        "socket": "unreadable",
        "device": "unreadable",
        "dangling": "missing",
        "loop": "unreadable",
        "outward": "ok",
        "inward": "ok",
        "hardlink": "ok",
    }
    code, out, _ = call("predict", artifact, *(made[name] for name in expected), "--json")
    found = {Path(row["path"]).stem: code_of(row["error"]) for row in json.loads(out)["verdicts"]}
    assert (code, found) == (1, expected)
    assert {name: code_of(inspector.inspect(made[name]).error) for name in expected} == expected
    for name in ("folder", "round"):  # a folder is searched, whatever it is called
        assert code_of(inspector.inspect(made[name]).error) == "unreadable"
    assert call("predict", artifact, made["folder"])[0] == 2
    # Searched for pictures, the folder gives what lies in it, and nothing that lies outside.
    code, out, _ = call("predict", artifact, tmp_path / "in", "--json")
    names = {Path(row["path"]).stem for row in json.loads(out)["verdicts"]}
    assert names == {*expected, "real"} - {"outward", "dangling", "loop", "device"} | (
        names & {"dangling", "loop"}
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unreadable to root")
def test_row_16_a_file_without_permission(artifact: Path, tmp_path: Path, call) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(valid("PNG"))
    path.chmod(0)
    code, out, _ = call("predict", artifact, path, "--json")
    assert (code, code_of(json.loads(out)["verdicts"][0]["error"])) == (1, "unreadable")


def test_row_17_the_same_content_is_known_by_its_digest(tmp_path: Path) -> None:
    """Twice in a source, under two labels: the digests that leaks are found by are equal exactly then."""
    for name, shift in (("good/a", 0), ("bad/b", 0), ("good/c", 3), ("bad/d", 5)):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encode(np.roll(picture(), shift, axis=1), "PNG"))
    table = read_images(tmp_path)
    assert isinstance(table, ImageTable)
    cache = open_cache(table, DecodeOptions(image_size=(8, 8)), folder=tmp_path / "cache")
    digests = dict(zip((Path(path).stem for path in table.paths), cache.digests, strict=True))
    assert digests["a"] == digests["b"]
    assert len(set(digests.values())) == 3


def test_row_18_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call) -> None:
    monkeypatch.chdir(tmp_path)
    for path, case in write_tables(tmp_path / "tables").items():
        if case.code is None:
            assert len(read_images(path)) == 4
            continue
        with pytest.raises(EyelineError) as caught:
            read_images(path)
        assert caught.value.code == case.code, (case.name, caught.value)
        assert case.says in caught.value.message, (case.name, caught.value)
        code, out, err = call("train", path)
        assert (code, out) == (2, ""), case.name
        last = err.splitlines()[-1]
        assert last.startswith("eyeline: ")
        assert case.says in last
        assert "Traceback" not in err
    assert not (tmp_path / "runs").exists()


def test_row_20_a_disk_that_fills_up_keeps_the_old_file(artifact: Path, tmp_path: Path, call) -> None:
    (tmp_path / "a.png").write_bytes(valid("PNG"))
    target = tmp_path / "verdicts.csv"
    target.write_text("old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, limits[1]))  # as a full disk: the write itself fails
    try:
        code, _, err = call("predict", artifact, tmp_path / "a.png", "-o", target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert code == 2
    assert str(tmp_path / "verdicts.partial.csv") in err  # what --resume would go on with
    assert "cannot write" in err
    assert target.read_text() == "old"
    left = {path.name for path in tmp_path.iterdir()}
    assert left <= {"a.png", "verdicts.csv", "verdicts.partial.csv"}


def damaged_artifacts(model: onnx.ModelProto, contract: Contract) -> Iterator[tuple[str, bytes, str]]:
    """Row 22 by the byte; what can be wrong inside a graph is in tests/runtime/test_artifact_refusals.py."""
    graph = model.SerializeToString()
    whole = seal(graph, contract)
    yield "zero", b"", "corrupt"
    for share in (10, 50, 99):
        yield f"cut-at-{share}", whole[: len(whole) * share // 100], "corrupt|checksum|truncated"
    for at in (10, len(graph) // 2, len(graph) + 100, len(whole) - 5):
        yield f"flipped-{at}", whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :], "checksum|corrupt"
    yield "longer", whole + b"\x28\x01", "checksum"
    yield "appended", whole + bytes(64), "checksum|corrupt"
    yield "no-contract", graph, "no_contract"
    yield "newer", seal(graph, contract.model_copy(update={"schema_version": 2})), "schema_version"
    labels = contract.model_copy(update={"classes": ("good",)})
    yield "labels", seal(graph, labels), "bad_contract|label_count"
    yield "picture", valid("PNG"), "corrupt|no_contract"
    strange = contract.to_json().replace('"resize":"squash"', '"resize":"stretch"')
    assert strange != contract.to_json()
    yield "strange-option", seal(graph, _Text(strange)), "bad_contract"  # type: ignore[arg-type]
    unknown = contract.to_json().replace('"resize":', '"crop":1,"resize":')
    yield "unknown-option", seal(graph, _Text(unknown)), "bad_contract"  # type: ignore[arg-type]


class _Text:
    """A contract of which nothing is checked."""

    def __init__(self, text: str) -> None:
        self.text = text

    def to_json(self) -> str:
        return self.text


def test_row_22_artifacts(model: onnx.ModelProto, contract: Contract, tmp_path: Path, call) -> None:
    image = tmp_path / "a.png"
    image.write_bytes(valid("PNG"))
    for name, data, codes in damaged_artifacts(model, contract):
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(data)
        with pytest.raises(EyelineError) as caught:
            open_artifact(path)
        assert caught.value.code in codes.split("|"), (name, caught.value)
        code, out, err = call("predict", path, image)
        assert (code, out) == (2, ""), name
        assert err.startswith(f"eyeline: {path}: ")
        assert err.count("\n") == 1
        assert not all(check.ok for check in verify_artifact(path))
        assert call("verify", path)[0] == 1, name


def test_an_artifact_of_an_older_version_decodes_as_it_did(
    model: onnx.ModelProto, contract: Contract
) -> None:
    """Its contract knows neither region nor range."""
    old = json.loads(contract.to_json())
    for option in ("region", "range"):
        del old["decode"][option]
    inspector = load(seal(model.SerializeToString(), _Text(json.dumps(old))), threads=1)  # type: ignore[arg-type]
    assert inspector.contract.decode == contract.decode
