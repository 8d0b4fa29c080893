"""From a table of images to a trained network: one recipe, one loop, checkpoints that resume to the same bits."""

from __future__ import annotations

from eyeline.training.batches import Normalization
from eyeline.training.crossfit import CrossFit, cross_fit
from eyeline.training.examples import Examples
from eyeline.training.folds import follow_folds
from eyeline.training.head import FittedHead, fit_head
from eyeline.training.inference import embed_pixels, head_logits, predict_logits
from eyeline.training.loop import Fit, fit
from eyeline.training.lr_finder import RateSearch, find_learning_rate
from eyeline.training.named import find_recipe, named_recipe, recipe_names, recipe_text
from eyeline.training.precision import use_bfloat16
from eyeline.training.randomness import seeded_weights
from eyeline.training.ranks import Ranks, join_ranks, told_rank
from eyeline.training.recipe import Recipe
from eyeline.training.start import freeze_batch_norm

__all__ = [
    "CrossFit",
    "Examples",
    "Fit",
    "FittedHead",
    "Normalization",
    "Ranks",
    "RateSearch",
    "Recipe",
    "cross_fit",
    "embed_pixels",
    "find_learning_rate",
    "find_recipe",
    "fit",
    "fit_head",
    "follow_folds",
    "freeze_batch_norm",
    "head_logits",
    "join_ranks",
    "named_recipe",
    "predict_logits",
    "recipe_names",
    "recipe_text",
    "seeded_weights",
    "told_rank",
    "use_bfloat16",
]
