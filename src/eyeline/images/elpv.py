"""ELPV: 2,624 solar cells in electroluminescence light, from the `elpv-dataset` package."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from eyeline.errors import EyelineError
from eyeline.images.records import Records

LICENCE = (
    "ELPV images: CC BY-NC-SA 4.0, non-commercial (Buerhop-Lutz et al. 2018, Deitsch et al. 2019, 2021); "
    "not for commercial models"
)
_CELLS = 60  # a module of 6 by 10 cells
# A long run whose length is no multiple of 60 holds one module with missing cells. Its place in the run:
# the module of 54 is the 7th (published sizes), the module of 50 the 3rd. That one was taken twice: its 50 cells,
# rows 1734 to 1783, come again in the same order in rows 2276 to 2325, blurred, and the cells before and after do not.
_SHORT_MODULE_PLACE = {54: 7, 50: 3}


def read_elpv() -> Records:
    """The data set with its label (``defective`` when the annotated probability is at least 0.5), the slices
    ``type`` (mono, poly) and ``probability``, and the solar module of each cell as group.

    The published table does not name the module. It is inferred: file order is module order, so a change of
    the cell type begins a new module, and so does every 60th cell (see `infer_modules`).

    Raises
    ------
    EyelineError : the package is not installed, or its table is not the one that the rule is known for.
    """
    spec = importlib.util.find_spec("elpv_dataset")
    if spec is None or spec.origin is None:
        raise EyelineError(
            "the data set 'elpv' needs the elpv-dataset package",
            code="missing_package",
            hint="pip install elpv-dataset",
        )
    table = Path(spec.origin).parent / "data" / "labels.csv"
    rows = [line.split() for line in table.read_text(encoding="utf-8").splitlines() if line.strip()]
    names = [row[0] for row in rows]
    probabilities = [float(row[1]) for row in rows]
    types = [row[2] for row in rows]
    modules = infer_modules(types)
    paths = [str(table.parent / name) for name in names]
    return Records(
        name="elpv",
        paths=paths,
        labels=["defective" if probability >= 0.5 else "functional" for probability in probabilities],
        relative=names,
        folders=[""] * len(rows),
        where=paths,
        groups=modules,
        group_source="inferred: file order, runs of one cell type cut into modules of 60 cells",
        columns={
            "type": types,
            "probability": [f"{probability:.2f}" for probability in probabilities],
        },
        slices=("type", "probability"),
        licence=LICENCE,
        good="functional",
    )


def infer_modules(types: list[str]) -> list[str]:
    """The module of each cell, from the cell types in file order.

    Each run of one type is cut into modules of 60. This gives 44 modules, 18 mono and 26 poly, which are the
    published counts (Deitsch et al. 2019); anything else raises an EyelineError.
    """
    modules: list[str] = []
    counts = {"mono": 0, "poly": 0}
    for kind, run in groupby(types):
        for cells in _module_sizes(len(list(run))):
            counts[kind] = counts.get(kind, 0) + 1
            modules += [f"{kind} module {counts[kind]:02d}"] * cells
    if counts != {"mono": 18, "poly": 26}:
        raise EyelineError(
            "the installed elpv-dataset is not the published one: its modules cannot be inferred",
            code="bad_table",
            path="elpv",
        )
    return modules


def _module_sizes(run: int) -> Iterator[int]:
    full, rest = divmod(run, _CELLS)
    if rest == 0:
        yield from [_CELLS] * full
    elif full <= 1:  # one module of another size: 48 or 72 cells
        yield run
    else:
        place = _SHORT_MODULE_PLACE.get(rest, full + 1)
        yield from [_CELLS] * (place - 1)
        yield rest
        yield from [_CELLS] * (full + 1 - place)
