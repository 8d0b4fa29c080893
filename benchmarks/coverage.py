"""How often does each guarantee hold? Simulated plants whose true rates are known, with parts and without.

    python benchmarks/coverage.py [--plants 2000] [--cases "independent" ...] [--output FILE] [--picture FILE]

A plant makes parts; the images of one part err together. Latent scores are normal: a share `correlation` of their
variance belongs to the part, so the true escape rate, overkill rate and AUROC are known exactly. Each plant draws
calibration images, makes its promises with the code of `eyeline train`, and is held against the truth; then it draws
fresh images and measures. Everything is done twice: as Eyeline does it, by part, and naively, as if every image were
independent.

Results: benchmarks/results/coverage.json and the picture docs/coverage.svg. One thread; about ten minutes.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from threadpoolctl import threadpool_limits

from eyeline.files import write_atomically, write_json
from eyeline.reports.svg import Plot
from eyeline.verdicts import (
    Wishes,
    check_claim,
    choose_cuts,
    clopper_pearson,
    evaluate,
    guaranteed_threshold,
    unknown_rule,
)

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "coverage.json"
PICTURE = ROOT / "docs" / "coverage.svg"

RATE, CONFIDENCE, ALARMS = 0.1, 0.95, 0.05
WISHES = Wishes.parse(claim=f"escape<={RATE}@{CONFIDENCE}", review=f"overkill<={RATE}@{CONFIDENCE}")
GAP = 2.2  # between defects and good parts, in standard deviations of either
IMAGES, DEFECTS = 12, 1 / 3  # of a part, on average
# What is promised in CONFIDENCE of all plants, and what is promised on average over plants.
SURE = ("claim", "review", "not wrongly supported", "not wrongly contradicted", "escape", "overkill", "auroc")
AVERAGE = {"claim on average": RATE, "unknown": ALARMS}


@dataclass(frozen=True)
class Plant:
    """Parts whose images err together; in a share `hard` of the parts defects lie `shift` closer to good parts."""

    name: str
    parts: int
    correlation: float = 0.0
    hard: float = 0.0
    shift: float = 2.0
    independent: bool = False  # one image a part

    def draw(
        self, rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64]]:
        """Latent scores, which are defects, and parts, each `(N,)`; both kinds occur."""
        while True:
            if self.independent:
                part = np.arange(IMAGES * self.parts)
                defect = rng.random(len(part)) < DEFECTS
            else:
                part = np.repeat(
                    np.arange(self.parts), np.maximum(1, rng.poisson(rng.gamma(2.0, IMAGES / 2, self.parts)))
                )
                # Some parts hold hardly a defect, some hardly anything else, as solar modules do.
                defect = rng.random(len(part)) < rng.beta(0.8, 0.8 * (1 / DEFECTS - 1), self.parts)[part]
            if 2 <= defect.sum() <= len(part) - 2:
                break
        count = int(part.max()) + 1
        shared, own = rng.normal(size=count)[part], rng.normal(size=len(part))
        latent = np.sqrt(self.correlation) * shared + np.sqrt(1 - self.correlation) * own
        latent = latent + GAP * defect - self.shift * (defect & (rng.random(count) < self.hard)[part])
        return latent, defect, part

    def escape(self, cut: float) -> float:
        """True share of the defects below a latent cut."""
        return float((1 - self.hard) * norm.cdf(cut - GAP) + self.hard * norm.cdf(cut - GAP + self.shift))

    def overkill(self, cut: float) -> float:
        return float(norm.sf(cut))

    @property
    def auroc(self) -> float:
        """Of a defect and a good part picked from different parts."""
        root = np.sqrt(2)
        return float((1 - self.hard) * norm.cdf(GAP / root) + self.hard * norm.cdf((GAP - self.shift) / root))

    def cut_of(self, escape: float) -> float:
        """The latent cut with this true escape rate."""
        from scipy.optimize import brentq

        return float(brentq(lambda cut: self.escape(cut) - escape, -10, 10))


CASES = (
    Plant("independent", 20, independent=True),
    Plant("20 parts, correlation 0.3", 20, 0.3),
    Plant("44 parts, correlation 0.1", 44, 0.1),
    Plant("44 parts, correlation 0.3", 44, 0.3),
    Plant("44 parts, a tenth of them hard", 44, 0.1, hard=0.1),
)


def to_score(latent: Any) -> NDArray[np.float64]:
    """A probability, as a network would say it."""
    return np.asarray(1 / (1 + np.exp(GAP / 2 - np.asarray(latent))))


def to_latent(score: float) -> float:
    score = min(max(score, 1e-12), 1 - 1e-12)
    return GAP / 2 + float(np.log(score / (1 - score)))


def one_plant(plant: Plant, seed: int, *, by_part: bool) -> dict[str, float]:
    """What holds (1) and what does not (0), what was granted, and the true rates behind promises on average."""
    rng = np.random.default_rng(seed)
    latent, defect, part = plant.draw(rng)
    groups = None if plant.independent or not by_part else part
    scores = to_score(latent)
    found: dict[str, float] = {}

    choice = choose_cuts(scores, defect, WISHES, groups=groups)
    assert choice.claim is not None
    assert choice.review is not None
    found["claim granted"] = choice.claim.granted
    found["claim"] = not choice.claim.granted or plant.escape(to_latent(choice.low)) <= RATE
    found["review granted"] = choice.review.granted
    fails = choice.low if choice.high is None else choice.high
    found["review"] = not choice.review.granted or plant.overkill(to_latent(fails)) <= RATE

    marginal = guaranteed_threshold(scores, defect, f"escape<={RATE}", groups=groups)
    found["claim on average"] = (
        0.0 if marginal.threshold is None else plant.escape(to_latent(marginal.threshold))
    )
    rule = unknown_rule(latent - GAP * defect, ALARMS, groups=groups)
    found["unknown"] = 0.0 if rule.threshold is None else float(norm.sf(rule.threshold))

    # New images of new parts, cut where the true escape rate is just what was promised.
    latent, defect, part = plant.draw(rng)
    groups = None if plant.independent or not by_part else part
    scores, cut = to_score(latent), plant.cut_of(RATE)
    threshold = float(to_score(cut))
    check = check_claim(scores, defect, f"escape<={RATE}@{CONFIDENCE}", threshold, groups=groups)
    found["not wrongly supported"] = check.outcome != "supported"
    found["not wrongly contradicted"] = check.outcome != "contradicted"
    # Without groups the intervals wanted here are exact or DeLong's: no draws are needed.
    measured = evaluate(
        np.column_stack([1 - scores, scores]),
        defect.astype(int),
        classes=["good", "bad"],
        good="good",
        threshold=threshold,
        confidence=CONFIDENCE,
        groups=groups,
        resamples=100 if groups is None else 400,
        seed=seed,
    )
    truth = {"escape": RATE, "overkill": plant.overkill(cut), "auroc": plant.auroc}
    for name, value in truth.items():
        rate = getattr(measured, "auroc" if name == "auroc" else f"{name}_rate")
        found[name] = rate.low is None or rate.high is None or rate.low <= value <= rate.high
    return found


def simulate(plant: Plant, plants: int, *, by_part: bool, seed: int = 0) -> dict[str, Any]:
    """Every guarantee over many plants: how often it holds, with the exact interval of that share at 99 %."""
    rows = [one_plant(plant, seed + k, by_part=by_part) for k in range(plants)]
    found: dict[str, Any] = {}
    for name in SURE:
        held = int(sum(row[name] for row in rows))
        low, high = clopper_pearson(held, plants, 0.99)
        found[name] = {"holds": held / plants, "low": low, "high": high}
    for name in ("claim", "review"):
        found[name]["granted"] = float(np.mean([row[f"{name} granted"] for row in rows]))
    for name, promised in AVERAGE.items():
        values = np.array([row[name] for row in rows])
        error = float(values.std(ddof=1) / np.sqrt(plants))
        found[name] = {"promised": promised, "mean": float(values.mean()), "standard_error": error}
    return found


def draw_picture(results: dict[str, Any]) -> str:
    """Share of the plants in which each guarantee holds: by part and by image, one row for each case."""
    shown = {"claim": "claim: escape", "review": "review: overkill", "escape": "interval of the escape rate"}
    shown["auroc"] = "interval of the AUROC"
    rows = [(title, name, row) for name, title in shown.items() for row in results["cases"]]
    plot = Plot(
        x=(0.4, 1.0), y=(0, len(rows) + len(shown)), width=760, height=18 * (len(rows) + len(shown)) + 64
    )
    plot.left, plot.right = 330, 16
    plot.axes(
        "Share of plants in which it holds, %",
        "",
        x_ticks=[0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0],
        y_ticks=[],
        x_text=lambda x: f"{100 * x:g}",
    )
    plot.segment((CONFIDENCE, 0), (CONFIDENCE, plot.y[1]), "promise")
    at, last = plot.y[1], ""
    for title, name, row in rows:
        if title != last:
            at, last = at - 1, title
            plot.text(8, plot.py(at + 0.5) + 4, title, "strong")
        at -= 1
        y = at + 0.5
        plot.text(plot.left - 10, plot.py(y) + 4, row["case"], "end")
        for way in ("by_image", "by_part"):
            if way in row:
                share = row[way][name]["holds"]
                words = way.replace("_", " ")
                plot.dot(
                    max(share, 0.4), y, way, title=f"{title}, {row['case']}, {words}: {100 * share:.1f} %"
                )
    plot.text(plot.left + 4, 11, "● by part   ○ by image (naive)   │ promised", "")
    style = (
        "text{font:12px system-ui,sans-serif;fill:#444}.strong{font-weight:600}.end{text-anchor:end}"
        ".middle{text-anchor:middle}.grid{stroke:#ddd}.axis{stroke:#888}.promise{stroke:#c2410c;stroke-width:1.5}"
        ".by_part{fill:#0f766e}.by_image{fill:#fff;stroke:#b45309;stroke-width:2}"
    )
    size = f"0 0 {plot.width} {plot.height}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{size}" role="img" '
        f'aria-label="How often each guarantee holds over {results["plants"]} simulated plants">'
        f'<style>{style}</style><rect width="100%" height="100%" fill="#fff"/>{"".join(plot.parts)}</svg>\n'
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--plants", type=int, default=2000)
    parser.add_argument("--cases", nargs="+", choices=[plant.name for plant in CASES])
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--picture", type=Path, default=PICTURE)
    options = parser.parse_args()
    results: dict[str, Any] = {"plants": options.plants, "rate": RATE, "confidence": CONFIDENCE, "cases": []}
    started = time.perf_counter()
    with threadpool_limits(1):
        for plant in CASES:
            if options.cases and plant.name not in options.cases:
                continue
            row: dict[str, Any] = {"case": plant.name}
            for way in ("by_image",) if plant.independent else ("by_part", "by_image"):
                row[way] = simulate(plant, options.plants, by_part=way == "by_part")
                print(
                    f"{plant.name}, {way.replace('_', ' ')} ({time.perf_counter() - started:.0f} s)",
                    flush=True,
                )
                for name in SURE:
                    print(f"    {name:26} {row[way][name]['holds']:.3f}")
                for name in AVERAGE:
                    print(f"    {name:26} {row[way][name]['mean']:.4f} of {row[way][name]['promised']}")
            results["cases"].append(row)
    results["seconds"] = round(time.perf_counter() - started)
    write_json(options.output, results)
    write_atomically(options.picture, draw_picture(results))


if __name__ == "__main__":
    main()
