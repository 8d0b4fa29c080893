"""What should follow the mean of the folds' networks? A short pass over all images, on solar cells.

    python benchmarks/lastpass.py --split grouped --seed 1 --fold 0 [--rates 1e-4 3e-4] [--full] [--threads 2]

Splits and network as in `elpv.py`. The folds are trained once and averaged. From the mean one epoch over everything
that is not held out, at each of the rates; half way stands for the mean of before and after. With --full also one
network trained on everything from the fitted head. These splits have chosen the last pass of `eyeline train`
(`training.folds.last_pass`), so no figure of it may be claimed from them. Results: benchmarks/results/lastpass.json.
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from elpv import NETWORK, SIZE, all_features, examples_of, figures, held_out, published, tied
from eyeline.files import write_json
from eyeline.images import DecodeOptions, make_folds, open_cache, read_images
from eyeline.networks import Network, Views
from eyeline.progress import silent
from eyeline.training import find_recipe, fit, freeze_batch_norm, predict_logits
from eyeline.training.balance import prior_shift, undo_balance
from eyeline.training.folds import average_weights, each_fold
from eyeline.training.ranks import ALONE

RESULTS = Path(__file__).parent / "results" / "lastpass.json"


def mean_of(*networks: Network) -> Network:
    net = copy.deepcopy(networks[0])
    average_weights(net, list(networks))
    return net


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--split", choices=["grouped", "random"], default="grouped")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--rates", nargs="+", type=float, default=[1e-4, 3e-4])
    parser.add_argument("--full", action="store_true", help="Train one network on everything, too.")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    recipe = find_recipe("elpv")
    table = tied(read_images("elpv"))
    pixels = open_cache(table, DecodeOptions(image_size=(SIZE, SIZE), channels=1)).pixels
    held = held_out(table, options.split, options.seed, options.fold)
    train = np.setdiff1d(np.arange(len(table)), held).astype(np.int64)
    by: Any = "group" if options.split == "grouped" else "image"
    net, normalize = published(NETWORK)
    folds = make_folds(table.select(train), k=3, by=by, seed=0)
    examples = examples_of(table, pixels, all_features(table, pixels, recipe), train, folds, recipe)
    freeze_batch_norm(net, recipe, normalize(pixels[:1]))
    results: dict[str, Any] = {"network": NETWORK, "recipe": recipe.to_dict(), "rows": []}
    if options.output.exists():
        results = json.loads(options.output.read_text())

    def judge(name: str, judged: Network) -> None:
        row = {"split": options.split, "seed": options.seed, "fold": options.fold, "network": name}
        for arm, seen in (("one view", judged), ("eight views", Views(judged, 8))):
            row[arm] = figures(predict_logits(seen, pixels, held, normalize), table, held)
        results["rows"].append(row)
        write_json(options.output, results)
        print(row, flush=True)

    with tempfile.TemporaryDirectory() as folder:
        about: dict[str, Any] = {"folder": Path(folder), "budget": None, "steps": None, "resume": False}
        fitted = each_fold(
            net, examples, recipe, normalize, seed=options.seed, ranks=ALONE, progress=silent, **about
        )
        mean = mean_of(*(each.network for _, each in fitted))
        judge("mean of the folds", mean)
        other: dict[str, Any] = {"choose_epoch": False}
        for rate in options.rates:
            start = copy.deepcopy(mean)
            undo_balance(start, 1 / prior_shift(examples, recipe))
            gentle = recipe.replace(epochs=1, learning_rate=rate, fit_head=False)
            path = Path(folder) / f"pass-{rate}"
            # Another order than that of the folds.
            after = fit(start, examples, gentle, normalize, folder=path, seed=options.seed + 100, **other)
            judge(f"one epoch at {rate:g}", after.network)
            judge(f"half way, {rate:g}", mean_of(mean, after.network))
        if options.full:
            path = Path(folder) / "full"
            whole = fit(
                copy.deepcopy(net), examples, recipe, normalize, folder=path, seed=options.seed, **other
            )
            judge("one network on everything", whole.network)


if __name__ == "__main__":
    main()
