"""How much of one picture another explains once it is shifted, zoomed, brightened and stretched to fit.

Lucas and Kanade 1981 with gain and offset: a linear fit to the image and its slopes. The images must be smooth, or a
thin line that moves by a pixel leaves more than another picture would.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

_MARGIN = 3  # pixels that a shift may use up, less one for the slope: 6 % of 32
_PLACES = 6


def smooth(thumbnails: NDArray[np.uint8]) -> Floats:
    """Half size and four times binomially smoothed, float32 `(N, 32, 32)`: so smooth that its slopes tell shifts."""
    half = thumbnails.shape[1] // 2
    x = thumbnails.reshape(len(thumbnails), half, 2, half, 2).mean(axis=(2, 4), dtype=np.float32)
    for _ in range(4):
        p = np.pad(x, ((0, 0), (1, 1), (1, 1)), mode="edge")
        p = (p[:, :-2] + 2 * p[:, 1:-1] + p[:, 2:]) / 4
        x = (p[:, :, :-2] + 2 * p[:, :, 1:-1] + p[:, :, 2:]) / 4
    return np.asarray(x, dtype=np.float32)


def unexplained(first: Floats, second: Floats) -> tuple[Doubles, Doubles]:
    """What the best shift, zoom, contrast and brightness of `first` `(P, S, S)` leave of `second`, twice `(P,)`.

    The share of the variance of the inner part of `second`, and the largest share in one of 36 places. Each step is
    a linear fit of image, slopes, and slopes times distance from the centre; the whole pixels of the shift it finds
    are applied, and it is fitted anew. A negative contrast explains nothing.
    """
    count, side = first.shape[:2]
    inner = side - 2 * _MARGIN
    line = np.arange(inner)
    centred = (line - (inner - 1) / 2).astype(np.float32)
    wanted = second[:, _MARGIN:-_MARGIN, _MARGIN:-_MARGIN].reshape(count, inner**2)
    wanted = wanted - wanted.mean(axis=1, keepdims=True)
    energy = np.maximum((wanted**2).sum(axis=1), 1e-6)
    shift = np.zeros((count, 2), dtype=np.int64)
    best, local = np.full(count, 1.0), np.full(count, np.inf)
    flat, offset = np.ascontiguousarray(first).ravel(), (np.arange(count) * side * side)[:, None, None]
    for _ in range(3):
        down, right = shift[:, 0, None, None], shift[:, 1, None, None]
        at = offset + (line[:, None] + _MARGIN + down) * side + line + _MARGIN + right
        slope_down, slope_right = (flat[at + side] - flat[at - side]) / 2, (flat[at + 1] - flat[at - 1]) / 2
        zoom = centred[:, None] * slope_down + centred * slope_right
        terms = np.stack([flat[at], slope_down, slope_right, zoom], axis=1).reshape(count, 4, inner**2)
        terms -= terms.mean(axis=2, keepdims=True)
        gram = terms @ terms.transpose(0, 2, 1)
        ridge = 1e-6 * np.trace(gram, axis1=1, axis2=2) + 1e-6
        fit = np.linalg.solve(
            gram + ridge[:, None, None] * np.eye(4, dtype=np.float32), terms @ wanted[:, :, None]
        )
        rest = wanted - (fit.transpose(0, 2, 1) @ terms)[:, 0]
        gain = fit[:, 0, 0]
        share = np.where(gain > 0, (rest**2).sum(axis=1) / energy, 1.0)
        better = share < best
        best[better] = share[better]
        local[better] = _worst_place(rest[better].reshape(-1, inner, inner)) / (energy[better] / inner**2)
        step = fit[:, 1:3, 0] / np.where(np.abs(gain) > 1e-3, gain, 1.0)[:, None]
        step = np.clip(np.rint(step), -1, 1).astype(np.int64)
        shift = np.clip(shift + step, 1 - _MARGIN, _MARGIN - 1)
    return best, local


def _worst_place(rest: Floats) -> Doubles:
    size = rest.shape[1] // _PLACES
    part = rest[:, : size * _PLACES, : size * _PLACES].reshape(-1, _PLACES, size, _PLACES, size)
    return np.asarray((part**2).mean(axis=(2, 4)).max(axis=(1, 2)), dtype=np.float64)
