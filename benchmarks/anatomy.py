"""Measuring a network without data against torchinfo, which runs it.

    python benchmarks/anatomy.py --threads 2 --rounds 15

Both get the same randomly initialised network in inference mode and the input size (1, 3, 224, 224), and give
their summary object; neither prints. They take turns, the order changing from round to round. The ratio is
describe's seconds divided by torchinfo's: below 1 means faster. In a fresh process each, the growth of resident
memory at its highest is read from Linux, for torchinfo allocates the activations and describe does not.
"""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torchinfo
from torch import nn

from eyeline.anatomy import describe
from eyeline.files import write_json

NETWORKS = ("resnet50", "vit_b_16")
SIZE = (3, 224, 224)
RESULTS = Path(__file__).parent / "results" / "anatomy.json"


def network(name: str) -> nn.Module:
    # torchvision registers fakes for operators of its C++ extension; where that does not fit the installed torch
    # they must be known all the same. Models never call them.
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in (
        "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    ):
        if not hasattr(torch.ops.torchvision, schema.partition("(")[0]):
            library.define(schema)
    import torchvision

    net: nn.Module = torchvision.models.get_model(name, weights=None).eval()
    return net


def contenders(net: nn.Module) -> dict[str, Callable[[], Any]]:
    return {
        "describe": lambda: describe(net, SIZE),
        "torchinfo": lambda: torchinfo.summary(net, (1, *SIZE), verbose=0),
        "describe_training": lambda: describe(net, SIZE, training=True),
    }


def take_turns(candidates: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each candidate, in alternation; one round before it counts."""
    names = list(candidates)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for index in range(rounds + 1):
        for shift in range(len(names)):
            name = names[(index + shift) % len(names)]
            start = time.perf_counter()
            candidates[name]()
            if index:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def growth(name: str, contender: str, threads: int, queue: Any) -> None:
    """Kilobytes by which the resident memory of this process grows during one call, at its highest."""
    torch.set_num_threads(threads)
    net = network(name)
    describe(nn.Sequential(nn.Conv2d(3, 4, 3)), (3, 8, 8))  # imports are not activations
    torchinfo.summary(nn.Conv2d(3, 4, 3), (1, 3, 8, 8), verbose=0)
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts from now
    before = resident("VmRSS")
    contenders(net)[contender]()
    queue.put(resident("VmHWM") - before)


def resident(field: str) -> int:
    """Kilobytes, from the process's status: VmRSS is now, VmHWM the high-water mark."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def peak_growth(name: str, contender: str, threads: int) -> int:
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=growth, args=(name, contender, threads, queue))
    process.start()
    kilobytes: int = queue.get(timeout=600)
    process.join()
    return kilobytes * 1024


def spread(values: list[float]) -> dict[str, float]:
    low, middle, high = statistics.quantiles(values, n=4)
    return {"median": round(middle, 4), "low": round(low, 4), "high": round(high, 4)}


def measure(name: str, rounds: int, threads: int) -> dict[str, Any]:
    net = network(name)
    seconds = take_turns(contenders(net), rounds)
    peer = torchinfo.summary(net, (1, *SIZE), verbose=0)
    table = describe(net, SIZE)
    assert table.parameters == peer.total_params, "both count the same parameters"
    paired = zip(seconds["describe"], seconds["torchinfo"], strict=True)
    return {
        "network": name,
        "input": list(SIZE),
        "milliseconds": {who: spread([1e3 * s for s in values]) for who, values in seconds.items()},
        "ratio": spread([ours / theirs for ours, theirs in paired]),
        "peak_memory_growth_bytes": {
            who: peak_growth(name, who, threads) for who in ("describe", "torchinfo")
        },
        "peak_activation_bytes": table.peak_activation_bytes,
        "macs": table.macs,
        "torchinfo_mult_adds": peer.total_mult_adds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="few rounds: does it run?")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(arguments.threads)
    rounds = 3 if arguments.quick else arguments.rounds
    rows = []
    for name in NETWORKS:
        row = measure(name, rounds, arguments.threads)
        rows.append(row)
        times = {who: f"{figures['median']:.1f} ms" for who, figures in row["milliseconds"].items()}
        print(f"{name:10} {times}  ratio {row['ratio']['median']:.2f}", flush=True)
    result = {
        "command": f"python benchmarks/anatomy.py --threads {arguments.threads} --rounds {rounds}",
        "torch": torch.__version__,
        "torchinfo": torchinfo.__version__,
        "processor": platform.processor() or platform.machine(),
        "threads": arguments.threads,
        "rounds": rounds,
        "networks": rows,
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    write_json(arguments.output, result)
    print(f"{arguments.output}: written")


if __name__ == "__main__":
    main()
