"""Does the learning curve foretell the error, and do the images chosen to be labelled next teach more than random ones?

    python benchmarks/learning.py [--draws 20] [--rounds 6] [--skip-elpv] [--output benchmarks/results/learning.json]

1. Forecast: a curve through heads trained on half of the parts foretells the error with all of them; how often the
   interval holds it, over random halves, on synthetic parts and on ELPV by module.
2. Label next: from 20 labelled images of 10 parts, 20 more a round, chosen by `choose_next` or at random, from the same
   pool; AUROC on held-out parts after each round, mean of the paired difference with its interval.

Features are those of EfficientNet-Lite0 (ImageNet weights), computed once.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeline.errors import EyelineError
from eyeline.files import write_json
from eyeline.images import ImageTable, read_images, synthetic_images
from eyeline.jobs.features import published_features
from eyeline.jobs.inputs import choose_decoding
from eyeline.jobs.learning import FIGURES, HELD_OUT, balanced_head, head_errors, measure_growth
from eyeline.verdicts import GrowthCurve, auroc, choose_next, defect_scores, softmax, uncertainty

RESULTS = Path(__file__).parent / "results" / "learning.json"
NETWORK = "efficientnet_lite0"
START, STEP = 20, 20


def forecasts(table: ImageTable, features: NDArray[np.floating], draws: int) -> dict[str, Any]:
    """Half of the training parts draw the curve; heads on all of them say what really comes."""
    rng = np.random.default_rng(0)
    units = np.unique(np.array(table.groups), return_inverse=True)[1]
    count = int(units.max()) + 1
    rows: list[dict[str, Any]] = []
    refused = 0
    for _ in range(draws):
        order = rng.permutation(count)
        half = np.isin(units, order[: count // 2])
        part = table.select(half)
        own = np.unique(units[half], return_inverse=True)[1]
        try:
            sizes, errors, _ = measure_growth(part, features[half], own, draws=8)
            curve = GrowthCurve(sizes, errors[:, :, 0], figure=FIGURES[0], held_out=HELD_OUT)
            found = curve.forecast(int(sizes[-1]))
        except EyelineError:
            refused += 1
            continue
        # What twice as many parts bring, as the curve counts it: expected over held-out parts of the other half.
        truths = []
        for _ in range(8):
            rest = rng.permutation(order[count // 2 :])
            extra = found.size - int(sizes[-1])
            trained = np.isin(
                units, np.concatenate([rng.permutation(order[: count // 2])[: int(sizes[-1])], rest[:extra]])
            )
            held = np.isin(units, rest[extra:]) if extra < len(rest) else ~trained
            if 0 < table.is_defect[held].sum() < held.sum():
                truths.append(head_errors(table, features, np.flatnonzero(trained), held)[0])
        true = float(np.mean(truths))
        rows.append({"low": found.low, "high": found.high, "error": found.error, "true": true})
    held_by = [row["low"] <= row["true"] <= row["high"] for row in rows]
    return {
        "draws": draws,
        "refused": refused,
        "held": float(np.mean(held_by)) if rows else None,
        "mean_absolute_error": float(np.mean([abs(r["error"] - r["true"]) for r in rows])) if rows else None,
        "rows": rows,
    }


def label_next(table: ImageTable, features: NDArray[np.floating], draws: int, rounds: int) -> dict[str, Any]:
    """AUROC on held-out parts after each round, chosen against random."""
    units = np.unique(np.array(table.groups), return_inverse=True)[1]
    count = int(units.max()) + 1
    found = {"chosen": np.full((draws, rounds + 1), np.nan), "random": np.full((draws, rounds + 1), np.nan)}
    for draw in range(draws):
        rng = np.random.default_rng(draw)
        order = rng.permutation(count)
        held = np.isin(units, order[: max(4, count // 4)])
        pool = np.flatnonzero(~held)
        first = pool[np.isin(units[pool], order[-10:])]
        while True:
            start = rng.choice(first, min(START, len(first)), replace=False)
            if 2 <= table.is_defect[start].sum() <= len(start) - 2:
                break
        for way, values in found.items():
            labelled = start.copy()
            for turn in range(rounds + 1):
                head = balanced_head(table.select(labelled), features[labelled])
                scores = defect_scores(softmax(head.logits(features[held])))
                values[draw, turn] = auroc(scores, table.is_defect[held])
                rest = np.setdiff1d(pool, labelled)
                if way == "random":
                    new = rng.choice(rest, STEP, replace=False)
                else:
                    unsure = uncertainty(softmax(head.logits(features[rest])))
                    new = rest[choose_next(features[rest], unsure, features[labelled], count=STEP)]
                labelled = np.concatenate([labelled, new])
    gain = found["chosen"] - found["random"]
    spread = 1.96 * gain.std(axis=0, ddof=1) / np.sqrt(draws)
    return {
        "labelled": [START + STEP * turn for turn in range(rounds + 1)],
        "chosen": found["chosen"].mean(axis=0).tolist(),
        "random": found["random"].mean(axis=0).tolist(),
        "gain": gain.mean(axis=0).tolist(),
        "gain_low": (gain.mean(axis=0) - spread).tolist(),
        "gain_high": (gain.mean(axis=0) + spread).tolist(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--skip-elpv", action="store_true")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    results: dict[str, Any] = {"network": NETWORK, "draws": options.draws}
    tables = {"synthetic": synthetic_images(images=900, parts=120, burst=5)[0]}
    if not options.skip_elpv:
        tables["elpv"] = read_images("elpv")
    for name, table in tables.items():
        started = time.monotonic()
        features = published_features(table, choose_decoding(table), NETWORK)
        if features is None:
            raise SystemExit(f"no published weights of {NETWORK} are installed")
        results[name] = {
            "images": len(table),
            "parts": len(set(table.groups or ())),
            "features_seconds": round(time.monotonic() - started, 1),
            "forecast": forecasts(table, features, options.draws),
            "label_next": label_next(table, features, options.draws, options.rounds),
            "seconds": round(time.monotonic() - started, 1),
        }
        about = results[name]
        print(
            f"{name}: forecast holds in {about['forecast']['held']}, refused {about['forecast']['refused']}"
        )
        for n, chosen, random, low, high in zip(
            *(about["label_next"][key] for key in ("labelled", "chosen", "random", "gain_low", "gain_high")),
            strict=True,
        ):
            print(
                f"  {n:4d} labelled: chosen {chosen:.3f}, random {random:.3f}, gain [{low:+.3f}, {high:+.3f}]"
            )
        write_json(options.output, results)


if __name__ == "__main__":
    main()
