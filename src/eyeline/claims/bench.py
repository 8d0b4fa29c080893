"""The protocol that all experiments share.

Arms of one experiment differ in the one thing that the claim is about. They see the same pictures in the same
order (paired by seed), take the same number of steps, and each gets its learning rate from the same three,
chosen on validation pictures with one seed and a third of the steps. The number of steps is fixed by the claim;
a probe shortens it, for all arms alike, where the budget does not suffice.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from eyeline.anatomy import describe
from eyeline.claims.claim import ArmFacts, Settings
from eyeline.claims.pictures import Part, Pictures, permuted, resized, shifted
from eyeline.errors import EyelineError
from eyeline.progress import Progress, silent

Optimizer = Literal["adamw", "sgd"]
RATES: dict[Optimizer, tuple[float, float, float]] = {"adamw": (1e-3, 3e-3, 1e-2), "sgd": (0.03, 0.1, 0.3)}

BATCH = 64
FULL = 3  # times the steps with --full
FEWEST = 6  # steps, however small the budget
PROBE = 3  # steps that are timed
FORWARD = 1 / 3  # of a step on a picture, against a training step: one pass instead of three
MOST_LOSS = 2048  # training pictures whose loss is told
SPARE = 0.85  # of the budget is planned: two trainings side by side slow each other down

T = TypeVar("T")
R = TypeVar("R")
Floats = NDArray[np.float64]
_seeding = threading.Lock()  # torch has one generator for all threads


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way to do it: a network and what it is shown."""

    name: str
    build: Callable[[], nn.Module]
    side: int = 14  # pixels
    permuted: bool = False
    scattered: int = 0  # pixels that every picture is moved by at most, in training and test alike
    shifted: bool = False  # random shifts in training


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One place of the design: an arm, how many pictures it learns from, for how many steps."""

    arm: Arm
    images: int
    steps: int
    seeds: int | None = None  # None: all


@dataclass(frozen=True)
class Run:
    """One training: accuracy on the seed's test pictures, and the loss on its training pictures."""

    accuracy: float
    loss: float


@dataclass(frozen=True)
class Race:
    """All trainings of an experiment."""

    runs: dict[tuple[str, int], tuple[Run, ...]]
    arms: tuple[ArmFacts, ...]

    def accuracy(self, arm: str, images: int) -> Floats:
        """Accuracy a seed, ``(S,)``."""
        return np.array([run.accuracy for run in self.runs[arm, images]])

    def loss(self, arm: str, images: int) -> Floats:
        """Cross-entropy a seed on its own training pictures, ``(S,)``."""
        return np.array([run.loss for run in self.runs[arm, images]])


class Bench:
    """Where a claim is measured: its pictures, seeds, time, and as many threads as there are processors.

    Trainings run side by side, each on one thread: networks this small gain little from two.
    """

    def __init__(
        self,
        settings: Settings,
        pictures: Pictures | None = None,
        *,
        progress: Progress = silent,
        workers: int | None = None,
    ) -> None:
        self.settings = settings
        self.seeds = settings.seeds
        self.progress = progress
        self.workers = workers or _processors()
        self.share = 1.0  # of the planned steps that the budget allowed
        self._pictures = pictures
        self._stop = threading.Event()

    @property
    def pictures(self) -> Pictures:
        """The pictures; only claims that ask for them in `Claim.data` have any."""
        assert self._pictures is not None
        return self._pictures

    def sizes(self, wanted: Sequence[int]) -> tuple[int, ...]:
        """Those numbers of training pictures that there are; always at least two."""
        held = len(self.pictures.train[0])
        fitting = tuple(n for n in wanted if n <= held)
        if len(fitting) < 2:
            raise EyelineError(
                f"{held} training pictures; at least {wanted[1]} are needed",
                code="too_few",
                path=self.pictures.name,
            )
        return fitting

    def map(self, stage: str, job: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """``[job(item) for item in items]``, side by side. An interruption ends all jobs at their next step."""
        work = list(items)
        threads = torch.get_num_threads()
        with ThreadPoolExecutor(self.workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            futures = [pool.submit(job, item) for item in work]
            try:
                for done, future in enumerate(as_completed(futures)):
                    future.result()
                    self.progress(stage, done + 1, len(work), "")
            except BaseException:
                self._stop.set()
                for future in futures:
                    future.cancel()
                raise
            finally:
                torch.set_num_threads(threads)
        return [future.result() for future in futures]

    def race(self, cells: Sequence[Cell], *, optimizer: Optimizer = "adamw") -> Race:
        """Train every cell with every seed, learning rates chosen first."""
        times = FULL if self.settings.full else 1
        if self.settings.budget is not None:
            self.share = self._affordable(cells, times, optimizer)
        steps = {cell: self.steps(cell.steps * times) for cell in cells}
        tried = [(cell, rate) for cell in cells for rate in RATES[optimizer]]

        def attempt(item: tuple[Cell, float]) -> float:
            cell, rate = item
            net = self._trained(cell, 0, max(FEWEST, steps[cell] // 3), rate, optimizer)
            return accuracy(net, self._seen(cell.arm, self.pictures.validation))

        scores = self.map("learning rates", attempt, tried)
        rates: dict[Cell, float] = {}
        best: dict[Cell, float] = {}
        for (cell, rate), score in zip(tried, scores, strict=True):
            if score > best.get(cell, -1.0):
                best[cell], rates[cell] = score, rate

        def run(item: tuple[Cell, int]) -> Run:
            cell, seed = item
            net = self._trained(cell, seed, steps[cell], rates[cell], optimizer)
            tested = self._seen(cell.arm, self.pictures.tested(seed, self.seeds))
            images, labels = self.pictures.drawn(seed, self.seeds, cell.images)
            learned = self._seen(cell.arm, (images[:MOST_LOSS], labels[:MOST_LOSS]))
            return Run(accuracy(net, tested), training_loss(net, learned))

        jobs = [(cell, seed) for cell in cells for seed in range(cell.seeds or self.seeds)]
        runs: dict[tuple[str, int], tuple[Run, ...]] = {}
        for (cell, _), found in zip(jobs, self.map("training", run, jobs), strict=True):
            key = (cell.arm.name, cell.images)
            runs[key] = (*runs.get(key, ()), found)
        chosen: dict[str, tuple[float, ...]] = {}
        for cell in cells:
            chosen[cell.arm.name] = (*chosen.get(cell.arm.name, ()), rates[cell])
        facts = tuple(
            arm_facts(arm, rates=chosen[arm.name]) for arm in dict.fromkeys(cell.arm for cell in cells)
        )
        return Race(runs, facts)

    def steps(self, planned: int) -> int:
        """Planned steps at the share that the budget allowed."""
        return max(FEWEST, round(self.share * planned))

    def check_stop(self) -> None:
        """Raise KeyboardInterrupt in a job once the bench is asked to stop."""
        if self._stop.is_set():
            raise KeyboardInterrupt

    def _affordable(self, cells: Sequence[Cell], times: int, optimizer: Optimizer) -> float:
        """The share of the planned steps for which the budget suffices, from a probe of every arm."""
        assert self.settings.budget is not None
        seconds = {arm: self._probe(arm, optimizer) for arm in {cell.arm for cell in cells}}
        training = evaluating = 0.0
        for cell in cells:
            seeds = cell.seeds or self.seeds
            training += seconds[cell.arm] * cell.steps * times * (seeds + 1)  # three thirds choose the rate
            seen = seeds * min(cell.images, MOST_LOSS) + len(self.pictures.test[0]) * seeds / self.seeds
            seen += len(RATES[optimizer]) * len(self.pictures.validation[0])
            evaluating += seconds[cell.arm] * FORWARD * seen / BATCH
        left = SPARE * self.workers * self.settings.budget - evaluating
        return min(1.0, max(left, 0.0) / training)

    def _probe(self, arm: Arm, optimizer: Optimizer) -> float:
        """Seconds of one training step on one thread."""
        images, labels = self.pictures.train
        part = self._seen(arm, (images[:BATCH], labels[:BATCH]))
        net, clock = new(arm.build, 0), [0.0]

        def tick() -> None:
            clock.append(time.perf_counter())

        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            fit(net, part, steps=PROBE + 2, rate=0.0, seed=0, optimizer=optimizer, each=tick)
        finally:
            torch.set_num_threads(threads)
        return (clock[-1] - clock[2]) / (len(clock) - 3)  # the first step prepares kernels and memory

    def _trained(self, cell: Cell, seed: int, steps: int, rate: float, optimizer: Optimizer) -> nn.Module:
        part = self._seen(cell.arm, self.pictures.drawn(seed, self.seeds, cell.images))
        net = new(cell.arm.build, seed)
        fit(
            net,
            part,
            steps=steps,
            rate=rate,
            seed=seed,
            optimizer=optimizer,
            moved=cell.arm.shifted,
            each=self.check_stop,
        )
        return net

    def _seen(self, arm: Arm, part: Part) -> Part:
        """Pictures as an arm sees them."""
        images, labels = part
        images = resized(images, arm.side)
        if arm.scattered:
            images = shifted(images, np.random.default_rng(len(images)), arm.scattered)
        return (permuted(images) if arm.permuted else images), labels


def new(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """A network whose weights depend on the seed alone."""
    with _seeding, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def fit(
    net: nn.Module,
    part: Part,
    *,
    steps: int,
    rate: float,
    seed: int,
    batch: int = BATCH,
    optimizer: Optimizer = "adamw",
    decay: bool = True,
    moved: bool = False,
    each: Callable[[], None] = lambda: None,
) -> None:
    """Train for `steps` batches; their order depends on the seed and the number of pictures alone.

    AdamW, or SGD with momentum 0.9 as in the papers on residual networks. The rate rises over a twentieth of
    the steps and, with `decay`, falls to zero along half a cosine. `each` is called after every step.
    """
    images, labels = part
    rng = np.random.default_rng([seed, len(images)])
    epochs = math.ceil(steps * batch / len(images))
    order = np.concatenate([rng.permutation(len(images)) for _ in range(epochs)])
    rows = torch.from_numpy(order)[: steps * batch].view(steps, batch)
    step_of: torch.optim.Optimizer
    if optimizer == "adamw":
        step_of = torch.optim.AdamW(net.parameters(), lr=rate)
    else:
        step_of = torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9, weight_decay=1e-4)
    net.train()
    for step in range(steps):
        rise = min(1.0, (step + 1) / (0.05 * steps))
        fall = 0.5 * (1 + math.cos(math.pi * step / steps)) if decay else 1.0
        for group in step_of.param_groups:
            group["lr"] = rate * rise * fall
        x = images[rows[step]]
        loss = F.cross_entropy(net(shifted(x, rng) if moved else x), labels[rows[step]])
        step_of.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        step_of.step()
        each()


def accuracy(net: nn.Module, part: Part) -> float:
    """Share of pictures that are classified rightly, in inference mode."""
    net.eval()
    return float((logits(net, part[0], batch=256).argmax(1) == part[1]).double().mean())


def training_loss(net: nn.Module, part: Part) -> float:
    """Cross-entropy in training mode: batch norms use the batch, as they did while learning."""
    images, labels = part
    rows = slice(0, max(BATCH, len(images) // BATCH * BATCH))  # a small last batch would have odd statistics
    net.train()
    loss = float(F.cross_entropy(logits(net, images[rows], batch=BATCH), labels[rows]))
    return min(loss, 1e6) if math.isfinite(loss) else 1e6


def logits(net: nn.Module, images: Tensor, *, batch: int) -> Tensor:
    """Outputs ``(N, K)`` in the mode that the network is in."""
    with torch.no_grad():
        return torch.cat([net(images[start : start + batch]) for start in range(0, len(images), batch)])


def arm_facts(arm: Arm, *, rates: tuple[float, ...] = ()) -> ArmFacts:
    """What a network costs for one picture: parameters, and multiply-accumulates as `describe` counts them."""
    table = describe(new(arm.build, 0), (1, arm.side, arm.side))
    return ArmFacts(name=arm.name, parameters=table.parameters, macs=table.macs, rates=rates)


def _processors() -> int:
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, 8))
