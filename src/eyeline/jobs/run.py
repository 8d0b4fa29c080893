"""The main job: a source of labelled images in; a proven artifact, its figures and a report out."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeline.checks import Finding, rank_findings
from eyeline.errors import EyelineError
from eyeline.images import (
    DecodeOptions,
    ImageTable,
    PixelCache,
    make_folds,
    open_cache,
    read_images,
)
from eyeline.jobs.check import second_opinion
from eyeline.jobs.evaluate import figures_dict
from eyeline.jobs.follow import is_follower, lead_ranks
from eyeline.jobs.inputs import choose_decoding, choose_weights, display_names, sample_rows
from eyeline.jobs.judged import LeftOut, judge_images, rows_of, write_predictions
from eyeline.jobs.looking import Looked, deal_parts, look_at_images, tie_duplicates
from eyeline.jobs.options import TrainOptions, choose_device, choose_folds
from eyeline.jobs.protocols import ProtocolResult, compare_protocols
from eyeline.jobs.run_folder import (
    create_run,
    environment,
    environment_notes,
    read_record,
    resumable,
    write_record,
)
from eyeline.jobs.ship import ship_run
from eyeline.jobs.soft_labels import soft_labels
from eyeline.jobs.teacher import ask_teacher, with_teacher
from eyeline.networks import VIEWS, Network, Views, create_network, network_info
from eyeline.progress import Progress, silent
from eyeline.training import (
    Examples,
    Normalization,
    Recipe,
    cross_fit,
    embed_pixels,
    fit,
    freeze_batch_norm,
    seeded_weights,
    use_bfloat16,
)
from eyeline.verdicts import Evaluation, Promises, Wishes

HEAD_FOLDS = 5  # for the penalty of the fitted head, where there is a validation part
MOST_COMPARED = 5000  # images that splits are compared on; a sample of whole groups beyond that


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """A finished run."""

    folder: Path
    model: Path
    report: Path
    evaluation: Evaluation
    protocols: tuple[ProtocolResult, ...]
    seconds: float
    network: str
    notes: tuple[str, ...]
    promises: Promises | None = None  # what was asked of the decisions, and what became of it
    choice: dict[str, Any] | None = (
        None  # fine-tuning or the fitted head, and by how much; None without folds
    )

    def to_dict(self) -> dict[str, Any]:
        """The keys of ``eyeline train --json``."""
        return {
            "run": str(self.folder),
            "model": str(self.model),
            "report": str(self.report),
            "seconds": round(self.seconds, 1),
            "network": self.network,
            "test": figures_dict(self.evaluation, self.promises),
            "choice": self.choice,
            "protocols": [protocol.to_dict() for protocol in self.protocols],
            "notes": list(self.notes),
        }


@resumable()
def train(
    source: str | Path | ImageTable | None = None,
    *,
    out: str | Path | None = None,
    resume: str | Path | None = None,
    table: ImageTable | None = None,
    progress: Progress = silent,
    **options: Any,
) -> Run:
    """Train, evaluate, ship and report; see `TrainOptions` for the options.

    Parameters
    ----------
    source : what `read_images` takes, or a table that was read before.
    out : the run folder, new or empty; None makes ``runs/<name>``.
    resume : an unfinished run folder to go on with; every option then comes from its record.

    Raises
    ------
    EyelineError : bad input, with everything as it was before.
    GateError : the exported network does not decide as the trained one does; nothing is shipped.
    Interrupted : stopped by a signal; `resume` goes on.
    """
    started = time.monotonic()
    if is_follower():
        raise EyelineError(
            "the first process of several leads a run; the others call follow_training()", code="usage"
        )
    if isinstance(source, ImageTable):
        table, source = source, source.name
    if resume is not None:
        folder = Path(resume)
        record = read_record(folder)
        if record.get("finished"):
            raise EyelineError("this run is finished", code="finished", path=folder)
        wish = TrainOptions(**record["options"])
    else:
        if source is None:
            raise EyelineError("a source of images is needed", code="usage", hint="or --resume RUN")
        wish = TrainOptions(source=str(source), **options)
        record = {}
    recipe = with_teacher(Recipe.from_dict(wish.recipe), wish.teacher)
    if wish.epochs is not None:
        recipe = recipe.replace(epochs=wish.epochs)
    wishes = Wishes.parse(wish.claim, wish.review, wish.cost, wish.unknown)
    info = network_info(wish.network)
    device = choose_device(wish.device)

    progress("reading", 0, 1, wish.source)
    table = table or read_images(wish.source, good=wish.good, group_by=wish.group_by)
    decode = (
        DecodeOptions.from_dict(record["decode"])
        if record
        else choose_decoding(table, wish.image_size, resize=wish.resize, region=wish.region, range=wish.range)
    )
    weights = choose_weights(info, wish.weights)
    shape: dict[str, Any] = {
        "name": wish.network,
        "num_classes": len(table.classes),
        "in_channels": decode.channels,
        "image_size": decode.image_size,
        "weights": weights,
        "middle": recipe.middle,
    }
    with seeded_weights(wish.seed):
        net = create_network(**shape)
    if wishes.unknown is not None and not net.gap_head:
        raise EyelineError(
            f"{wish.network} cannot tell unknown objects: it has no pooled features before its last layer",
            code="bad_option",
        )
    if wish.views not in VIEWS or (wish.views == 8 and decode.image_size[0] != decode.image_size[1]):
        raise EyelineError(
            f"views is {wish.views}; allowed: 1, 2, 4, and 8 of square images", code="bad_option"
        )
    if resume is None:
        folder = create_run(out, table.name)
    cache = open_cache(table, decode, max_bad=wish.max_bad, progress=progress)
    looked = look_at_images(table, decode, progress=progress)
    table, copies = tie_duplicates(table, looked.sets)
    if record:
        splits, folds = tuple(record["splits"]), record.get("folds", 0)
    else:
        splits = deal_parts(table, cache.usable, copies, wish.seed)
        splits, folds = choose_folds(table, splits, wish, tunable=weights is not None and recipe.fit_head)
        if wish.views > 1 and not folds:
            raise EyelineError(
                f"views is {wish.views}: whether they pay is asked of cross-validation, and this run has none",
                code="bad_option",
                hint="--folds 3",
            )
    fingerprint = table.fingerprint()
    if record and record["fingerprint"] != fingerprint:
        raise EyelineError(
            "the images or labels are not those this run began with", code="changed", path=folder
        )
    notes: list[str] = record.get("notes", [])  # of every time it was resumed
    if record:
        notes += [note for note in environment_notes(record["environment"]) if note not in notes]
        for note in notes:
            progress("resuming", 0, 1, note)
        record["notes"] = notes
    else:
        record = {
            "version": 1,
            "options": wish.__dict__,
            "recipe": recipe.to_dict(),
            "network": wish.network,
            "weights": weights,
            "precision": "bfloat16" if use_bfloat16(recipe, device) else "float32",
            "decode": decode.to_dict(),
            "data": table.summary(),
            "fingerprint": fingerprint,
            "environment": environment(),
            "splits": list(splits),
            "folds": folds,
            "decoders": cache.decoders,
            "unusable": {table.paths[row]: error.code for row, error in cache.errors.items()}
            | {table.paths[row]: "shows what is tested" for row in copies},
        }
        write_record(folder, record)

    normalize = Normalization(info.mean, info.std, device).for_channels(decode.channels)
    net.to(device)
    examples, protocols = _prepare(
        net, table, looked, cache, splits, folds, recipe, normalize, record, wish, progress
    )
    record["protocols"] = [protocol.to_dict() for protocol in protocols]
    if wish.teacher is not None:
        teacher = ask_teacher(
            wish.teacher,
            table,
            cache,
            decode,
            splits,
            fingerprint=fingerprint,
            seed=wish.seed,
            expected=record.get("teacher", {}).get("sha256"),
            progress=progress,
        )
        examples = replace(examples, teacher=teacher.logits)
        record["teacher"] = teacher.record
        notes += [note for note in teacher.notes if note not in notes]
    write_record(folder, record)
    arguments: dict[str, Any] = {
        "folder": folder,
        "seed": wish.seed,
        "steps": wish.steps,
        "budget": None if wish.budget is None else max(0.0, wish.budget - (time.monotonic() - started)),
        "resume": resume is not None,
    }
    choice, left_out, features = None, None, None
    with lead_ranks(shape, cache, examples, recipe, normalize, crossed=bool(folds), **arguments) as ranks:
        if folds:
            groups = None if table.groups is None else np.array(table.groups, dtype=object)[examples.train]
            crossed = cross_fit(
                net,
                examples,
                recipe,
                normalize,
                groups=groups,
                views=wish.views,
                ranks=ranks,
                progress=progress,
                **arguments,
            )
            fitted, choice = crossed.fit, crossed.to_dict()
            left_out = LeftOut(rows=examples.train, logits=crossed.logits, folds=examples.folds)
            if not crossed.fine_tuned and crossed.views == 1 and examples.features is not None:
                features = examples.features[0]  # of every image, and still what the last layer sees
            if crossed.views > 1:
                fitted = replace(fitted, network=Views(fitted.network, crossed.views))
        else:
            fitted = fit(net, examples, recipe, normalize, ranks=ranks, progress=progress, **arguments)
    notes += fitted.notes
    judged = judge_images(
        fitted.network,
        table,
        cache,
        splits,
        normalize,
        wishes,
        progress,
        left_out=left_out,
        features=features,
    )
    record |= {
        "choice": choice,
        "steps": fitted.plan.steps,
        "best_epoch": fitted.best_epoch,
        "training_seconds": round(fitted.seconds, 1),
        "notes": notes,
        "test": figures_dict(judged.evaluation, judged.promises),
    }
    write_record(folder, record)
    write_predictions(folder / "predictions.parquet", table, cache, splits, judged)
    artifact = ship_run(folder, fitted, table, cache, splits, decode, info, judged, record, progress)

    from eyeline.jobs.report import report_run

    seconds = time.monotonic() - started
    report = report_run(
        folder, artifact, table, cache, splits, judged, fitted, protocols, record, seconds, progress
    )
    record |= {"seconds": round(time.monotonic() - started, 1), "finished": True}
    write_record(folder, record)
    return Run(
        folder=folder,
        model=folder / "model.onnx",
        report=report,
        evaluation=judged.evaluation,
        promises=judged.promises,
        protocols=protocols,
        seconds=time.monotonic() - started,
        network=wish.network,
        notes=tuple(notes),
        choice=choice,
    )


def _prepare(
    net: Network,
    table: ImageTable,
    looked: Looked,
    cache: PixelCache,
    splits: tuple[str, ...],
    folds: int,
    recipe: Recipe,
    normalize: Normalization,
    record: dict[str, Any],
    wish: TrainOptions,
    progress: Progress,
) -> tuple[Examples, tuple[ProtocolResult, ...]]:
    """The examples of the run, and how a fitted head scores by random and by grouped splits.

    The findings of the check are put into `record`.
    """
    train = rows_of(splits, "train")
    usable = np.flatnonzero(cache.usable).astype(np.int64)
    features: NDArray[np.float32] | None = None
    protocols: tuple[ProtocolResult, ...] = ()
    if "protocols" in record:
        protocols = tuple(ProtocolResult.from_dict(row) for row in record["protocols"])
    if net.load_report is not None and (folds or "protocols" not in record):
        looked_at = usable if folds else sample_rows(table, usable, MOST_COMPARED)
        freeze_batch_norm(net, recipe, normalize(cache.pixels[train[:1]]))
        found = embed_pixels(
            net,
            cache.pixels,
            looked_at,
            normalize,
            half_turn=recipe.half_turn,
            maximum=net.gap_head,
            progress=progress,
        )
        if "protocols" not in record:
            shown = sample_rows(table, looked_at, MOST_COMPARED)
            views = found[:, np.searchsorted(looked_at, shown)].mean(axis=0)
            protocols = compare_protocols(table.select(shown), views, progress=progress)
            findings = list(looked.findings)
            with suppress(EyelineError):  # too few groups or defects for two folds: nothing can be left out
                findings += second_opinion(table, looked, shown, views, protocols, wish.network).findings
            _record_findings(record, table, findings)
        if len(looked_at) == len(usable):  # else training looks for itself
            features = np.zeros((len(found), len(table), net.head.in_features), np.float32)
            features[:, usable] = found[:, :, : net.head.in_features]  # what the last layer sees: no maximum
    elif "findings" not in record:
        _record_findings(record, table, list(looked.findings))
    examples = Examples(
        pixels=cache.pixels,
        targets=table.targets,
        classes=len(table.classes),
        train=train,
        val=rows_of(splits, "val"),
        folds=make_folds(table.select(train), k=folds or HEAD_FOLDS, seed=wish.seed),
        weights=None if table.weights is None else np.array(table.weights),
        soft=soft_labels(table) if recipe.soft_labels else None,
        features=features,
    )
    return examples, protocols


def _record_findings(record: dict[str, Any], table: ImageTable, findings: list[Finding]) -> None:
    names = display_names(table.paths)
    record["findings"] = [finding.to_dict(names) for finding in rank_findings(findings)]
