"""AUROC against seconds on solar cells: `eyeline train` with several budgets, fastai's `fine_tune` epoch by epoch.

    python benchmarks/race.py --arms eyeline --minutes 0 3 5 10 20 [--seeds 0] [--threads 2]
    python benchmarks/race.py --arms fastai --rates 5e-4 2e-3 5e-3 --epochs 5 15 --fastai-path FOLDER

ELPV at random, 75 % to learn from, 25 % to be judged on, the same split for both; EfficientNet-Lite0 with the same
published weights.

- eyeline: one run of the whole command an entry, everything from reading files to the proven artifact and the report
  within its seconds. 0 minutes is `--recipe probe`; a budget is `--budget`, which is for training alone. Fine-tuned at
  300 px, by cross-fitting, which has no validation part.
- fastai: `fine_tune(epochs, rate)` at 224 px under its own head. Seconds until the end of each epoch; judging the
  held-out cells is not counted. Its curve is that of one schedule, which anneals at its own end. A step costs the same
  at any rate, so one run must have the machine to itself and others may run side by side, with `--threads 1 --shared`:
  their epochs are then counted at the pace of the first, and what they took is kept as `shared_seconds`.

Entries already in the results file are not measured again. Results: benchmarks/results/race.json and the picture
docs/race.svg.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from contenders.fastai_learner import defect_probabilities, make_learner
from eyeline.files import write_atomically, write_json
from eyeline.images import ImageTable, read_images, split_images
from eyeline.jobs import train
from eyeline.reports.svg import Plot
from eyeline.training import find_recipe
from eyeline.verdicts import auroc
from pictures import whole_file

ROOT = Path(__file__).parents[1]
RESULTS, PICTURE = ROOT / "benchmarks" / "results" / "race.json", ROOT / "docs" / "race.svg"
NETWORK = "efficientnet_lite0"


def split(seed: int) -> ImageTable:
    # Without its modules: a random split tears them apart, which Eyeline would refuse.
    table = replace(read_images("elpv"), groups=None)
    return replace(table, splits=split_images(table, by="image", fractions=(0.75, 0.0, 0.25), seed=seed))


def by_eyeline(table: ImageTable, minutes: float, seed: int) -> list[dict[str, Any]]:
    recipe = find_recipe("default" if minutes else "probe").to_dict()
    with tempfile.TemporaryDirectory() as folder:
        run = train(
            table,
            network=NETWORK,
            recipe=recipe,
            budget=60 * minutes or None,
            seed=seed,
            out=Path(folder) / "run",
        )
        record = json.loads((Path(folder) / "run" / "run.json").read_text("utf-8"))
    assert run.choice is not None
    found = {
        "seconds": round(run.seconds, 1),
        "auroc": run.evaluation.auroc.value,
        "method": run.choice["method"],
        "cross-validated": {name: run.choice[name] for name in ("fitted head", "fine-tuned")},
        "steps": record["steps"],  # of each fold
    }
    return [found]


def by_fastai(table: ImageTable, rate: float, epochs: int, seed: int) -> list[dict[str, Any]]:
    from fastai.callback.core import Callback  # type: ignore[import-not-found]
    from fastai.torch_core import set_seed  # type: ignore[import-not-found]
    from fastai.vision.all import CrossEntropyLossFlat, Learner  # type: ignore[import-not-found]

    splits = np.array(table.splits)
    held = np.flatnonzero(splits == "test").astype(np.int64)
    rows: list[dict[str, Any]] = []
    started = time.perf_counter()

    class Judge(Callback):  # type: ignore[misc]
        """Judges the held-out cells after every epoch, off the clock."""

        def after_epoch(self) -> None:
            nonlocal started
            stopped = time.perf_counter()
            # A learner of its own: get_preds would disturb the state of the one that is in the middle of training.
            judge = Learner(self.dls, self.model, loss_func=CrossEntropyLossFlat())
            value = auroc(defect_probabilities(judge, table, held), table.is_defect[held])
            self.model.train()
            rows.append({"seconds": round(stopped - started, 1), "auroc": float(value)})
            print(f"    {rows[-1]}", flush=True)
            started += time.perf_counter() - stopped

    set_seed(seed)
    learner = make_learner(NETWORK, table, np.flatnonzero(splits == "train").astype(np.int64), Judge())
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(epochs, rate)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--arms", nargs="+", choices=["eyeline", "fastai"], default=["eyeline", "fastai"])
    parser.add_argument("--minutes", nargs="+", type=float, default=[0, 3, 5, 10, 20, 40])
    parser.add_argument("--rates", nargs="+", type=float, default=[5e-4, 2e-3, 5e-3])
    parser.add_argument("--epochs", nargs="+", type=int, default=[5, 15])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--shared", action="store_true", help="fastai shares the machine with another job.")
    parser.add_argument("--fastai-path", help="A folder with fastai, where it is not installed.")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    if options.fastai_path:
        sys.path.append(options.fastai_path)
    torch.set_num_threads(options.threads)
    jobs: list[dict[str, Any]] = []
    for seed in options.seeds:
        if "eyeline" in options.arms:
            jobs += [{"arm": "eyeline", "seed": seed, "minutes": minutes} for minutes in options.minutes]
        if "fastai" in options.arms and importlib.util.find_spec("fastai"):
            jobs += [
                {"arm": "fastai", "seed": seed, "rate": rate, "epochs": epochs}
                for epochs in options.epochs
                for rate in options.rates
            ]
    for job in jobs:
        key = job | {"threads": options.threads}
        if any(key.items() <= entry.items() for entry in entries(options.output)):
            continue
        table = split(job["seed"])
        if job["arm"] == "eyeline":
            curve = by_eyeline(table, job["minutes"], job["seed"])
        else:
            curve = by_fastai(table, job["rate"], job["epochs"], job["seed"])
            if options.shared:
                curve = at_pace(curve, entries(RESULTS))
        # Read anew: another process may have added its own.
        write_json(
            options.output,
            {"network": NETWORK, "entries": [*entries(options.output), key | {"curve": curve}]},
        )
        print(key, curve[-1], flush=True)
    found = entries(options.output)
    if options.output == RESULTS and found:
        write_atomically(PICTURE, draw_picture(found))


def at_pace(curve: list[dict[str, Any]], found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The curve of a run that shared the machine, at the seconds an epoch of the run that had it to itself."""
    alone = next(entry["curve"] for entry in found if entry["arm"] == "fastai" and entry["threads"] > 1)
    frozen = alone[0]["seconds"]  # The epoch of the head alone is cheaper.
    epoch = (alone[-1]["seconds"] - frozen) / (len(alone) - 1)
    return [
        point | {"seconds": round(frozen + i * epoch, 1), "shared_seconds": point["seconds"]}
        for i, point in enumerate(curve)
    ]


def draw_picture(found: list[dict[str, Any]]) -> str:
    """AUROC over minutes on a logarithmic axis: a dot a run of Eyeline, a line a run of fastai."""
    lowest = min(point["auroc"] for entry in found for point in entry["curve"])
    plot = Plot(
        x=(np.log(1), np.log(66)),
        y=(np.floor(20 * lowest) / 20, 1.0),
        width=720,
        height=420,
        left=62,
        right=100,
        top=32,
    )
    plot.axes(
        "Minutes since the command began",
        "AUROC on held-out cells",
        x_ticks=[np.log(minutes) for minutes in (1, 2, 5, 10, 20, 40, 60)],
        y_ticks=np.arange(plot.y[0], 1.001, 0.05).tolist(),
        x_text=lambda x: f"{np.exp(x):.2g}",
        y_text="{:.2f}".format,
    )
    seeds = sorted({entry["seed"] for entry in found})
    for entry in found:
        points = [(np.log(point["seconds"] / 60), point["auroc"]) for point in entry["curve"]]
        if entry["arm"] == "fastai":
            plot.line(*zip(*points, strict=True), "fastai")
        for x, y in points:
            plot.dot(x, y, f"{entry['arm']}_dot", radius=4 if entry["arm"] == "eyeline" else 2.5)
    for seed in seeds:
        own = [entry for entry in found if entry["arm"] == "eyeline" and entry["seed"] == seed]
        points = sorted((np.log(e["curve"][0]["seconds"] / 60), e["curve"][0]["auroc"]) for e in own)
        if points:
            plot.line(*zip(*points, strict=True), "eyeline")
    for entry in found:  # after all lines, which they may lie on
        if entry["arm"] == "fastai":
            end = entry["curve"][-1]
            name = f"{entry['epochs']} epochs, {entry['rate']:g}"
            plot.note(np.log(end["seconds"] / 60), end["auroc"], name, "halo", dx=7, dy=4)
    plot.text(plot.left, 16, "● eyeline train, a run a dot   ─ fastai fine_tune, epoch by epoch", "")
    return whole_file(plot, "AUROC against minutes, Eyeline and fastai")


def entries(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))["entries"] if path.exists() else []
    return found


if __name__ == "__main__":
    main()
