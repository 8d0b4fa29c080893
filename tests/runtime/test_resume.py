"""Ctrl-C amid many pictures: the rows so far are a whole table, and --resume ends in the very same bytes."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from eyeline.errors import EyelineError
from eyeline.images import Tiling
from eyeline.jobs import find_images, write_predictions
from eyeline.runtime import finished_rows, load, partial_path

COUNT = 240


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures under many names, some of them broken, so that judging all takes a while."""
    folder = tmp_path_factory.mktemp("many")
    rng = np.random.default_rng(0)
    for kind in range(4):
        pixels = rng.integers(0, 256, (260, 300, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{kind}.src", "JPEG", quality=95)
    (folder / "4.src").write_bytes(b"\xff\xd8\xff")
    for number in range(COUNT):
        os.link(folder / f"{4 if number % 50 == 7 else number % 4}.src", folder / f"{number:03d}.jpg")
    return folder


def rows(path: Path) -> list[dict[str, object]]:
    if path.suffix == ".csv":
        return list(csv.DictReader(path.read_text().splitlines()))
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    return pq.read_table(path).to_pylist()


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_interrupted_and_resumed_is_as_if_nothing_had_been(
    artifact_path: Path, folder: Path, tmp_path: Path, ending: str
) -> None:
    out, whole = tmp_path / f"verdicts.{ending}", tmp_path / f"whole.{ending}"
    words = [sys.executable, "-m", "eyeline", "predict", artifact_path, folder, "-o", out, "--threads", "1"]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert "judging 1/240" in process.stderr.readline()  # under way
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 75, said
    assert "--resume" in said
    assert "Traceback" not in said
    partial = tmp_path / f"verdicts.partial.{ending}"
    assert sorted(tmp_path.iterdir()) == [partial]  # nothing half-written, no finished file
    done = len(rows(partial))
    assert 0 < done < COUNT
    assert f"stopped after {done} of {COUNT} images" in said
    with partial.open("rb") as file:
        before = file.read()

    finished = subprocess.run([*words, "--resume"], capture_output=True, text=True, timeout=120)
    assert finished.returncode == 1, finished.stderr  # some pictures are broken
    assert sorted(tmp_path.iterdir()) == [out]
    inspector = load(artifact_path, threads=1)
    written = write_predictions(inspector, find_images([folder]), whole)
    assert (written.verdicts, written.failed, written.resumed) == (COUNT, 5, 0)
    assert out.read_bytes() == whole.read_bytes()
    if ending != "parquet":
        assert out.read_bytes().startswith(before)
    assert {row["model_sha256"] for row in rows(out)} == {inspector.sha256}


def test_a_partial_output_of_something_else_is_refused(
    artifact_path: Path, folder: Path, tmp_path: Path
) -> None:
    inspector, files = load(artifact_path, threads=1), find_images([folder])[:8]
    for ending in ("csv", "jsonl", "parquet"):
        partial = tmp_path / f"a.partial.{ending}"
        write_predictions(inspector, files[:4], partial)
        assert finished_rows(partial, ending, files, inspector.sha256) == (4, 0)
        assert finished_rows(partial, ending, files[:4], inspector.sha256) == (4, 0)
        for others, model in (
            (files[1:], inspector.sha256),
            (files[:3], inspector.sha256),
            (files, "0" * 64),
        ):
            with pytest.raises(EyelineError) as caught:
                finished_rows(partial, ending, others, model)
            assert caught.value.code == "other_rows"
            assert caught.value.path == str(partial)
        partial.write_bytes(b"{odd\x00\r\n1\r\n")
        with pytest.raises(EyelineError) as caught:
            finished_rows(partial, ending, files, inspector.sha256)
        assert caught.value.code in ("unreadable", "other_rows")


def test_resuming_a_finished_partial_or_none_at_all(
    artifact_path: Path, folder: Path, tmp_path: Path
) -> None:
    inspector, files = load(artifact_path, threads=1), find_images([folder])[:10]
    out = tmp_path / "v.csv"
    assert write_predictions(inspector, files, out, resume=True).resumed == 0
    expected = out.read_bytes()
    os.replace(out, partial_path(out))
    written = write_predictions(inspector, files, out, resume=True)
    assert (written.verdicts, written.failed, written.resumed) == (10, 1, 10)
    assert out.read_bytes() == expected


def test_other_columns_are_refused(artifact_path: Path, folder: Path, tmp_path: Path) -> None:
    inspector, files = load(artifact_path, threads=1), find_images([folder])[:4]
    for ending in ("csv", "parquet"):
        out = tmp_path / f"v.{ending}"
        write_predictions(inspector, files[:2], partial_path(out))
        with pytest.raises(EyelineError, match="has the columns") as caught:
            write_predictions(inspector, files, out, tiling=Tiling(500, 0.25), resume=True)
        assert caught.value.code == "other_rows"
        assert not out.exists()


def test_odd_names_are_recognised(artifact_path: Path, tmp_path: Path) -> None:
    names = ["=cmd.png", " lead.png", 'q"uote,.png', "new\nline.png", "gr\udcfcn.png", "-dash.png"]
    folder = tmp_path / "odd"
    folder.mkdir()
    for name in names:
        Image.new("RGB", (30, 30)).save(folder / name)
    inspector = load(artifact_path, threads=1)
    files = find_images([folder])
    for ending in ("csv", "jsonl", "parquet"):
        out = tmp_path / f"v.{ending}"
        write_predictions(inspector, files[:4], partial_path(out))
        assert write_predictions(inspector, files, out, resume=True).resumed == 4


def test_resume_needs_a_file(artifact_path: Path, folder: Path) -> None:
    words = [sys.executable, "-m", "eyeline", "predict", artifact_path, folder / "000.jpg", "--resume"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 2
    assert "give -o FILE" in done.stderr
