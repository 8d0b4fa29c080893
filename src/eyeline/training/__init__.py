"""From a table of images to a trained network: one recipe, one loop, checkpoints that resume to the same bits."""

from __future__ import annotations

from eyeline.training.batches import Normalization
from eyeline.training.head import FittedHead, fit_head
from eyeline.training.inference import embed_pixels, predict_logits
from eyeline.training.loop import Examples, Fit, fit, freeze_batch_norm
from eyeline.training.randomness import seed_initialisation
from eyeline.training.ranks import Ranks, join_ranks, told_rank
from eyeline.training.recipe import Recipe

__all__ = [
    "Examples",
    "Fit",
    "FittedHead",
    "Normalization",
    "Ranks",
    "Recipe",
    "embed_pixels",
    "fit",
    "fit_head",
    "freeze_batch_norm",
    "join_ranks",
    "predict_logits",
    "seed_initialisation",
    "told_rank",
]
