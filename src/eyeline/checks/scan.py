"""One pass over all pictures of a table: a thumbnail and the plain figures that the checks are made of.

Every picture is read and decoded once, by the same decoder as in training, so that what cannot be trained on
is found here with the same code. Results are kept in shards ``scans/<place>/*.npz`` below the cache folder,
each picture under its path, size, modification and change time. A scan that is stopped loses one shard at
most, and the next one goes on. All of it may be deleted at any time.

Held in memory: 4 KiB a picture for its thumbnail, besides the few pictures that are being decoded.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import time
import zipfile
from collections import defaultdict, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from eyeline.checks.measure import SIDE, THUMBNAIL, Measured, digest_of, measure_picture
from eyeline.errors import EyelineError, ImageError
from eyeline.files import atomic_file
from eyeline.images import DecodeOptions, ImageTable, Pixels, cache_folder
from eyeline.progress import Progress, silent

_FORMAT = 1  # raise it when a figure changes its meaning, so that old shards are no longer found
_SHARD_ROWS, _SHARD_SECONDS = 512, 10.0  # what a killed scan may lose
_EXTENSIONS = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "JPEG"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    **dict.fromkeys((".bmp", ".dib"), "BMP"),
    **{
        f".{name}": name.upper()
        for name in ("png", "webp", "gif", "heic", "avif", "jp2", "jxl", "psd", "tga")
    },
}
_ROW = np.dtype(
    [
        ("key", "S64"),
        ("format", "S8"),
        ("mode", "S12"),
        ("width", "i4"),
        ("height", "i4"),
        ("grey", "?"),
        ("content", "S64"),
        ("picture", "S64"),
        ("bytes", "i8"),
        ("modified", "i8"),
        *((name, "f8") for name in ("mean", "deviation", "dark", "bright", "sharpness")),
    ]
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Scan:
    """What was measured on the N pictures of a table, in row order; zero or empty where one is unusable."""

    thumbnails: NDArray[np.uint8]
    """uint8 ``(N, 64, 64)``: grey, squashed, antialiased."""
    usable: NDArray[np.bool_]
    """False where the picture could not be decoded."""
    errors: dict[int, ImageError]
    """Why, by row."""
    width: NDArray[np.int32]
    height: NDArray[np.int32]
    """Pixels, upright, of the region if there is one."""
    mode: tuple[str, ...]
    """How the file stores a pixel, in Pillow's words: ``L``, ``RGB``, ``RGBA``, ``P``, ``I;16``, ``CMYK`` ..."""
    format: tuple[str, ...]
    """``JPEG``, ``PNG``, ``TIFF``, ``BMP``, ``WEBP``; ``memory`` for pixels that never were a file."""
    extension_agrees: NDArray[np.bool_]
    """False where the file name ends like another format."""
    grey: NDArray[np.bool_]
    """True where red, green and blue are equal in every pixel, or there is one channel only."""
    content_digests: tuple[str, ...]
    """sha256 (hex) of the file's bytes; empty where it could not be read."""
    pixel_digests: tuple[str, ...]
    """sha256 (hex) of the decoded pixels, the same for every file that holds the same picture; a grey picture
    stored in colour is the same picture."""
    bytes: NDArray[np.int64]
    modified: NDArray[np.int64]
    """Modification time in nanoseconds since 1970; 0 in memory."""
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    """Mean and standard deviation of the grey levels 0..255, at full size."""
    dark: NDArray[np.float64]
    bright: NDArray[np.float64]
    """Share of pixels at or below level 2, and at or above 253."""
    sharpness: NDArray[np.float64]
    """See `eyeline.checks.measure.sharpness_of`."""

    def __len__(self) -> int:
        return len(self.usable)


def scan_images(
    table: ImageTable,
    *,
    decode: DecodeOptions | None = None,
    folder: Path | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
) -> Scan:
    """Measure every picture of `table`, or recall what an earlier scan measured.

    Parameters
    ----------
    decode : how training will read the files; its region, range, background and limits count, so that what is
        measured is what the network's input is made of. Size and channels do not matter.
    folder : where shards are kept; ``scans`` in the cache folder by default.
    progress : told ``("scanning", done, total, note)``.
    workers : threads; as many as there are processors by default.

    Raises
    ------
    EyelineError : the table is empty, or a shard cannot be written (``code="write_failed"``).
    """
    if not len(table):
        raise EyelineError("there are no images to scan", code="empty", path=table.name)
    report = progress or silent
    store = (cache_folder() / "scans" if folder is None else Path(folder)) / _place(table)
    options = replace(decode or THUMBNAIL, image_size=(SIDE, SIDE), channels=3, resize="squash")
    how = f"{_FORMAT} {json.dumps(options.to_dict(), sort_keys=True)}"
    known = [_identify(table.source(row), how) for row in range(len(table))]
    rows = np.zeros(len(table), dtype=_ROW)
    for name, column in zip(("key", "bytes", "modified"), zip(*known, strict=True), strict=True):
        rows[name] = column
    found = _Found(rows, np.zeros((len(table), SIDE, SIDE), dtype=np.uint8))
    waiting = _recall(store, found, table)
    done, total = len(table) - len(waiting), len(table)
    report("scanning", done, total, "recalled" if done else "")
    shard = _Shard(store, found)
    try:
        for row, measured in _measure_all(table, waiting, options, workers or os.cpu_count() or 1):
            found.put(row, measured)
            shard.add(row)
            done += 1
            report("scanning", done, total, f"{len(found.errors)} unusable" if found.errors else "")
    finally:
        shard.write()
    return found.scan(table)


def _measure_all(
    table: ImageTable, rows: list[int], options: DecodeOptions, workers: int
) -> Iterator[tuple[int, Measured]]:
    """Decode in a few threads (Pillow releases the interpreter lock) and yield in order, a few rows ahead."""
    ahead: deque[tuple[int, Future[Measured]]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="scan")
    try:
        for row in rows:
            ahead.append((row, pool.submit(measure_picture, table.source(row), options)))
            if len(ahead) > 4 * workers:
                first, future = ahead.popleft()
                yield first, future.result()
        while ahead:
            first, future = ahead.popleft()
            yield first, future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


# --- what was found, and its shards ---------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Found:
    rows: NDArray[np.void]
    thumbnails: NDArray[np.uint8]
    errors: dict[int, ImageError] = field(default_factory=dict)

    def put(self, row: int, measured: Measured) -> None:
        for name, value in measured.values.items():
            self.rows[name][row] = value
        if measured.thumbnail is not None:
            self.thumbnails[row] = measured.thumbnail
        if measured.error is not None:
            self.errors[row] = measured.error

    def scan(self, table: ImageTable) -> Scan:
        usable = np.ones(len(self.rows), dtype=np.bool_)
        usable[list(self.errors)] = False
        columns = {name: np.ascontiguousarray(self.rows[name]) for name in _ROW.names or ()}
        text = {
            name: tuple(value.decode() for value in columns[name].tolist())
            for name in ("format", "mode", "content", "picture")
        }
        errors = {
            row: ImageError(error.message, code=error.code, path=table.paths[row], hint=error.hint)
            for row, error in sorted(self.errors.items())
        }
        return Scan(
            thumbnails=self.thumbnails,
            usable=usable,
            errors=errors,
            mode=text["mode"],
            format=text["format"],
            extension_agrees=np.array(list(map(_agrees, table.paths, text["format"])), dtype=np.bool_),
            content_digests=text["content"],
            pixel_digests=text["picture"],
            **{
                name: columns[name]
                for name in (
                    *("width", "height", "grey", "bytes", "modified"),
                    *("mean", "deviation", "dark", "bright", "sharpness"),
                )
            },
        )


def _agrees(path: str, format_name: str) -> bool:
    if format_name in ("", "memory"):
        return True
    return _EXTENSIONS.get(PurePath(path).suffix.lower(), format_name) == format_name


def _place(table: ImageTable) -> str:
    """A folder of shards for everything below one folder, so that a data set may grow and keep its scan."""
    place = f"memory {table.name}"
    if table.pixels is None:
        with contextlib.suppress(ValueError):  # paths on several drives
            place = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in table.paths])
    return hashlib.sha256(place.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _identify(source: Path | Pixels, how: str) -> tuple[bytes, int, int]:
    """The key of a picture that is read in that way, its bytes, and when it was modified."""
    if not isinstance(source, Path):
        return hashlib.sha256(f"{how} {digest_of(source)}".encode()).hexdigest().encode(), source.nbytes, 0
    try:
        about = os.stat(source)
        size, modified, changed = about.st_size, about.st_mtime_ns, about.st_ctime_ns
    except (OSError, ValueError):
        size = modified = changed = 0
    text = f"{how} {os.path.abspath(source)}\0{size} {modified} {changed}"
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest().encode(), size, modified


def _recall(store: Path, found: _Found, table: ImageTable) -> list[int]:
    """Fill in what shards know, and return the rows that they do not."""
    rows_of: dict[bytes, list[int]] = defaultdict(list)
    for row, key in enumerate(found.rows["key"].tolist()):
        rows_of[key].append(row)
    for path in sorted(store.glob("*.npz")):
        try:
            with np.load(path, allow_pickle=False) as shard:
                rows, thumbnails, errors = shard["rows"], shard["thumbnails"], shard["errors"]
            if rows.dtype != _ROW or thumbnails.shape != (len(rows), SIDE, SIDE) or len(errors) != len(rows):
                raise ValueError("another shape")
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            with contextlib.suppress(OSError):  # damaged: measured again
                path.unlink()
            continue
        for place, key in enumerate(rows["key"].tolist()):
            for row in rows_of.pop(key, ()):
                found.rows[row], found.thumbnails[row] = rows[place], thumbnails[place]
                if errors[place]:
                    code, message, hint = json.loads(errors[place])
                    found.errors[row] = ImageError(message, code=code, path=table.paths[row], hint=hint)
    return sorted(row for rows in rows_of.values() for row in rows)


class _Shard:
    """Rows that are measured and not yet on disk."""

    def __init__(self, store: Path, found: _Found) -> None:
        self.store, self.found = store, found
        self.rows: list[int] = []
        self.since = time.monotonic()

    def add(self, row: int) -> None:
        if not self.found.rows["content"][row]:
            return  # could not be read at all: tried again the next time
        self.rows.append(row)
        if len(self.rows) >= _SHARD_ROWS or time.monotonic() - self.since > _SHARD_SECONDS:
            self.write()

    def write(self) -> None:
        rows, self.rows, self.since = self.rows, [], time.monotonic()
        if not rows:
            return
        errors = [self.found.errors.get(row) for row in rows]
        reasons = [json.dumps([e.code, e.message, e.hint]).encode() if e else b"" for e in errors]
        try:
            self.store.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EyelineError(
                f"cannot make the folder of scans: {error.strerror}", code="write_failed", path=self.store
            ) from error
        with atomic_file(self.store / f"{secrets.token_hex(8)}.npz") as file:
            np.savez(
                file,
                rows=self.found.rows[rows],
                thumbnails=self.found.thumbnails[rows],
                errors=np.array(reasons),
            )
