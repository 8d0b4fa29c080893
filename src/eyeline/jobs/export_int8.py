"""The int8 twin of an artifact: found on training and left-out images, measured once on the test part, or refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeline.errors import EyelineError, GateError
from eyeline.jobs.evaluate import STOPPED, figures_dict
from eyeline.jobs.inputs import display_names
from eyeline.jobs.judged import threshold_of
from eyeline.jobs.run_material import Material
from eyeline.progress import Progress, silent
from eyeline.runtime import (
    MAX_AUROC_LOSS,
    Artifact,
    Engine,
    EngineChoice,
    Figures,
    Proof,
    Quantization,
    open_engine,
    processor,
)
from eyeline.shipping import (
    Answers,
    Quantized,
    Reference,
    answer_all,
    choose_golden,
    find_int8,
    finish_artifact,
    make_golden,
    measure_speedup,
    plain_graph,
    rounding_spread,
    software_versions,
)
from eyeline.verdicts import (
    Choice,
    Decision,
    Evaluation,
    Promises,
    Wishes,
    auroc,
    choose_cuts,
    decisions,
    defect_scores,
    evaluate,
    guaranteed_threshold,
    judge_promises,
    mcnemar_test,
)

SPREAD_IMAGES = 48
# What another right engine may differ by: a few times what was seen here, within these limits.
SPREADS, LEAST_TOLERANCE, MOST_TOLERANCE = 3.0, 0.01, 0.25
LEVEL = 0.05  # of the test whether more defects pass


@dataclass(frozen=True, kw_only=True, eq=False)
class Twin:
    """One precision: its cuts, and what they do on the test part."""

    choice: Choice
    evaluation: Evaluation
    promises: Promises | None
    scores: NDArray[np.float64]  # of the test part
    decisions: list[Decision]

    @property
    def figures(self) -> Figures:
        """What travels in the artifact."""
        return Figures(
            auroc=self.evaluation.auroc.value,
            escape_rate=self.evaluation.escape_rate.value,
            overkill_rate=self.evaluation.overkill_rate.value,
            threshold=self.choice.low,
            claim="" if self.promises is None else self.promises.text,
        )

    @property
    def outcome(self) -> str:
        """What the test part says of a granted claim; empty without one."""
        check = None if self.promises is None else self.promises.check
        return "" if check is None else check.outcome


def export_int8(
    artifact: Artifact,
    material: Material,
    out: Path,
    *,
    recut: bool,
    images: int,
    engine: str,
    progress: Progress = silent,
) -> Artifact:
    """Find, measure and write the int8 twin of `artifact`; see `eyeline.jobs.export_run`.

    Raises
    ------
    GateError : ``int8`` or ``slower``: it loses too much, or wins nothing here. Nothing is written.
    """
    contract, pixels = artifact.contract, material.cache.pixels
    held, test = material.held, material.test
    kept = choose(material, material.left_out[held])
    if kept.low != contract.threshold.value:
        raise EyelineError(
            "the threshold of this run cannot be found again: another version of Eyeline made it",
            code="changed",
            path=artifact.path,
            hint="train it again",
        )
    before = judge(
        material,
        kept,
        material.probabilities[test],
        None if material.unknown is None else material.unknown[test],
    )
    calibration = np.random.default_rng(contract.seeds.get("run", 0)).permutation(material.train)[:images]

    def calibration_images() -> Iterator[NDArray[np.uint8]]:
        for row in calibration:
            yield np.asarray(pixels[row])

    found = find_int8(
        plain_graph(artifact.data),
        calibration_images,
        lambda graph: _loss(graph, material, kept, recut, engine, progress),
        progress=progress,
    )
    progress("timing", 0, 1, "")
    runner = open_engine(found.graph, EngineChoice(engine))
    speedup = measure_speedup(Engine(artifact.data), runner, np.asarray(pixels[test[:1]]))
    if speedup <= 1:
        raise GateError(
            f"int8 ({found.method}) is not faster here: {speedup:.2f} times as fast as fp32 on {processor()}",
            code="slower",
            hint="ship it in fp32",
        )
    choice = kept
    if recut:
        seen = answer_all(runner, pixels, held, progress=progress).probabilities
        choice = choose(material, material.left_out_scores(seen))
    answers = answer_all(runner, pixels, test, progress=progress)
    novelty = None if contract.novelty is None else contract.novelty.threshold
    after = judge(material, choice, answers.probabilities, answers.unknown(novelty))
    check_gate(before, after, material.table.is_defect[test])
    return _write(artifact, material, before, after, found, runner, answers, speedup, len(calibration), out)


def choose(material: Material, scores: NDArray[np.float64]) -> Choice:
    """The cuts by the rule of the run, from scores of the images that it chose them on."""
    held, groups = material.held, material.groups
    return choose_cuts(
        scores,
        material.table.is_defect[held],
        material.wishes,
        groups=None if groups is None else groups[held],
    )


def judge(
    material: Material,
    choice: Choice,
    probabilities: NDArray[np.floating],
    unknown: NDArray[np.bool_] | None,
) -> Twin:
    """What a network does on the test part at the cuts of `choice`, with the figures of `eyeline train`."""
    table, test = material.table, material.test
    groups = None if material.groups is None else material.groups[test]
    scores = defect_scores(probabilities, 0)
    evaluation = evaluate(
        probabilities,
        table.targets[test],
        classes=table.classes,
        good=table.good,
        threshold=choice.low,
        groups=groups,
        slices={name: [values[row] for row in test] for name, values in table.slices.items()},
        unknown=unknown,
        stopped="failed" if choice.high is None else STOPPED,
    )
    promises = None
    if material.wishes != Wishes():
        promises = judge_promises(
            choice, evaluation, scores, table.is_defect[test], groups=groups, unknown=unknown
        )
    return Twin(
        choice=choice,
        evaluation=evaluation,
        promises=promises,
        scores=scores,
        decisions=decisions(scores, choice.low, choice.high, unknown=unknown),
    )


def check_gate(before: Twin, after: Twin, is_defect: NDArray[np.bool_]) -> None:
    """The test part, once: what int8 may not lose.

    Raises
    ------
    GateError : ``int8``, with both figures.
    """
    hint = "ship it in fp32"
    was, now = before.evaluation.auroc.value, after.evaluation.auroc.value
    if was is not None and now is not None and round(was - now, 9) > MAX_AUROC_LOSS:
        raise GateError(
            f"in int8 the AUROC on the test part falls from {was:.4f} to {now:.4f}; "
            f"allowed: a loss of {MAX_AUROC_LOSS:g}",
            code="int8",
            hint=hint,
        )
    if after.outcome == "contradicted" or (before.outcome, after.outcome) == ("supported", "open"):
        check = None if after.promises is None else after.promises.check
        raise GateError(
            f"in int8 the test part no longer supports the claim: {'' if check is None else check.text}",
            code="int8",
            hint=f"{hint}, or try --recut",
        )
    if not is_defect.any():
        return
    old, new = (np.array([word != "pass" for word in twin.decisions])[is_defect] for twin in (before, after))
    test = mcnemar_test(old, new)
    if test.difference > 0 and test.p_value < LEVEL:
        raise GateError(
            f"in int8 more defects of the test part pass: {int((~old).sum())} became {int((~new).sum())} "
            f"of {len(old)} (p = {test.p_value:.2g})",
            code="int8",
            hint=f"{hint}, or try --recut",
        )


def _loss(
    graph: bytes,
    material: Material,
    kept: Choice,
    recut: bool,
    engine: str,
    progress: Progress,
) -> float:
    """What a candidate loses on left-out images, in units of what it may lose; infinite when the claim breaks."""
    held, table, groups = material.held, material.table, material.groups
    answers = answer_all(
        open_engine(graph, EngineChoice(engine)),
        material.cache.pixels,
        held,
        progress=progress,
        stage="validating",
    )
    defects = table.is_defect[held]
    scores = material.left_out_scores(answers.probabilities)
    if material.wishes.claim is not None and kept.claim is not None and kept.claim.granted:
        found = guaranteed_threshold(
            scores, defects, material.wishes.claim, groups=None if groups is None else groups[held]
        )
        if found.threshold is None or (not recut and kept.low > found.threshold):
            return float("inf")
    return max(0.0, (auroc(material.left_out[held], defects) - auroc(scores, defects)) / MAX_AUROC_LOSS)


def _write(
    artifact: Artifact,
    material: Material,
    before: Twin,
    after: Twin,
    found: Quantized,
    runner: Engine,
    answers: Answers,
    speedup: float,
    images: int,
    out: Path,
) -> Artifact:
    contract, test, pixels = artifact.contract, material.test, material.cache.pixels
    changed = sum(a != b for a, b in zip(before.decisions, after.decisions, strict=True))
    threshold = contract.threshold
    if after.choice is not before.choice:
        threshold = threshold_of(after.choice, len(material.held), part=threshold.part)
    names = display_names(material.table.paths)
    reference = Reference(
        pixels=pixels,
        rows=test,
        logits=answers.logits,
        probabilities=answers.probabilities,
        names=[names[row] for row in test],
        labels=[material.table.labels[row] for row in test],
        novelty=answers.novelty,
    )
    cuts: dict[str, Any] = {
        "threshold": threshold.value,
        "high": threshold.high,
        "novelty": None if contract.novelty is None else contract.novelty.threshold,
        "good": contract.good_index,
    }
    # Rounding shows most in images that are neither clearly good nor clearly bad; golden ones are among them.
    unsure = material.held[np.argsort(np.abs(material.held_scores - threshold.value))[:SPREAD_IMAGES]]
    tolerance = _tolerance(rounding_spread(found.graph, runner, np.asarray(pixels[unsure])))
    positions = choose_golden(reference, **cuts, margin=tolerance)
    shown = np.stack([reference.image(position) for position in positions])
    tolerance = max(tolerance, _tolerance(rounding_spread(found.graph, runner, shown)))
    finished = contract.model_copy(
        update={
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "threshold": threshold,
            "test": figures_dict(after.evaluation, after.promises),
            "versions": {**contract.versions, **software_versions()},
            "golden": make_golden(reference, positions, **cuts),
            "proof": Proof(
                images=len(test),
                changed_decisions=changed,
                max_difference=float(np.abs(answers.probabilities - material.probabilities[test]).max()),
                engine=runner.name,
            ),
            "quantization": Quantization(
                source=artifact.sha256,
                method=found.method,
                images=images,
                layers=found.layers,
                kept=found.kept,
                tolerance=tolerance,
                fp32=before.figures,
                int8=after.figures,
                agreement=1 - changed / len(test),
                mean_difference=float(np.abs(after.scores - before.scores).mean()),
                speedup=speedup,
                processor=processor(),
            ),
        }
    )
    return finish_artifact(out, found.graph, finished)


def _tolerance(spread: float) -> float:
    return min(max(SPREADS * spread, LEAST_TOLERANCE), MOST_TOLERANCE)
