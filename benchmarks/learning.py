"""Does the learning curve foretell the error, and do the images chosen to be labelled next teach more than random ones?

    python benchmarks/learning.py [--draws 20] [--rounds 6] [--tables synthetic elpv]
        [--parts 60 120] [--output benchmarks/results/learning.json]

1. Forecast: from some of the parts a curve foretells the error with twice as many; how often its interval holds what
   then comes, which is measured on parts of its own: 60 or 120 of 480 synthetic parts, 22 of the 44 modules of ELPV.
2. Label next: from 20 labelled images of 10 parts, 20 more a round, chosen by `choose_next` or at random, from the same
   pool; AUROC on held-out parts after each round, mean of the paired difference with its interval.

Features are those of EfficientNet-Lite0 (ImageNet weights), computed once.
"""

from __future__ import annotations

import argparse
import json
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
TABLES = ("synthetic", "elpv")
START, STEP = 20, 20
TRUTHS = 8  # choices of new parts that the truth is the mean of
FEW_PARTS = 120  # what is labelled next is chosen among these


def forecasts(table: ImageTable, features: NDArray[np.floating], own: int, draws: int) -> dict[str, Any]:
    """What a curve through `own` parts foretells of twice its largest subset, and what so many parts really bring.

    The truth: heads on those parts and on as many of the others as are asked for, judged on all that are left, mean of
    `TRUTHS` choices.
    """
    rng = np.random.default_rng(0)
    units = np.unique(np.array(table.groups), return_inverse=True)[1]
    count = int(units.max()) + 1
    rows: list[dict[str, Any]] = []
    for _ in range(draws):
        order = rng.permutation(count)
        mine, others = order[:own], order[own:]
        known = np.isin(units, mine)
        try:
            sizes, errors, _ = measure_growth(
                table.select(known), features[known], np.unique(units[known], return_inverse=True)[1]
            )
        except EyelineError:  # these parts hold too few of one kind
            continue
        largest = int(sizes[-1])
        truths = []
        for _ in range(TRUTHS):
            rest = rng.permutation(others)
            trained = np.isin(units, np.concatenate([rng.permutation(mine)[:largest], rest[:largest]]))
            held = np.isin(units, rest[largest:])
            if 0 < table.is_defect[held].sum() < held.sum():
                truths.append(head_errors(table, features, np.flatnonzero(trained), held)[0])
        row: dict[str, Any] = {"now": float(errors[:, -1, 0].mean()), "true": float(np.mean(truths))}
        for way, held_out in {"widened": HELD_OUT, "plain": 0.0}.items():
            curve = GrowthCurve(sizes, errors[:, :, 0], figure=FIGURES[0], held_out=held_out)
            value, low, high = (float(x[0]) for x in curve.at(2 * largest))
            row[way] = {"error": value, "low": low, "high": high, "falls": curve.falls}
        rows.append(row)
    found: dict[str, Any] = {"parts": own, "draws": len(rows)}
    for way in ("widened", "plain"):
        holds = np.array([row[way]["low"] <= row["true"] <= row[way]["high"] for row in rows])
        found[way] = {
            "held": int(holds.sum()),
            "falls": int(sum(row[way]["falls"] for row in rows)),
            "median_width": float(np.median([row[way]["high"] - row[way]["low"] for row in rows])),
        }
    error = [row["plain"]["error"] - row["true"] for row in rows]
    found["mean_absolute_error"] = float(np.mean(np.abs(error)))
    found["mean_absolute_error_of_no_change"] = float(
        np.mean([abs(row["now"] - row["true"]) for row in rows])
    )
    return found | {"rows": rows}


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
    parser.add_argument("--parts", nargs="+", type=int, default=[60, 120], help="that draw the curve")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    results: dict[str, Any] = {"network": NETWORK}
    if options.output.exists():
        results |= json.loads(options.output.read_text("utf-8"))
    for name in options.tables:
        started = time.monotonic()
        table = (
            synthetic_images(images=3600, parts=480, burst=5)[0] if name == "synthetic" else read_images(name)
        )
        features = published_features(table, choose_decoding(table), NETWORK)
        if features is None:
            raise SystemExit(f"no published weights of {NETWORK} are installed")
        parts = len(set(table.groups or ()))
        few = np.unique(np.array(table.groups), return_inverse=True)[1] < FEW_PARTS
        results[name] = {
            "images": len(table),
            "parts": parts,
            "draws": options.draws,
            "features_seconds": round(time.monotonic() - started, 1),
            "forecasts": [
                forecasts(table, features, own, options.draws)
                for own in (options.parts if name == "synthetic" else [parts // 2])
            ],
            "label_next": label_next(table.select(few), features[few], options.draws, options.rounds),
            "seconds": round(time.monotonic() - started, 1),
        }
        about = results[name]
        for found in about["forecasts"]:
            for way in ("widened", "plain"):
                print(f"{name}, {found['parts']} parts, {way}: {found[way]}", flush=True)
            print(
                f"  off by {found['mean_absolute_error']:.3f}, no change would be by "
                f"{found['mean_absolute_error_of_no_change']:.3f}"
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
