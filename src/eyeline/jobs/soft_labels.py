"""Labels that say how sure people were: the column ``probability`` of a table."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eyeline.errors import EyelineError, nearest
from eyeline.images import ImageTable

COLUMN = "probability"


def soft_labels(table: ImageTable) -> NDArray[np.float32]:
    """A distribution over (good, defect) an image, float32 ``(N, 2)``: one minus the column, and the column.

    ELPV has it: 0, 1/3, 2/3 or 1, as its annotators agreed. It is stored there with two decimals.

    Raises
    ------
    EyelineError : more than two classes, no such column, or a value outside 0..1 (``code="no_soft_labels"``).
    """
    if len(table.classes) != 2:
        raise EyelineError(
            f"soft_labels needs two classes; {table.name} has {len(table.classes)}", code="no_soft_labels"
        )
    if COLUMN not in table.slices:
        raise EyelineError(
            f"soft_labels needs a column {COLUMN!r}, which {table.name} does not have",
            code="no_soft_labels",
            hint=nearest(COLUMN, table.slices) if table.slices else "set soft_labels = false",
        )
    values = np.zeros(len(table))
    for row, text in enumerate(table.slices[COLUMN]):
        try:
            values[row] = float(text)
        except ValueError:
            values[row] = np.nan
        if not 0 <= values[row] <= 1:
            raise EyelineError(
                f"{COLUMN} is {text!r}; allowed: a number from 0 to 1",
                code="no_soft_labels",
                path=table.paths[row],
            )
    return np.stack([1 - values, values], 1).astype(np.float32)
