"""One verdict on a picture from the verdicts on its tiles."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from eyeline.images import Box
from eyeline.runtime.verdict import Verdict

TILE_MERGE = "the defect score of an image is the largest of its tiles"
TILE_NOTE = (
    "Judged in tiles: an image passes only when all of its tiles do. The figures of the artifact (escape rate, "
    "overkill, guarantee) were measured on whole images and do not hold for tiles: measure again on tiled images."
)


def merge_tiles(tiles: Iterable[tuple[Box, Verdict]], *, path: str | None = None) -> Verdict:
    """The verdict on the worst tile is the verdict on the picture: the sternest decision, then the largest score.

    Where no unknown objects are told that is the largest score alone. A picture so passes exactly when all of its
    tiles do; label, probabilities, logits and evidence are those of that tile, and `Verdict.tile` names its box. Of
    equal tiles the first counts. A tile that cannot be judged leaves the whole picture without a verdict: a defect
    could hide there.
    """
    worst: Verdict | None = None
    count = 0
    for box, verdict in tiles:
        count += 1
        if verdict.error is not None:
            return Verdict(path=path, error=verdict.error, model_sha256=verdict.model_sha256)
        if worst is None or _badness(verdict) > _badness(worst):
            worst = replace(verdict, path=path, tile=box)
    if worst is None:
        raise ValueError("there are no tiles to merge")
    return replace(worst, tiles=count)


def _badness(verdict: Verdict) -> tuple[int, float]:
    return ("pass", "review", "fail").index(verdict.decision or "pass"), verdict.score or 0.0
