"""Are our networks as fast as torchvision's and timm's? Forward pass and training step, A and B taking turns.

    python benchmarks/networks.py [--quick] [--threads 2] [--only resnet18 vit_ti_16]

Each pair holds the same weights, sees the same images on the same threads and is checked to give the same
logits before any clock starts. Ratios are peer time / our time, so above 1 we are faster: the median over
rounds, with the quartiles. "ratio" is against the peer as its library builds it; "ratio_channels_last" is
against the peer after its user has converted both weights and images to channels-last, which our networks
do by themselves. The machine's own limits (fp32 matrix multiplication and copying) are measured in the same
run.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "networks"))
import peers

from eyeline.networks import create_network, network_info

# Ours, the peer's library and name, image size and batch. One small and one usual network a family, where
# it has.
PAIRS = (
    ("alexnet", "torchvision", "alexnet", 224, 8),
    ("vgg11", "torchvision", "vgg11", 224, 2),
    ("vgg11_bn", "timm", "vgg11_bn", 224, 2),
    ("resnet18", "torchvision", "resnet18", 224, 8),
    ("resnet50", "timm", "resnet50", 224, 4),
    ("mobilenet_v1", "timm", "mobilenetv1_100", 224, 8),
    ("mobilenet_v2", "torchvision", "mobilenet_v2", 224, 8),
    ("mobilenet_v3_large", "torchvision", "mobilenet_v3_large", 224, 8),
    ("efficientnet_b0", "torchvision", "efficientnet_b0", 224, 8),
    ("efficientnet_lite0", "timm", "tf_efficientnet_lite0", 224, 8),
    ("efficientnet_v2_b0", "timm", "tf_efficientnetv2_b0", 224, 8),
    ("vit_ti_16", "timm", "vit_tiny_patch16_224", 224, 8),
    ("vit_b_32", "torchvision", "vit_b_32", 224, 4),
    ("convnext_atto", "timm", "convnext_atto", 224, 8),
    ("convnext_tiny", "torchvision", "convnext_tiny", 224, 4),
)
QUICK = ("resnet18", "efficientnet_lite0", "vit_ti_16", "convnext_atto")


def twins(name: str, library: str, peer_name: str, folder: Path) -> tuple[nn.Module, nn.Module]:
    """The peer with random weights, and ours with the same."""
    torch.manual_seed(0)
    peer = peers.create(library, peer_name)
    peers.randomise(peer)
    file = folder / "peer.pth"
    torch.save(peer.state_dict(), file)
    return create_network(name, weights=file), peer


Task = Callable[[nn.Module, Tensor], Callable[[], None]]


def forward(net: nn.Module, images: Tensor) -> Callable[[], None]:
    def run() -> None:
        with torch.inference_mode():
            net(images)

    return run


def training_step(net: nn.Module, images: Tensor) -> Callable[[], None]:
    labels = torch.arange(len(images))
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-4, momentum=0.9)

    def run() -> None:
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(net(images), labels).backward()
        optimizer.step()

    return run


def take_turns(candidates: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each candidate in each round; every round starts with another one."""
    for run in candidates.values():
        run()
        run()
    names = list(candidates)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for index in range(rounds):
        for shift in range(len(names)):
            name = names[(index + shift) % len(names)]
            start = time.perf_counter()
            candidates[name]()
            seconds[name].append(time.perf_counter() - start)
    return seconds


Side = tuple[nn.Module, Tensor]  # a network and its images


def duel(
    task: Task, ours: Side, peer: Side, rounds: int
) -> tuple[list[float], list[float], dict[str, float]]:
    """Our seconds, the peer's, and the ratio peer / ours: median and quartiles.

    Who is warmed up first gets other memory for gradients and momentum, which alone makes up to 20 % on small
    networks. So half of the rounds are warmed up either way, and a round of each kind make one ratio.
    """
    half = max(2, rounds // 2)
    first = take_turns({"ours": task(*ours), "peer": task(*peer)}, half)
    second = take_turns({"peer": task(*peer), "ours": task(*ours)}, half)
    ratios = [
        math.sqrt(first["peer"][i] / first["ours"][i] * second["peer"][i] / second["ours"][i])
        for i in range(half)
    ]
    low, middle, high = statistics.quantiles(ratios, n=4)
    shown = {"median": round(middle, 4), "low": round(low, 4), "high": round(high, 4)}
    return first["ours"] + second["ours"], first["peer"] + second["peer"], shown


def compare(pair: tuple[str, str, str, int, int], rounds: int, peak: float) -> dict[str, Any]:
    """Parity, then both timings of one pair."""
    name, library, peer_name, size, batch = pair
    with tempfile.TemporaryDirectory() as folder:
        ours, peer = twins(name, library, peer_name, Path(folder))
    images = torch.randn(batch, 3, size, size)
    with torch.inference_mode():
        expected, got = peer.eval()(images), ours.eval()(images)
    difference = ((got - expected).abs().max() / expected.abs().max()).item()
    assert difference < 1e-5, f"{name}: not the same network, relative difference {difference:.1e}"

    row: dict[str, Any] = {
        "network": name,
        "family": network_info(name).family,
        "peer": f"{library} {peer_name}",
        "image_size": size,
        "batch": batch,
        "max_relative_difference": difference,
    }
    tasks: dict[str, Task] = {"forward": forward, "training_step": training_step}
    for mode, task in tasks.items():
        train = mode == "training_step"
        for net in (ours, peer):
            net.train(train)
        nhwc = images.contiguous(memory_format=torch.channels_last)
        seconds, theirs, ratio = duel(task, (ours, images), (peer, images), rounds)
        peer.to(memory_format=torch.channels_last)
        again, _, fair = duel(task, (ours, images), (peer, nhwc), rounds)
        peer.to(memory_format=torch.contiguous_format)
        median = statistics.median(seconds + again)
        row[mode] = {
            "milliseconds": round(1e3 * median, 3),
            "peer_milliseconds": round(1e3 * statistics.median(theirs), 3),
            "ratio": ratio,
            "ratio_channels_last": fair,
        }
        if not train and size == network_info(name).input_size[1]:
            rate = 2 * network_info(name).macs * batch / median / 1e9
            row[mode] |= {"gflops": round(rate, 1), "of_peak": round(rate / peak, 3)}
    return row


def limits() -> dict[str, float]:
    """What this machine can do at most: GFLOP/s of a matrix product, GB/s of a copy."""
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    big = torch.randn(2**24)
    target = torch.empty_like(big)

    def matmul() -> None:
        torch.mm(a, b)

    def copy() -> None:
        target.copy_(big)

    seconds = take_turns({"matmul": matmul, "copy": copy}, 15)
    return {
        "matmul_gflops": round(2 * 1024**3 / min(seconds["matmul"]) / 1e9, 1),
        "copy_gigabytes_per_second": round(2 * big.nbytes / min(seconds["copy"]) / 1e9, 1),
    }


def families(rows: list[dict[str, Any]], mode: str, ratio: str) -> dict[str, float]:
    """The median ratio of each family over its networks."""
    names = dict.fromkeys(row["family"] for row in rows)
    return {
        name: round(statistics.median(row[mode][ratio]["median"] for row in rows if row["family"] == name), 4)
        for name in names
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="four networks, few rounds: does it run?")
    parser.add_argument("--only", nargs="*", help="names of our networks")
    parser.add_argument("--rounds", type=int, default=24, help="half of them in either order of warm-up")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "networks.json")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    wanted = arguments.only or (QUICK if arguments.quick else [pair[0] for pair in PAIRS])
    rounds = 4 if arguments.quick else arguments.rounds

    machine = limits()
    rows = []
    for pair in PAIRS:
        if pair[0] in wanted:
            row = compare(pair, rounds, machine["matmul_gflops"])
            rows.append(row)
            shown = "  ".join(
                f"{mode} {row[mode]['milliseconds']:8.1f} ms, peer x{row[mode]['ratio']['median']:.2f}"
                f" (channels-last x{row[mode]['ratio_channels_last']['median']:.2f})"
                for mode in ("forward", "training_step")
            )
            print(f"{pair[0]:20} {shown}", flush=True)
    result = {
        "command": "python benchmarks/networks.py" + (" --quick" if arguments.quick else ""),
        "torch": torch.__version__,
        "processor": platform.processor() or platform.machine(),
        "threads": arguments.threads,
        "rounds": rounds,
        "limits": machine,
        "families": {
            mode: {ratio: families(rows, mode, ratio) for ratio in ("ratio", "ratio_channels_last")}
            for mode in ("forward", "training_step")
        },
        "networks": rows,
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    print(f"{arguments.output}: written")


if __name__ == "__main__":
    main()
