"""Fuzz decoding, tables and artifacts, and count: a million executions without a finding.

    python benchmarks/fuzz/run.py [--executions 1100000] [--seconds 900] [--keep FOLDER]

One process at a time. A finding stops its target; the input is kept in --keep, and the target goes on with what is
left of its executions. Results go to benchmarks/results/fuzz.json. Needs atheris.
"""

from __future__ import annotations

import argparse
import io
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from eyeline.files import write_json

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results" / "fuzz.json"
SHARES = {"decode": (0.85, 0.5), "tables": (0.05, 0.2), "artifact": (0.1, 0.3)}  # of executions, of seconds
INPUT_SECONDS, MEMORY_MB, MOST_FINDINGS = 10, 2048, 10
STATUS = re.compile(r"#(\d+)\t.*?cov: (\d+).*?rss: (\d+)Mb")

sys.path.insert(0, str(HERE.parent.parent / "tests"))


def picture_seeds() -> Iterator[bytes]:
    """Small files of every format and kind: what is fuzzed is headers, not pixels."""
    rgb = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    grey = rgb[:, :, 0]
    exif = Image.Exif()
    exif[0x0112] = 6
    pictures: list[tuple[Any, str, dict[str, Any]]] = [
        (rgb, "JPEG", {}),
        (rgb, "JPEG", {"progressive": True, "exif": exif}),
        (rgb, "JPEG", {"subsampling": 0, "restart_marker_blocks": 1}),
        (grey, "JPEG", {}),
        (np.dstack([rgb, grey]), "PNG", {}),
        (rgb, "PNG", {"exif": exif}),
        (grey.astype(np.uint16) * 200, "PNG", {}),
        (grey, "TIFF", {}),
        (rgb, "TIFF", {"compression": "tiff_lzw"}),
        (rgb, "TIFF", {"compression": "tiff_adobe_deflate"}),
        (grey.astype(np.uint16) * 200, "TIFF", {}),
        (grey.astype(np.float32), "TIFF", {}),
        (grey.astype(np.int32), "TIFF", {}),
        (rgb, "BMP", {}),
        (grey, "BMP", {}),
        (rgb, "WEBP", {"exif": exif}),
        (np.dstack([rgb, grey]), "WEBP", {"lossless": True}),
    ]
    images = [(Image.fromarray(pixels), name, options) for pixels, name, options in pictures]
    images += [(Image.fromarray(rgb).quantize(8), name, {}) for name in ("PNG", "BMP", "TIFF")]
    images += [(Image.fromarray(grey > 99), name, {}) for name in ("PNG", "TIFF")]
    images += [(Image.fromarray(rgb).convert("CMYK"), name, {}) for name in ("JPEG", "TIFF")]
    for image, name, options in images:
        file = io.BytesIO()
        image.save(file, name, **options)
        yield file.getvalue()


def table_seeds() -> Iterator[bytes]:
    from corpus.tables import table_cases

    for case in table_cases():
        if len(case.data) < 5000:
            yield case.data if case.name.endswith("parquet") else b"c" + case.data


def artifact_seeds() -> Iterator[bytes]:
    from eyeline.runtime import seal
    from runtime.conftest import make_contract, make_model

    model = make_model()
    contract = make_contract(model)
    small = contract.model_copy(update={"golden": contract.golden[:1]})
    yield seal(model.SerializeToString(), small)
    yield model.SerializeToString()
    yield seal(b"", small)


SEEDS = {"decode": picture_seeds, "tables": table_seeds, "artifact": artifact_seeds}


def fuzz(target: str, executions: int, seconds: float, folder: Path, keep: Path) -> dict[str, Any]:
    """Run one target until it has had its executions or its time."""
    corpus = folder / target
    corpus.mkdir()
    for number, seed in enumerate(SEEDS[target]()):
        (corpus / f"seed-{number:02}").write_bytes(seed)
    done, findings, coverage, memory = 0, [], 0, []
    started = time.monotonic()
    while done < executions and len(findings) < MOST_FINDINGS:
        left = seconds - (time.monotonic() - started)
        if left < 1:
            break
        words = [sys.executable, str(HERE / "targets.py"), target, f"-runs={executions - done}"]
        words += [f"-max_total_time={int(left)}", f"-timeout={INPUT_SECONDS}", f"-rss_limit_mb={MEMORY_MB}"]
        words += [f"-artifact_prefix={keep}/{target}-", "-max_len=20000", "-print_final_stats=1", "-seed=1"]
        before = set(keep.iterdir())
        run = subprocess.run(
            [*words, str(corpus)], capture_output=True, text=True, errors="replace", check=False
        )
        status = [tuple(map(int, found)) for found in STATUS.findall(run.stderr)]
        final = re.search(r"stat::number_of_executed_units:\s*(\d+)", run.stderr)
        ran = int(final[1]) if final else (status[-1][0] if status else 0)
        done += ran
        coverage = max([coverage, *(cov for _, cov, _ in status)])
        warm = [rss for at, _, rss in status if at >= ran // 10]
        memory.append([warm[0], warm[-1]] if warm else [])
        if run.returncode:
            new = sorted(path.name for path in set(keep.iterdir()) - before)
            findings.append({"input": new, "says": run.stderr[-3000:]})
            print(f"{target}: FINDING {new}\n{run.stderr[-3000:]}", flush=True)
            if not status:
                break  # it does not even start
        print(f"{target}: {done:,} executions, {len(findings)} findings, coverage {coverage}", flush=True)
    took = time.monotonic() - started
    return {
        "executions": done,
        "seconds": round(took, 1),
        "findings": findings,
        "coverage_edges": coverage,
        "rss_mb_after_a_tenth_and_at_the_end": memory,
        "inputs_in_corpus": sum(1 for _ in corpus.iterdir()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--executions", type=int, default=1_100_000)
    parser.add_argument("--seconds", type=float, default=900)
    parser.add_argument("--target", choices=SHARES, action="append")
    parser.add_argument("--keep", type=Path, help="Where inputs with findings are kept.")
    options = parser.parse_args()
    keep = options.keep or Path(tempfile.mkdtemp(prefix="fuzz-findings-"))
    keep.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for target in options.target or SHARES:
            runs, seconds = (
                part / sum(SHARES[name][i] for name in options.target or SHARES)
                for i, part in enumerate(SHARES[target])
            )
            results[target] = fuzz(
                target, round(runs * options.executions), seconds * options.seconds, Path(folder), keep
            )
    total = sum(result["executions"] for result in results.values())
    print(f"{total:,} executions, {sum(len(result['findings']) for result in results.values())} findings")
    versions = {name: version(name) for name in ("atheris", "pillow", "simplejpeg", "pyarrow", "pydantic")}
    write_json(
        RESULTS,
        {
            "executions": total,
            "input_seconds_limit": INPUT_SECONDS,
            "memory_mb_limit": MEMORY_MB,
            "targets": results,
            "versions": versions,
        },
    )


if __name__ == "__main__":
    main()
