"""Memory: a table larger than memory trains from the cache, and a batch in parts is the same batch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from eyeline.networks import create_network
from eyeline.training import Examples, Normalization, Recipe, embed_pixels, loop, memory
from eyeline.training.loop import Trainer
from eyeline.training.memory import PART_PIXELS, memory_parts

SCRIPT = """
import json, sys
from pathlib import Path
import numpy as np, torch
torch.set_num_threads(1)
from eyeline.networks import create_network
from eyeline.training import Examples, Normalization, Recipe, fit

def resident(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name + ":")) / 1000

folder, count = Path(sys.argv[1]), 200_000
pixels = np.load(folder / "pixels.npy", mmap_mode="r")
rows = np.arange(count)
examples = Examples(pixels=pixels, targets=rows % 2, classes=2, train=rows[: count - 200], val=rows[-200:],
    folds=rows[: count - 200] % 5, weights=np.ones(count))
net = create_network("resnet20", num_classes=2, in_channels=3)
before = resident("VmRSS")
normalize = Normalization((0.5,) * 3, (0.5,) * 3)
plan = fit(net, examples, Recipe(batch_size=16), normalize, folder=folder / "run", steps=12).plan
grown = resident("VmHWM") - before
print(json.dumps({"steps": plan.steps, "an_epoch": plan.steps_per_epoch, "grown": grown}))
"""


@pytest.mark.slow
def test_two_hundred_thousand_images_train_from_the_cache(tmp_path):
    """The decoded pixels are 1.8 GB; what training adds stays below a third of that."""
    shape = (200_000, 56, 56, 3)
    array = np.lib.format.open_memmap(tmp_path / "pixels.npy", mode="w+", dtype=np.uint8, shape=shape)
    array[::997] = np.random.default_rng(0).integers(0, 256, shape[1:], np.uint8)
    array.flush()
    del array
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["steps"] == 12
    assert found["an_epoch"] == 12_488
    assert found["grown"] < 500, found
    assert Path(tmp_path / "run" / "metrics.jsonl").read_text().count("\n") == 2


def test_parts_are_whole_images_within_the_limit():
    assert memory_parts(torch.empty((32, 3, 300, 300), device="meta")) == 1  # not a processor
    x = torch.zeros(1).expand(32, 3, 300, 300)
    assert memory_parts(x) == 2
    assert max(len(part) for part in x.chunk(2)) * 300 * 300 <= PART_PIXELS
    assert memory_parts(torch.zeros(1).expand(32, 3, 200, 200)) == 1
    assert memory_parts(torch.zeros(1).expand(3, 3, 4096, 4096)) == 3


def test_a_batch_in_parts_has_the_same_gradient(monkeypatch):
    """Where no layer looks at two images at once."""
    rng = np.random.default_rng(0)
    examples = Examples(
        pixels=rng.integers(0, 256, (24, 16, 16, 1), dtype=np.uint8),
        targets=rng.integers(0, 2, 24),
        classes=2,
        train=np.arange(20),
        val=np.arange(20, 24),
        folds=np.arange(20) % 2,
        weights=rng.uniform(0.5, 2, 24),
    )
    recipe = Recipe(batch_size=10, dropout=0.0, batch_norm="freeze")
    torch.manual_seed(0)
    net = create_network("resnet20", num_classes=2, in_channels=1)
    loop.set_up(net, examples, recipe, Normalization((0.5,), (0.5,)))
    trainer = Trainer(net, examples, recipe, Normalization((0.5,), (0.5,)), True, 0)
    x, labels, total = trainer.batch(examples.train[:10], recipe, 1, 0)
    found = []
    for limit in (memory.PART_PIXELS, 3 * 16 * 16):  # at once, and by three
        monkeypatch.setattr(memory, "PART_PIXELS", limit)
        net.zero_grad()
        value = trainer.gradient(net, x, labels, total, recipe)
        found.append((value, torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])))
    (whole, one), (parts, other) = found
    assert memory_parts(x) == 4
    assert parts == pytest.approx(whole, rel=1e-5)
    torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-5)


def test_features_are_written_in_the_order_asked_for():
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (70, 16, 16, 1), dtype=np.uint8)
    net = create_network("resnet20", num_classes=2, in_channels=1).eval()
    rows = rng.permutation(70)[:67]  # three batches, the last one short
    normalize = Normalization((0.5,), (0.5,))
    found = embed_pixels(net, pixels, rows, normalize, half_turn=True)
    assert found.flags.c_contiguous
    with torch.no_grad():
        expected = net.embed(normalize(pixels[rows])).numpy()
        turned = net.embed(normalize(np.ascontiguousarray(pixels[rows, ::-1, ::-1]))).numpy()
    np.testing.assert_allclose(found, np.stack([expected, turned]), rtol=1e-4, atol=1e-5)
