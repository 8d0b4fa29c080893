"""A folder with one subfolder a class, optionally below train, val and test."""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from pathlib import Path, PurePosixPath

from eyeline.errors import EyelineError
from eyeline.images.records import SPLIT_WORDS, Records

# What counts as a picture when looking through folders. Kinds that cannot be read are on the list too: they
# are then reported file by file instead of vanishing.
_READ = ("jpg", "jpeg", "jpe", "jfif", "png", "tif", "tiff", "bmp", "dib", "webp")
_REPORTED = (
    "gif",
    "heic",
    "heif",
    "avif",
    "jp2",
    "j2k",
    "jxl",
    "psd",
    "tga",
    "exr",
    "hdr",
    "pgm",
    "ppm",
    "pbm",
)
_RAW = ("raw", "dng", "cr2", "nef", "arw")
_SUFFIXES = frozenset(f".{name}" for name in (*_READ, *_REPORTED, *_RAW))
_MASK_FOLDERS = frozenset(("mask", "masks", "ground_truth", "groundtruth"))
_IGNORED_FOLDERS = frozenset(("__MACOSX", "@eaDir"))

Parts = tuple[str, ...]  # a path below the root


def read_folder(root: Path) -> Records:
    """List the images of a folder tree.

    Folders called ``mask``, ``masks`` or ``ground_truth``, folders ``X_mask`` beside a folder ``X``, and
    files ``NAME_mask.png`` hold masks: they are paired by file name and never taken for samples. Hidden
    files and files that are no pictures are passed over. Links are followed to files within the folder only.

    Raises
    ------
    EyelineError : a folder that cannot be listed, a class folder without images, or classes beside train,
        val and test.
    """
    skipped: dict[str, str] = {}
    files, folders = _walk(root, skipped)
    mask_folders = frozenset(folder for folder in folders if _holds_masks(folder, folders))
    masks = [file for file in files if _is_mask(file, mask_folders)]
    pictures = [file for file in files if not _is_mask(file, mask_folders)]

    splits = _split_folders(root, pictures)
    depth = 1 if splits else 0  # how many folders stand above the class folder
    samples = [file for file in pictures if len(file) >= depth + 2]
    skipped |= {_join(root, file): "outside every class folder" for file in pictures if len(file) < depth + 2}
    if samples:
        used = {file[depth] for file in samples}
        for folder in sorted(folders - mask_folders):
            is_class = len(folder) == depth + 1 and (not splits or folder[0] in splits)
            if is_class and folder[-1] not in used:
                raise EyelineError(
                    "a class folder without images",
                    code="empty_class",
                    path=_join(root, folder),
                    hint="add images or take the folder away",
                )
    labels = [file[depth] for file in samples]
    paths = [_join(root, file) for file in samples]
    return Records(
        name=root.resolve().name,
        paths=paths,
        labels=labels,
        relative=["/".join(file) for file in samples],
        folders=["/".join(file[depth + 1 : -1]) for file in samples],
        where=paths,
        splits=[splits[file[0]] for file in samples] if splits else None,
        masks=_pair_masks(root, masks, samples, labels, skipped),
        skipped=skipped,
    )


def _join(root: Path, parts: Parts) -> str:
    return str(root.joinpath(*parts))


def _walk(root: Path, skipped: dict[str, str]) -> tuple[list[Parts], set[Parts]]:
    """All pictures, sorted, and all folders below `root`; what is left out, and why, goes into `skipped`."""
    real_root = os.path.realpath(root)
    files: list[Parts] = []
    folders: set[Parts] = set()
    waiting: list[Parts] = [()]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(root.joinpath(*folder)) as entries:
                listing = list(entries)
        except OSError as error:
            reason = error.strerror or str(error)
            raise EyelineError(
                f"cannot list the folder: {reason}", code="unreadable", path=_join(root, folder)
            ) from error
        for entry in listing:
            parts = (*folder, entry.name)
            if entry.name.startswith(".") or entry.name in _IGNORED_FOLDERS:
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.add(parts)
                waiting.append(parts)
            elif reason := _refusal(entry, real_root):
                skipped[entry.path] = reason
            elif os.path.splitext(entry.name)[1].lower() in _SUFFIXES:
                files.append(parts)
    return sorted(files), folders


def _refusal(entry: os.DirEntry[str], real_root: str) -> str:
    """Why something that is not a folder is left out; empty when it is a file to read."""
    if not entry.is_symlink():
        return "" if entry.is_file(follow_symlinks=False) else "not a regular file"
    try:
        mode = os.stat(entry.path).st_mode
    except OSError:
        return "a link that leads nowhere"
    if stat.S_ISDIR(mode):
        return "a link to a folder is not followed"
    if not stat.S_ISREG(mode):
        return "not a regular file"
    inside = os.path.realpath(entry.path).startswith(os.path.join(real_root, ""))
    return "" if inside else "a link that leaves the folder"


def _holds_masks(folder: Parts, folders: set[Parts]) -> bool:
    plain = _without_mask(folder[-1])
    return folder[-1].lower() in _MASK_FOLDERS or (plain != folder[-1] and (*folder[:-1], plain) in folders)


def _without_mask(name: str) -> str:
    for ending in ("_mask", "_masks"):
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return name


def _is_mask(file: Parts, mask_folders: frozenset[Parts]) -> bool:
    if PurePosixPath(file[-1]).stem.lower().endswith("_mask"):
        return True
    return any(file[:depth] in mask_folders for depth in range(1, len(file)))


def _split_folders(root: Path, pictures: list[Parts]) -> dict[str, str]:
    """The folders directly below `root` that are named like parts of a split, and the part each one is."""
    top = sorted({file[0] for file in pictures if len(file) > 1})
    splits = {name: SPLIT_WORDS[name.lower()] for name in top if name.lower() in SPLIT_WORDS}
    if all(len(file) == 2 for file in pictures if file[0] in splits):
        return {}  # pictures lie directly in train/: it is a class like any other
    if others := [name for name in top if name not in splits]:
        raise EyelineError(
            f"{others[0]!r} stands beside {', '.join(splits)}: is it a class or a part of the split?",
            code="bad_layout",
            path=root,
            hint="put every class folder below train, val or test, or none",
        )
    return splits


def _pair_masks(
    root: Path, masks: list[Parts], samples: list[Parts], labels: list[str], skipped: dict[str, str]
) -> list[str | None] | None:
    """Give each mask to the image of the same file name, in the same class if the mask is filed by class."""
    by_stem: dict[str, list[int]] = defaultdict(list)
    for row, file in enumerate(samples):
        by_stem[PurePosixPath(file[-1]).stem].append(row)
    classes = set(labels)
    paired: list[str | None] = [None] * len(samples)
    for mask in masks:
        folders = {_without_mask(name) for name in mask[:-1]}
        rows = by_stem.get(_without_mask(PurePosixPath(mask[-1]).stem), [])
        if named := folders & classes:
            rows = [row for row in rows if labels[row] in named]
        # Several images of one name: the one that shares most folders with the mask.
        shared = {row: len(folders & set(samples[row][:-1])) for row in rows}
        best = [row for row in rows if shared[row] == max(shared.values())]
        if len(best) != 1:
            reason = "a mask that fits several images" if best else "a mask without an image"
            skipped[_join(root, mask)] = reason
        elif paired[best[0]] is not None:
            skipped[_join(root, mask)] = "a second mask of the same image"
        else:
            paired[best[0]] = _join(root, mask)
    return paired if any(paired) else None
