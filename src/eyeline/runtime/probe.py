"""A synthetic picture that tells whether this machine decodes and resizes as the one that trained.

Decoders and resizers that differ a little are the usual reason for a shipped network that changes its mind.
The probe holds no user data: a JPEG made once, and the SHA-256 of the pixels that `prepare_image` made of it
there.
"""

from __future__ import annotations

import base64
import hashlib
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eyeline.images import DecodeOptions, prepare_image
from eyeline.runtime.contract import DecodeProbe


def make_probe(options: DecodeOptions) -> DecodeProbe:
    """The probe of an artifact that decodes with `options`."""
    jpeg = io.BytesIO()
    Image.fromarray(_pattern()).save(jpeg, "JPEG", quality=85, subsampling="4:2:0")
    return DecodeProbe(
        jpeg=base64.b64encode(jpeg.getvalue()).decode(), sha256=_digest(jpeg.getvalue(), options)
    )


def probe_agrees(probe: DecodeProbe, options: DecodeOptions) -> bool:
    """Does this machine make the very same pixels of the probe?"""
    return _digest(base64.b64decode(probe.jpeg, validate=True), options) == probe.sha256


def _digest(jpeg: bytes, options: DecodeOptions) -> str:
    return hashlib.sha256(prepare_image(jpeg, options).tobytes()).hexdigest()


def _pattern() -> NDArray[np.uint8]:
    """Edges, ramps and colour at odd sides, in whole numbers: the same everywhere."""
    y, x = np.mgrid[0:67, 0:91]
    ramp = (x * 255 // 90, y * 255 // 66, (x * y) % 256)
    stripes = ((x // 7 + y // 5) % 2) * 60
    return np.stack([np.clip(channel - stripes, 0, 255) for channel in ramp], axis=2).astype(np.uint8)
