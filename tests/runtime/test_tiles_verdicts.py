"""A picture in tiles: the worst tile is the verdict, and says where it is."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from eyeline.cli.app import run
from eyeline.images import tile_boxes
from eyeline.runtime import Inspector, Tiling, Verdict, load, merge_tiles, write_verdicts

TILING = Tiling(32, 0.25)


@pytest.fixture(scope="module")
def inspector(artifact_path: Path) -> Inspector:
    return load(artifact_path, threads=1)


@pytest.fixture(scope="module")
def large() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (100, 150, 3), dtype=np.uint8)


def test_the_verdict_is_that_of_the_worst_tile(inspector: Inspector, large: np.ndarray) -> None:
    boxes = tile_boxes(100, 150, 32, 0.25)
    alone = [inspector.inspect(large[top:bottom, left:right]) for left, top, right, bottom in boxes]
    scores = [verdict.score for verdict in alone]
    worst = int(np.argmax(scores))
    verdict = inspector.inspect(large, tiling=TILING)
    assert (verdict.tile, verdict.tiles) == (boxes[worst], len(boxes))
    assert verdict.score == pytest.approx(max(scores), abs=1e-6)
    assert verdict.probabilities == pytest.approx(alone[worst].probabilities, abs=1e-6)
    assert (verdict.label, verdict.decision) == (alone[worst].label, alone[worst].decision)
    assert (verdict.decision == "fail") == any(one.decision == "fail" for one in alone)
    assert verdict.logits == pytest.approx(alone[worst].logits, abs=1e-4)
    assert verdict.evidence == pytest.approx(alone[worst].evidence, abs=1e-4)


def test_a_small_picture_is_one_tile(inspector: Inspector, large: np.ndarray) -> None:
    small = large[:20, :24]
    tiled, plain = inspector.inspect(small, tiling=TILING), inspector.inspect(small)
    assert (tiled.tile, tiled.tiles) == ((0, 0, 24, 20), 1)
    assert tiled.probabilities == pytest.approx(plain.probabilities, abs=1e-6)
    assert plain.tile is None
    assert "tile" not in plain.to_dict()


def test_many_pictures_in_order_with_errors_in_their_place(inspector: Inspector, large: np.ndarray) -> None:
    sources = [large, b"odd", large[:40], large[:, :90], b""]
    found = list(inspector.predict(iter(sources), batch=3, tiling=TILING))
    for verdict, source in zip(found, sources, strict=True):
        alone = inspector.inspect(source, tiling=TILING)
        assert (verdict.tile, verdict.tiles, verdict.error) == (alone.tile, alone.tiles, alone.error)
        assert verdict.score == pytest.approx(alone.score, abs=1e-6)
    assert [verdict.error is None for verdict in found] == [True, False, True, True, False]


def test_too_many_tiles_are_an_error_of_that_picture(inspector: Inspector) -> None:
    verdict = inspector.inspect(np.zeros((1200, 1200, 3), np.uint8), tiling=Tiling(16))
    assert verdict.error is not None
    assert verdict.error.startswith("too_large: 1200 x 1200 pixels make")


BOX = st.tuples(*[st.integers(0, 99)] * 4)


@given(st.lists(st.tuples(BOX, st.floats(0, 1)), min_size=1, max_size=9))
def test_merging(tiles: list[tuple[tuple[int, int, int, int], float]]) -> None:
    merged = merge_tiles(
        [(box, Verdict(score=score, label=str(i))) for i, (box, score) in enumerate(tiles)], path="a.png"
    )
    scores = [score for _, score in tiles]
    first = scores.index(max(scores))
    assert (merged.path, merged.score, merged.tiles) == ("a.png", max(scores), len(tiles))
    assert (merged.label, merged.tile) == (str(first), tiles[first][0])


def test_a_tile_without_a_verdict_leaves_the_picture_without_one() -> None:
    box = (0, 0, 9, 9)
    merged = merge_tiles([(box, Verdict(score=0.9)), (box, Verdict(error="not_finite: x"))], path="a.png")
    assert merged.to_dict() == Verdict(path="a.png", error="not_finite: x").to_dict()
    with pytest.raises(ValueError, match="no tiles"):
        merge_tiles([])


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_tables_name_the_tile(tmp_path: Path, format: str) -> None:
    verdicts = [
        Verdict(path="a.png", label="bad", decision="fail", probabilities={"good": 0.25, "bad": 0.75},
                score=0.75, tile=(32, 0, 64, 32), tiles=6),
        Verdict(path="b.png", error="empty: the file is empty"),
    ]  # fmt: skip
    path = tmp_path / f"out.{format}"
    assert write_verdicts(verdicts, path, classes=("good", "bad"), tiled=True) == 2
    if format == "csv":
        rows = list(csv.DictReader(io.StringIO(path.read_text(), newline="")))
        assert list(rows[0]) == [
            "path",
            "label",
            "decision",
            "score",
            "p_good",
            "p_bad",
            "tile",
            "tiles",
            "error",
        ]
        assert [(row["tile"], row["tiles"]) for row in rows] == [("32 0 64 32", "6"), ("", "")]
    elif format == "jsonl":
        first, second = map(json.loads, path.read_text().splitlines())
        assert (first["tile"], first["tiles"]) == ([32, 0, 64, 32], 6)
        assert "tile" not in second
    else:
        table = pq.read_table(path)
        assert table["tile"].to_pylist() == [[32, 0, 64, 32], None]
        assert table["tiles"].to_pylist() == [6, None]


def test_on_the_command_line(
    artifact_path: Path,
    inspector: Inspector,
    large: np.ndarray,
    tmp_path: Path,
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    path = tmp_path / "large.png"
    Image.fromarray(large).save(path)
    words = ["predict", str(artifact_path), str(path), "--tile", "32", "--threads", "1"]
    assert run([*words, "--overlap", "0.25", "--json"]) == 0
    found = json.loads(capsysbinary.readouterr().out)
    assert found["tiling"]["tile"] == 32
    assert "measured on whole images" in found["tiling"]["note"]
    verdict = inspector.inspect(path, tiling=TILING)
    assert tuple(found["verdicts"][0]["tile"]) == verdict.tile
    assert run(words) == 0
    out, err = capsysbinary.readouterr()
    (row,) = csv.DictReader(io.StringIO(out.decode(), newline=""))
    assert row["tile"] == " ".join(map(str, verdict.tile or ()))
    assert b"measured on whole images" in err
    assert run(["predict", str(artifact_path), str(path), "--overlap", "0.5"]) == 2
    assert b"give --tile too" in capsysbinary.readouterr().err
