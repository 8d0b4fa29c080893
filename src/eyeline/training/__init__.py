"""From a table of images to a trained network: one recipe, one loop, checkpoints that resume to the same bits."""

from __future__ import annotations

from eyeline.training.batches import Normalization
from eyeline.training.examples import Examples
from eyeline.training.head import FittedHead, fit_head
from eyeline.training.inference import embed_pixels, predict_logits
from eyeline.training.loop import Fit, fit
from eyeline.training.recipe import Recipe
from eyeline.training.start import freeze_batch_norm

__all__ = [
    "Examples",
    "Fit",
    "FittedHead",
    "Normalization",
    "Recipe",
    "embed_pixels",
    "fit",
    "fit_head",
    "freeze_batch_norm",
    "predict_logits",
]
