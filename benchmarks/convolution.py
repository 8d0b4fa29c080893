"""The definition of convolution against its vectorised form, torch and scipy, in one run.

    python benchmarks/convolution.py --threads 2 --repeats 9

Every case is computed by all four, checked against the definition, and timed in alternation, so that a slow
moment of the machine hits all of them. The definition takes seconds and runs once. Ratios are medians of the
seconds divided by the vectorised form's: above 1 means slower than it. The efficiency compares multiply-
accumulates a second with those of a 1024x1024 matrix product in NumPy, measured in the same run. scipy has
neither channels nor stride: it computes each channel at all positions, and the sum is sliced.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import torch
from scipy import signal
from threadpoolctl import threadpool_limits

from eyeline.convolution import conv2d, convolution_cost, vectorised_conv2d
from eyeline.files import write_json

PATIENCE = 10.0  # seconds after which a slow peer that has run three times is not repeated
RESULTS = Path(__file__).parent / "results" / "convolution.json"


@dataclass(frozen=True)
class Case:
    """A convolution of an image (batch, channels, side, side) with `filters` square kernels."""

    name: str
    side: int
    channels: int
    filters: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    batch: int = 1


CASES = [
    Case("one plain image", 512, 1, 1, 5),
    Case("3x3, 64 to 64", 224, 64, 64, 3, padding=1),
    Case("stem 7x7 stride 2", 224, 3, 64, 7, stride=2, padding=3),
    Case("3x3, 128 to 128", 56, 128, 128, 3, padding=1),
    Case("1x1, 256 to 64", 56, 256, 64, 1),
    Case("depthwise 3x3", 112, 64, 64, 3, padding=1, groups=64),
    Case("batch of 8", 28, 64, 64, 3, padding=1, batch=8),
]
QUICK = [
    Case("one plain image", 16, 1, 1, 3),
    Case("grouped, strided", 9, 4, 6, 3, stride=2, padding=1, groups=2, batch=2),
]


def scipy_conv2d(image: np.ndarray, kernel: np.ndarray, case: Case) -> np.ndarray:
    """`signal.correlate2d` of every channel that a filter sees, summed: scipy has no channels."""
    p, s = case.padding, case.stride
    padded = np.pad(image, ((0, 0), (0, 0), (p, p), (p, p)))
    seen, filters = case.channels // case.groups, case.filters // case.groups

    def response(one: np.ndarray, o: int) -> np.ndarray:
        channels = one[o // filters * seen :][:seen]
        return sum(signal.correlate2d(x, w, "valid") for x, w in zip(channels, kernel[o], strict=True))[
            ::s, ::s
        ]

    return np.stack([[response(one, o) for o in range(case.filters)] for one in padded])


def seconds(compute: Callable[[], Any]) -> float:
    start = time.perf_counter()
    compute()
    return time.perf_counter() - start


def summary(times: list[float]) -> dict[str, Any]:
    return {"median": statistics.median(times), "min": min(times), "max": max(times), "repeats": len(times)}


def matmul_rate(repeats: int) -> float:
    """Multiply-accumulates a second of a float32 matrix product in NumPy, the limit here."""
    a = np.ones((1024, 1024), np.float32)
    return float(1024**3 / min(seconds(lambda: a @ a) for _ in range(repeats + 1)))


def measure(case: Case, repeats: int, rate: float) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    image = rng.normal(size=(case.batch, case.channels, case.side, case.side)).astype(np.float32)
    seen = case.channels // case.groups
    kernel = rng.normal(size=(case.filters, seen, case.kernel, case.kernel)).astype(np.float32)
    arguments = {"stride": case.stride, "padding": case.padding, "groups": case.groups}
    image_t, kernel_t = torch.from_numpy(image), torch.from_numpy(kernel)
    peers: dict[str, Callable[[], Any]] = {
        "vectorised": lambda: vectorised_conv2d(image, kernel, **arguments),
        "torch": lambda: torch.nn.functional.conv2d(image_t, kernel_t, **arguments).numpy(),
        "scipy": lambda: scipy_conv2d(image, kernel, case),
    }
    start = time.perf_counter()
    expected = conv2d(image, kernel, **arguments)
    times = {"definition": [time.perf_counter() - start]}
    scale = float(np.abs(expected).max())
    differences = {name: float(np.abs(peer() - expected).max()) / scale for name, peer in peers.items()}
    times |= {name: [] for name in peers}
    for _ in range(repeats):
        for name, peer in peers.items():
            if len(times[name]) < 3 or sum(times[name]) < PATIENCE:
                times[name].append(seconds(peer))

    taken = {name: summary(values) for name, values in times.items()}
    unit = taken["vectorised"]["median"]
    output = expected.shape[2:]
    macs = convolution_cost(
        case.channels,
        case.filters,
        image.shape[2:],
        output,
        kernel.shape[2:],
        batch=case.batch,
        groups=case.groups,
    ).macs
    return {
        **asdict(case),
        "output": list(expected.shape),
        "macs": macs,
        "seconds": taken,
        "ratio_to_vectorised": {name: value["median"] / unit for name, value in taken.items()},
        "relative_difference_from_definition": differences,
        "efficiency_of_vectorised": macs / unit / rate,
    }


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2, help="of NumPy's BLAS and of torch")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="tiny cases, to see that it runs")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)

    torch.set_num_threads(options.threads)
    with threadpool_limits(options.threads):
        rate = matmul_rate(options.repeats)
        cases = [measure(case, options.repeats, rate) for case in (QUICK if options.quick else CASES)]
    result = {
        "command": f"python benchmarks/convolution.py --threads {options.threads} --repeats {options.repeats}"
        + (" --quick" if options.quick else ""),
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "threads": options.threads,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "torch": torch.__version__,
        },
        "dtype": "float32",
        "matmul_macs_per_second": rate,
        "cases": cases,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.out, result)
    for case in cases:
        ratios = ", ".join(f"{name} {ratio:.3g}x" for name, ratio in case["ratio_to_vectorised"].items())
        print(f"{case['name']}: {case['seconds']['vectorised']['median'] * 1e3:.2f} ms vectorised; {ratios}")
    return result


if __name__ == "__main__":
    main()
