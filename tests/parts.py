"""A folder of small pictures of parts, good and scratched, several of each part: real files for whole-job tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw


def write_parts(folder: Path, *, parts: int = 16, each: int = 6, side: int = 64, seed: int = 0) -> Path:
    """``folder/good/part03_1.png`` and ``folder/scratch/...``; about half of a part's pictures are scratched."""
    rng = np.random.default_rng(seed)
    for name in ("good", "scratch"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for part in range(parts):
        base = rng.integers(90, 150) + rng.normal(0, 6, (side, side))
        for shot in range(each):
            picture = Image.fromarray(np.clip(base + rng.normal(0, 4, (side, side)), 0, 255).astype(np.uint8))
            label = "scratch" if (shot + part) % 2 else "good"
            if label == "scratch":
                x, y = rng.integers(10, side - 30, 2)
                shade = int(np.clip(base.mean() + rng.integers(8, 45), 0, 255))  # some can hardly be seen
                ImageDraw.Draw(picture).line((x, y, x + 18, y + int(rng.integers(4, 18))), fill=shade)
            picture.save(folder / label / f"part{part:02d}_{shot}.png")
    return folder
