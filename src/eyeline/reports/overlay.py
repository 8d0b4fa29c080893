"""Evidence drawn on a picture: signed, on one scale for all images, and where the network really looked.

Three habits of heat maps mislead an inspector, and none of them is here:

- Each map stretched to its own minimum and maximum, so that a good part always shows a hot spot. One symmetric
  scale, fixed before drawing, serves every image: a part without evidence stays grey.
- Negative values cut off. What speaks for a good part is drawn too, in the other colour.
- The map stretched to the picture's border. A cell is drawn at the centre of its receptive field, which a
  strided network may put half a cell or more away from there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eyeline.errors import EyelineError

Floats = NDArray[np.float64]
Picture = NDArray[np.uint8]

# Orange against blue is told apart with any kind of colour blindness, and neither occurs in a grey picture.
DEFECT_RGB = (235, 94, 0)
GOOD_RGB = (0, 110, 205)
STRENGTH = 0.72  # opacity of evidence at the end of the scale: the part stays visible below


@dataclass(frozen=True)
class Placement:
    """Where the cells of a map lie in the network's input: cell `i` is centred at ``offset + i * stride``.

    Both are (vertical, horizontal), in pixels of the input; 0 is the centre of the first pixel.
    """

    stride: tuple[float, float]
    offset: tuple[float, float]

    @classmethod
    def stretched(cls, cells: tuple[int, int], pixels: tuple[int, int]) -> Placement:
        """Cells laid side by side over the whole picture: the guess when nothing better is known."""
        strides = (pixels[0] / cells[0], pixels[1] / cells[1])
        return cls(stride=strides, offset=((strides[0] - 1) / 2, (strides[1] - 1) / 2))

    def scaled(self, before: tuple[int, int], after: tuple[int, int]) -> Placement:
        """The same cells when an input of size `before` (height, width) is shown at size `after`."""
        ratio = (after[0] / before[0], after[1] / before[1])
        return Placement(
            stride=(self.stride[0] * ratio[0], self.stride[1] * ratio[1]),
            offset=(
                (self.offset[0] + 0.5) * ratio[0] - 0.5,
                (self.offset[1] + 0.5) * ratio[1] - 0.5,
            ),
        )


@dataclass(frozen=True, eq=False)
class SignedEvidence:
    """What speaks for a defect (positive) and for a good part (negative), cell by cell.

    The values sum to logit[defect] - logit[good] less the difference of the two biases.
    """

    values: Floats  # (h, w), in logits
    defect: int  # index of the defect class that is compared with the good class


def signed_evidence(
    maps: ArrayLike, logits: ArrayLike, *, good: int = 0, defect: int | None = None
) -> SignedEvidence:
    """Evidence for a defect less evidence for good, never that of one class alone.

    Parameters
    ----------
    maps : `(K, h, w)`, class evidence whose sum over positions plus the bias is the logit.
    logits : `(K,)` logits or probabilities of the image; they only choose the defect class.
    good : index of the defect-free class.
    defect : the class to compare with; by default the likeliest defect class.
    """
    e, z = np.asarray(maps, dtype=np.float64), np.asarray(logits, dtype=np.float64)
    if e.ndim != 3 or z.shape != e.shape[:1] or len(z) < 2 or not 0 <= good < len(z):
        raise EyelineError(f"evidence (K, h, w) and logits (K,) do not fit: {e.shape} and {z.shape}")
    if defect is None:
        defect = int(np.where(np.arange(len(z)) == good, -np.inf, z).argmax())
    return SignedEvidence(values=e[defect] - e[good], defect=defect)


def evidence_scale(maps: ArrayLike, logits: ArrayLike, *, good: int = 0, quantile: float = 0.99) -> float:
    """The one scale for a set of images: nearly all of their signed evidence lies within +- this, in logits.

    Parameters
    ----------
    maps : `(N, K, h, w)`, of as many images as there are, not only those that will be drawn.
    logits : `(N, K)`, as for `signed_evidence`.
    """
    e, z = np.asarray(maps), np.array(logits, dtype=np.float64)
    if e.ndim != 4 or z.shape != e.shape[:2]:
        raise EyelineError(f"evidence (N, K, h, w) and logits (N, K) do not fit: {e.shape} and {z.shape}")
    if e.size == 0:
        return 1.0
    z[:, good] = -np.inf
    difference = e[np.arange(len(e)), z.argmax(axis=1)].astype(np.float64) - e[:, good]
    scale = float(np.quantile(np.abs(difference), quantile))
    return scale if scale > 0 else 1.0


def spread(values: ArrayLike, size: tuple[int, int], placement: Placement) -> Floats:
    """A map `(h, w)` at every pixel of a picture of `size`: bilinear between cell centres, level beyond them."""
    v = np.asarray(values, dtype=np.float64)
    rows = _weights(size[0], v.shape[0], placement.offset[0], placement.stride[0])
    columns = _weights(size[1], v.shape[1], placement.offset[1], placement.stride[1])
    return np.asarray(rows @ v @ columns.T, dtype=np.float64)


def _weights(pixels: int, cells: int, offset: float, stride: float) -> Floats:
    """The share `(pixels, cells)` of each cell in each pixel along one axis."""
    place = np.clip((np.arange(pixels) - offset) / stride, 0, cells - 1)
    return np.asarray(np.maximum(0.0, 1.0 - np.abs(place[:, None] - np.arange(cells))), dtype=np.float64)


def draw_overlay(
    picture: NDArray[np.uint8],
    values: ArrayLike,
    *,
    scale: float,
    placement: Placement | None = None,
    input_size: tuple[int, int] | None = None,
) -> Picture:
    """The picture in grey with signed evidence in colour: uint8 `(H, W, 3)`.

    Parameters
    ----------
    picture : uint8 `(H, W)` or `(H, W, C)` with C 1 or 3.
    values : `(h, w)` signed evidence in logits, `SignedEvidence.values`.
    scale : logits at full colour, the same for every image that is compared (`evidence_scale`).
    placement : of the cells in the network's input; None stretches the map over the picture.
    input_size : height and width of the network's input when the picture is shown at another size.
    """
    if not scale > 0:
        raise EyelineError(f"the scale of the evidence is {scale}; it must be positive")
    grey = luma(picture)
    size = (grey.shape[0], grey.shape[1])
    v = np.asarray(values, dtype=np.float64)
    if placement is None:
        placement = Placement.stretched((v.shape[0], v.shape[1]), size)
    elif input_size is not None:
        placement = placement.scaled(input_size, size)
    strength = np.clip(spread(v, size, placement) / scale, -1.0, 1.0)
    opacity = STRENGTH * np.abs(strength)[:, :, None]
    colour = np.where(strength[:, :, None] > 0, DEFECT_RGB, GOOD_RGB)
    return np.rint(grey[:, :, None] * (1 - opacity) + colour * opacity).astype(np.uint8)


def luma(picture: NDArray[Any]) -> Floats:
    """Brightness (ITU-R 601) of a uint8 picture `(H, W)`, `(H, W, 1)` or `(H, W, 3)` as floats 0..255."""
    p = np.asarray(picture)
    if p.ndim == 3 and p.shape[2] in (1, 3):
        p = p[:, :, 0] if p.shape[2] == 1 else p @ np.array([0.299, 0.587, 0.114])
    if p.ndim != 2 or p.size == 0:
        raise EyelineError(f"a picture of shape {np.shape(picture)}; allowed: (H, W), (H, W, 1) or (H, W, 3)")
    return p.astype(np.float64)
