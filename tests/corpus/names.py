"""Rows 15 and 16: awkward file names, and things that are called like pictures and are none."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from corpus.builders import valid

AWKWARD_NAMES = (
    "with space.png",
    "'quoted' \"twice\".png",
    "new\nline.png",
    "-dash.png",
    "\N{SNOWMAN}\N{GRINNING FACE}.png",
    "e\u0301-decomposed.png",
    "\xe9-composed.png",
    os.fsdecode(b"not-utf8-\xff\xfe.png"),
    "n" * 251 + ".png",
    "\N{RIGHT-TO-LEFT OVERRIDE}gnp.exe.png",
    "=cmd(1).png",
    "a,b;c.png",
    "%s{}\\n.png",
)
"""Row 15: file names that must come through unchanged."""


def special_files(folder: Path, outside: Path) -> dict[str, Path]:
    """Row 16: things in a folder that are called like pictures and are none. `outside` is another folder."""
    folder.mkdir(parents=True, exist_ok=True)
    outside.mkdir(parents=True, exist_ok=True)
    (outside / "far.png").write_bytes(valid("PNG"))
    (folder / "real.png").write_bytes(valid("PNG"))
    made = {
        name: folder / f"{name}.png"
        for name in ("fifo", "socket", "dangling", "loop", "outward", "inward", "device")
    }
    os.mkfifo(made["fifo"])
    here = os.open(folder, os.O_RDONLY)
    try:  # socket paths are limited to about 100 bytes
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"/proc/self/fd/{here}/socket.png")
    finally:
        os.close(here)
    made["dangling"].symlink_to(folder / "nowhere.png")
    made["loop"].symlink_to(made["loop"])
    made["outward"].symlink_to(outside / "far.png")
    made["inward"].symlink_to(folder / "real.png")
    made["device"].symlink_to("/dev/zero")
    made["hardlink"] = folder / "hardlink.png"
    os.link(folder / "real.png", made["hardlink"])
    made["folder"] = folder / "folder.png"
    made["folder"].mkdir()
    made["round"] = folder / "round"
    made["round"].symlink_to(folder)
    return made
