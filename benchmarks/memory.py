"""Peak memory of the main job, stage by stage.

    python benchmarks/memory.py [--budget 20] [--images 0] [--frozen 0.45]

Trains as `eyeline demo` does (elpv, EfficientNet-Lite0, 300 px, batches of 32) in a child process with a short budget:
the peak of a training step does not depend on how many follow. The kernel's own high-water mark of resident memory
(VmHWM) is read and set back at every change of stage; file-backed pages, such as the decoded pixels, count like all
others, and are told apart because the system can drop them at any time. Linux only. Written to
benchmarks/results/memory.json.
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

RESULTS = Path(__file__).parent / "results" / "memory.json"
LIMIT_MB = 3000


class Watch:
    """The progress of a job that notes the peak of every stage."""

    def __init__(self) -> None:
        self.stage = "start"
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


def job(budget: float, images: int, frozen: float) -> None:
    """Run the job and print the peaks as JSON."""
    import numpy as np

    from eyeline.images import read_images
    from eyeline.jobs import train

    watch = Watch()
    table = read_images("elpv")
    if images:
        table = table.select(np.random.default_rng(0).permutation(len(table))[:images])
    with tempfile.TemporaryDirectory() as folder:
        train(table, out=Path(folder) / "run", budget=budget, recipe={"frozen": frozen}, progress=watch)
    watch.close()
    stages = {name: {key: round(value) for key, value in peak.items()} for name, peak in watch.peaks.items()}
    print(json.dumps({"images": len(table), "stages": stages}))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--budget", type=float, default=20.0, help="seconds of training, probe included")
    parser.add_argument("--images", type=int, default=0, help="of the source; 0 takes all")
    parser.add_argument("--frozen", type=float, nargs="*", default=[0.45, 0.0])
    parser.add_argument("--child", action="store_true")
    options = parser.parse_args()
    if options.child:
        job(options.budget, options.images, options.frozen[0])
        return
    runs: dict[str, Any] = {}
    for frozen in options.frozen:
        words = ["--budget", str(options.budget), "--images", str(options.images), "--frozen", str(frozen)]
        done = subprocess.run(
            [sys.executable, __file__, "--child", *words],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            env=os.environ,
        )
        found = json.loads(done.stdout.splitlines()[-1])
        found["peak_mb"] = max(stage["peak_mb"] for stage in found["stages"].values())
        runs[f"frozen {frozen:g}"] = found
        print(f"frozen {frozen:g}: peak {found['peak_mb']} MB")
        for name, stage in found["stages"].items():
            print(f"  {name:<22} {stage['peak_mb']:6} MB, {stage['anonymous_mb']:6} MB of it not from files")
    result = {
        "network": "efficientnet_lite0",
        "source": "elpv",
        "batch": 32,
        "threads": len(os.sched_getaffinity(0)),
        "limit_mb": LIMIT_MB,
        "runs": runs,
    }
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
