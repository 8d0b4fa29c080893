"""What is fuzzed: every door through which somebody else's bytes come in.

    python benchmarks/fuzz/targets.py decode|tables|artifact [libFuzzer options] [corpus folder]

A target may succeed or raise an EyelineError; anything else is a finding, and so is an input that takes longer than
``-timeout`` or memory above ``-rss_limit_mb``. Coverage is measured in Eyeline's own modules. `run.py` starts this.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import atheris
import pyarrow

with atheris.instrument_imports(include=["eyeline"]):
    from eyeline.errors import EyelineError
    from eyeline.images import DecodeOptions, Tiling, open_tiles, prepare_image, read_images
    from eyeline.runtime import open_artifact
    from eyeline.runtime.artifact import SEAL_KEY, _entry

# What stands at the end of the input chooses among these, so that the input itself stays a plain file.
OPTIONS = (
    DecodeOptions(image_size=(8, 8), max_pixels=2**18),
    DecodeOptions(image_size=(8, 8), max_pixels=2**18, channels=1, resize="letterbox", range=(0, 4095)),
    DecodeOptions(image_size=(8, 8), max_pixels=2**18, resize="fit", region=(0.2, 0, 1, 0.7), background=9),
)
FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-tables-"))
SEAL_LENGTH = len(_entry(SEAL_KEY, "0" * 64))


def decode(data: bytes) -> None:
    """A file to the network's input, and to tiles."""
    options = OPTIONS[sum(data[-4:]) % len(OPTIONS)]
    pixels = prepare_image(data, options)
    if pixels.shape != (8, 8, options.channels) or pixels.dtype != "uint8":
        raise AssertionError(f"not the network's input: {pixels.shape} {pixels.dtype}")
    if len(data) % 16 == 0:
        tiles = open_tiles(data, options, Tiling(16, 0.5))
        tiles.cut(len(tiles) - 1)


def tables(data: bytes) -> None:
    """A table of images; the first byte says whether it is CSV or Parquet."""
    path = FOLDER / ("table.parquet" if data[:1] == b"P" else "table.csv")
    path.write_bytes(data if data[:1] == b"P" else data[1:])
    read_images(path, good="good")


def artifact(data: bytes) -> None:
    """An artifact as it is, and once more under a right seal, behind which few flipped bits would come otherwise."""
    try:
        open_artifact(data)
    except EyelineError:
        body = data[:-SEAL_LENGTH] if SEAL_KEY.encode() in data[-SEAL_LENGTH:] else data
        open_artifact(body + _entry(SEAL_KEY, hashlib.sha256(body).hexdigest()))


TARGETS: dict[str, Callable[[bytes], None]] = {"decode": decode, "tables": tables, "artifact": artifact}


def main() -> None:
    target = TARGETS[sys.argv.pop(1)]
    warnings.simplefilter("ignore")
    pyarrow.set_cpu_count(1)
    for name in "abcd":
        (FOLDER / f"{name}.png").write_bytes(b"")  # tables name them; nobody opens them

    def one(data: bytes) -> None:
        try:
            target(data)
        except EyelineError as error:
            if "\n" in str(error):
                raise AssertionError("a message of two lines") from error

    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
