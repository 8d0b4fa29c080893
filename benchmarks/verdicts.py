"""Do the promises hold? Simulated plants with known truth, then solar modules that were never calibrated on.

    python benchmarks/verdicts.py [--plants 2000] [--splits 200] [--skip-elpv]

1. Interval coverage: how often a 95 % interval of an escape rate contains the truth, by image and by group.
2. Promise coverage: in how many plants `guaranteed_threshold` lets more defects escape than it promised.
3. ELPV: out-of-fold scores by module (linear head on frozen EfficientNet-Lite0 features), then random halves
   of the 44 modules: calibrate on one half, look at the escapes on the other.
4. Speed of `evaluate` at the size of ELPV.

Results go to benchmarks/results/verdicts.json. One thread; about ten minutes.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats
from threadpoolctl import threadpool_limits

from eyeline.files import write_json
from eyeline.verdicts import clopper_pearson, evaluate, guaranteed_threshold, softmax
from eyeline.verdicts.clusters import clopper_pearson_grouped

RESULTS = Path(__file__).parent / "results" / "verdicts.json"
CASES = [(11, 0.1), (11, 0.3), (22, 0.1), (22, 0.3), (44, 0.1), (44, 0.3)]  # groups, correlation
SIZE = 15  # defects a group on average; sizes vary as a gamma of shape 2


def group_sizes(rng: np.random.Generator, groups: int) -> np.ndarray:
    return np.maximum(1, rng.poisson(rng.gamma(2.0, SIZE / 2.0, groups)))


def interval_coverage(plants: int, rate: float = 0.1) -> list[dict[str, Any]]:
    """Escapes whose rate differs by group (beta with the given correlation)."""
    rows = []
    for groups, correlation in CASES:
        rng, inside = np.random.default_rng(0), np.zeros(2)
        strength = 1 / correlation - 1
        for _ in range(plants):
            n = group_sizes(rng, groups)
            k = rng.binomial(n, rng.beta(rate * strength, (1 - rate) * strength, groups))
            for which, (low, high) in enumerate(
                (clopper_pearson(k.sum(), n.sum()), clopper_pearson_grouped(k, n))
            ):
                inside[which] += low <= rate <= high
        by_image, by_group = inside / plants
        rows.append({"groups": groups, "icc": correlation, "by_image": by_image, "by_group": by_group})
        print(
            f"interval  {groups} groups, ICC {correlation}: by image {by_image:.3f}, by group {by_group:.3f}"
        )
    return rows


def promise_coverage(plants: int, escape: float = 0.1) -> list[dict[str, Any]]:
    """Normal defect scores with a group effect, mapped so that the true escape rate is the threshold."""
    goods = np.linspace(0, 1, 1001)[1:-1]
    rows = []
    for groups, correlation in CASES:
        rng, broken, granted = np.random.default_rng(0), np.zeros(2), np.zeros(2)
        for plant in range(plants):
            g = np.repeat(np.arange(groups), group_sizes(rng, groups))
            z = np.sqrt(correlation) * rng.normal(size=groups)[g]
            s = stats.norm.cdf(z + np.sqrt(1 - correlation) * rng.normal(size=len(g)))
            scores, truth = np.r_[s, goods], np.arange(len(s) + len(goods)) < len(s)
            names = np.r_[g, np.arange(len(goods)) % groups]
            for which, given in enumerate((None, names)):
                promise = guaranteed_threshold(
                    scores, truth, f"escape<={escape}@0.95", groups=given, resamples=300, seed=plant
                )
                granted[which] += promise.granted
                broken[which] += promise.granted and promise.threshold > escape
        row = {
            "groups": groups,
            "icc": correlation,
            "broken_by_image": broken[0] / plants,
            "broken_by_group": broken[1] / plants,
            "granted_by_group": granted[1] / plants,
        }
        rows.append(row)
        print("promise  " + ", ".join(f"{name} {value:g}" for name, value in row.items()))
    return rows


def elpv_scores() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Out-of-fold defect scores by module, truth and module of every cell."""
    import torch
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from eyeline.images import DecodeOptions, make_folds, open_cache, read_images
    from eyeline.networks import create_network, network_info

    table = read_images("elpv")
    pixels = open_cache(table, DecodeOptions(image_size=(224, 224))).pixels
    info = network_info("efficientnet_lite0")
    net = create_network(info.name, weights="imagenet").eval()
    features = []
    with torch.inference_mode():
        for start in range(0, len(table), 64):
            x = torch.from_numpy(np.array(pixels[start : start + 64])).permute(0, 3, 1, 2) / 255
            mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (info.mean, info.std))
            features.append(net.embed((x - mean) / std).numpy())
    x, truth = np.concatenate(features), np.asarray(table.is_defect)
    scores, folds = np.empty(len(table)), make_folds(table, k=5, by="group")
    for fold in range(5):
        head = make_pipeline(StandardScaler(), LogisticRegression(C=0.003, max_iter=1000))
        head.fit(x[folds != fold], truth[folds != fold])
        scores[folds == fold] = head.predict_proba(x[folds == fold])[:, 1]
    return scores, truth, np.asarray(table.groups)


def elpv_honesty(splits: int) -> list[dict[str, Any]]:
    """Half of the modules make the promise, the other half tests it, many times over."""
    scores, truth, groups = elpv_scores()
    modules = np.unique(groups)
    rows = []
    for escape in (0.1, 0.2, 0.3):
        rng = np.random.default_rng(0)
        found: dict[str, list[float]] = {"by_image": [], "by_group": []}
        refuted = dict.fromkeys(found, 0)
        for split in range(splits):
            chosen = np.isin(groups, rng.choice(modules, len(modules) // 2, replace=False))
            for name, given in (("by_image", None), ("by_group", groups[chosen])):
                promise = guaranteed_threshold(
                    scores[chosen], truth[chosen], f"escape<={escape}@0.95", groups=given, seed=split
                )
                if not promise.granted:
                    continue
                held = ~chosen & truth
                misses = scores[held] < promise.threshold
                found[name].append(float(misses.mean()))
                _, unit = np.unique(groups[held], return_inverse=True)
                low, _ = clopper_pearson_grouped(np.bincount(unit, weights=misses), np.bincount(unit), 0.9)
                refuted[name] += low > escape
        row: dict[str, Any] = {"escape": escape, "splits": splits}
        for name, rates in found.items():
            row[name] = {
                "granted": len(rates),
                "mean_held_out_escape": float(np.mean(rates)) if rates else None,
                "held_out_within": float(np.mean(np.array(rates) <= escape)) if rates else None,
                "not_refuted": 1 - refuted[name] / len(rates) if rates else None,
            }
        rows.append(row)
        print(f"ELPV  {row}")
    return rows


def evaluate_cpu_seconds() -> float:
    rng = np.random.default_rng(0)
    groups = np.arange(2624) * 44 // 2624
    targets = (rng.random(2624) < rng.beta(0.8, 1.2, 44)[groups]).astype(int)
    logits = rng.normal(size=(2624, 2))
    logits[np.arange(2624), targets] += 1.5
    times = []
    for _ in range(5):
        start = time.process_time()
        evaluate(softmax(logits), targets, classes=["good", "bad"], good="good", threshold=0.5, groups=groups)
        times.append(time.process_time() - start)
    return float(np.median(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plants", type=int, default=2000)
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--skip-elpv", action="store_true")
    options = parser.parse_args()
    with threadpool_limits(1):
        results: dict[str, Any] = {"evaluate_cpu_seconds": evaluate_cpu_seconds()}
        print(
            f"evaluate, 2,624 images, 44 groups, 1,000 resamples: {results['evaluate_cpu_seconds']:.2f} s of one core"
        )
        if not options.skip_elpv:
            results["elpv"] = elpv_honesty(options.splits)
        results["intervals"] = interval_coverage(options.plants)
        results["promises"] = promise_coverage(options.plants)
    RESULTS.parent.mkdir(exist_ok=True)
    write_json(RESULTS, results)


if __name__ == "__main__":
    main()
