"""Another artifact of a finished run: proven anew in fp32, or in int8 when that keeps its word and is faster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eyeline.errors import EyelineError
from eyeline.files import write_atomically
from eyeline.jobs.run_folder import read_record
from eyeline.jobs.run_material import Material, read_material
from eyeline.progress import Progress, silent
from eyeline.runtime import Artifact, Engine, EngineChoice, Quantization, open_artifact, open_engine
from eyeline.shipping import measure_speedup, prove

PRECISIONS = ("fp32", "int8")
CALIBRATION_IMAGES = 128


@dataclass(frozen=True, kw_only=True)
class Exported:
    """An artifact that was written, and how it compares with the trained network on the test part."""

    model: Path
    precision: str
    max_difference: float  # of any probability
    agreement: float  # share of equal decisions
    speedup: float  # times as fast as fp32 in onnxruntime, here
    quantization: Quantization | None = None

    def to_dict(self) -> dict[str, Any]:
        """The keys of ``eyeline export --json``."""
        made = None if self.quantization is None else self.quantization.to_dict()
        return {**self.__dict__, "model": str(self.model), "quantization": made}


def export_run(
    run: str | Path,
    *,
    precision: str = "fp32",
    out: str | Path | None = None,
    recut: bool = False,
    images: int = CALIBRATION_IMAGES,
    engine: str = "onnxruntime",
    progress: Progress = silent,
) -> Exported:
    """Write another artifact of a finished run, or nothing.

    Every export runs the whole test part again in the engine it will run in. fp32 may not change one decision. int8 is
    calibrated on images of the training part, whose labels are not read; how, and which layers stay in fp32, is chosen
    on the images that the cuts were chosen on. On the test part it may lose at most 0.005 of AUROC, may not let
    significantly more defects pass, must keep the claim that was asked for, and must be faster here than fp32.

    Parameters
    ----------
    out : of the file; None is ``model.onnx`` or ``model.int8.onnx`` of the run.
    recut : choose the threshold again, on the same images and by the rule of the run, from what the int8 network
        says there. By default it stays where it is.
    images : for the calibration, at most.
    engine : that it is to run in: ``onnxruntime`` or ``openvino``. The file is the same; what is proven differs.

    Raises
    ------
    GateError : the export does not keep its word; nothing is written.
    EyelineError : no finished run, or its images are no longer there as they were.
    """
    if precision not in PRECISIONS:
        raise EyelineError(
            f"the precision is {precision!r}; allowed: {', '.join(PRECISIONS)}", code="bad_option"
        )
    if recut and precision == "fp32":
        raise EyelineError("only an int8 export may choose its threshold again", code="usage")
    folder = Path(run)
    record = read_record(folder)
    if not record.get("finished"):
        raise EyelineError(
            "this run is not finished", code="no_run", path=folder, hint=f"eyeline train --resume {folder}"
        )
    artifact = open_artifact(folder / "model.onnx")
    material = read_material(folder, record, artifact.contract, progress=progress)
    if precision == "fp32":
        return _export_fp32(artifact, material, Path(out or folder / "model.onnx"), engine, progress)

    from eyeline.jobs.export_int8 import export_int8

    path = Path(out or folder / "model.int8.onnx")
    made = export_int8(artifact, material, path, recut=recut, images=images, engine=engine, progress=progress)
    quantization = made.contract.quantization
    assert quantization is not None
    return Exported(
        model=path,
        precision="int8",
        max_difference=made.contract.proof.max_difference,
        agreement=quantization.agreement,
        speedup=quantization.speedup,
        quantization=quantization,
    )


def _export_fp32(
    artifact: Artifact, material: Material, out: Path, engine: str, progress: Progress
) -> Exported:
    contract, test = artifact.contract, material.test
    proof = prove(
        artifact.data,
        material.cache.pixels,
        material.probabilities[test],
        contract.threshold.value,
        contract.good_index,
        high=contract.threshold.high,
        novelty=None if contract.novelty is None else contract.novelty.threshold,
        unknown=None if material.unknown is None else material.unknown[test],
        rows=test,
        engine=engine,
        progress=progress,
    )
    if not (out.exists() and artifact.path is not None and out.samefile(artifact.path)):
        write_atomically(out, artifact.data)
    speedup = 1.0
    if engine != "onnxruntime":
        chosen = open_engine(artifact.data, EngineChoice(engine))
        speedup = measure_speedup(
            Engine(artifact.data), chosen, np.asarray(material.cache.pixels[material.test[:1]])
        )
    return Exported(
        model=out,
        precision="fp32",
        max_difference=proof.max_difference,
        agreement=1.0,
        speedup=speedup,
    )
