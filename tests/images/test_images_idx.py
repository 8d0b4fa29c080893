"""IDX files: what is written with struct is read, and nothing else is."""

from __future__ import annotations

import gzip
import os
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from eyeline.errors import EyelineError
from eyeline.images import read_images
from eyeline.images.idx import FASHION_CLASSES, FASHION_FOLDER, read_idx_array


def idx(array: np.ndarray, kind: int = 8) -> bytes:
    head = struct.pack(">HBB", 0, kind, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(np.uint8).tobytes()


def family(folder: Path, train: int = 40, test: int = 20, *, packed: bool = True, classes: int = 10) -> Path:
    """Four files as MNIST has them."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for part, count in (("train", train), ("t10k", test)):
        pictures = rng.integers(0, 256, (count, 28, 28))
        labels = np.arange(count) % classes
        for name, array in ((f"{part}-images-idx3-ubyte", pictures), (f"{part}-labels-idx1-ubyte", labels)):
            data = idx(array)
            if packed:
                (folder / f"{name}.gz").write_bytes(gzip.compress(data))
            else:
                (folder / name).write_bytes(data)
    return folder


@settings(max_examples=60, deadline=None)
@given(
    array=arrays(np.uint8, array_shapes(min_dims=1, max_dims=3, max_side=9)),
    packed=st.booleans(),
)
def test_what_struct_writes_is_read(
    tmp_path_factory: pytest.TempPathFactory, array: np.ndarray, packed: bool
) -> None:
    path = tmp_path_factory.mktemp("idx") / "file"
    path.write_bytes(gzip.compress(idx(array)) if packed else idx(array))
    read = read_idx_array(path, array.ndim)
    assert read.dtype == np.uint8
    assert np.array_equal(read, array)
    assert not read.flags.writeable


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_cut_or_changed_file_never_passes_unnoticed(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Cut anywhere, or with a changed header: an EyelineError, or (a swap of sides) as many values as before."""
    whole = idx(np.arange(3 * 4 * 5).reshape(3, 4, 5))
    path = tmp_path_factory.mktemp("idx") / "file"
    if data.draw(st.booleans()):
        damaged = whole[: data.draw(st.integers(0, len(whole) - 1))]
        packed = gzip.compress(whole)
        if data.draw(st.booleans()):
            damaged = packed[: data.draw(st.integers(0, len(packed) - 1))]
        path.write_bytes(damaged)
        with pytest.raises(EyelineError) as caught:
            read_idx_array(path, 3)
        assert caught.value.code in ("truncated", "unreadable")
        return
    at, value = data.draw(st.integers(0, 15)), data.draw(st.integers(0, 255))
    path.write_bytes(whole[:at] + bytes([value]) + whole[at + 1 :])
    if whole[at] == value:
        assert read_idx_array(path, 3).shape == (3, 4, 5)
    else:
        with pytest.raises(EyelineError):
            read_idx_array(path, 3)


def header(*sizes: int, kind: int = 8) -> bytes:
    return struct.pack(">HBB", 0, kind, len(sizes)) + struct.pack(f">{len(sizes)}I", *sizes)


FULL = idx(np.zeros((2, 3, 4)))
BAD = {
    "empty": (b"", "truncated"),
    "half a magic": (b"\0\0", "truncated"),
    "half a header": (FULL[:9], "truncated"),
    "labels for images": (idx(np.zeros(5)), "unreadable"),
    "signed": (idx(np.zeros((2, 3, 4)), kind=9), "unreadable"),
    "floats": (idx(np.zeros((2, 3, 4)), kind=13), "unreadable"),
    "little-endian": (b"\3\x08\0\0" + FULL[4:], "unreadable"),
    "a PNG": (b"\x89PNG\r\n\x1a\n" + bytes(100), "unreadable"),
    "one byte short": (FULL[:-1], "truncated"),
    "one byte more": (FULL + b"\0", "unreadable"),
    "no height": (header(5, 0, 4), "too_large"),
    "four thousand million pictures": (header(2**32 - 1, 28, 28), "too_large"),
    "a side of millions": (header(1, 5_000_000, 1), "too_large"),
    "two GiB promised": (header(2_700_000, 28, 28), "truncated"),
    "packed promise": (gzip.compress(header(2_700_000, 28, 28)), "truncated"),
    "packed and short": (gzip.compress(FULL)[:-9], "truncated"),
    "packed and more": (gzip.compress(FULL + bytes(1000)), "unreadable"),
    "packed, wrong sum": (gzip.compress(FULL)[:-8] + bytes(8), "unreadable"),
    "packed, flipped": (gzip.compress(FULL, mtime=0)[:10] + b"\xff" * 20, "unreadable"),
    "only gzip's magic": (b"\x1f\x8b", "truncated"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files(tmp_path: Path, name: str) -> None:
    data, code = BAD[name]
    path = tmp_path / "file"
    path.write_bytes(data)
    tracemalloc.start()
    with pytest.raises(EyelineError) as caught:
        read_idx_array(path, 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.code == code
    assert str(caught.value).startswith(str(path))
    assert peak < 2_000_000  # nothing is allocated on the word of a header


def test_a_gzip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    """200 MB of zeros behind a header that promises 24: the surplus is noticed, not read."""
    path = tmp_path / "file.gz"
    path.write_bytes(gzip.compress(FULL + bytes(200_000_000), compresslevel=1))
    tracemalloc.start()
    with pytest.raises(EyelineError, match="bytes behind"):
        read_idx_array(path, 3)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_a_pipe_is_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(EyelineError, match="not a regular file"):
        read_idx_array(tmp_path / "pipe", 3)
    with pytest.raises(EyelineError) as caught:
        read_idx_array(tmp_path / "nothing", 3)
    assert caught.value.code == "missing"


@pytest.mark.parametrize("packed", [True, False])
def test_a_folder_of_four_files(tmp_path: Path, packed: bool) -> None:
    table = read_images(family(tmp_path / "mine", packed=packed))
    assert table.name == "mine"
    assert len(table) == 60
    assert table.splits == ("train",) * 40 + ("test",) * 20
    assert table.classes == tuple("0123456789")
    assert table.labels[41] == "1"
    assert table.paths[0] == "mine/train/00000"
    assert table.paths[40] == "mine/t10k/00000"
    assert table.pixels is not None
    assert table.pixels.shape == (60, 28, 28, 1)
    assert np.array_equal(table.pixels[:40, :, :, 0], np.random.default_rng(0).integers(0, 256, (40, 28, 28)))
    assert read_images(tmp_path / "mine", good="7").good == "7"


def test_one_pair_and_dotted_names(tmp_path: Path) -> None:
    family(tmp_path, packed=False)
    for what, number in (("images", 3), ("labels", 1)):
        (tmp_path / f"t10k-{what}-idx{number}-ubyte").unlink()
        (tmp_path / f"train-{what}-idx{number}-ubyte").rename(tmp_path / f"train-{what}.idx{number}-ubyte")
    table = read_images(tmp_path)
    assert len(table) == 40
    assert table.splits is None


def test_pairs_that_do_not_fit(tmp_path: Path) -> None:
    lonely = family(tmp_path / "lonely")
    (lonely / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(EyelineError, match="t10k-images without t10k-labels") as caught:
        read_images(lonely)
    assert caught.value.code == "missing"

    short = family(tmp_path / "short")
    (short / "train-labels-idx1-ubyte.gz").write_bytes(idx(np.zeros(39)))
    with pytest.raises(EyelineError, match="39 labels for 40 images"):
        read_images(short)

    other = family(tmp_path / "other")
    (other / "t10k-images-idx3-ubyte.gz").write_bytes(idx(np.zeros((20, 14, 28))))
    with pytest.raises(EyelineError, match="28 x 14 beside images of 28 x 28"):
        read_images(other)


def test_fashion_mnist_from_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EYELINE_FASHION_MNIST", str(family(tmp_path / "somewhere")))
    table = read_images("fashion-mnist")
    assert table.name == "fashion-mnist"
    assert table.good == "T-shirt/top"
    assert set(table.classes) == set(FASHION_CLASSES)
    assert table.labels[9] == "Ankle boot"
    assert table.paths[40] == "fashion-mnist/t10k/00000"
    assert "MIT" in table.licence
    family(tmp_path / "more", classes=11)
    monkeypatch.setenv("EYELINE_FASHION_MNIST", str(tmp_path / "more"))
    with pytest.raises(EyelineError, match="label 10, but there are 10 classes"):
        read_images("fashion-mnist")


def test_fashion_mnist_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EYELINE_FASHION_MNIST", str(tmp_path))
    with pytest.raises(EyelineError) as caught:
        read_images("fashion-mnist")
    assert caught.value.code == "missing_package"
    assert "apt install dataset-fashion-mnist" in str(caught.value)
    assert "EYELINE_FASHION_MNIST" in str(caught.value)


@pytest.mark.skipif(
    not FASHION_FOLDER.is_dir(),
    reason="dataset-fashion-mnist is not installed",
)
def test_the_installed_fashion_mnist(monkeypatch: pytest.MonkeyPatch) -> None:
    """60,000 and 10,000 pictures, 6,000 and 1,000 of each class (Xiao, Rasul and Vollgraf 2017)."""
    monkeypatch.delenv("EYELINE_FASHION_MNIST", raising=False)
    table = read_images("fashion-mnist")
    assert len(table) == 70_000
    assert table.splits is not None
    assert table.splits.count("test") == 10_000
    assert np.bincount(table.targets).tolist() == [7_000] * 10
