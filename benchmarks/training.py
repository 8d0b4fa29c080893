"""What a training step costs, and what keeping freed memory saves.

    python benchmarks/training.py [--rounds 3]

EfficientNet-Lite0 with folded batch norm at 300 px, one channel, batches of 32, two threads, the first 45 % of the
stages frozen as in the default recipe. Each arm runs in a process of its own, since the memory hint cannot be taken
back; the arms alternate. Written to benchmarks/results/training.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "training.json"
BATCH, SIZE, STEPS = 32, 300, 4


def arm(keep: bool) -> None:
    """Print images per second of one process."""
    import torch

    from eyeline.networks import create_network, fold_batch_norm
    from eyeline.training import Recipe
    from eyeline.training.memory import keep_freed_memory
    from eyeline.training.plan import parameter_groups

    torch.set_num_threads(2)
    if keep:
        assert keep_freed_memory(), "this system does not take the hint"
    net = create_network("efficientnet_lite0", num_classes=2, in_channels=1, weights="imagenet")
    x = torch.randn(BATCH, SIZE, SIZE, 1).permute(0, 3, 1, 2)
    fold_batch_norm(net, x[:1])
    optimizer = torch.optim.AdamW(parameter_groups(net, Recipe()), fused=True)
    seconds = []
    for _ in range(STEPS + 1):
        started = time.perf_counter()
        optimizer.zero_grad()
        net(x).sum().backward()
        optimizer.step()
        seconds.append(time.perf_counter() - started)
    print(BATCH / statistics.median(seconds[1:]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--arm", choices=["keep", "plain"])
    options = parser.parse_args()
    if options.arm:
        arm(options.arm == "keep")
        return
    found: dict[str, list[float]] = {"keep": [], "plain": []}
    for number in range(options.rounds):
        for name in ("keep", "plain") if number % 2 == 0 else ("plain", "keep"):
            done = subprocess.run(
                [sys.executable, __file__, "--arm", name],
                capture_output=True,
                text=True,
                check=True,
                env=os.environ,
            )
            found[name].append(float(done.stdout.split()[-1]))
            print(f"{name:<6} {found[name][-1]:6.1f} images/s", flush=True)
    medians = {name: statistics.median(values) for name, values in found.items()}
    result = {
        "network": "efficientnet_lite0",
        "image_size": SIZE,
        "batch": BATCH,
        "threads": 2,
        "images_per_second": found,
        "median": medians,
        "ratio": medians["keep"] / medians["plain"],
    }
    print(f"keeping freed memory: {result['ratio']:.2f} times the images/s")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
