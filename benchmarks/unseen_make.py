"""A module of a make that nobody labelled: how wrong is the inspector there, and does it say so? Solar cells.

    python benchmarks/unseen_make.py [--seeds 0 1 2 3 4] [--alpha 0.02] [--output benchmarks/results/unseen_make.json]

The splits of `elpv.py`: in each, a fifth of the 43 modules of ELPV is held out (the one that is in the set twice counts
once). A head is fitted to frozen features (EfficientNet-Lite0, ImageNet weights, 300 px) of all other cells, and the
distance beyond which a cell is unknown is found as `eyeline train --unknown 0.02` finds it, from cells of modules that
were left out. Told are the AUROC over all held-out cells and over those not taken for unknown, and the share of each
held-out module that is.

Results: benchmarks/results/unseen_make.json. One thread; about five minutes.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from elpv import SIZE, held_out, tied, unknown_cells
from eyeline.files import write_json
from eyeline.images import DecodeOptions, ImageTable, make_folds, read_images
from eyeline.jobs.features import published_features
from eyeline.training import fit_head
from eyeline.verdicts import auroc, defect_scores, softmax

RESULTS = Path(__file__).parent / "results" / "unseen_make.json"
NETWORK, FOLDS = "efficientnet_lite0", 3


def one_split(
    table: ImageTable, features: NDArray[np.float32], held: NDArray[np.int64], alpha: float
) -> dict[str, Any]:
    train = np.setdiff1d(np.arange(len(table)), held)
    part, groups = table.select(train), np.array(table.groups, dtype=object)
    folds = make_folds(part, k=FOLDS, by="group", seed=0)
    shares = np.bincount(part.targets) / len(part)
    head = fit_head(features[train], part.targets, folds, classes=2, weights=1 / shares[part.targets])
    scores = defect_scores(softmax(features[held] @ head.weight.T + head.bias), 0)
    unknown = unknown_cells(table, features, held, alpha)
    defect, names = table.is_defect[held], groups[held]
    modules = {str(name): round(float(unknown[names == name].mean()), 4) for name in np.unique(names)}
    return {
        "cells": len(held),
        "unknown": int(unknown.sum()),
        "auroc": float(auroc(scores, defect)),
        "auroc of the known": float(auroc(scores[~unknown], defect[~unknown])),
        "unknown share of each module": modules,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--alpha", type=float, default=0.02)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    table = tied(read_images("elpv"))
    found = published_features(table, DecodeOptions(image_size=(SIZE, SIZE), channels=1), NETWORK)
    if found is None:
        raise SystemExit(f"no published weights of {NETWORK} are installed")
    features = found[:, : found.shape[1] // 2]  # the averages, which are what a network's last layer sees
    rows = []
    for seed in options.seeds:
        for fold in range(5):
            row = one_split(table, features, held_out(table, "grouped", seed, fold), options.alpha)
            rows.append({"seed": seed, "fold": fold} | row)
            most = max(row["unknown share of each module"].items(), key=lambda item: item[1])
            print(
                f"seed {seed} fold {fold}: AUROC {row['auroc']:.3f}, of the known {row['auroc of the known']:.3f}; "
                f"{row['unknown']} of {row['cells']} unknown, most in {most[0]} ({100 * most[1]:.0f} %)",
                flush=True,
            )
    write_json(options.output, {"alpha": options.alpha, "image_size": SIZE, "rows": rows})


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
