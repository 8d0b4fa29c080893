"""Many pictures: in order, with errors in their place, holding only a few at a time."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eyeline.errors import EyelineError, GateError
from eyeline.runtime import Engine, Inspector, Outputs, load


@pytest.fixture(scope="module")
def inspector(artifact_path: Path) -> Inspector:
    return load(artifact_path, threads=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for i in range(21):
        size = (int(rng.integers(5, 60)), int(rng.integers(5, 60)), 3)
        Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(folder / f"{i:02}.png")
    (folder / "05.png").write_bytes(b"")
    (folder / "13.png").write_bytes((folder / "12.png").read_bytes()[:60])
    return folder


@pytest.mark.parametrize("batch", [1, 3, 4, 64])
@pytest.mark.parametrize("workers", [None, 1, 5])
def test_the_same_as_one_by_one_and_in_order(
    inspector: Inspector, folder: Path, batch: int, workers: int | None
) -> None:
    paths = sorted(folder.iterdir())
    found = list(inspector.predict(paths, batch=batch, workers=workers))
    assert [verdict.path for verdict in found] == [str(path) for path in paths]
    for verdict, path in zip(found, paths, strict=True):
        alone = inspector.inspect(path)
        assert (verdict.error is None) == (path.stem not in ("05", "13"))
        assert (verdict.error, verdict.label, verdict.decision) == (alone.error, alone.label, alone.decision)
        assert verdict.probabilities == pytest.approx(alone.probabilities, abs=1e-6)


def test_sources_of_every_kind_mix(inspector: Inspector, folder: Path) -> None:
    array = np.full((30, 30), 99, np.uint8)
    sources = [folder / "00.png", str(folder / "00.png"), (folder / "00.png").read_bytes(), array, b"odd"]
    found = list(inspector.predict(sources, batch=2))
    assert [verdict.path for verdict in found] == [str(folder / "00.png")] * 2 + [None] * 3
    assert found[0].probabilities == pytest.approx(found[2].probabilities, abs=1e-6)
    assert found[3].probabilities == pytest.approx(inspector.inspect(array).probabilities, abs=1e-6)
    assert found[4].error


def test_nothing_in_nothing_out(inspector: Inspector) -> None:
    assert list(inspector.predict([])) == []


def test_an_endless_source_is_read_only_as_far_as_needed(inspector: Inspector) -> None:
    taken = 0

    def endless() -> Iterator[np.ndarray]:
        nonlocal taken
        for i in itertools.count():
            taken += 1
            yield np.full((20, 24, 3), i % 256, np.uint8)

    before = threading.active_count()
    verdicts = inspector.predict(endless(), batch=4, workers=2)
    assert taken == 0
    first = [next(verdicts) for _ in range(9)]
    assert taken <= 9 + 3 + 2 * 4 + 2
    assert all(verdict.error is None for verdict in first)
    verdicts.close()  # type: ignore[attr-defined]
    for thread in threading.enumerate():
        if thread.name.startswith("eyeline-judge"):
            thread.join(5)
    assert threading.active_count() <= before


def test_a_source_that_fails_stops_the_run(inspector: Inspector) -> None:
    def broken() -> Iterator[bytes]:
        yield b"odd"
        raise RuntimeError("the list of images broke")

    with pytest.raises(RuntimeError, match="list of images broke"):
        list(inspector.predict(broken(), batch=1))


def test_wrong_use(inspector: Inspector) -> None:
    for batch in (0, 65, True, 2.0):
        with pytest.raises(EyelineError, match="batch is"):
            inspector.predict([], batch=batch)  # type: ignore[arg-type]
    for one in ("a.png", Path("a.png"), b"", np.zeros((2, 2), np.uint8)):
        with pytest.raises(EyelineError, match="inspect takes one"):
            inspector.predict(one)  # type: ignore[arg-type]


def test_many_are_judged_side_by_side_one_thread_a_run(
    artifact_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int, str]] = []
    run = Engine.run

    def watched(self: Engine, pixels: np.ndarray) -> Outputs:
        seen.append((len(pixels), self.threads, threading.current_thread().name.rpartition("_")[0]))
        return run(self, pixels)

    inspector = load(artifact_path, threads=2)
    monkeypatch.setattr(Engine, "run", watched)
    readable = [path for path in sorted(folder.iterdir()) if path.stem not in ("05", "13")]
    list(inspector.predict(readable))
    golden, judged = seen[0], seen[1:]
    assert golden[:2] == (1, 1)  # the second engine shows a golden image as well before it judges
    assert sorted(size for size, _, _ in judged) == [3, 4, 4, 4, 4]
    assert {threads for _, threads, _ in judged} == {1}
    assert {name for _, _, name in judged} == {"eyeline-judge"}
    seen.clear()
    list(inspector.predict(readable[:4]))  # one batch: all threads together
    assert [found[:2] for found in seen] == [(4, 2)]


def test_a_second_engine_that_answers_otherwise_is_refused(
    artifact_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inspector = load(artifact_path, threads=2)
    run = Engine.run

    def off(self: Engine, pixels: np.ndarray) -> Outputs:
        found = run(self, pixels)
        return replace(found, probabilities=found.probabilities[:, ::-1]) if self.threads == 1 else found

    monkeypatch.setattr(Engine, "run", off)
    with pytest.raises(GateError, match="a golden image gives other probabilities here"):
        list(inspector.predict(sorted(folder.iterdir())))
