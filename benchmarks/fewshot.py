"""How many labels does it take? Eyeline, its fitted head alone, and fastai, on solar modules that nobody saw.

    python benchmarks/fewshot.py [--numbers 5 10 20 50 100] [--draws 0 1 2 3 4] [--threads 2] [--fastai-path FOLDER]

Each draw holds out one of five folds of whole modules of ELPV and takes n cells a class, at random, from the other
modules; all arms learn from the same cells and are judged on the same held-out ones by AUROC.

- probe: `--recipe probe`, a head fitted on frozen features.
- eyeline: what `eyeline train` does by default: cross-fitting by module, which keeps fine-tuning where it helps.
- tuned: the same, but fine-tuning ships whatever cross-validation said: beside the probe, what the choice is worth.
- fastai: `fine_tune(5, 2e-3)` as in its tutorials, 224 px, from the same published weights (the same network under
  fastai's own head; ImageNet normalization, flips both ways). Left out where fastai cannot be imported.

Numbers already in the results file are not measured again. Results: benchmarks/results/fewshot.json and the picture
docs/fewshot.svg. The rule that chooses was tried on fresh draws, results/fewshot_choice.json:

    python benchmarks/fewshot.py --draws 5 6 7 8 9 --numbers 10 50 --arms probe tuned --output FILE
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray

from contenders.fastai_learner import defect_probabilities, make_learner
from elpv import NETWORK, SIZE, all_features, examples_of, published, tied
from eyeline.errors import EyelineError
from eyeline.files import write_atomically, write_json
from eyeline.images import DecodeOptions, ImageTable, make_folds, open_cache, read_images
from eyeline.reports.svg import Plot
from eyeline.training import CrossFit, Recipe, cross_fit, predict_logits
from eyeline.verdicts import auroc
from pictures import whole_file

ROOT = Path(__file__).parents[1]
RESULTS, PICTURE = ROOT / "benchmarks" / "results" / "fewshot.json", ROOT / "docs" / "fewshot.svg"
FASTAI_EPOCHS, FASTAI_RATE = 5, 2e-3
ARMS = ("probe", "eyeline", "fastai")  # in the picture


def few(table: ImageTable, held: NDArray[np.bool_], count: int, seed: int) -> NDArray[np.int64]:
    """`count` images a class from what is not held out."""
    rng = np.random.default_rng(seed)
    rows = [rng.permutation(np.flatnonzero(~held & (table.targets == k)))[:count] for k in (0, 1)]
    return np.sort(np.concatenate(rows)).astype(np.int64)


def ours(table: ImageTable, pixels: Any, features: Any, train: NDArray[np.int64], recipe: Recipe) -> CrossFit:
    net, normalize = published(NETWORK)
    part = table.select(train)
    examples = examples_of(table, pixels, features, train, folds_of(part), recipe)
    groups = np.array(part.groups, dtype=object)
    with tempfile.TemporaryDirectory() as folder:
        return cross_fit(net, examples, recipe, normalize, folder=Path(folder), groups=groups)


def folds_of(part: ImageTable) -> NDArray[np.int64]:
    for k in (3, 2):
        try:
            return make_folds(part, k=k, by="group")
        except EyelineError:
            continue
    return make_folds(part, k=2, by="image")


def by_fastai(
    table: ImageTable, train: NDArray[np.int64], held: NDArray[np.int64], seed: int
) -> NDArray[np.float64]:
    """Scores of the held-out cells after `fine_tune`."""
    from fastai.torch_core import set_seed  # type: ignore[import-not-found]

    set_seed(seed)
    learner = make_learner(NETWORK, table, train)
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(FASTAI_EPOCHS, FASTAI_RATE)
    return defect_probabilities(learner, table, held)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--numbers", nargs="+", type=int, default=[5, 10, 20, 50, 100])
    parser.add_argument("--draws", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--arms", nargs="+", choices=[*ARMS, "tuned"], default=list(ARMS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--fastai-path", help="A folder with fastai, where it is not installed.")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    if options.fastai_path:
        sys.path.append(options.fastai_path)
    arms = [arm for arm in options.arms if arm != "fastai" or importlib.util.find_spec("fastai")]
    torch.set_num_threads(options.threads)
    table = tied(read_images("elpv"))
    cache = open_cache(table, DecodeOptions(image_size=(SIZE, SIZE), channels=1))
    features = all_features(table, cache.pixels, Recipe())
    folds = make_folds(table, k=5, by="group", seed=0)
    _, normalize = published(NETWORK)
    rows: list[dict[str, Any]] = (
        json.loads(options.output.read_text())["rows"] if options.output.exists() else []
    )
    for draw in options.draws:
        held = np.flatnonzero(folds == draw % 5).astype(np.int64)
        for count in options.numbers:
            train = few(table, folds == draw % 5, count, seed=draw)
            for arm in arms:
                key = {"arm": arm, "draw": draw, "a class": count}
                if any(key.items() <= row.items() for row in rows):
                    continue
                started = time.perf_counter()
                about: dict[str, Any] = {}
                if arm == "fastai":
                    scores = by_fastai(table, train, held, draw)
                else:
                    recipe = Recipe(epochs=0) if arm == "probe" else Recipe()
                    always = patch("eyeline.training.crossfit.worth_it", lambda *_, **__: True)
                    with always if arm == "tuned" else nullcontext():
                        found = ours(table, cache.pixels, features, train, recipe)
                    logits = predict_logits(found.fit.network, cache.pixels, held, normalize)
                    scores = logits[:, 1] - logits[:, 0]
                    about["method"] = found.method
                    if found.gain is not None:  # by cross-validation among the cells it learned from
                        about["gain"] = [found.gain.difference, found.gain.low, found.gain.high]
                seconds = round(time.perf_counter() - started, 1)  # judging the held-out cells included
                value = float(auroc(scores, table.is_defect[held]))
                rows.append(key | {"auroc": value, **about, "seconds": seconds, "threads": options.threads})
                write_json(options.output, {"network": NETWORK, "rows": rows})
                print(
                    f"draw {draw}, {count:3} a class, {arm:8} {value:.3f} {seconds:6.1f} s {about}",
                    flush=True,
                )
    for count in options.numbers:
        for arm in arms:
            values = [row["auroc"] for row in rows if row["arm"] == arm and row["a class"] == count]
            print(
                f"{count:4} a class, {arm:8} {np.mean(values):.3f} +- {np.std(values):.3f} over {len(values)} draws"
            )
    if options.output == RESULTS:
        write_atomically(PICTURE, draw_picture(rows))


def draw_picture(rows: list[dict[str, Any]]) -> str:
    """Mean AUROC over cells a class, on a logarithmic axis; bars are a standard deviation over the draws each way."""
    counts = sorted({row["a class"] for row in rows})
    by = {
        arm: [[r["auroc"] for r in rows if r["arm"] == arm and r["a class"] == n] for n in counts]
        for arm in ARMS
    }
    lowest = min(np.mean(values) - np.std(values) for found in by.values() for values in found if values)
    plot = Plot(
        x=(np.log(counts[0] / 1.15), np.log(counts[-1] * 1.15)),
        y=(np.floor(20 * lowest) / 20, 1.0),
        width=720,
        height=420,
        left=62,
        right=24,
        top=32,
    )
    plot.axes(
        "Labelled cells a class",
        "AUROC on modules nobody saw",
        x_ticks=[np.log(count) for count in counts],
        y_ticks=np.arange(plot.y[0], 1.001, 0.05).tolist(),
        x_text=lambda x: f"{np.exp(x):.3g}",
        y_text="{:.2f}".format,
    )
    for place, (arm, found) in enumerate(by.items()):
        # Side by side, so that no bar hides another.
        points = [
            (np.log(count) + 0.04 * (place - 1), np.mean(values), np.std(values))
            for count, values in zip(counts, found, strict=True)
            if values
        ]
        for x, middle, spread in points:
            plot.segment((x, middle - spread), (x, middle + spread), arm)
            plot.dot(x, middle, f"{arm}_dot")
        if points:
            plot.line([x for x, _, _ in points], [y for _, y, _ in points], arm)
    for at, arm, text in (
        (0, "eyeline", "eyeline train"),
        (130, "probe", "--recipe probe"),
        (260, "fastai", "fastai fine_tune"),
    ):
        plot.parts.append(f'<circle class="{arm}_dot" cx="{plot.left + at + 4}" cy="16" r="4"/>')
        plot.text(plot.left + at + 14, 20, text, "")
    return whole_file(
        plot, "AUROC on modules nobody saw against labelled cells a class: Eyeline, its probe, fastai"
    )


if __name__ == "__main__":
    main()
