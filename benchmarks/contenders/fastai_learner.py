"""fastai's way to fine-tune: the published weights under its own head, ImageNet normalization, flips both ways."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from eyeline.images import ImageTable
from eyeline.networks import create_network

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "networks"))
import peers  # noqa: F401 - torchvision, and with it fastai, imports only after it

SIZE = 224


def make_learner(network: str, table: ImageTable, train: NDArray[np.int64], *callbacks: Any) -> Any:
    """A frozen `Learner` on the images `train` of `table`, all of them for training."""
    import pandas as pd
    from fastai.vision.all import (  # type: ignore[import-not-found]
        CategoryBlock,
        ColReader,
        CrossEntropyLossFlat,
        DataBlock,
        ImageBlock,
        IndexSplitter,
        Learner,
        Normalize,
        Resize,
        apply_init,
        aug_transforms,
        create_head,
        default_split,
        imagenet_stats,
    )

    frame = pd.DataFrame(
        {"path": [table.paths[row] for row in train], "label": [table.labels[row] for row in train]}
    )
    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock(vocab=list(table.classes))),
        get_x=ColReader("path"),
        get_y=ColReader("label"),
        splitter=IndexSplitter([]),
        item_tfms=Resize(SIZE),
        batch_tfms=[*aug_transforms(flip_vert=True), Normalize.from_stats(*imagenet_stats)],
    )
    loaders = block.dataloaders(frame, bs=min(64, len(train)), num_workers=0)
    net = create_network(network, num_classes=2, weights="imagenet")
    for norm in net.modules():
        # As timm builds it. With TensorFlow's 0.01, running averages lag behind the batches that fastai trains on:
        # AUROC 0.67 instead of 0.83 on solar cells after the frozen epoch of fine_tune(5, 5e-4).
        if isinstance(norm, nn.BatchNorm2d):
            norm.momentum = 0.1
    body = nn.Sequential(*[net.get_submodule(name) for name in net.stage_names])
    model = nn.Sequential(body, create_head(net.head.in_features, 2))
    apply_init(model[1], nn.init.kaiming_normal_)
    learner = Learner(
        loaders, model, loss_func=CrossEntropyLossFlat(), splitter=default_split, cbs=list(callbacks)
    )
    learner.freeze()
    return learner


def defect_probabilities(learner: Any, table: ImageTable, held: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of the images `held`, as `get_preds` gives them; fastai sorts the classes by name."""
    column = list(learner.dls.vocab).index(next(name for name in table.classes if name != table.good))
    with learner.no_bar(), learner.no_logging():
        asked = learner.dls.test_dl([table.paths[row] for row in held], bs=64, num_workers=0)
        probabilities, _ = learner.get_preds(dl=asked)
    return np.asarray(probabilities[:, column].numpy(), np.float64)
