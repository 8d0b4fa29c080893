"""The claims by name, and how one is measured from beginning to end."""

from __future__ import annotations

import importlib
import time
from typing import TYPE_CHECKING

from eyeline import __version__
from eyeline.claims.claim import Claim, ClaimResult, Findings, Settings
from eyeline.claims.judging import deciding, p_of, word
from eyeline.errors import EyelineError, nearest
from eyeline.progress import Progress, silent

if TYPE_CHECKING:
    from eyeline.claims.bench import Bench
    from eyeline.claims.pictures import Pictures

# Module of each claim, in the order of the textbook; the exact ones, then our own.
MODULES = {
    "weight-sharing": "weight_sharing",
    "stacked-kernels": "stacked_kernels",
    "batch-norm": "batch_norm",
    "residual": "residual",
    "separable": "separable",
    "compound-scaling": "compound",
    "little-data": "little_data",
    "image-size": "image_size",
    "equivariance": "equivariance",
    "receptive-field": "receptive_field",
    "random-split": "random_split",
}


def claim_names() -> list[str]:
    """Every name that `find_claim` takes. Imports nothing heavy."""
    return list(MODULES)


def find_claim(name: str) -> Claim:
    """The claim of that name.

    Raises
    ------
    EyelineError : there is none (``code="unknown_claim"``); the hint names the nearest.
    """
    if name not in MODULES:
        raise EyelineError(f"unknown claim {name!r}", code="unknown_claim", hint=nearest(name, MODULES))
    claim: Claim = importlib.import_module(f"eyeline.claims.{MODULES[name]}").CLAIM
    return claim


def measure_claim(
    name: str,
    settings: Settings | None = None,
    *,
    workers: int | None = None,
    progress: Progress = silent,
) -> ClaimResult:
    """Run the experiment of one claim and judge it by itself; `judge_together` corrects for several.

    Parameters
    ----------
    settings : budget, seeds, data; None for 5 minutes, 5 seeds and Fashion-MNIST.
    workers : trainings side by side; by default as many as there are processors.

    Raises
    ------
    EyelineError : no such claim, fewer than two seeds, or its data is not here.
    """
    from eyeline.claims.bench import Bench

    settings = settings or Settings()
    if settings.seeds < 2:
        raise EyelineError(
            f"{settings.seeds} seed; allowed: 2 or more, since an interval needs a spread", code="bad_option"
        )
    claim = find_claim(name)
    started = time.perf_counter()

    def named(stage: str, done: int, total: int, note: str) -> None:
        progress(f"{name}: {stage}", done, total, note)

    bench = Bench(settings, _pictures(claim, settings), workers=workers, progress=named)
    findings = claim.measure(bench)
    return _result(claim, findings, bench, time.perf_counter() - started)


def missing_data(name: str, settings: Settings) -> EyelineError | None:
    """What stands in the way of measuring a claim: data or weights that are not installed. None: nothing."""
    claim = find_claim(name)
    try:
        _pictures(claim, settings)
        if claim.data == "elpv":
            from eyeline.claims.random_split import NETWORKS
            from eyeline.images import read_images
            from eyeline.networks import find_weights

            read_images("elpv")
            for network in NETWORKS:
                find_weights(network, "imagenet")
    except EyelineError as error:
        return error
    return None


def _pictures(claim: Claim, settings: Settings) -> Pictures | None:
    from eyeline.claims.pictures import load_pictures

    return load_pictures(settings.data) if claim.data == "pictures" else None


def _result(claim: Claim, findings: Findings, bench: Bench, seconds: float) -> ClaimResult:
    p, decides = p_of(findings), deciding(findings)
    return ClaimResult(
        name=claim.name,
        title=claim.title,
        statement=claim.statement,
        experiment=claim.experiment,
        change=claim.change,
        source=claim.source,
        verdict=word(findings, p, bench.share),
        effect=0.0 if decides is None else decides.effect,
        low=0.0 if decides is None else decides.low,
        high=0.0 if decides is None else decides.high,
        unit="departures from the calculation" if decides is None else decides.unit,
        margin=None if decides is None else decides.margin,
        p_value=p,
        adjusted_p=p,
        findings=findings,
        settings=bench.settings,
        share=bench.share,
        seconds=seconds,
        version=__version__,
    )
