"""Tables of measured figures on the pages are those of the committed results: nothing is typed by hand."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def results(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text("utf-8"))
    return found


def speed() -> str:
    rows = [
        "| network | against | forward, ms | ×  | training step, ms | × |",
        "|---|---|---|---|---|---|",
    ]
    for row in results("networks")["networks"]:
        forward, step = row["forward"], row["training_step"]
        rows.append(
            f"| `{row['network']}` | {row['peer']} | {forward['milliseconds']:.0f} | "
            f"{forward['ratio']['median']:.2f} ({forward['ratio_channels_last']['median']:.2f}) | "
            f"{step['milliseconds']:.0f} | {step['ratio']['median']:.2f} "
            f"({step['ratio_channels_last']['median']:.2f}) |"
        )
    return "\n".join(rows)


def inflation() -> str:
    rows = ["| data | inspector | random | by group | inflation |", "|---|---|---|---|---|"]
    rows += [
        f"| {row['data']} | {row['probe']} | {row['random']:.3f} | {row['grouped']:.3f} | "
        f"{row['inflation']:.3f} ({row['low']:.3f} to {row['high']:.3f}) |"
        for row in results("checks")["inflation"]
    ]
    return "\n".join(rows)


def duplicates() -> str:
    rows = ["| changed copies planted in ELPV | recall | precision |", "|---|---|---|"]
    rows += [
        f"| {row['copies']}, seed {row['seed']} | {row['recall']:.3f} | {row['precision']:.3f} |"
        for row in results("checks")["near_duplicates"]
    ]
    return "\n".join(rows)


def labels() -> str:
    rows = ["| 5 % flipped in | judge | AUROC | precision | recall |", "|---|---|---|---|---|"]
    by: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in results("checks")["flipped_labels"]:
        by.setdefault((row["data"], row["judge"]), []).append(row)
    for (data, judge), found in by.items():
        mean = {key: sum(row[key] for row in found) / len(found) for key in ("auroc", "precision", "recall")}
        rows.append(
            f"| {data} | {judge} | {mean['auroc']:.3f} | {mean['precision']:.2f} | {mean['recall']:.2f} |"
        )
    return "\n".join(rows)


def loaders() -> str:
    rows = [
        "| files | side | channels | torchvision | fastai | first pass | second pass | second, uint8 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in results("images")["loaders"]:
        numbers = [
            f"{row[key]:,.0f}"
            for key in ("torchvision", "fastai", "eyeline_first", "eyeline_second", "eyeline_second_uint8")
        ]
        rows.append(f"| {row['files']} | {row['side']} | {row['channels']} | {' | '.join(numbers)} |")
    return "\n".join(rows)


def claims() -> str:
    """Verdicts; accuracies in points (pp)."""
    if not (ROOT / "benchmarks" / "results" / "claims.json").exists():
        return "Not measured yet."
    rows = [
        "| claim | verdict | effect | 95 % interval | margin | seeds | steps |",
        "|---|---|---|---|---|---|---|",
    ]
    for claim in results("claims")["claims"]:
        if claim["p_value"] is None:
            rows.append(f"| `{claim['name']}` | {claim['verdict']} | exact | | | | |")
            continue
        points = claim["unit"] == "accuracy"
        unit = "pp" if points else claim["unit"]
        effect, low, high, margin = (
            f"{100 * claim[key]:+.2f}" if points else f"{claim[key]:+.3f}"
            for key in ("effect", "low", "high", "margin")
        )
        seeds = max(len(part["values"]) for part in claim["findings"]["contrasts"] if part["required"])
        rows.append(
            f"| `{claim['name']}` | {claim['verdict']} | {effect} {unit} | {low} to {high} | {margin} | {seeds} | "
            f"{claim['share']:.0%} |"
        )
    return "\n".join(rows)


def coverage() -> str:
    names = {
        "claim": "claim",
        "review": "review",
        "not wrongly supported": "not wrongly supported",
        "not wrongly contradicted": "not wrongly contradicted",
        "escape": "interval: escape",
        "overkill": "interval: overkill",
        "auroc": "interval: AUROC",
    }
    rows = [f"| plants | {' | '.join(names.values())} |", "|---" * (len(names) + 1) + "|"]
    for row in results("coverage")["cases"]:
        naive = row["by_image"]
        cells = [
            f"{100 * row['by_part'][name]['holds']:.1f} ({100 * naive[name]['holds']:.1f})"
            if "by_part" in row
            else f"{100 * naive[name]['holds']:.1f}"
            for name in names
        ]
        rows.append(f"| {row['case']} | {' | '.join(cells)} |")
    return "\n".join(rows)


def average() -> str:
    rows = [
        "| plants | escape, promised 10 % | by image | false alarms of unknown objects, promised 5 % | by image |",
        "|---|---|---|---|---|",
    ]
    for row in results("coverage")["cases"]:
        ways = [row.get("by_part", row["by_image"]), row["by_image"] if "by_part" in row else None]
        cells = [
            "–" if way is None else f"{100 * way[name]['mean']:.1f} %"
            for name in ("claim on average", "unknown")
            for way in ways
        ]
        rows.append(f"| {row['case']} | {' | '.join(cells)} |")
    return "\n".join(rows)


def honesty() -> str:
    found = results("honesty")
    rows = [
        "| claim | by module: granted | kept | not contradicted | escape, overkill "
        "| by image: granted | kept | escape, overkill |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in found["demands"]:
        ours, naive = row["by_module"], row["by_image"]

        def share(value: float) -> str:
            return f"{100 * value:.1f} %"

        rows.append(
            f"| `{row['demand']}` | {ours['granted']} of {found['splits']} | {share(ours['kept'])} | "
            f"{share(ours['not_contradicted'])} | {share(ours['escape'])}, {share(ours['overkill'])} | "
            f"{naive['granted']} | {share(naive['kept'])} | {share(naive['escape'])}, {share(naive['overkill'])} |"
        )
    return "\n".join(rows)


def loops() -> str:
    rows = [
        "| network | peer, images/s | recipe | recipe, bfloat16 | all layers | all layers, bfloat16 |",
        "|---|---|---|---|---|---|",
    ]
    for row in results("loops")["networks"]:
        rates, kinds = row["images_per_second"], ("recipe", "bfloat16", "all", "all_bfloat16")
        cells = [f"{rates[kind]:.1f} (×{row['ratios'][kind]:.2f})" for kind in kinds]
        best = max(rates["peer"], rates["peer_channels_last"])
        rows.append(f"| {row['network']} | {best:.1f} | {' | '.join(cells)} |")
    return "\n".join(rows)


def race() -> str:
    rows = ["| on the same cells | minutes | AUROC |", "|---|---|---|"]
    found = results("race")["entries"]
    for entry in sorted((e for e in found if e["arm"] == "eyeline"), key=lambda e: e["minutes"]):
        what = f"--budget {entry['minutes']:g}m" if entry["minutes"] else "--recipe probe"
        rows.append(_race_row(f"`eyeline train {what}`, {entry['curve'][0]['method']}", entry["curve"][-1]))
    for entry in sorted((e for e in found if e["arm"] == "fastai"), key=lambda e: (e["epochs"], e["rate"])):
        name = f"fastai `fine_tune({entry['epochs']}, {entry['rate']:g})`"
        rows.append(_race_row(f"{name}, its head alone", entry["curve"][0]))
        rows.append(_race_row(f"{name}, end", entry["curve"][-1]))
    return "\n".join(rows)


def _race_row(name: str, point: dict[str, Any]) -> str:
    return f"| {name} | {point['seconds'] / 60:.1f} | {point['auroc']:.3f} |"


def cells() -> str:
    """AUROC over all held-out cells of seed 0; by module, the mean inside modules in brackets."""
    rows = [
        "| ELPV, held out, seed 0 | splits | head | tuned | eight views | seconds a split |",
        "|---|---|---|---|---|---|",
    ]
    by: dict[str, list[dict[str, Any]]] = {}
    order = ("split", "recipe", "network", "cross-fit", "last pass")
    for row in sorted(results("elpv")["rows"], key=lambda row: [row[key] for key in order]):
        if row["seed"] != 0:
            continue
        settings = row["settings"]
        name = f"{row['split']}, `{row['recipe']}`, {settings['epochs']} epochs in {settings['precision']}"
        if row["network"] != "efficientnet_lite0":
            name += f", {row['network']}"
        if settings["middle"]:
            name += ", middle stages"
        if row["cross-fit"]:
            name += ", cross-fitted" if row["last pass"] else ", cross-fitted, mean alone"
        by.setdefault(name, []).append(row)
    for name, found in by.items():
        cells = []
        for arm in ARMS:
            values = [row[arm]["auroc"] for row in found]
            spread = f" ± {statistics.pstdev(values):.3f}" if len(values) > 1 else ""
            inside = f" ({_mean(found, arm, 'inside modules'):.3f})" if name.startswith("grouped") else ""
            cells.append(f"{statistics.mean(values):.3f}{spread}{inside}")
        # On one thread the machine did something else beside it: no time worth telling.
        alone = [row["seconds"] for row in found if row["threads"] > 1]
        cells.append(f"{statistics.median(alone):.0f}" if alone else "–")
        rows.append(f"| {name} | {len(found)} | {' | '.join(cells)} |")
    return "\n".join(rows)


ARMS = ("head", "tuned", "eight views")


def _mean(rows: list[dict[str, Any]], arm: str, figure: str = "auroc") -> float:
    return statistics.mean(row[arm][figure] for row in rows)


def seeds() -> str:
    """One network on everything, by module: the mean of five folds, and in brackets that inside modules."""
    named = [*ARMS, *(f"{arm}, known cells" for arm in ARMS[1:])]
    rows = [f"| epochs | seed | {' | '.join(named)} |", "|---" * (2 + len(named)) + "|"]
    by: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for row in results("elpv")["rows"]:
        plain = row["recipe"] == "elpv" and not row["cross-fit"] and not row["settings"]["middle"]
        if plain and row["split"] == "grouped" and row["network"] == "efficientnet_lite0":
            by.setdefault((row["settings"]["epochs"], row["seed"]), []).append(row)
    whole = {key: found for key, found in sorted(by.items()) if len(found) == 5}
    for epochs in sorted({epochs for epochs, _ in whole}):
        mine = {seed: found for (other, seed), found in whole.items() if other == epochs}
        for seed, found in mine.items():
            cells = [f"{_mean(found, arm):.3f} ({_mean(found, arm, 'inside modules'):.3f})" for arm in ARMS]
            cells += [f"{_mean(found, arm, 'known'):.3f}" for arm in ARMS[1:]]
            rows.append(f"| {epochs} | {seed} | {' | '.join(cells)} |")
        cells = []
        for arm, figure in [*((arm, "auroc") for arm in ARMS), *((arm, "known") for arm in ARMS[1:])]:
            means = [_mean(found, arm, figure) for found in mine.values()]
            cells.append(f"{statistics.mean(means):.3f} ± {statistics.stdev(means):.3f}")
        rows.append(f"| {epochs} | mean of {len(mine)} | {' | '.join(cells)} |")
    return "\n".join(rows)


def unseen_make() -> str:
    """The fitted head: what the cells of a make that was not learned do to the figure, and whether they are told."""
    rows = [
        "| seed | AUROC, mean of 5 folds | known cells | the fold with the module | its known cells "
        "| unknown of the module | of all other cells |",
        "|---|---|---|---|---|---|---|",
    ]
    found = results("unseen_make")["rows"]
    for seed in sorted({row["seed"] for row in found}):
        mine = [row for row in found if row["seed"] == seed]
        (odd,) = (row for row in mine if ODD in row["unknown share of each module"])
        told = round(72 * odd["unknown share of each module"][ODD])
        others = sum(row["unknown"] for row in mine) - told
        rows.append(
            f"| {seed} | {statistics.mean(r['auroc'] for r in mine):.3f} "
            f"| {statistics.mean(r['auroc of the known'] for r in mine):.3f} "
            f"| {odd['auroc']:.3f} | {odd['auroc of the known']:.3f} "
            f"| {told} of 72 | {others} of {sum(r['cells'] for r in mine) - 72:,} |"
        )
    return "\n".join(rows)


ODD = "mono module 17"  # dots at the edges in place of bars: the only one of its make


def last_pass() -> str:
    """AUROC over all held-out cells, and its mean inside modules."""
    head = "| what | by module, one view | eight views | at random, one view | eight views |"
    by: dict[str, dict[str, str]] = {}
    for row in results("lastpass")["rows"]:
        for arm in ("one view", "eight views"):
            cell = f"{row[arm]['auroc']:.3f} ({row[arm]['inside modules']:.3f})"
            by.setdefault(row["network"], {})[f"{row['split']}, {arm}"] = cell
    places = [f"{split}, {arm}" for split in ("grouped", "random") for arm in ("one view", "eight views")]
    rows = [
        f"| {name} | {' | '.join(cells.get(place, '–') for place in places)} |" for name, cells in by.items()
    ]
    return "\n".join([head, "|---" * 5 + "|", *rows])


def scratch() -> str:
    rows = [
        "| budget | network | seeds | most probable class right | verdicts right | whole command |",
        "|---|---|---|---|---|---|",
    ]
    by: dict[tuple[float, str], list[dict[str, Any]]] = {}
    for entry in results("scratch")["entries"]:
        by.setdefault((entry["minutes"], entry["network"]), []).append(entry)
    for (minutes, network), found in sorted(by.items()):
        shares = [[100 * entry[key] for entry in found] for key in ("accuracy", "accuracy_of_verdicts")]
        spreads = [f" ± {statistics.pstdev(each):.2f}" if len(each) > 1 else "" for each in shares]
        cells = [
            f"{statistics.mean(each):.2f}{spread} %" for each, spread in zip(shares, spreads, strict=True)
        ]
        seconds = statistics.median(entry["seconds"] for entry in found)
        rows.append(f"| {minutes:g} min | {network} | {len(found)} | {' | '.join(cells)} | {seconds:.0f} s |")
    return "\n".join(rows)


def few_labels() -> str:
    rows = results("fewshot")["rows"]
    table = ["| cells a class | `eyeline train` | of it fine-tuned | probe | fastai |", "|---" * 5 + "|"]
    for count in sorted({row["a class"] for row in rows}):
        cells = {}
        for arm in ("eyeline", "probe", "fastai"):
            values = [row["auroc"] for row in rows if row["arm"] == arm and row["a class"] == count]
            cells[arm] = f"{statistics.mean(values):.3f} ± {statistics.pstdev(values):.3f}"
        own = [row["method"] for row in rows if row["arm"] == "eyeline" and row["a class"] == count]
        tuned = f"{own.count('fine-tuned')} of {len(own)}"
        table.append(f"| {count} | {cells['eyeline']} | {tuned} | {cells['probe']} | {cells['fastai']} |")
    return "\n".join(table)


def fresh_draws() -> str:
    """What each rule would have shipped, from the figures of the head, of fine-tuning and of the choice between."""
    found = results("fewshot_choice")["rows"]
    counts = sorted({row["a class"] for row in found})
    by = {(row["arm"], row["draw"], row["a class"]): row for row in found}
    draws = sorted({row["draw"] for row in found})

    def mean(tunes: Callable[[float, float], bool]) -> str:
        """Mean AUROC where fine-tuning ships if `tunes` says so of its gain and the gain's standard error."""
        cells = []
        for count in counts:
            values = []
            for draw in draws:
                tuned = by["tuned", draw, count]
                gain, low, _ = tuned["gain"]
                ship = tuned if tunes(gain, (gain - low) / 1.96) else by["probe", draw, count]
                values.append(ship["auroc"])
            cells.append(f"{statistics.mean(values):.3f} ± {statistics.pstdev(values):.3f}")
        return " | ".join(cells)

    head = " | ".join(f"{count} a class" for count in counts)
    return "\n".join(
        [
            f"| {len(draws)} fresh draws, AUROC | {head} |",
            "|---" * (1 + len(counts)) + "|",
            f"| fitted head | {mean(lambda *_: False)} |",
            f"| always fine-tuned | {mean(lambda *_: True)} |",
            f"| the larger figure of cross-validation | {mean(lambda gain, _: gain > 0)} |",
            f"| larger by more than a standard error | {mean(lambda gain, error: gain > error)} |",
        ]
    )


def large_table() -> str:
    found = results("memory")["large"]
    rows = ["| stage | seconds | peak, MB | of it not from files, MB |", "|---|---|---|---|"]
    for name, stage in found["stages"].items():
        rows.append(f"| {name} | {stage['seconds']} | {stage['peak_mb']} | {stage['anonymous_mb']} |")
    return "\n".join(rows)


def latency() -> str:
    names = [row["contender"] for row in results("runtime")["latency"][0]["contenders"]]
    found = {
        row["network"]: {each["contender"]: each for each in row["contenders"]}
        for row in results("runtime")["latency"]
    }
    rows = [f"| one decoded image, p50 / p99 ms | {' | '.join(found)} |", "|---" * (1 + len(found)) + "|"]
    for name in names:
        cells = [
            f"{own[name]['p50_ms']:.1f} / {own[name]['p99_ms']:.1f}" if name in own else "refused"
            for own in found.values()
        ]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def files() -> str:
    ours = ("eyeline fp32", "eyeline int8", "eyeline fp32 openvino", "eyeline int8 openvino")
    names = (*ours, "PIL and onnxruntime", "fastai get_preds")
    rows = [f"| files to verdicts, images/s | {' | '.join(names)} | share of the network |", "|---" * 8 + "|"]
    for row in results("runtime")["files"]:
        cells = [
            f"{row['images_per_second'][n]:.0f}" if n in row["images_per_second"] else "–" for n in names
        ]
        rows.append(
            f"| {row['network']}, {row['files'].upper()} | {' | '.join(cells)} | {row['share']['infer']:.0%} |"
        )
    return "\n".join(rows)


def forecasts() -> str:
    """How often the interval of a learning curve held what then came."""
    rows = [
        "| parts that draw the curve | widened held | its width | it saw a fall | not widened held | "
        "error foretold, no change |",
        "|---" * 6 + "|",
    ]
    for name in ("synthetic", "elpv"):
        for row in results("learning")[name]["forecasts"]:
            wide, plain, n = row["widened"], row["plain"], row["draws"]
            off, same = row["mean_absolute_error"], row["mean_absolute_error_of_no_change"]
            rows.append(
                f"| {name}, {row['parts']} | {wide['held']} of {n} | {wide['median_width']:.3f} | {wide['falls']} | "
                f"{plain['held']} | {off:.3f}, {same:.3f} |"
            )
    return "\n".join(rows)


def label_next() -> str:
    """AUROC on new parts of images chosen and drawn."""
    found = {name: results("learning")[name]["label_next"] for name in ("synthetic", "elpv")}
    rows = ["| labelled | synthetic: chosen, random | gain | elpv: chosen, random | gain |", "|---" * 5 + "|"]
    for i, labelled in enumerate(found["elpv"]["labelled"]):
        if labelled in (40, 80, 120, 140):
            cells = [
                f"{row['chosen'][i]:.3f}, {row['random'][i]:.3f} | "
                f"{row['gain_low'][i]:+.3f} to {row['gain_high'][i]:+.3f}"
                for row in found.values()
            ]
            rows.append(f"| {labelled} | {' | '.join(cells)} |")
    return "\n".join(rows)


TABLES: dict[tuple[str, str], Callable[[], str]] = {
    ("docs/learning.md", "forecasts"): forecasts,
    ("docs/learning.md", "label-next"): label_next,
    ("docs/networks.md", "speed"): speed,
    ("docs/images.md", "loaders"): loaders,
    ("docs/check.md", "inflation"): inflation,
    ("docs/check.md", "duplicates"): duplicates,
    ("docs/check.md", "labels"): labels,
    ("docs/claims.md", "claims"): claims,
    ("docs/training.md", "loops"): loops,
    ("docs/training.md", "race"): race,
    ("docs/training.md", "cells"): cells,
    ("docs/training.md", "seeds"): seeds,
    ("docs/training.md", "unseen make"): unseen_make,
    ("docs/training.md", "last pass"): last_pass,
    ("docs/training.md", "scratch"): scratch,
    ("docs/training.md", "few labels"): few_labels,
    ("docs/training.md", "fresh draws"): fresh_draws,
    ("docs/training.md", "large table"): large_table,
    ("docs/shipping.md", "latency"): latency,
    ("docs/shipping.md", "files"): files,
    ("docs/verdicts.md", "coverage"): coverage,
    ("docs/verdicts.md", "average"): average,
    ("docs/verdicts.md", "honesty"): honesty,
}


@pytest.mark.parametrize(("page", "mark"), TABLES)
def test_the_table_is_the_result(page: str, mark: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    found = re.search(rf"<!-- {mark} -->\n(.*?)<!-- /{mark} -->", text, re.DOTALL)
    assert found is not None
    table = TABLES[page, mark]()
    assert found[1].strip() == table, f"put this into {page}:\n\n{table}\n"


@pytest.mark.parametrize("mode", ["forward", "training_step"])
def test_no_family_is_slower_than_its_twin(mode: str) -> None:
    """What the pages claim of the committed measurement; nothing is timed here."""
    ratios = results("networks")["families"][mode]["ratio"]
    assert len(ratios) >= 7
    assert min(ratios.values()) >= 0.97
    assert sum(ratio > 1.1 for ratio in ratios.values()) >= 3
