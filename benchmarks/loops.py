"""How many images a second does training take in? Eyeline against a plain PyTorch loop, on solar cells.

    python benchmarks/loops.py [--steps 12] [--rounds 2] [--only efficientnet_lite0 resnet18]

224 px, batch 32, two threads; the peer is timm's network with torchvision's transforms (decode, grey to RGB, resize,
flips, brightness and contrast, normalize) in a DataLoader of two workers, AdamW and cross-entropy, in channels-last or
its default layout, whichever is faster. Both start from the same weights. Arms of Eyeline:

- recipe: as `eyeline train` does it: pixels from the cache, batch norm folded, the first 45 % of the stages frozen;
- bfloat16: the same with `precision = "bfloat16"`;
- all, all_bfloat16: the same two with nothing frozen, so that both sides train every layer.

Each arm is a process of its own and they take turns. Images a second over the steps after the first two, loading
included. The rate of fp32 matrix multiplication is measured beside it. Results: benchmarks/results/loops.json.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from eyeline.files import write_json

RESULTS = Path(__file__).parent / "results" / "loops.json"
SIZE, BATCH, WARM = 224, 32, 2
NETWORKS = {
    "efficientnet_lite0": "tf_efficientnet_lite0",
    "mobilenet_v2": "mobilenetv2_100",
    "resnet18": "resnet18",
    "resnet50": "resnet50",
    "convnext_tiny": "convnext_tiny",
}
OWN = ("recipe", "bfloat16", "all", "all_bfloat16")
ARMS = (*OWN, "peer", "peer_channels_last")


def ours(name: str, weights: Path, steps: int, kind: str) -> float:
    import numpy as np

    from eyeline.images import DecodeOptions, open_cache, read_images
    from eyeline.networks import create_network, network_info
    from eyeline.training import Examples, Normalization, Recipe, fit

    table = read_images("elpv")
    cache = open_cache(table, DecodeOptions(image_size=(SIZE, SIZE), channels=1))
    net = create_network(name, num_classes=2, in_channels=1, weights=weights)
    info = network_info(name)
    rows = np.arange(len(table), dtype=np.int64)
    examples = Examples(
        pixels=cache.pixels,
        targets=table.targets,
        classes=2,
        train=rows,
        val=rows[:4],
        folds=rows % 5,
    )
    recipe = Recipe(
        fit_head=False,
        batch_size=BATCH,
        frozen=0.0 if kind.startswith("all") else Recipe().frozen,
        precision="bfloat16" if kind.endswith("bfloat16") else "float32",
    )
    stamps: list[float] = []

    def progress(stage: str, done: int, total: int, note: str) -> None:
        if stage == "training":
            stamps.append(time.perf_counter())

    normalize = Normalization(info.mean, info.std).for_channels(1)
    with tempfile.TemporaryDirectory() as folder:
        fit(net, examples, recipe, normalize, folder=Path(folder), steps=steps, progress=progress)
    # The last step ends with a validation, so its stamp is left out.
    return rate(stamps[:-1])


def peer(name: str, weights: Path, steps: int, channels_last: bool) -> float:
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "networks"))
    import peers
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset
    from torchvision.transforms import v2

    from eyeline.images import read_images

    table = read_images("elpv")
    transform = v2.Compose(
        [
            v2.Resize((SIZE, SIZE)),
            v2.RandomHorizontalFlip(),
            v2.RandomVerticalFlip(),
            v2.ColorJitter(brightness=0.1, contrast=0.15),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )

    class Cells(Dataset[Any]):
        def __len__(self) -> int:
            return len(table)

        def __getitem__(self, row: int) -> Any:
            with Image.open(table.paths[row]) as image:
                return transform(image.convert("RGB")), int(table.targets[row])

    net = peers.create("timm", NETWORKS[name])
    net.load_state_dict(torch.load(weights, weights_only=True))
    net.reset_classifier(2)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    net = net.to(memory_format=layout).train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-4)
    loader = DataLoader(Cells(), BATCH, shuffle=True, num_workers=2, drop_last=True)
    stamps = []
    for images, labels in loader:
        optimizer.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(net(images.to(memory_format=layout)), labels)
        loss.backward()
        optimizer.step()
        loss.item()
        stamps.append(time.perf_counter())
        if len(stamps) == steps:
            break
    return rate(stamps)


def rate(stamps: list[float]) -> float:
    """Images a second from the step that ended at stamp WARM to the last."""
    return BATCH * (len(stamps) - 1 - WARM) / (stamps[-1] - stamps[WARM])


def arm(kind: str, name: str, weights: Path, steps: int) -> None:
    import torch

    torch.set_num_threads(2)
    if kind.startswith("peer"):
        print(peer(name, weights, steps, kind.endswith("last")))
    else:
        print(ours(name, weights, steps, kind))


def save_weights(name: str, path: Path) -> None:
    """timm's network with random weights: what both sides start from."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "networks"))
    import peers
    import torch

    torch.manual_seed(0)
    torch.save(peers.create("timm", NETWORKS[name]).state_dict(), path)


def matmul_gflops() -> float:
    import torch

    torch.set_num_threads(2)
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    seconds = []
    for _ in range(20):
        start = time.perf_counter()
        torch.mm(a, b)
        seconds.append(time.perf_counter() - start)
    return 2 * 1024**3 / min(seconds) / 1e9


def measure(name: str, steps: int, rounds: int, peak: float) -> dict[str, Any]:
    from eyeline.networks import network_info

    found: dict[str, list[float]] = {kind: [] for kind in ARMS}
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.pth"
        save_weights(name, weights)
        for number in range(rounds):
            for kind in ARMS if number % 2 == 0 else reversed(ARMS):
                command = [sys.executable, __file__, "--arm", kind, "--only", name, "--weights", str(weights)]
                done = subprocess.run(
                    [*command, "--steps", str(steps)], capture_output=True, text=True, check=True
                )
                found[kind].append(float(done.stdout.split()[-1]))
    median = {kind: statistics.median(values) for kind, values in found.items()}
    best = max(median["peer"], median["peer_channels_last"])
    # A training step of every layer is three forward passes, a multiply-accumulate two operations.
    gflops = 6 * network_info(name).macs * median["all"] / 1e9
    row = {
        "network": name,
        "peer": f"timm {NETWORKS[name]}",
        "images_per_second": {kind: round(value, 2) for kind, value in median.items()},
        "runs": {kind: [round(value, 2) for value in values] for kind, values in found.items()},
        "ratios": {kind: round(median[kind] / best, 3) for kind in OWN},
        "of_matmul_rate": round(gflops / peak, 3),
    }
    shown = ", ".join(f"{kind} {median[kind]:.1f}/s (x{median[kind] / best:.2f})" for kind in OWN)
    print(f"{name:20} {shown}, peer {best:.1f}/s", flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", nargs="*", choices=NETWORKS)
    parser.add_argument("--arm", choices=ARMS, help=argparse.SUPPRESS)
    parser.add_argument("--weights", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    names = options.only or list(NETWORKS)
    if options.arm:
        arm(options.arm, names[0], options.weights, options.steps)
        return
    peak = matmul_gflops()
    result: dict[str, Any] = {
        "command": f"python benchmarks/loops.py --steps {options.steps} --rounds {options.rounds}",
        "processor": platform.processor() or platform.machine(),
        "threads": 2,
        "image_size": SIZE,
        "batch": BATCH,
        "matmul_gflops": round(peak, 1),
        "networks": [],
    }
    for name in names:
        result["networks"].append(measure(name, options.steps, options.rounds, peak))
        write_json(RESULTS, result)
    print(f"{RESULTS}: written")


if __name__ == "__main__":
    main()
