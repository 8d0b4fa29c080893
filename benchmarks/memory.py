"""Peak memory of the main job, stage by stage.

    python benchmarks/memory.py [--steps 10] [--images 0] [--frozen 0.45]
    python benchmarks/memory.py --large 200000 --steps 300

The second form writes a folder of so many pictures of 64 px and trains LeNet-5 on it: how much of the memory grows with
the table. Both write to benchmarks/results/memory.json.

The first trains as `eyeline demo` does (elpv, EfficientNet-Lite0, 300 px, batches of 32) in a child process, a few
steps a fold: the peak of a training step does not depend on how many follow. The kernel's own high-water mark of
resident memory (VmHWM) is read and set back at every change of stage; file-backed pages, such as the decoded pixels,
count like all others, and are told apart because the system can drop them at any time. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from eyeline.files import write_json

RESULTS = Path(__file__).parent / "results" / "memory.json"
LIMIT_MB = 3000
LARGE_SIDE = 64


class Watch:
    """The progress of a job that notes the peak of every stage."""

    def __init__(self) -> None:
        self.stage, self.since = "start", time.monotonic()
        self.peaks: dict[str, dict[str, float]] = {}
        self.lock = threading.Lock()
        threading.Thread(target=self.sample, daemon=True).start()

    def __call__(self, stage: str, done: int, total: int, note: str) -> None:
        if stage != self.stage:
            self.close()
            self.stage = stage

    def close(self) -> None:
        """The stage is over: keep its peak and begin anew."""
        with self.lock:
            peak = self.peaks.setdefault(self.stage, {"peak_mb": 0.0, "anonymous_mb": 0.0})
            peak["peak_mb"] = max(peak["peak_mb"], status()["VmHWM"])
            peak["seconds"] = peak.get("seconds", 0.0) + time.monotonic() - self.since
            self.since = time.monotonic()
            Path("/proc/self/clear_refs").write_text("5")

    def sample(self) -> None:
        """The kernel keeps no high-water mark of anonymous memory alone: look every 10 ms."""
        while True:
            now = status()["RssAnon"]
            with self.lock:
                peak = self.peaks.setdefault(self.stage, {"peak_mb": 0.0, "anonymous_mb": 0.0})
                peak["anonymous_mb"] = max(peak["anonymous_mb"], now)
            time.sleep(0.01)


def status() -> dict[str, float]:
    """Fields of /proc/self/status in megabytes."""
    fields = {}
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if value.endswith("kB"):
            fields[name] = int(value.split()[0]) / 1000 * 1.024
    return fields


def job(steps: int, images: int, frozen: float) -> None:
    """Run the job and print the peaks as JSON."""
    import numpy as np

    from eyeline.images import read_images
    from eyeline.jobs import train

    watch = Watch()
    table = read_images("elpv")
    if images:
        table = table.select(np.random.default_rng(0).permutation(len(table))[:images])
    with tempfile.TemporaryDirectory() as folder:
        train(table, out=Path(folder) / "run", steps=steps, recipe={"frozen": frozen}, progress=watch)
    tell(watch, len(table))


def large_job(steps: int, images: int) -> None:
    """The same on a folder of `images` pictures that is written first, and a cache of its own."""
    from eyeline.jobs import train

    with tempfile.TemporaryDirectory() as folder:
        os.environ["EYELINE_CACHE"] = str(Path(folder) / "cache")
        write_pictures(Path(folder) / "photos", images)
        watch = Watch()
        train(
            Path(folder) / "photos",
            network="lenet5",
            weights="none",
            image_size=LARGE_SIDE,
            out=Path(folder) / "run",
            steps=steps,
            recipe={"batch_size": 128, "learning_rate": 1e-3},
            progress=watch,
        )
        tell(watch, images)


def write_pictures(folder: Path, images: int) -> None:
    """Grey noise, brighter along one side; a third has a dark scratch."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    ramp = np.linspace(90, 160, LARGE_SIDE)
    for name in ("good", "scratched"):
        (folder / name).mkdir(parents=True)
    for number in range(images):
        pixels = ramp + rng.normal(0, 12, (LARGE_SIDE, LARGE_SIDE))
        scratched = number % 3 == 0
        if scratched:
            row, column = rng.integers(0, LARGE_SIDE - 24, 2)
            pixels[row : row + 2, column : column + 24] -= 60
        picture = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
        picture.save(folder / ("scratched" if scratched else "good") / f"{number:06d}.png", compress_level=1)


def tell(watch: Watch, images: int) -> None:
    """The peaks of every stage, as the last line of the output."""
    watch.close()
    stages = {name: {key: round(value) for key, value in peak.items()} for name, peak in watch.peaks.items()}
    print(json.dumps({"images": images, "stages": stages}))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=10, help="of training, in each fold")
    parser.add_argument("--images", type=int, default=0, help="of the source; 0 takes all")
    parser.add_argument("--frozen", type=float, nargs="*", default=[0.45, 0.0])
    parser.add_argument("--large", type=int, default=0, help="pictures of the second form")
    parser.add_argument("--child", action="store_true")
    options = parser.parse_args()
    if options.child:
        if options.large:
            large_job(options.steps, options.large)
        else:
            job(options.steps, options.images, options.frozen[0])
        return
    kept = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    steps = ["--steps", str(options.steps)]
    if options.large:
        found = child([*steps, "--large", str(options.large)])
        found["cache_mb"] = round(options.large * LARGE_SIDE**2 / 1e6)
        large = {"network": "lenet5", "side": LARGE_SIDE, "threads": len(os.sched_getaffinity(0)), **found}
        write_json(RESULTS, kept | {"large": large})
        return
    runs: dict[str, Any] = {}
    for frozen in options.frozen:
        runs[f"frozen {frozen:g}"] = child([*steps, "--images", str(options.images), "--frozen", str(frozen)])
    result = {
        "network": "efficientnet_lite0",
        "source": "elpv",
        "batch": 32,
        "threads": len(os.sched_getaffinity(0)),
        "limit_mb": LIMIT_MB,
        "runs": runs,
    }
    write_json(RESULTS, kept | result)


def child(words: list[str]) -> dict[str, Any]:
    """One job in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--child", *words],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=os.environ,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    found["peak_mb"] = max(stage["peak_mb"] for stage in found["stages"].values())
    found["anonymous_mb"] = max(stage["anonymous_mb"] for stage in found["stages"].values())
    print(f"{' '.join(words)}: peak {found['peak_mb']} MB")
    for name, stage in found["stages"].items():
        print(
            f"  {name:<22} {stage['peak_mb']:6} MB, {stage['anonymous_mb']:6} MB of it not from files, "
            f"{stage.get('seconds', 0):4} s"
        )
    return found


if __name__ == "__main__":
    main()
