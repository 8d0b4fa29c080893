"""How large a defect must be to be found: the curve of detection by size for one artifact."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eyeline.errors import EyelineError, ImageError, nearest
from eyeline.images import ImageTable, decode_image, read_images
from eyeline.jobs.evaluate import good_of, parts_of, rows_to_judge
from eyeline.jobs.study import read_cells
from eyeline.progress import Progress, silent
from eyeline.reports import DetectionData, write_detection
from eyeline.runtime import load
from eyeline.verdicts import Rate, clopper_pearson, fit_detection

if TYPE_CHECKING:
    from eyeline.verdicts import Detection

MASK = "mask"


@dataclass(frozen=True, kw_only=True)
class Detected:
    """The result of ``eyeline pod``."""

    detection: Detection
    false_calls: Rate  # good images that did not pass: a curve means little without
    part: str
    left_out: int  # defects without a size, or that could not be judged
    page: Path | None

    def to_dict(self) -> dict[str, Any]:
        """The keys of ``eyeline pod --json``."""
        return {
            "part": self.part,
            "left_out": self.left_out,
            "false_calls": self.false_calls.to_dict(),
            "page": None if self.page is None else str(self.page),
            **self.detection.to_dict(),
        }


def detection_by_size(
    model: str | Path,
    source: str | Path,
    *,
    size: str = MASK,
    split: str | None = None,
    good: str | None = None,
    group_by: str | None = None,
    page: str | Path | None = None,
    progress: Progress = silent,
) -> Detected:
    """Let an artifact judge defects of known size and fit the curve of detection.

    Parameters
    ----------
    size : ``mask`` takes the diameter of the disc of the same area as the mask, in its pixels; else a column of the
        table with a number for each defect, in any unit.
    split : as for `evaluate_model`.

    Raises
    ------
    EyelineError : there are no sizes, or the curve cannot be claimed (see `fit_detection`).
    """
    inspector = load(model)
    contract = inspector.contract
    table = read_images(source, good=good or good_of(contract.good, source), group_by=group_by)
    table, parts = parts_of(table, contract, progress=progress)
    part, rows = rows_to_judge(table, parts, split, source)
    sizes = _mask_sizes(table, rows) if size == MASK else _column_sizes(table, source, size)[rows]
    caught = np.zeros(len(rows), dtype=np.bool_)
    judged = np.zeros(len(rows), dtype=np.bool_)
    for number, verdict in enumerate(inspector.predict(table.source(int(row)) for row in rows)):
        caught[number], judged[number] = verdict.decision != "pass", verdict.error is None
        progress("judging", number + 1, len(rows), "")
    defect = table.is_defect[rows]
    used = defect & judged & np.isfinite(sizes)
    unit = " px" if size == MASK else ""
    found = fit_detection(
        sizes[used],
        caught[used],
        groups=None if table.groups is None else np.array(table.groups, dtype=object)[rows][used],
        unit=unit,
    )
    good_ones = ~defect & judged
    result = Detected(
        detection=found,
        false_calls=_share(int((caught & good_ones).sum()), int(good_ones.sum())),
        part=part,
        left_out=int((defect & ~used).sum()),
        page=None if page is None else Path(page),
    )
    if page is not None:
        write_detection(
            page,
            DetectionData(
                detection=found,
                sizes=sizes[used],
                caught=caught[used],
                model=Path(model).name,
                source=table.name,
                part=part,
                size="diameter of the disc of the mask's area, pixels" if size == MASK else size,
                unit=unit,
                false_calls=result.false_calls,
                left_out=result.left_out,
                threshold=contract.threshold.value,
            ),
        )
    return result


def _share(count: int, n: int) -> Rate:
    if n == 0:
        return Rate.empty("no good image was judged")
    low, high = clopper_pearson(count, n)
    return Rate(value=count / n, low=low, high=high, method="Clopper-Pearson", n=n, count=count)


def _mask_sizes(table: ImageTable, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Diameter of the disc of the same area, NaN without a mask that marks something."""
    if table.masks is None or not any(table.masks):
        raise EyelineError(
            "no image has a mask",
            code="no_masks",
            path=table.name,
            hint="name a column of sizes with --size COLUMN",
        )

    def areas() -> Iterator[float]:
        for row in rows:
            mask = table.masks[row] if table.masks else None
            try:
                pixels = None if mask is None else decode_image(Path(mask), channels=1)
            except ImageError:
                pixels = None
            # Few low values are class numbers; otherwise grey is cut in the middle.
            yield 0.0 if pixels is None else float((pixels > (0 if pixels.max() < 32 else 127)).sum())

    area = np.array(list(areas()))
    return np.asarray(np.where(area > 0, np.sqrt(4 / math.pi * area), np.nan), dtype=np.float64)


def _column_sizes(table: ImageTable, source: str | Path, column: str) -> NDArray[np.float64]:
    path = Path(source)
    if path.suffix.lower() in (".parquet", ".pq"):
        import pyarrow.parquet

        cells = [
            {name: "" if value is None else str(value) for name, value in row.items()}
            for row in pyarrow.parquet.read_table(path).to_pylist()
        ]
    elif path.suffix.lower() in (".csv", ".tsv"):
        cells = [row for _, row in read_cells(path)[1]]
    else:
        raise EyelineError(
            "only a CSV or Parquet table has a column of sizes",
            code="bad_option",
            path=source,
            hint="use --size mask",
        )
    if column not in cells[0]:
        raise EyelineError(
            f"has no column {column!r}", code="missing_column", path=source, hint=nearest(column, cells[0])
        )
    key = next(name for name in cells[0] if name.lower() == "path")
    size_of = {str(path.parent / row[key].strip()): row[column].strip() for row in cells}
    sizes = np.full(len(table), np.nan)
    for row, name in enumerate(table.paths):
        text = size_of.get(name, "")
        if not text or not table.is_defect[row]:
            continue
        try:
            sizes[row] = float(text)
        except ValueError as error:
            raise EyelineError(
                f"the size of {name} is {text!r}, no number", code="bad_row", path=source
            ) from error
        if not (math.isfinite(sizes[row]) and sizes[row] > 0):
            raise EyelineError(
                f"the size of {name} is {text}, it must be positive", code="bad_row", path=source
            )
    return sizes
