"""From a table of images to a trained network: one recipe, one loop, checkpoints that resume to the same bits."""

from __future__ import annotations

from eyeline.training.batches import Normalization
from eyeline.training.crossfit import CrossFit, cross_fit
from eyeline.training.head import FittedHead, fit_head
from eyeline.training.inference import embed_pixels, predict_logits
from eyeline.training.loop import Examples, Fit, fit, freeze_batch_norm
from eyeline.training.recipe import Recipe

__all__ = [
    "CrossFit",
    "Examples",
    "Fit",
    "FittedHead",
    "Normalization",
    "Recipe",
    "cross_fit",
    "embed_pixels",
    "fit",
    "fit_head",
    "freeze_batch_norm",
    "predict_logits",
]
