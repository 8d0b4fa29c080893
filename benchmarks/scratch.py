"""From nothing to Fashion-MNIST: test accuracy within so many minutes, all the work of `eyeline train` included.

    python benchmarks/scratch.py [--minutes 10] [--seeds 0 1 2] [--network resnet20] [--recipe scratch] [--threads 2]

60,000 training images of which a fifth chooses the epoch, 10,000 test images that choose nothing, no published weights.
`accuracy` takes the most probable class of the test images, as published figures do, and `validation` that of the
fifth, which is what settings may be compared by. `accuracy_of_verdicts` is what the inspector says, whose threshold
between the good class and all others is chosen for balanced errors.
The budget is that of training; seconds are those of the whole command. Entries already in the results file are not
measured again. Where Fashion-MNIST lies is said by EYELINE_FASHION_MNIST, a folder with its four IDX files.
Results: benchmarks/results/scratch.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from eyeline.files import write_json
from eyeline.jobs import train
from eyeline.training import find_recipe

RESULTS = Path(__file__).parent / "results" / "scratch.json"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", nargs="+", type=float, default=[10])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--network", default="resnet20")
    parser.add_argument("--recipe", default="scratch")
    parser.add_argument("--image-size", type=int, default=28)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    recipe = find_recipe(options.recipe).to_dict()
    for minutes in options.minutes:
        about = {"network": options.network, "minutes": minutes, "recipe": recipe, "threads": options.threads}
        for seed in options.seeds:
            key = about | {"seed": seed, "image_size": options.image_size}
            if any(key.items() <= entry.items() and "accuracy" in entry for entry in entries(options.output)):
                continue
            with tempfile.TemporaryDirectory() as folder:
                run = train(
                    "fashion-mnist",
                    network=options.network,
                    weights="none",
                    image_size=options.image_size,
                    recipe=recipe,
                    budget=60 * minutes,
                    seed=seed,
                    out=Path(folder) / "run",
                )
                rows = [json.loads(line) for line in (Path(folder) / "run" / "metrics.jsonl").open()]
                found = {
                    "accuracy": top_one(Path(folder) / "run" / "predictions.parquet"),
                    "validation": max(row["val_balanced_accuracy"] for row in rows),
                    "steps": json.loads((Path(folder) / "run" / "run.json").read_text("utf-8"))["steps"],
                    "accuracy_of_verdicts": run.evaluation.accuracy.value,
                    "seconds": round(run.seconds),
                }
            write_json(options.output, {"entries": [*entries(options.output), key | found]})
            print(f"{options.network}, {minutes:g} min, seed {seed}: {found}", flush=True)
        accuracies = [
            row["accuracy"]
            for row in entries(options.output)
            if about.items() <= row.items() and "accuracy" in row
        ]
        print(
            f"{minutes:g} min: {np.mean(accuracies):.4f} +- {np.std(accuracies):.4f}, {len(accuracies)} seeds"
        )


def top_one(predictions: Path) -> float:
    """The share of the test part whose most probable class is the true one."""
    test = pq.read_table(predictions, filters=[("split", "=", "test")])
    names = [name for name in test.column_names if name.startswith("p_")]
    best = np.column_stack([test[name].to_numpy() for name in names]).argmax(axis=1)
    truth = np.array(test["truth"].to_pylist())
    return float((np.array([name.removeprefix("p_") for name in names])[best] == truth).mean())


def entries(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))["entries"] if path.exists() else []
    return found


if __name__ == "__main__":
    main()
