"""Which learning rate suits these images and this network: the beginning of a run, and nothing of it kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from eyeline.errors import EyelineError
from eyeline.images import make_folds, open_cache, read_images
from eyeline.jobs.inputs import choose_decoding, choose_weights
from eyeline.jobs.judged import rows_of
from eyeline.jobs.looking import deal_parts, look_at_images, tie_duplicates
from eyeline.jobs.options import TrainOptions, choose_device
from eyeline.jobs.soft_labels import soft_labels
from eyeline.networks import create_network, network_info
from eyeline.progress import Progress, silent
from eyeline.training import Examples, Normalization, RateSearch, Recipe, find_learning_rate, seeded_weights


def suggest_learning_rate(source: str | Path, *, progress: Progress = silent, **options: Any) -> RateSearch:
    """The learning-rate curve of a run with these options on its training part; no run folder is made.

    Parameters
    ----------
    source : what `read_images` takes.
    options : of `TrainOptions`; those about what comes after the first step make no difference.

    Raises
    ------
    EyelineError : bad input; a teacher, which a search does not ask.
    """
    wish = TrainOptions(source=str(source), **options)
    recipe = Recipe.from_dict(wish.recipe)
    if recipe.distill or wish.teacher is not None:
        raise EyelineError("the search for a learning rate asks no teacher", code="bad_option")
    info = network_info(wish.network)
    progress("reading", 0, 1, wish.source)
    table = read_images(wish.source, good=wish.good, group_by=wish.group_by)
    decode = choose_decoding(table, wish.image_size, resize=wish.resize, region=wish.region, range=wish.range)
    with seeded_weights(wish.seed):
        net = create_network(
            wish.network,
            num_classes=len(table.classes),
            in_channels=decode.channels,
            image_size=decode.image_size,
            weights=choose_weights(info, wish.weights),
            middle=recipe.middle,
        )
    cache = open_cache(table, decode, max_bad=wish.max_bad, progress=progress)
    looked = look_at_images(table, decode, progress=progress)
    table, left_out = tie_duplicates(table, looked.sets)
    splits = deal_parts(table, cache.usable, left_out, wish.seed)
    train = rows_of(splits, "train")
    device = choose_device(wish.device)
    examples = Examples(
        pixels=cache.pixels,
        targets=table.targets,
        classes=len(table.classes),
        train=train,
        val=rows_of(splits, "val"),
        folds=make_folds(table.select(train), seed=wish.seed),
        weights=None if table.weights is None else np.array(table.weights),
        soft=soft_labels(table) if recipe.soft_labels else None,
    )
    normalize = Normalization(info.mean, info.std, device).for_channels(decode.channels)
    return find_learning_rate(net.to(device), examples, recipe, normalize, seed=wish.seed, progress=progress)
