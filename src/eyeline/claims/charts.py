"""The pictures that experiments share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eyeline.claims.bench import Arm, Race
from eyeline.claims.claim import Chart, Series


def accuracy_chart(title: str, race: Race, arms: Sequence[Arm], sizes: Sequence[int]) -> Chart:
    """Accuracy over the number of training pictures, a line an arm."""
    return Chart(
        title=title,
        kind="curves",
        x_label="Training pictures, logarithmic",
        y_label="Accuracy on test pictures",
        log_x=True,
        series=tuple(
            Series(
                name=arm.name,
                x=tuple(float(n) for n in sizes),
                values=tuple(_floats(race.accuracy(arm.name, n)) for n in sizes),
            )
            for arm in arms
        ),
    )


def curves(
    title: str,
    x_label: str,
    y_label: str,
    xs: Sequence[float],
    lines: Mapping[str, Sequence[ArrayLike]],
    *,
    log_x: bool = True,
) -> Chart:
    """A line a name; each has one list of values, a value a seed, at every x."""
    return Chart(
        title=title,
        kind="curves",
        x_label=x_label,
        y_label=y_label,
        log_x=log_x,
        series=tuple(
            Series(name=name, x=tuple(float(x) for x in xs), values=tuple(_floats(v) for v in values))
            for name, values in lines.items()
        ),
    )


def dots(title: str, y_label: str, groups: Mapping[str, ArrayLike]) -> Chart:
    """A column of dots a name, a dot a seed."""
    return Chart(
        title=title,
        kind="dots",
        x_label="",
        y_label=y_label,
        series=tuple(Series(name=name, x=(0.0,), values=(_floats(v),)) for name, v in groups.items()),
    )


def _floats(values: ArrayLike) -> tuple[float, ...]:
    array: NDArray[np.float64] = np.asarray(values, dtype=np.float64)
    return tuple(array.tolist())
