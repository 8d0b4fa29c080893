"""Claim 3: a batch norm left in training mode corrupts predictions; running averages mend it, given enough steps.

In training mode a picture's logits depend on the others in its batch, and every pass changes the network. In
inference mode running averages stand in, but after k steps a share 0.9^k of their initial values is still there.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from eyeline.anatomy import reestimate_batch_norm
from eyeline.claims.bench import RATES, Arm, Bench, accuracy, arm_facts, fit, logits, new
from eyeline.claims.charts import curves
from eyeline.claims.claim import Check, Claim, Findings
from eyeline.claims.judging import contrast
from eyeline.claims.pictures import Part, resized

IMAGES = 80
BATCH = 8
STEPS = (5, 10, 15, 20, 44, 100)  # 0.9^44 = 1 %
EARLY = 20
BATCHES = (2, 4, 8, 16, 64)
SEEDS = 2  # times as many: a training takes a second
RATE = RATES["adamw"][1]  # one network judged in three ways: there is nothing to choose between arms
MARGIN = 0.005  # of accuracy


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
    )  # fmt: skip


ARM = Arm(name="three convolutions with batch norm", build=network)


@dataclass(frozen=True)
class Judged:
    """One network's accuracy in each mode after k steps."""

    averages: float  # inference mode, running averages
    precise: float  # inference mode, statistics measured anew on the training pictures
    batches: float  # training mode, shuffled test batches of 64
    by_class: float  # training mode, test pictures sorted by class


def measure(bench: Bench) -> Findings:
    seeds = SEEDS * bench.seeds

    def small(part: Part) -> Part:
        return resized(part[0], ARM.side), part[1]

    def watch(seed: int) -> list[Judged]:
        learned = small(bench.pictures.drawn(seed, seeds, IMAGES))
        tested = small(bench.pictures.tested(seed, seeds))
        net, found, step = new(network, seed), [], 0

        def look() -> None:
            nonlocal step
            bench.check_stop()
            step += 1
            if step in STEPS:
                found.append(judged(net, learned[0], tested, seed))
                net.train()

        fit(net, learned, steps=STEPS[-1], rate=RATE, seed=seed, batch=BATCH, decay=False, each=look)
        return found

    def sweep(item: tuple[int, int]) -> Judged:
        batch, seed = item
        learned = small(bench.pictures.drawn(seed, seeds, IMAGES))
        net = new(network, seed)
        fit(net, learned, steps=EARLY, rate=RATE, seed=seed, batch=batch, decay=False, each=bench.check_stop)
        return judged(net, learned[0], small(bench.pictures.tested(seed, seeds)), seed)

    watched = bench.map("training", watch, range(seeds))
    swept = bench.map("batch sizes", sweep, [(b, s) for b in BATCHES for s in range(seeds)])

    def modes(judgements: list[Judged]) -> dict[str, NDArray[np.float64]]:
        return {key: np.array([getattr(j, key) for j in judgements]) for key in Judged.__annotations__}

    by_step = [modes([found[i] for found in watched]) for i in range(len(STEPS))]
    by_batch = [modes(swept[i * seeds : (i + 1) * seeds]) for i in range(len(BATCHES))]
    gaps = np.array([m["precise"] - m["averages"] for m in by_step])  # (steps, seeds)
    early = gaps[[k <= EARLY for k in STEPS]].mean(axis=0)
    contrasts = (
        contrast(
            "class order",
            "In training mode: test batches shuffled over test batches sorted by class",
            by_step[-1]["batches"] - by_step[-1]["by_class"],
            margin=MARGIN,
        ),
        contrast(
            "averages mend it",
            f"On sorted batches, after {STEPS[-1]} steps: inference mode over training mode",
            by_step[-1]["averages"] - by_step[-1]["by_class"],
            margin=MARGIN,
        ),
        contrast(
            "few steps",
            f"Up to {EARLY} steps: statistics measured anew over running averages",
            early,
            margin=MARGIN,
        ),
        contrast(
            "the gap closes",
            f"What remains of that gap after {STEPS[-1]} steps is smaller",
            early - gaps[-1],
            margin=MARGIN,
        ),
    )
    names = {
        "precise": "inference mode, statistics measured anew",
        "averages": "inference mode, running averages",
        "batches": "training mode, batches of 64",
        "by_class": "training mode, sorted by class",
    }
    y = "Accuracy on test pictures"
    return Findings(
        checks=exact_checks(small(bench.pictures.validation)[0][:64]),
        contrasts=contrasts,
        arms=(arm_facts(ARM, rates=(RATE,)),),
        charts=(
            curves(f"{IMAGES} pictures, batches of {BATCH}", "Training steps, logarithmic", y, STEPS,
                   {name: [m[key] for m in by_step] for key, name in names.items()}),
            curves(f"After {EARLY} steps", "Pictures a training batch, logarithmic", y, BATCHES,
                   {name: [m[key] for m in by_batch] for key, name in names.items()}),
        ),
        notes=(
            f"{seeds} seeds: a training takes a second. Steps are not scaled to the budget.",
            "Share of the initial statistics left: "
            + ", ".join(f"{0.9**k:.0%} after {k} steps" for k in STEPS) + ".",
        ),
    )  # fmt: skip


def judged(net: nn.Module, learned: Tensor, tested: Part, seed: int) -> Judged:
    """The four accuracies; `net` is not changed."""
    fresh = copy.deepcopy(net)
    reestimate_batch_norm(fresh, learned)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(tested[1])))
    return Judged(
        averages=accuracy(copy.deepcopy(net), tested),
        precise=accuracy(fresh, tested),
        batches=_in_training(net, tested, order),
        by_class=_in_training(net, tested, tested[1].argsort(stable=True)),
    )


def _in_training(net: nn.Module, part: Part, order: Tensor, batch: int = 64) -> float:
    """Accuracy in training mode, in batches of the given order; pictures that fill no batch are left out."""
    order = order[: max(1, len(order) // batch) * batch]
    copied = copy.deepcopy(net).train()
    return float((logits(copied, part[0][order], batch=batch).argmax(1) == part[1][order]).double().mean())


def exact_checks(images: Tensor) -> tuple[Check, ...]:
    """What one picture's logits depend on, and what a mere pass does; needs 64 pictures ``(N, 1, H, W)``."""
    net = new(network, 0)
    half = len(images) // 2
    one, other = images[:half], torch.cat((images[:1], images[half + 1 :]))

    def apart() -> float:
        with torch.no_grad():
            return float((net(one)[0] - net(other)[0]).abs().max())

    net.train()
    trained = apart()
    net.eval()
    inferred = apart()
    with torch.no_grad():
        before = net(one)
        net.train()
        net(images)  # an "evaluation" that somebody forgot to announce
        net.eval()
        moved = float((net(one) - before).abs().max())
    return (
        Check(
            text="Logits of one picture in two batches, training mode (largest difference)",
            expected="> 1e-3",
            found=f"{trained:.1e}",
            holds=trained > 1e-3,
        ),
        Check(
            text="The same in inference mode",
            expected="≤ 1e-6",
            found=f"{inferred:.1e}",
            holds=inferred <= 1e-6,
        ),
        Check(
            text="Change of predictions in inference mode by one pass in training mode, without any learning",
            expected="> 1e-3",
            found=f"{moved:.1e}",
            holds=moved > 1e-3,
        ),
    )


CLAIM = Claim(
    name="batch-norm",
    title="Batch norm left in training mode",
    statement="A batch norm in training mode makes predictions depend on what else is in the batch and costs"
    " accuracy; running averages mend that, and are themselves wrong after few steps.",
    experiment="One network learns from 80 pictures in batches of 8 and is judged after 5 to 100 steps in "
    "four ways: in inference mode with its running averages, with statistics measured anew on the training "
    "pictures, and in training mode with test batches shuffled or sorted by class. A second series varies "
    "the training batch from 2 to 64.",
    change="A higher momentum, more steps, or statistics measured anew close the early gap. Networks with "
    "layer or group norm have no second mode. Exported inspectors have their batch norms folded: there is no"
    " mode to forget.",
    source="Wu and Johnson, arXiv 2105.07576; Singh and Shrivastava, ICCV 2019 (arXiv 1904.06031).",
    data="pictures",
    measure=measure,
)
