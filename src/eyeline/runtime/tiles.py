"""One verdict on a picture from the verdicts on its tiles."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from eyeline.images import Box
from eyeline.runtime.verdict import Verdict

TILE_MERGE = "the defect score of an image is the largest of its tiles"
TILE_NOTE = (
    "Judged in tiles: an image fails when one of its tiles fails. The figures of the artifact (escape rate, overkill, "
    "guarantee) were measured on whole images and do not hold for tiles: measure again on tiled images."
)


def merge_tiles(tiles: Iterable[tuple[Box, Verdict]], *, path: str | None = None) -> Verdict:
    """The verdict on the tile with the largest defect score is the verdict on the picture.

    A picture so fails exactly when one of its tiles does; label, probabilities, logits and evidence are those of that
    tile, and `Verdict.tile` names its box. Of equal scores the first counts. A tile that cannot be judged leaves
    the whole picture without a verdict: a defect could hide there.
    """
    worst: Verdict | None = None
    count = 0
    for box, verdict in tiles:
        count += 1
        if verdict.error is not None:
            return Verdict(path=path, error=verdict.error)
        if worst is None or (verdict.score or 0.0) > (worst.score or 0.0):
            worst = replace(verdict, path=path, tile=box)
    if worst is None:
        raise ValueError("there are no tiles to merge")
    return replace(worst, tiles=count)
