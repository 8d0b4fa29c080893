"""How good is training on solar cells, by module and at random? The fitted head and fine-tuning, on the same splits.

    python benchmarks/elpv.py [--splits grouped random] [--seeds 0] [--folds 0 1 2 3 4] [--recipe default]
        [--network efficientnet_lite0] [--cross-fit] [--middle] [--threads 2]

Grouped: 5 folds of whole modules, the module that is in the set twice tied. Random: 75/25, stratified. In each split
the network (ImageNet weights, 300 px) learns from everything that is not held out, without choosing an epoch:
the held-out cells choose nothing. With --cross-fit it learns as `eyeline train` does: one network for each of three
folds of what is not held out, made one where that beats the fitted head. AUROC over all held-out cells, with one view
and with eight; the mean AUROC inside modules, which a module that looks unlike all others cannot spoil; and the AUROC
over the cells that `--unknown 0.02` would not take for unknown, told by the frozen features (see `unseen_make.py`).

Splits already in the results file with the same recipe are not run again, so an interrupted benchmark goes on.
Results: benchmarks/results/elpv.json.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from eyeline.files import write_json
from eyeline.images import DecodeOptions, ImageTable, make_folds, open_cache, read_images, split_images
from eyeline.jobs.soft_labels import soft_labels
from eyeline.networks import Network, Views, create_network, network_info
from eyeline.training import (
    Examples,
    Normalization,
    Recipe,
    cross_fit,
    embed_pixels,
    find_recipe,
    fit,
    freeze_batch_norm,
    predict_logits,
)
from eyeline.training.start import set_up, start_head
from eyeline.verdicts import auroc, fit_space, unknown_rule

RESULTS = Path(__file__).parent / "results" / "elpv.json"
NETWORK, SIZE = "efficientnet_lite0", 300


def tied(table: ImageTable) -> ImageTable:
    """The module whose cells 1734 to 1783 come again as 2276 to 2325 is one module, not two."""
    groups = table.groups
    assert groups is not None
    twin = {groups[1734]: groups[2276]}
    return replace(table, groups=tuple(twin.get(name, name) for name in groups))


def unknown_cells(
    table: ImageTable, features: NDArray[np.float32], held: NDArray[np.int64], alpha: float = 0.02
) -> NDArray[np.bool_]:
    """Which held-out cells lie too far from all others in the features `(N, C)`, as `--unknown` finds them."""
    train = np.setdiff1d(np.arange(len(table)), held)
    part, groups = table.select(train), np.array(table.groups, dtype=object)[train]
    folds = make_folds(part, k=3, by="group", seed=0)
    left_out = np.zeros(len(train))
    for fold in np.unique(folds):
        inside = folds == fold
        space = fit_space(features[train[~inside]], part.targets[~inside])
        left_out[inside] = space.distances(features[train[inside]])
    rule = unknown_rule(left_out, alpha, groups=groups)
    if rule.threshold is None:
        raise SystemExit(rule.text)
    return fit_space(features[train], part.targets).distances(features[held]) > rule.threshold


def figures(
    logits: NDArray[np.float32],
    table: ImageTable,
    held: NDArray[np.int64],
    unknown: NDArray[np.bool_] | None = None,
) -> dict[str, float]:
    scores, defect = logits[:, 1] - logits[:, 0], table.is_defect[held]
    groups = np.array(table.groups, dtype=object)[held]
    inside = [
        float(auroc(scores[groups == name], defect[groups == name]))
        for name in np.unique(groups)
        if 0 < defect[groups == name].sum() < (groups == name).sum()
    ]
    found = {"auroc": float(auroc(scores, defect)), "inside modules": float(np.mean(inside))}
    if unknown is not None:
        found["known"] = float(auroc(scores[~unknown], defect[~unknown]))
    return found


def held_out(table: ImageTable, split: str, seed: int, fold: int) -> NDArray[np.int64]:
    """Numbers of the cells of one fold of modules, or of a random quarter."""
    if split == "grouped":
        return np.flatnonzero(make_folds(table, k=5, by="group", seed=seed) == fold).astype(np.int64)
    parts = split_images(table, by="image", fractions=(0.75, 0.0, 0.25), seed=seed)
    return np.flatnonzero(np.array(parts) == "test").astype(np.int64)


def examples_of(
    table: ImageTable, pixels: Any, features: Any, train: NDArray[np.int64], folds: Any, recipe: Recipe
) -> Examples:
    """What is learned from `train`, without a validation part."""
    return Examples(
        pixels=pixels,
        targets=table.targets,
        classes=2,
        train=train,
        val=train[:0],
        folds=folds,
        features=features,
        soft=soft_labels(table) if recipe.soft_labels else None,
    )


def one_split(
    table: ImageTable,
    pixels: Any,
    features: Any,
    held: NDArray[np.int64],
    by: str,
    seed: int,
    recipe: Recipe,
    network: str,
    crossed: bool,
) -> dict[str, Any]:
    train = np.setdiff1d(np.arange(len(table)), held).astype(np.int64)
    net, normalize = published(network, recipe.middle)
    folds = make_folds(table.select(train), k=3, by=by, seed=0)  # type: ignore[arg-type]
    examples = examples_of(table, pixels, features, train, folds, recipe)
    set_up(net, examples, recipe, normalize)
    start_head(net, examples, recipe, normalize)
    unknown = unknown_cells(table, features.mean(axis=0), held)
    head = figures(predict_logits(net, pixels, held, normalize), table, held, unknown)
    with tempfile.TemporaryDirectory() as folder:
        about: dict[str, Any] = {"folder": Path(folder), "seed": seed}
        started = time.perf_counter()
        if crossed:
            groups = np.array(table.groups, dtype=object)[train] if by == "group" else None
            found = cross_fit(net, examples, recipe, normalize, groups=groups, **about)
            fitted, choice = found.fit.network, found.to_dict()
        else:
            fitted = fit(net, examples, recipe, normalize, choose_epoch=False, **about).network
            choice = {"method": "fine-tuned"}
        seconds = time.perf_counter() - started
    # A head alone is fitted to the image and its half turn, and averages no other views (see `cross_fit`).
    views = 8 if choice["method"] == "fine-tuned" else 2
    one = figures(predict_logits(fitted, pixels, held, normalize), table, held, unknown)
    many = figures(predict_logits(Views(fitted, views), pixels, held, normalize), table, held, unknown)
    return {
        "head": head,
        "tuned": one,
        "eight views": many,
        "unknown": int(unknown.sum()),
        "seconds": round(seconds, 1),
        "choice": choice,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--splits", nargs="+", choices=["grouped", "random"], default=["grouped", "random"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--folds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--network", default=NETWORK)
    parser.add_argument("--recipe", default="elpv")
    parser.add_argument(
        "--precision", choices=["auto", "float32", "bfloat16"], help="Instead of the recipe's."
    )
    parser.add_argument(
        "--cross-fit", action="store_true", help="Train as the command does, not one network."
    )
    parser.add_argument("--middle", action="store_true", help="Let the head read middle stages too.")
    parser.add_argument("--epochs", type=int, help="Instead of the recipe's.")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    recipe = find_recipe(options.recipe)
    if options.precision:
        recipe = recipe.replace(precision=options.precision)
    if options.epochs:
        recipe = recipe.replace(epochs=options.epochs)
    if options.middle:
        recipe = recipe.replace(middle=True)
    table = tied(read_images("elpv"))
    cache = open_cache(table, DecodeOptions(image_size=(SIZE, SIZE), channels=1))
    results = load(options.output)
    todo = [("grouped", seed, fold) for seed in options.seeds for fold in options.folds]
    jobs = [job for job in todo if "grouped" in options.splits]
    jobs += [("random", seed, 0) for seed in options.seeds if "random" in options.splits]
    features = None
    for split, seed, fold in jobs:
        key = {
            "network": options.network,
            "split": split,
            "seed": seed,
            "fold": fold,
            "recipe": options.recipe,
            "cross-fit": options.cross_fit,
            "last pass": options.cross_fit,  # which rows of earlier versions do not have
        }
        if any(key.items() <= row.items() and row["settings"] == recipe.to_dict() for row in results["rows"]):
            continue
        if features is None:
            features = all_features(table, cache.pixels, recipe, options.network)
        held = held_out(table, split, seed, fold)
        by = "group" if split == "grouped" else "image"
        row = one_split(
            table, cache.pixels, features, held, by, seed, recipe, options.network, options.cross_fit
        )
        results["rows"].append(key | row | {"threads": options.threads, "settings": recipe.to_dict()})
        write_json(options.output, results)
        print(
            f"{split} seed {seed} fold {fold}: head {row['head']['auroc']:.3f}, tuned {row['tuned']['auroc']:.3f}, "
            f"eight views {row['eight views']['auroc']:.3f}, {row['seconds']:.0f} s",
            flush=True,
        )
    for split in options.splits:
        about = {"network": options.network, "split": split, "settings": recipe.to_dict()}
        about |= {"cross-fit": options.cross_fit, "last pass": options.cross_fit}
        rows = [row for row in results["rows"] if about.items() <= row.items()]
        for arm in ("head", "tuned", "eight views") if rows else ():
            values = [r[arm]["auroc"] for r in rows]
            inside = np.mean([r[arm]["inside modules"] for r in rows])
            print(
                f"{split:8} {arm:12} {np.mean(values):.3f} +- {np.std(values):.3f} over {len(values)} splits, "
                f"{inside:.3f} inside modules"
            )


def load(path: Path) -> dict[str, Any]:
    if path.exists():
        found: dict[str, Any] = json.loads(path.read_text())
        return found
    return {
        "image_size": SIZE,
        "machine": platform.processor() or platform.machine(),
        "rows": [],
    }


def published(network: str, middle: bool = False) -> tuple[Network, Normalization]:
    """The network with its ImageNet weights, for two classes of grey pictures."""
    info = network_info(network)
    shape: dict[str, Any] = {"num_classes": 2, "in_channels": 1, "image_size": (SIZE, SIZE)}
    net = create_network(network, weights="imagenet", middle=middle, **shape)
    return net, Normalization(info.mean, info.std).for_channels(1)


def all_features(table: ImageTable, pixels: Any, recipe: Recipe, network: str = NETWORK) -> Any:
    """What the frozen network sees in every cell; no label is involved."""
    net, normalize = published(network, recipe.middle)
    rows = np.arange(len(table), dtype=np.int64)
    freeze_batch_norm(net, recipe, normalize(pixels[:1]))
    return embed_pixels(net, pixels, rows, normalize, half_turn=recipe.half_turn)


if __name__ == "__main__":
    main()
