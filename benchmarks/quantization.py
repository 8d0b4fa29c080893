"""int8 by onnxruntime's static quantization, as `eyeline export --precision int8` makes it, against NNCF's.

    python benchmarks/quantization.py [--work FOLDER] [--epochs 6] [--threads 2] [--rounds 5]

EfficientNet-Lite0 at 224 px, trained on ELPV as in benchmarks/runtime.py, with which it can share the --work folder.
Both quantizers see the same 128 training images, without their labels. NNCF quantizes the very same graph, as it is and
with what follows the global pooling kept in fp32 (which Eyeline always does). On the test part: AUROC, decisions that
agree with fp32 at its threshold, the largest change of a probability; milliseconds of one image in onnxruntime,
alternating, as ratios to fp32. Needs NNCF (pip install nncf). Results: benchmarks/results/quantization.json.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from contenders.material import make_artifacts
from eyeline.files import write_json
from eyeline.jobs.run_material import read_material
from eyeline.runtime import Engine, open_artifact, processor
from eyeline.shipping.answers import answer_all
from eyeline.shipping.quantize import layers_of, plain_graph
from eyeline.verdicts import auroc, defect_scores

NETWORK = "efficientnet_lite0"
RESULTS = Path(__file__).parent / "results" / "quantization.json"
IMAGES = 128


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, help="Keeps the trained run. Default: temporary.")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5, help="Of 40 images each, for the time.")
    options = parser.parse_args()
    if not importlib.util.find_spec("nncf"):
        print("NNCF is not here: pip install nncf")
        return
    with contextlib.ExitStack() as stack:
        work = options.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        compare(make_artifacts(NETWORK, work, "elpv", options.epochs), options)


def compare(made: dict[str, Any], options: argparse.Namespace) -> None:
    import nncf

    record = json.loads((made["run"] / "run.json").read_text("utf-8"))
    artifact = open_artifact(made["fp32"])
    material = read_material(made["run"], record, artifact.contract)
    pixels, test = material.cache.pixels, material.test
    defect = material.table.is_defect[test]
    graphs: dict[str, bytes] = {"fp32": artifact.data}
    if made["int8"] is not None:
        graphs["eyeline (onnxruntime.quantization)"] = open_artifact(made["int8"]).data
    else:
        print(f"refused: {made['refused']}")
    rows = np.random.default_rng(artifact.contract.seeds.get("run", 0)).permutation(material.train)[:IMAGES]
    calibration = nncf.Dataset([{"image": np.asarray(pixels[row])[None]} for row in rows])
    plain = plain_graph(artifact.data)
    quantizable = set(layers_of(plain))
    head = [
        node.name
        for node in plain.graph.node
        if node.op_type in ("Conv", "Gemm", "MatMul") and node.name not in quantizable
    ]
    for preset in (nncf.QuantizationPreset.PERFORMANCE, nncf.QuantizationPreset.MIXED):
        for kept in ([], head):
            made = nncf.quantize(
                plain_graph(artifact.data),
                calibration,
                preset=preset,
                subset_size=IMAGES,
                ignored_scope=nncf.IgnoredScope(names=kept) if kept else None,
            )
            graphs[f"NNCF {preset.value}{', head in fp32' if kept else ''}"] = made.SerializeToString()
    engines = {name: Engine(graph, threads=options.threads) for name, graph in graphs.items()}
    threshold = artifact.contract.threshold.value
    found: dict[str, dict[str, Any]] = {}
    exact = answer_all(engines["fp32"], pixels, test).probabilities
    for name, engine in engines.items():
        p = answer_all(engine, pixels, test).probabilities
        scores = defect_scores(p, 0)
        found[name] = {
            "auroc": float(auroc(scores, defect)),
            "agreement": float(((scores >= threshold) == (defect_scores(exact, 0) >= threshold)).mean()),
            "largest_change": float(np.abs(p - exact).max()),
            "megabytes": round(len(graphs[name]) / 1e6, 2),
        }
    one = np.ascontiguousarray(pixels[test[:1]])
    times: dict[str, list[float]] = {name: [] for name in engines}
    for number in range(options.rounds):
        for name in list(engines)[:: 1 if number % 2 == 0 else -1]:
            each = []
            for _ in range(40):
                started = time.perf_counter()
                engines[name].run(one)
                each.append(time.perf_counter() - started)
            times[name].append(statistics.median(each))
    for name, row in found.items():
        row["milliseconds"] = round(1e3 * statistics.median(times[name]), 2)
        pairs = zip(times["fp32"], times[name], strict=True)
        row["times_as_fast_as_fp32"] = round(statistics.median(a / b for a, b in pairs), 3)
        print(f"{name:40} {row}")
    about = {
        "network": NETWORK,
        "image_size": list(artifact.contract.decode.image_size),
        "test_images": len(test),
        "threads": options.threads,
        "processor": processor(),
        "nncf": nncf.__version__,
    }
    write_json(RESULTS, about | {"ways": found})


if __name__ == "__main__":
    main()
