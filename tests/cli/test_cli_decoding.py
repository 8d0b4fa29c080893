"""How files are decoded is said once, at training, and travels in the artifact."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eyeline.cli.app import run
from eyeline.errors import EyelineError
from eyeline.images import read_images
from eyeline.jobs import train
from eyeline.jobs.inputs import choose_decoding
from eyeline.runtime import load


@pytest.fixture(scope="module")
def floats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wide floating-point pictures, 0 to 4095; defects are bright spots in the right half."""
    folder = tmp_path_factory.mktemp("floats")
    rng = np.random.default_rng(0)
    for label in ("good", "spot"):
        (folder / label).mkdir()
        for number in range(20):
            values = rng.normal(1500, 200, (40, 80)).clip(0, 4095).astype(np.float32)
            if label == "spot":
                y, x = rng.integers(4, 30), rng.integers(46, 70)
                values[y : y + 6, x : x + 6] = 4000
            Image.fromarray(values).save(folder / label / f"{number:02}.tiff")
    return folder


def test_a_run_with_region_range_and_fit(floats: Path, tmp_path: Path) -> None:
    made = train(
        floats, out=tmp_path / "run", network="lenet5", weights="none", epochs=0, image_size=32,
        resize="fit", region=[0.5, 0, 1, 1], range=[0, 4095],
    )  # fmt: skip
    inspector = load(made.model)
    decode = inspector.contract.decode
    assert (decode.resize, decode.region, decode.range) == ("fit", (0.5, 0, 1, 1), (0, 4095))
    table = read_images(floats)
    values = np.asarray(Image.open(table.paths[0]))
    verdict = inspector.inspect(table.paths[0])
    assert verdict.error is None
    # The array, and the right half of it alone under a brighter left half, say the same.
    spoiled = values.copy()
    spoiled[:, :40] = 4095
    for other in (values, spoiled):
        assert inspector.inspect(other).probabilities == pytest.approx(verdict.probabilities, abs=1e-6)


def test_what_is_not_said_is_chosen_from_the_region(floats: Path) -> None:
    table = read_images(floats)
    with pytest.raises(EyelineError, match="can be read"):
        choose_decoding(table)
    whole = choose_decoding(table, range=[0, 4095])
    assert (whole.image_size, whole.channels, whole.resize) == ((80, 80), 1, "letterbox")
    half = choose_decoding(table, range=[0, 4095], region=[0.5, 0, 1, 1])
    assert (half.image_size, half.resize) == ((64, 64), "squash")
    assert choose_decoding(table, range=[0, 4095], resize="fit").resize == "fit"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--resize", "crop"], "squash, letterbox or fit"),
        (["--region", "0,0,1"], "left, top, right and bottom"),
        (["--region", "0.5,0,0.2,1"], "left < right"),
        (["--region", "left"], "numbers between commas"),
        (["--range", "4095,0"], "lower one first"),
        (["--range", "0,nan"], "two numbers"),
    ],
)
def test_wrong_wishes(
    floats: Path, tmp_path: Path, words: list[str], message: str, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert run(["train", str(floats), *words, "--out", str(tmp_path / "out")]) == 2
    assert message in capsysbinary.readouterr().err.decode().splitlines()[-1]
    assert not (tmp_path / "out").exists()
