"""What a finished run was made from, read again: its images, its split, and what the trained network said of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeline.errors import EyelineError
from eyeline.images import ImageTable, PixelCache, open_cache, read_images
from eyeline.jobs.judged import rows_of
from eyeline.progress import Progress, silent
from eyeline.runtime import Contract
from eyeline.verdicts import Wishes, defect_scores

PREDICTIONS = "predictions.parquet"


@dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """Images of a run in the order of its table, and what the trained network said."""

    table: ImageTable
    cache: PixelCache
    splits: tuple[str, ...]
    groups: NDArray[np.object_] | None
    probabilities: NDArray[np.float64]
    """``(N, K)``, calibrated; 0 where an image could not be used."""
    left_out: NDArray[np.float64]
    """``(N,)`` defect scores of networks that did not see the image, which the cuts were chosen on; NaN elsewhere."""
    unknown: NDArray[np.bool_] | None
    wishes: Wishes
    """What was asked of the decisions."""

    @property
    def train(self) -> NDArray[np.int64]:
        """Rows of the training part."""
        return rows_of(self.splits, "train")

    @property
    def held(self) -> NDArray[np.int64]:
        """Rows that the cuts were chosen on: those that cross-fitting left out, or the validation part."""
        return np.flatnonzero(~np.isnan(self.left_out)).astype(np.int64)

    @property
    def held_scores(self) -> NDArray[np.float64]:
        """Their defect scores by the network that ships."""
        return defect_scores(self.probabilities[self.held], 0)

    def left_out_scores(self, probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
        """What the cuts would be chosen on if `probabilities` ``(len(held), K)`` came from the network that ships.

        Cross-fitted images were judged by networks that did not see them; such a judgement moves by as much as that of
        the network that ships. Of a validation part these are the scores themselves.
        """
        moved = defect_scores(probabilities, 0) - self.held_scores
        return np.clip(self.left_out[self.held] + moved, 0.0, 1.0)

    @property
    def test(self) -> NDArray[np.int64]:
        """Rows of the test part."""
        return rows_of(self.splits, "test")


def read_material(
    folder: Path, record: dict[str, Any], contract: Contract, *, progress: Progress = silent
) -> Material:
    """The material of the finished run in `folder`.

    Raises
    ------
    EyelineError : the source cannot be read, its images or labels have changed (``changed``), or the predictions of the
        run are missing or do not fit (``bad_run``).
    """
    import pyarrow
    import pyarrow.parquet as pq

    wish = record["options"]
    progress("reading", 0, 1, wish["source"])
    table = read_images(wish["source"], good=wish["good"], group_by=wish["group_by"])
    if table.fingerprint() != record["fingerprint"]:
        raise EyelineError("the images or labels are not those of this run", code="changed", path=folder)
    cache = open_cache(table, contract.decode, max_bad=wish["max_bad"], progress=progress)
    path = folder / PREDICTIONS
    try:
        found = pq.read_table(path)
        columns = [found[f"p_{name}"].to_numpy(zero_copy_only=False) for name in contract.classes]
        groups = found["group"].to_numpy(zero_copy_only=False)
        left_out = found["left_out_score"].to_numpy(zero_copy_only=False).astype(np.float64)
        unknown = found["unknown"].to_pylist() if "unknown" in found.column_names else None
    except FileNotFoundError as error:
        raise EyelineError("missing", code="bad_run", path=path) from error
    except (OSError, KeyError, pyarrow.ArrowException) as error:
        raise EyelineError(f"not the predictions of this run: {error}", code="bad_run", path=path) from error
    if len(found) != len(table) or len(record["splits"]) != len(table):
        raise EyelineError(f"{len(found)} predictions for {len(table)} images", code="bad_run", path=path)
    return Material(
        table=table,
        cache=cache,
        splits=tuple(record["splits"]),
        groups=None if groups[0] is None else groups.astype(object),
        probabilities=np.nan_to_num(np.stack(columns, axis=1).astype(np.float64)),
        left_out=left_out,
        unknown=None if unknown is None else np.array([bool(word) for word in unknown]),
        wishes=Wishes.parse(*(wish.get(name) for name in ("claim", "review", "cost", "unknown"))),
    )
