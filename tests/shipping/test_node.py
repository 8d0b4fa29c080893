"""The artifact outside Python: onnxruntime-node gives the probabilities that the golden images expect."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from eyeline.runtime import Artifact

SCRIPT = """
const ort = require('onnxruntime-node');
const fs = require('fs');
(async () => {
  const [model, pixels, ...shape] = process.argv.slice(2);
  const session = await ort.InferenceSession.create(model);
  const image = new ort.Tensor('uint8', new Uint8Array(fs.readFileSync(pixels)), shape.map(Number));
  const found = await session.run({ image });
  console.log(JSON.stringify({
    inputs: session.inputNames, outputs: session.outputNames,
    probabilities: Array.from(found.probabilities.data), logits: Array.from(found.logits.data),
  }));
})();
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which Node finds onnxruntime-node."""
    folder = tmp_path_factory.mktemp("node")
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node.js with npm is not installed")
    done = subprocess.run(
        ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "onnxruntime-node"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    if done.returncode != 0:
        pytest.skip(f"onnxruntime-node cannot be installed here: {done.stderr.strip()[-200:]}")
    (folder / "run.js").write_text(SCRIPT)
    return folder


@pytest.mark.slow
def test_node_says_what_the_golden_images_expect(node: Path, shipped: Artifact) -> None:
    contract = shipped.contract
    pixels = np.stack([image.pixels(contract.decode.channels) for image in contract.golden])
    (node / "pixels").write_bytes(pixels.tobytes())
    words = ["node", "run.js", str(shipped.path), "pixels", *map(str, pixels.shape)]
    done = subprocess.run(words, cwd=node, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["inputs"], found["outputs"]) == (["image"], ["probabilities", "logits", "evidence"])
    for name in ("probabilities", "logits"):
        expected = [value for image in contract.golden for value in getattr(image, name)]
        np.testing.assert_allclose(found[name], expected, atol=contract.tolerance, rtol=1e-4)
