"""Digits: 1,797 handwritten digits of 8 by 8 pixels, from scikit-learn. They live in memory."""

from __future__ import annotations

import numpy as np

from eyeline.errors import EyelineError
from eyeline.images.records import Records


def read_digits() -> Records:
    """Ten classes, ``0`` to ``9``; there is no natural good class, so ``0`` stands in for it."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise EyelineError(
            "the data set 'digits' needs scikit-learn",
            code="missing_package",
            hint="pip install 'eyeline[train]'",
        ) from error
    data = load_digits()
    grey = np.rint(data.images * (255 / 16)).astype(np.uint8)  # stored as 0..16
    names = [f"digits/{row:04d}" for row in range(len(grey))]
    return Records(
        name="digits",
        paths=names,
        labels=[str(target) for target in data.target],
        relative=names,
        folders=[""] * len(names),
        where=names,
        pixels=grey[:, :, :, None],
        licence="Optical Recognition of Handwritten Digits (Alpaydin and Kaynak 1998, UCI): CC BY 4.0",
        good="0",
    )
