"""Decoded pixels on disk: every image is decoded once, then memory-mapped.

An entry is a folder ``<content key>/`` with ``pixels.npy`` (uint8, ``(N, H, W, C)``) and ``entry.json``. The
content key hashes the bytes of all images and the decode options, so equal contents share an entry wherever
they lie. Beside it, ``<stat key>.json`` remembers which entry belongs to these paths, sizes and times, so
that an unchanged folder is found again without reading it. The trade: a file whose bytes change while its
size, modification time and change time all stay the same is not noticed.

Everything here may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeline.errors import EyelineError, ImageError
from eyeline.files import write_json
from eyeline.images.decode import Pixels
from eyeline.images.jpeg import decoder_of
from eyeline.images.opening import read_regular
from eyeline.images.prepare import DecodeOptions, prepare_image
from eyeline.images.table import ImageTable
from eyeline.progress import Progress, silent

_FORMAT = 2  # raise it when decoding changes, so that old entries are no longer found
_STALE_SECONDS = 24 * 3600


@dataclass(frozen=True, eq=False)
class PixelCache:
    """The network's input for every row of a table."""

    pixels: NDArray[np.uint8]
    """uint8 ``(N, H, W, C)``, memory-mapped and read-only; rows of unusable images are zero."""
    usable: NDArray[np.bool_]
    """False where the image could not be decoded, bool ``(N,)``."""
    errors: dict[int, ImageError]
    """Why, by row."""
    digests: tuple[str, ...]
    """sha256 of each image's content; ``!code`` where the content could not be read."""
    decoders: dict[str, int]
    """How many usable images each library decoded; ``none`` are those that came as pixels."""


def cache_folder() -> Path:
    """Where decoded pixels are kept: ``EYELINE_CACHE``, else the platform's folder for caches."""
    if chosen := os.environ.get("EYELINE_CACHE"):
        return Path(chosen)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "eyeline"


def open_cache(
    table: ImageTable,
    options: DecodeOptions,
    *,
    folder: Path | None = None,
    max_bad: float = 0.01,
    progress: Progress | None = None,
) -> PixelCache:
    """The decoded pixels of `table`, from the cache or decoded now.

    Parameters
    ----------
    folder : where entries are kept; `cache_folder()` by default.
    max_bad : share of images that may be undecodable; they are then listed in `PixelCache.errors`.
    progress : told ``("decoding", done, total, note)``.

    Raises
    ------
    EyelineError : more bad images than `max_bad` (``code="too_many_bad"``), or the cache cannot be written,
        for example because the disk is full (``code="write_failed"``). Nothing half-written is left.
    """
    if not 0 <= max_bad <= 1:
        raise EyelineError(f"max_bad is {max_bad}; it must be a share from 0 to 1", code="bad_option")
    if not len(table):
        raise EyelineError("there are no images to decode", code="empty", path=table.name)
    folder = cache_folder() if folder is None else Path(folder)
    index = folder / f"{_stat_key(table, options)}.json"
    cache = _find(folder, index, table)
    if cache is None:
        cache = _build(folder, index, table, options, progress or silent)
    _judge(cache, table, max_bad)
    return cache


def _judge(cache: PixelCache, table: ImageTable, max_bad: float) -> None:
    bad = len(cache.errors)
    if bad > max_bad * len(table):
        first = "; ".join(error.one_line() for error in list(cache.errors.values())[:3])
        more = f"; and {bad - 3} more" if bad > 3 else ""
        raise EyelineError(
            f"{bad} of {len(table)} images ({bad / len(table):.1%}) cannot be used, more than "
            f"{max_bad:.1%}: {first}{more}",
            code="too_many_bad",
            path=table.name,
            hint="repair or remove them, or allow more with --max-bad",
        )


def _stat_key(table: ImageTable, options: DecodeOptions) -> str:
    digest = hashlib.sha256(_options_key(options))
    for row in range(len(table)):
        source = table.source(row)
        if isinstance(source, Path):
            try:
                known = os.stat(source)
                state = f"{known.st_size} {known.st_mtime_ns} {known.st_ctime_ns}"
            except (OSError, ValueError):
                state = "missing"
            digest.update(f"{os.path.abspath(source)}\0{state}\0".encode("utf-8", "surrogateescape"))
        else:
            digest.update(_content_digest(source).encode())
    return digest.hexdigest()


def _content_key(digests: list[str], errors: dict[int, ImageError], options: DecodeOptions) -> str:
    outcome = [digests, {row: (error.code, error.message) for row, error in errors.items()}]
    return hashlib.sha256(_options_key(options) + json.dumps(outcome).encode()).hexdigest()


def _options_key(options: DecodeOptions) -> bytes:
    return json.dumps([_FORMAT, options.to_dict()], sort_keys=True).encode()


def _content_digest(content: bytes | NDArray[np.uint8]) -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha256(repr(content.shape).encode() + content.tobytes()).hexdigest()


def _find(folder: Path, index: Path, table: ImageTable) -> PixelCache | None:
    """The entry that `index` names, or None if it is absent, damaged or of another shape."""
    try:
        key = str(json.loads(index.read_text(encoding="utf-8"))["entry"])
        entry = folder / Path(key).name
        about: dict[str, Any] = json.loads((entry / "entry.json").read_text(encoding="utf-8"))
        pixels = np.load(entry / "pixels.npy", mmap_mode="r", allow_pickle=False)
        if list(pixels.shape) != about["shape"] or len(pixels) != len(table) or pixels.dtype != np.uint8:
            return None
        errors = {
            int(row): ImageError(message, code=code, path=table.paths[int(row)], hint=hint)
            for row, (code, message, hint) in about["errors"].items()
        }
        return _pixel_cache(pixels, errors, about["digests"], dict(about["decoders"]))
    except (OSError, ValueError, KeyError, TypeError, EOFError, IndexError):
        return None


def _pixel_cache(
    pixels: NDArray[np.uint8], errors: dict[int, ImageError], digests: list[str], decoders: dict[str, int]
) -> PixelCache:
    usable = np.ones(len(pixels), dtype=np.bool_)
    usable[list(errors)] = False
    return PixelCache(pixels=pixels, usable=usable, errors=errors, digests=tuple(digests), decoders=decoders)


def _build(
    folder: Path, index: Path, table: ImageTable, options: DecodeOptions, progress: Progress
) -> PixelCache:
    temporary: Path | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        temporary = _new_folder(folder)
        shape = (len(table), *options.image_size, options.channels)
        digests, errors, decoders = _write_pixels(temporary / "pixels.npy", shape, table, options, progress)
        reasons = {str(row): [error.code, error.message, error.hint] for row, error in errors.items()}
        about = {"shape": shape, "errors": reasons, "digests": digests, "decoders": decoders}
        write_json(temporary / "entry.json", about)
        key = _content_key(digests, errors, options)
        _move_into_place(temporary, folder / key)
        write_json(index, {"entry": key})
    except OSError as error:
        reason = error.strerror or str(error)
        raise EyelineError(
            f"cannot write the pixel cache: {reason}",
            code="write_failed",
            path=folder,
            hint="free some space or set EYELINE_CACHE to another folder",
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    cache = _find(folder, index, table)
    if cache is None:
        raise EyelineError("the pixel cache vanished while it was built", code="write_failed", path=folder)
    return cache


def _new_folder(parent: Path) -> Path:
    """An empty folder of one's own; unlike mkdtemp's, others may read what becomes of it."""
    folder = parent / f".building-{secrets.token_hex(8)}"
    folder.mkdir()
    return folder


def _sweep(folder: Path) -> None:
    """Remove what killed processes left behind."""
    for left in folder.glob(".building-*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(left, ignore_errors=True)


def _move_into_place(temporary: Path, entry: Path) -> None:
    try:
        os.rename(temporary, entry)
    except OSError:
        if not entry.is_dir():
            raise
        # The same contents are cached already, by another path or another process; a damaged one is replaced.
        if not _is_whole(entry, temporary):
            aside = _new_folder(entry.parent)
            os.rename(entry, aside / "old")
            os.rename(temporary, entry)
            shutil.rmtree(aside, ignore_errors=True)


def _is_whole(entry: Path, other: Path) -> bool:
    try:
        return all(
            (entry / name).stat().st_size == (other / name).stat().st_size
            for name in ("pixels.npy", "entry.json")
        )
    except OSError:
        return False


def _write_pixels(
    path: Path, shape: tuple[int, ...], table: ImageTable, options: DecodeOptions, progress: Progress
) -> tuple[list[str], dict[int, ImageError], dict[str, int]]:
    """Write the array row by row, in order. Plain writes, because a full disk kills a process that fills a
    memory map (SIGBUS) where a write says so."""
    digests: list[str] = []
    errors: dict[int, ImageError] = {}
    decoders: Counter[str] = Counter()
    blank = bytes(int(np.prod(shape[1:])))
    total = len(table)
    progress("decoding", 0, total, "")
    with open(path, "wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for row, (digest, decoder, outcome) in enumerate(_decode_all(table, options)):
            digests.append(digest)
            if isinstance(outcome, ImageError):
                errors[row] = outcome
                file.write(blank)
            else:
                decoders[decoder] += 1
                file.write(outcome.data)
            progress("decoding", row + 1, total, f"{len(errors)} unusable" if errors else "")
        file.flush()
        os.fsync(file.fileno())
    return digests, errors, dict(sorted(decoders.items()))


_Decoded = tuple[str, str, Pixels | ImageError]  # digest, decoder, outcome


def _decode_all(table: ImageTable, options: DecodeOptions) -> Iterator[_Decoded]:
    """Decode in a few threads (decoders release the interpreter lock) and yield in order, a few rows ahead."""
    workers = os.cpu_count() or 1
    ahead: deque[Future[_Decoded]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    try:
        for row in range(len(table)):
            ahead.append(pool.submit(_decode_one, table.source(row), options))
            if len(ahead) > 4 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _decode_one(source: Path | NDArray[np.uint8], options: DecodeOptions) -> _Decoded:
    content: bytes | NDArray[np.uint8]
    path = source if isinstance(source, Path) else None
    try:
        content = read_regular(source, options.max_bytes) if isinstance(source, Path) else source
    except ImageError as error:
        return f"!{error.code}", "none", error
    digest = _content_digest(content)
    decoder = decoder_of(content) if isinstance(content, bytes) else "none"
    try:
        return digest, decoder, prepare_image(content, options)
    except ImageError as error:
        return digest, decoder, ImageError(error.message, code=error.code, path=path, hint=error.hint)
