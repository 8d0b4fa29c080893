"""From a file to a verdict: is the shipped artifact as fast as anything else that people run, and does it stay small?

    python benchmarks/runtime.py [--quick] [--threads 2] [--fastai-path FOLDER] [--only PART ...]

EfficientNet-Lite0 and ResNet-18 at 224 px, trained on ELPV with `eyeline train` and exported in fp32 and int8 with
`eyeline export`. Every contender runs in a process of its own (thread pools of two libraries in one process spoil each
other's times), on the same threads; they take turns, and ratios are those of each round: median, lowest, highest.

- latency: one decoded image. Eyeline hands uint8 pixels to the artifact (normalization, calibration and evidence are in
  the graph); its peers get the float tensor ready-made: timm's network in PyTorch eager (contiguous and channels last),
  torch.compile, and timm's ONNX export in onnxruntime with its own defaults and in OpenVINO with the latency hint.
- files: ELPV as shipped (PNG) and as JPEG (quality 90), from files to verdicts. Peers: a plain loop (PIL, NumPy,
  onnxruntime on the very same graph, one image at a time) and fastai's `get_preds` with the same weights, where fastai
  can be imported (a folder with it can be named).
- start: from process start to the first verdict, the peak of resident memory, and the wheels of `pip install eyeline`.
- memory: the resident memory over 100,000 images in one process, as a slope.

Results go to benchmarks/results/runtime.json, part by part. Needs a quiet machine; about an hour with the training, of
which a finished --work folder spares most.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from contenders.material import SIDE, make_artifacts, small_source, write_pictures
from eyeline.files import write_json
from eyeline.images import read_images
from eyeline.runtime import cores, load, open_artifact, processor, time_stages

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "runtime.json"
WORKER = HERE / "contenders" / "runtime.py"
NETWORKS = {"efficientnet_lite0": "tf_efficientnet_lite0", "resnet18": "resnet18"}  # and timm's names
PARTS = ("latency", "files", "start", "memory")


class Contender:
    """A process that runs one contender whenever it is asked to, and tells how long each run took."""

    def __init__(self, kind: str, threads: int, **words: Any) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "EYELINE_CACHE": words.pop("cache")}
        if words.get("fastai_path"):
            environment["PYTHONPATH"] = os.pathsep.join(
                filter(None, [os.environ.get("PYTHONPATH"), words["fastai_path"]])
            )
        call = [sys.executable, str(WORKER), kind, json.dumps({"threads": threads, **words})]
        self.process = subprocess.Popen(
            call,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.about = self._answer()

    def run(self, times: int) -> list[float]:
        """Seconds of each run; for files, of one pass over all of them."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{times}\n")
        self.process.stdin.flush()
        found: list[float] = self._answer()["seconds"]
        return found

    def close(self) -> None:
        self.process.communicate("", timeout=60)

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                answer: dict[str, Any] = json.loads(line)
                return answer
        assert self.process.stderr is not None
        raise RuntimeError(self.process.stderr.read().strip().splitlines()[-1])


def take_turns(
    contenders: dict[str, tuple[str, dict[str, Any]]], threads: int, *, rounds: int, times: int
) -> tuple[dict[str, list[list[float]]], dict[str, str]]:
    """Seconds of each contender, round by round; and those that cannot run here, with the reason."""
    running: dict[str, Contender] = {}
    absent: dict[str, str] = {}
    for name, (kind, words) in contenders.items():
        try:
            running[name] = Contender(kind, threads, **words)
        except RuntimeError as error:
            absent[name] = str(error)
    found: dict[str, list[list[float]]] = {name: [] for name in running}
    for number in range(rounds):
        order = list(running)[:: 1 if number % 2 == 0 else -1]
        for name in order:
            found[name].append(running[name].run(times))
    for contender in running.values():
        contender.close()
    return found, absent


def ratio(of: list[list[float]], to: list[list[float]]) -> dict[str, float]:
    """How many times `of` takes as long as `to`, over the rounds."""
    each = [statistics.median(a) / statistics.median(b) for a, b in zip(of, to, strict=True)]
    return {"median": statistics.median(each), "low": min(each), "high": max(each)}


def measure_latency(name: str, made: dict[str, Any], cache: str, threads: int, quick: bool) -> dict[str, Any]:
    decode = open_artifact(made["fp32"]).contract.decode
    common = {"cache": cache, "channels": decode.channels, "side": decode.image_size[0]}
    peer = common | {"timm": NETWORKS[name]}
    contenders: dict[str, tuple[str, dict[str, Any]]] = {}
    for precision in ("fp32", "int8"):
        for engine in ("onnxruntime", "openvino"):
            if made[precision] is not None:
                words = common | {"model": str(made[precision]), "engine": engine}
                contenders[f"eyeline {precision} {engine}"] = ("artifact", words)
    contenders |= {
        "PyTorch eager": ("eager", peer),
        "PyTorch eager, channels last": ("eager", peer | {"channels_last": True}),
        "torch.compile": ("compiled", peer),
        "onnxruntime on timm's export": ("plain_onnxruntime", peer),
        "OpenVINO on timm's export": ("plain_openvino", peer),
    }
    found, absent = take_turns(contenders, threads, rounds=2 if quick else 9, times=3 if quick else 60)
    ours = {key: rounds for key, rounds in found.items() if key.startswith("eyeline")}
    theirs = {key: rounds for key, rounds in found.items() if key not in ours}
    best = {precision: _fastest(ours, f"eyeline {precision}") for precision in ("fp32", "int8")}
    rows = []
    for key, rounds in found.items():
        times = 1e3 * np.array([seconds for some in rounds for seconds in some])
        rows.append(
            {
                "contender": key,
                "p50_ms": float(np.median(times)),
                "p99_ms": float(np.percentile(times, 99)),
                "fp32_times_as_fast": ratio(rounds, found[best["fp32"]]),
            }
        )
    fastest = _fastest(theirs, "")
    row = {
        "network": name,
        "contenders": rows,
        "absent": absent,
        "best_peer": fastest,
        "fp32": best["fp32"],
        "fp32_over_best_peer": ratio(found[fastest], found[best["fp32"]]),
    }
    if made["int8"] is not None:
        plain = "eyeline fp32 onnxruntime"
        row |= {
            "int8": best["int8"],
            "int8_over_fp32_onnxruntime": ratio(found[plain], found[best["int8"]]),
            "quantization": made["quantization"],
        }
    else:
        row["int8_refused"] = made["refused"]
    return row


def _fastest(found: dict[str, list[list[float]]], begins: str) -> str:
    names = [name for name in found if name.startswith(begins)]
    return min(names, key=lambda name: statistics.median(map(statistics.median, found[name])), default="")


def measure_files(
    name: str, made: dict[str, Any], folder: Path, count: int, threads: int, fastai: str | None, quick: bool
) -> Iterator[dict[str, Any]]:
    contract = open_artifact(made["fp32"]).contract
    for kind in ("png", "jpeg"):
        files = sorted(str(path) for path in (folder / kind).iterdir())[:count]
        listed = folder / f"{kind}.json"
        listed.write_text(json.dumps(files))
        common = {"cache": str(folder / "cache"), "files": str(listed), "channels": contract.decode.channels}
        contenders: dict[str, tuple[str, dict[str, Any]]] = {
            f"eyeline {precision}{mark}": (
                "predict",
                common | {"model": str(made[precision]), "engine": engine},
            )
            for engine, mark in (("onnxruntime", ""), ("openvino", " openvino"))
            for precision in ("fp32", "int8")
            if made[precision] is not None
        }
        plain = common | {"model": str(made["fp32"]), "side": contract.decode.image_size[0]}
        contenders["PIL and onnxruntime"] = ("plain_loop", plain)
        learner = plain | {"network": name, "run": str(made["run"]), "fastai_path": fastai}
        contenders["fastai get_preds"] = ("fastai", learner)
        found, absent = take_turns(contenders, threads, rounds=1 if quick else 3, times=1)
        speeds = {
            key: len(files) / statistics.median(map(statistics.median, rounds))
            for key, rounds in found.items()
        }
        inspector = load(made["fp32"], threads=1)
        stages = time_stages(inspector.engine, contract.decode, files, seconds=2 if quick else 10)
        total, slowest = sum(stages.values()), max(stages, key=lambda stage: stages[stage])
        yield {
            "network": name,
            "files": kind,
            "images": len(files),
            "images_per_second": speeds,
            "absent": {key: reason.replace(f"{folder}/", "") for key, reason in absent.items()},
            "over": {
                ours: {key: ratio(found[key], found[ours]) for key in found if not key.startswith("eyeline")}
                for ours in found
                if ours.startswith("eyeline")
            },
            "stages_ms": stages,
            "share": {stage: ms / total for stage, ms in stages.items()},
            "slowest": slowest,
            "of_slowest_stage_limit": speeds["eyeline fp32"] * stages[slowest] / (1e3 * threads),
            "of_all_stages_limit": speeds["eyeline fp32"] * total / (1e3 * threads),
        }


def measure_start(made: dict[str, Any], picture: str, cache: str, repeats: int) -> dict[str, Any]:
    """A process that opens the artifact and says one verdict; the first run, which compiles Python, is left out."""
    script = (
        "import sys; from eyeline.runtime import load\n"
        "assert load(sys.argv[1]).inspect(sys.argv[2]).error is None\n"
        "print([line.split()[1] for line in open('/proc/self/status') if 'VmHWM' in line][0])"
    )
    seconds, peaks, verb = [], [], []
    environment = {**os.environ, "EYELINE_CACHE": cache}
    for _ in range(repeats + 1):
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", script, made["fp32"], picture],
            capture_output=True, text=True, check=True, env=environment,
        )  # fmt: skip
        seconds.append(time.perf_counter() - started)
        peaks.append(int(done.stdout) / 1024)
        started = time.perf_counter()
        words = [sys.executable, "-m", "eyeline", "predict", made["fp32"], picture]
        subprocess.run(words, capture_output=True, check=True, env=environment)
        verb.append(time.perf_counter() - started)
    return {
        "first_verdict_seconds": statistics.median(seconds[1:]),
        "eyeline_predict_seconds": statistics.median(verb[1:]),
        "peak_resident_mb": max(peaks),
        "wheels": wheels(),
    }


def wheels() -> dict[str, Any]:
    """What `pip install eyeline` downloads, in MB; of the versions that are installed here."""
    import importlib.metadata
    import re

    from packaging.requirements import Requirement

    wanted, pins = ["eyeline"], {}
    while wanted:
        name = re.sub(r"[-_.]+", "-", wanted.pop()).lower()
        if name in pins:
            continue
        found = importlib.metadata.distribution(name)
        pins[name] = found.version
        for line in found.requires or []:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                wanted.append(requirement.name)
    del pins["eyeline"]
    with tempfile.TemporaryDirectory() as folder:
        words = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary",
            ":all:",
            "-d",
            folder,
        ]
        done = subprocess.run(
            [*words, *(f"{name}=={version}" for name, version in pins.items())],
            capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode != 0:
            return {"packages": len(pins), "mb": None, "reason": done.stderr.strip().splitlines()[-1]}
        sizes = {path.name.split("-")[0]: path.stat().st_size / 2**20 for path in Path(folder).iterdir()}
    return {
        "packages": len(pins),
        "mb": sum(sizes.values()),
        "largest": max(sizes, key=lambda name: sizes[name]),
    }


def measure_memory(
    name: str, made: dict[str, Any], files: list[str], images: int, threads: int
) -> dict[str, Any]:
    """Resident memory while one inspector judges file after file; the first tenth fills caches and is left out."""
    model = made["int8"] or made["fp32"]
    inspector = load(model, threads=threads)
    page = os.sysconf("SC_PAGE_SIZE") / 2**20
    seen, resident = [], []
    started = time.perf_counter()
    endless = (files[number % len(files)] for number in range(images))
    for number, verdict in enumerate(inspector.predict(endless), start=1):
        assert verdict.error is None
        if number % max(1, images // 1000) == 0:
            seen.append(number)
            resident.append(int(Path("/proc/self/statm").read_text().split()[1]) * page)
    kept = slice(len(seen) // 10, None)
    slope = float(np.polyfit(seen[kept], resident[kept], 1)[0]) * 10_000
    return {
        "network": name,
        "model": model.name,
        "images": images,
        "images_per_second": images / (time.perf_counter() - started),
        "mb_per_10000_images": slope,
        "first_mb": resident[kept][0],
        "last_mb": resident[-1],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="Few images, few runs: to try it. Writes nothing."
    )
    parser.add_argument("--threads", type=int, default=min(2, cores()))
    parser.add_argument("--fastai-path", help="A folder with fastai, where it is not installed.")
    parser.add_argument(
        "--work", type=Path, help="Keeps the trained runs and the pictures. Default: temporary."
    )
    parser.add_argument("--epochs", type=int, help="Of the training. Default: 6; 0 with --quick.")
    parser.add_argument("--images", type=int, help="Files of each kind. Default: all; 32 with --quick.")
    parser.add_argument("--memory-images", type=int, help="Default: 100,000; 400 with --quick.")
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    options = parser.parse_args()
    quick = options.quick
    epochs = options.epochs if options.epochs is not None else (0 if quick else 6)
    with contextlib.ExitStack() as stack:
        work = options.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        work.mkdir(parents=True, exist_ok=True)
        table = read_images("elpv")
        source = small_source(work, table, 240) if quick else "elpv"
        write_pictures(work, table.select(range(32)) if quick else table)
        files = sorted(str(path) for path in (work / "jpeg").iterdir())
        cache = str(work / "cache")
        made = {name: make_artifacts(name, work, source, epochs) for name in options.networks}
        for name in options.networks:
            if "latency" in options.only:
                keep("latency", measure_latency(name, made[name], cache, options.threads, quick), quick)
            if "files" in options.only:
                count = options.images or (32 if quick else len(files))
                for row in measure_files(
                    name, made[name], work, count, options.threads, options.fastai_path, quick
                ):
                    keep("files", row, quick)
        first = made[options.networks[0]]
        if "start" in options.only:
            keep("start", measure_start(first, files[0], cache, 2 if quick else 9), quick)
        if "memory" in options.only:
            images = options.memory_images or (400 if quick else 100_000)
            # The network is the slowest part by far, and remembers nothing: a small one shows the same for ten times
            # as many images in the same time.
            small = make_artifacts("lenet5", work, source, epochs, side=32)
            keep("memory", measure_memory("lenet5", small, files, images, options.threads), quick)
            keep(
                "memory",
                measure_memory(options.networks[0], first, files, images // 10, options.threads),
                quick,
            )
        about = {"threads": options.threads, "processor": processor(), "side": SIDE, "epochs": epochs}
        keep("about", about, quick)


def keep(part: str, row: dict[str, Any], quick: bool) -> None:
    """Print, and put into the results in the place of an earlier row of the same network and kind of files."""
    print(json.dumps(row, indent=1), flush=True)
    if quick:
        return
    results: dict[str, Any] = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    if "network" in row:
        same = [row["network"], row.get("files")]
        others = [old for old in results.get(part, []) if [old["network"], old.get("files")] != same]
        results[part] = [*others, row]
    else:
        results[part] = row
    write_json(RESULTS, results)


if __name__ == "__main__":
    main()
