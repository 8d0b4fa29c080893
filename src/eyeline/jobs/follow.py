"""What a process does that `torchrun` started beside the first: learn along, and leave.

The first process reads, decodes, checks, judges, ships and reports. The others wait for its order and read the
decoded pixels from the cache, so a folder that all can see is all they need.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeline.errors import EyelineError
from eyeline.images import PixelCache
from eyeline.networks import create_network
from eyeline.training import Examples, Normalization, Ranks, Recipe, fit, follow_folds, join_ranks, told_rank

# Of `Examples`; the features are for the fitted head alone, which is the first process's work.
COLUMNS: dict[str, Any] = {
    "targets": np.int64,
    "train": np.int64,
    "val": np.int64,
    "folds": np.int64,
    "weights": np.float64,
    "soft": np.float32,
    "teacher": np.float32,
}


@dataclass(frozen=True, kw_only=True)
class Order:
    """Everything that training needs but the pixels, in plain values."""

    network: dict[str, Any]  # arguments of `create_network`
    pixels: str  # the memory-mapped file of the cache
    examples: dict[str, Any]
    recipe: dict[str, Any]
    normalization: dict[str, Any]
    fit: dict[str, Any]  # further arguments
    crossed: bool  # one network a fold


def is_follower() -> bool:
    """Whether another process than this one writes the run, as ``torchrun`` says in the environment."""
    rank, count = told_rank()
    return count > 1 and rank > 0


@contextmanager
def lead_ranks(
    network: dict[str, Any],
    cache: PixelCache,
    examples: Examples,
    recipe: Recipe,
    normalize: Normalization,
    *,
    crossed: bool,
    **arguments: Any,
) -> Iterator[Ranks]:
    """Meet the other processes, if there are any, and tell them to call `fit` with the same arguments."""
    with join_ranks() as ranks:
        if ranks.count > 1:
            order = Order(
                network=network,
                pixels=str(Path(getattr(cache.pixels, "filename")).absolute()),  # noqa: B009
                examples={"classes": examples.classes}
                | {name: _plain(getattr(examples, name)) for name in COLUMNS},
                recipe=recipe.to_dict(),
                normalization=normalize.__dict__,
                fit=arguments | {"folder": str(Path(arguments["folder"]).absolute())},
                crossed=crossed,
            )
            ranks.tell(order.__dict__)
        yield ranks


def follow_training() -> None:
    """Take part in the training that the first process leads; returns when it is over.

    Raises
    ------
    Interrupted : any of the processes was asked to stop; the first has saved everything.
    EyelineError : the first process has ended (``code="rank_lost"``), or its files cannot be seen from here.
    """
    with join_ranks() as ranks:
        order = Order(**ranks.tell(None))
        try:
            pixels = np.load(order.pixels, mmap_mode="r", allow_pickle=False)
        except OSError as error:
            raise EyelineError(
                "the decoded pixels cannot be read by all processes",
                code="no_cache",
                path=order.pixels,
                hint="set EYELINE_CACHE to a folder that all machines share",
            ) from error
        columns: dict[str, Any] = {
            name: None if order.examples[name] is None else np.array(order.examples[name], dtype)
            for name, dtype in COLUMNS.items()
        }
        normalize = Normalization(
            tuple(order.normalization["mean"]),
            tuple(order.normalization["std"]),
            order.normalization["device"],
        )
        net = create_network(**order.network).to(normalize.device)
        arguments = order.fit | {"folder": Path(order.fit["folder"])}
        train = follow_folds if order.crossed else fit
        train(
            net,
            Examples(pixels=pixels, classes=order.examples["classes"], **columns),
            Recipe.from_dict(order.recipe),
            normalize,
            ranks=ranks,
            **arguments,
        )


def _plain(values: NDArray[Any] | None) -> list[Any] | None:
    return None if values is None else values.tolist()
