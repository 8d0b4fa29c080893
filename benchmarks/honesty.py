"""Is a claim honest on parts that were never seen? Solar cells by module, many random halves.

    python benchmarks/honesty.py [--splits 200] [--output benchmarks/results/honesty.json]

Each split deals the 43 modules of ELPV (the one that is in the set twice counts once) into halves. On one half a linear
head is fitted to frozen features (EfficientNet-Lite0, ImageNet weights, a fixed random projection to 256 numbers, so
that a fit takes a fraction of a second); its left-out scores, by module, choose the threshold under a claim with the
code of `eyeline train`. The other half judges the head that was fitted to all of the first: scores of another network
than those that made the promise, as in a real run.

A claim is *kept* when the escape rate seen on the other half is at most the promised one, and *not contradicted* when
`check_claim` does not find the opposite at the confidence of the claim. Both are counted over the splits in which the
claim was granted; by module, and naively by image.

Results: benchmarks/results/honesty.json. One thread; about three minutes.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from eyeline.files import write_json
from eyeline.images import ImageTable, make_folds, read_images
from eyeline.jobs.features import published_features
from eyeline.jobs.inputs import choose_decoding
from eyeline.training import fit_head
from eyeline.verdicts import Wishes, auroc, check_claim, choose_cuts, defect_scores, softmax

RESULTS = Path(__file__).parent / "results" / "honesty.json"
NETWORK, NUMBERS, FOLDS = "efficientnet_lite0", 256, 3
DEMANDS = [f"escape<={escape}@{sure}" for sure in (0.9, 0.95) for escape in (0.05, 0.1, 0.2, 0.3)]
DEMANDS += ["escape<=0.1", "escape<=0.2"]


def solar_cells() -> tuple[ImageTable, NDArray[np.float64]]:
    """The cells with their modules, and what the frozen network sees, `(N, 256)`."""
    table = read_images("elpv")
    assert table.groups is not None
    twin = {table.groups[1734]: table.groups[2276]}
    features = published_features(table, choose_decoding(table), NETWORK)
    if features is None:
        raise SystemExit(f"no published weights of {NETWORK} are installed")
    tied = replace(table, groups=tuple(twin.get(name, name) for name in table.groups))
    return tied, projected(features)


def projected(features: NDArray[np.floating]) -> NDArray[np.float64]:
    """A random projection that no image has a say in."""
    directions = np.random.default_rng(0).normal(size=(features.shape[1], NUMBERS))
    return np.asarray(features @ directions / np.sqrt(features.shape[1]), dtype=np.float64)


def one_split(
    table: ImageTable, features: NDArray[np.float64], chosen: NDArray[np.bool_], demands: list[str]
) -> dict[str, Any]:
    """What is promised on the chosen modules, and what became of it on the others."""
    groups, d = np.array(table.groups, dtype=object), table.is_defect
    part = table.select(chosen)
    shares = np.bincount(part.targets) / len(part)
    folds = make_folds(part, k=FOLDS, by="group")
    head = fit_head(features[chosen], part.targets, folds, classes=2, weights=1 / shares[part.targets])
    left_out = defect_scores(softmax(head.left_out), 0)
    new = defect_scores(softmax(features[~chosen] @ head.weight.T + head.bias), 0)
    found: dict[str, Any] = {"auroc": [float(auroc(left_out, d[chosen])), float(auroc(new, d[~chosen]))]}
    for demand in demands:
        wishes = Wishes.parse(claim=demand)
        assert wishes.claim is not None
        for way, given in (("by_module", groups[chosen]), ("by_image", None)):
            choice = choose_cuts(left_out, d[chosen], wishes, groups=given)
            assert choice.claim is not None
            if not choice.claim.granted:
                continue
            check = check_claim(new, d[~chosen], wishes.claim, choice.low, groups=groups[~chosen])
            escape = float((new[d[~chosen]] < choice.low).mean())
            found[f"{demand} {way}"] = {
                "escape": escape,
                "overkill": float((new[~d[~chosen]] >= choice.low).mean()),
                "kept": escape <= wishes.claim.escape,
                "outcome": check.outcome,
            }
    return found


def summary(rows: list[dict[str, Any]], demand: str, way: str) -> dict[str, Any]:
    granted = [row[f"{demand} {way}"] for row in rows if f"{demand} {way}" in row]

    def mean(values: list[Any]) -> float | None:
        return float(np.mean(values)) if granted else None

    return {
        "granted": len(granted),
        "kept": mean([row["kept"] for row in granted]),
        "not_contradicted": mean([row["outcome"] != "contradicted" for row in granted]),
        "supported": mean([row["outcome"] == "supported" for row in granted]),
        "escape": mean([row["escape"] for row in granted]),
        "overkill": mean([row["overkill"] for row in granted]),
    }


def measure(
    table: ImageTable, features: NDArray[np.float64], splits: int, demands: list[str] = DEMANDS
) -> dict[str, Any]:
    """Every demand over `splits` random halves of the groups."""
    groups = np.array(table.groups, dtype=object)
    names = np.unique(groups)
    rng = np.random.default_rng(0)
    rows = [
        one_split(
            table, features, np.isin(groups, rng.choice(names, (len(names) + 1) // 2, replace=False)), demands
        )
        for _ in range(splits)
    ]
    return {
        "splits": splits,
        "modules": len(names),
        "auroc_left_out": float(np.mean([row["auroc"][0] for row in rows])),
        "auroc_new_modules": float(np.mean([row["auroc"][1] for row in rows])),
        "demands": [
            {"demand": demand} | {way: summary(rows, demand, way) for way in ("by_module", "by_image")}
            for demand in demands
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    with threadpool_limits(1):
        table, features = solar_cells()
        started = time.perf_counter()
        results = {"network": NETWORK} | measure(table, features, options.splits)
        results["seconds"] = round(time.perf_counter() - started)
    for row in results["demands"]:
        print(row["demand"], row["by_module"], row["by_image"], sep="\n    ")
    write_json(options.output, results)


if __name__ == "__main__":
    main()
