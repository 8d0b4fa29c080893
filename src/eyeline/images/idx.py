"""IDX: the format of MNIST and its family, two files of raw bytes for each part of the split.

``train-images-idx3-ubyte`` and ``train-labels-idx1-ubyte``, ``t10k-images-...`` and ``t10k-labels-...``, plain
or with ``.gz``. Big-endian: two zero bytes, the type (8: unsigned byte), the number of dimensions, each
dimension as four bytes, then the values (LeCun, Cortes and Burges, the page of the MNIST database).
Everything that a header claims is checked before memory is taken for it.
"""

from __future__ import annotations

import gzip
import os
import re
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eyeline.errors import EyelineError
from eyeline.images.opening import open_regular
from eyeline.images.records import Records

FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
FASHION_LICENCE = "Fashion-MNIST (Xiao, Rasul and Vollgraf 2017): MIT"
FASHION_FOLDER = Path("/usr/share/datasets/fashion-mnist")  # of the Debian package

_FILE = re.compile(r"(?P<part>train|t10k)-(?P<what>images|labels)[-.]idx[13]-ubyte(\.gz)?")
_SPLITS = {"train": "train", "t10k": "test"}
_MAX_SIDE = 16384
_MAX_VALUES = 2**31  # bytes of one file, decompressed
_MAX_RATIO = 1032  # the most that deflate can compress (zlib technical details)


def is_idx(folder: Path) -> bool:
    """Does `folder` hold files of an IDX pair?"""
    try:
        return any(_FILE.fullmatch(name) for name in os.listdir(folder))
    except OSError:  # whoever lists it next says why
        return False


def read_idx(folder: Path, *, name: str = "", names: tuple[str, ...] = (), licence: str = "") -> Records:
    """The images of an IDX folder, in memory; ``train`` and ``t10k`` become the splits train and test.

    Parameters
    ----------
    names : class name of each label; the number itself by default.

    The family knows no good class: label 0 stands in for it.

    Raises
    ------
    EyelineError : images without labels or the other way round, a file that is not what its header says
        (``code="unreadable"`` or ``"truncated"``), different picture sizes, a label without a name.
    """
    name = name or folder.resolve().name
    pairs = _pairs(folder)
    images: list[NDArray[np.uint8]] = []
    labels: list[str] = []
    splits: list[str] = []
    paths: list[str] = []
    for part, (image_file, label_file) in pairs.items():
        pictures, numbers = read_idx_array(image_file, 3), read_idx_array(label_file, 1)
        if len(pictures) != len(numbers):
            raise EyelineError(
                f"{len(numbers)} labels for {len(pictures)} images", code="bad_table", path=label_file
            )
        if images and pictures.shape[1:] != images[0].shape[1:]:
            raise EyelineError(
                f"images of {_size(pictures)} beside images of {_size(images[0])}",
                code="bad_table",
                path=image_file,
            )
        if names and len(numbers) and int(numbers.max()) >= len(names):
            raise EyelineError(
                f"label {numbers.max()}, but there are {len(names)} classes",
                code="unknown_label",
                path=label_file,
            )
        images.append(pictures)
        labels += [names[number] if names else str(number) for number in numbers.tolist()]
        splits += [_SPLITS[part]] * len(numbers)
        paths += [f"{name}/{part}/{row:05d}" for row in range(len(numbers))]
    return Records(
        name=name,
        paths=paths,
        labels=labels,
        relative=paths,
        folders=[""] * len(paths),
        where=paths,
        splits=splits if len(pairs) == 2 else None,
        pixels=np.concatenate(images)[:, :, :, None],
        licence=licence,
        good=names[0] if names else "0" if "0" in labels else None,
    )


def read_fashion_mnist() -> Records:
    """Fashion-MNIST: 60,000 training and 10,000 test pictures of clothes, 28 by 28, ten classes.

    Looked for in the folder that ``EYELINE_FASHION_MNIST`` names, else where Debian's package puts it.

    Raises
    ------
    EyelineError : it is not there (``code="missing_package"``), or not what it should be.
    """
    folder = Path(os.environ.get("EYELINE_FASHION_MNIST") or FASHION_FOLDER)
    if is_idx(folder):
        return read_idx(folder, name="fashion-mnist", names=FASHION_CLASSES, licence=FASHION_LICENCE)
    raise EyelineError(
        "the data set 'fashion-mnist' is not here",
        code="missing_package",
        path=folder,
        hint="apt install dataset-fashion-mnist, or put its four IDX files into a folder and set "
        "EYELINE_FASHION_MNIST to it",
    )


def read_idx_array(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The unsigned bytes of one IDX file with that many dimensions; gzip is known by its first bytes.

    Raises
    ------
    EyelineError : ``missing``, ``unreadable`` (another type, another number of dimensions, bytes left over,
        damaged gzip), ``truncated`` or ``too_large``.
    """
    with os.fdopen(open_regular(path), "rb") as raw:
        size = os.fstat(raw.fileno()).st_size
        packed = raw.peek(2)[:2] == b"\x1f\x8b"
        file = gzip.GzipFile(fileobj=raw) if packed else raw
        try:
            head = file.read(4)
            if len(head) < 4:
                raise EyelineError(f"the file ends after {len(head)} bytes", code="truncated", path=path)
            if head != bytes((0, 0, 8, dimensions)):
                raise EyelineError(
                    f"begins with {head.hex()}, not with 000008{dimensions:02x}: no IDX file of unsigned bytes "
                    f"with {dimensions} {'dimension' if dimensions == 1 else 'dimensions'}",
                    code="unreadable",
                    path=path,
                )
            sizes = file.read(4 * dimensions)
            if len(sizes) < 4 * dimensions:
                raise EyelineError("the file ends within its header", code="truncated", path=path)
            shape = struct.unpack(f">{dimensions}I", sizes)
            values = _checked_count(shape, (_MAX_RATIO if packed else 1) * size, path)
            data = file.read(values + 1)
        except (gzip.BadGzipFile, zlib.error) as error:
            raise EyelineError(f"damaged gzip file: {error}", code="unreadable", path=path) from error
        except EOFError as error:
            raise EyelineError("the gzip file is cut short", code="truncated", path=path) from error
        except OSError as error:
            raise EyelineError(
                f"cannot be read: {error.strerror or error}", code="unreadable", path=path
            ) from error
    if len(data) < values:
        raise EyelineError(
            f"the header promises {values:,} values, {len(data):,} are there", code="truncated", path=path
        )
    if len(data) > values:
        raise EyelineError(
            f"there are bytes behind the {values:,} values that the header promises",
            code="unreadable",
            path=path,
        )
    return np.frombuffer(data, dtype=np.uint8).reshape(shape)


def _checked_count(shape: tuple[int, ...], most: int, path: Path) -> int:
    """The number of values, once it is clear that the file can hold them. `most` bounds them from its size."""
    shown = " x ".join(map(str, shape))
    if any(not 1 <= side <= _MAX_SIDE for side in shape[1:]):
        raise EyelineError(
            f"images of {shown}; sides from 1 to {_MAX_SIDE} are possible", code="too_large", path=path
        )
    count = 1
    for side in shape:
        count *= side
    if count > _MAX_VALUES:
        raise EyelineError(
            f"{shown} values, more than the limit of {_MAX_VALUES:,}", code="too_large", path=path
        )
    if count > most:
        raise EyelineError(
            f"the header promises {shown} values, more than the file can hold", code="truncated", path=path
        )
    return count


def _pairs(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Images and labels of each part, train first."""
    found: dict[str, dict[str, Path]] = {"train": {}, "t10k": {}}
    for file in sorted(os.listdir(folder)):  # a plain file sorts before its .gz and is taken
        if match := _FILE.fullmatch(file):
            found[match["part"]].setdefault(match["what"], folder / file)
    for part, files in found.items():
        if len(files) == 1:
            have, lack = ("images", "labels") if "images" in files else ("labels", "images")
            raise EyelineError(f"{part}-{have} without {part}-{lack}", code="missing", path=files[have])
    return {part: (files["images"], files["labels"]) for part, files in found.items() if files}


def _size(pictures: NDArray[np.uint8]) -> str:
    return f"{pictures.shape[2]} x {pictures.shape[1]}"
