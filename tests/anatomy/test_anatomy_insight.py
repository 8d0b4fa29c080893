"""What the table means: saturated layers, and which layers see a defect of a given size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from eyeline.anatomy import LayerTable, defect_report, defect_sizes, describe, insights, saturated_layers
from eyeline.errors import EyelineError
from networks import peers


def table_of(name: str, size: int) -> LayerTable:
    with torch.device("meta"):
        return describe(peers.create("torchvision", name).eval(), (3, size, size))


def test_layers_that_see_nothing_new() -> None:
    """VGG-16 has one path: 3x3 layers whose input already sees 32 px are of no use at 32 px."""
    table = table_of("vgg16", 32)
    names = [layer.name for layer in saturated_layers(table)]
    # conv3_2 sees 32 px when conv3_1 (24) has widened it; published end points: pool3 44, conv4_1 60.
    assert names[0] == "features.14"
    assert "features.12" not in names
    assert names[-1] == "features.30"
    assert saturated_layers(table_of("vgg16", 224)) == []
    # The shortest path of a residual network runs around its blocks; only inside of one does it grow.
    assert {layer.name.split(".")[-1] for layer in saturated_layers(table_of("resnet18", 32))} == {"conv2"}
    sentence = next(text for text in insights(table) if "nothing new" in text)
    assert sentence.startswith("features.14 and")
    assert "32x32" in sentence


def test_layers_that_read_one_position_are_not_judged() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 9), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 2)
    )
    table = describe(net, (3, 10, 10))
    assert [layer.name for layer in saturated_layers(describe(net, (3, 10, 10)))] == []
    assert table["4"].sees_before == (9, 9)
    assert table["3"].window is None
    deeper = describe(nn.Sequential(*net, nn.ConstantPad2d(1, 0.0), nn.Conv2d(4, 4, 3)), (3, 10, 10))
    assert [layer.name for layer in saturated_layers(deeper)] == ["6"]


def test_the_sentence_of_the_manual() -> None:
    report = defect_report(table_of("resnet18", 224), [5, 7, 9])
    assert report.verdict == (
        "at 224 px your median defect is 7 px; the final map has stride 32: one cell covers four defects; "
        "use 448 px or a stride-16 network"
    )
    assert [sight.stride for sight in report.sights] == [2, 4, 8, 16, 32]
    assert [sight.cells for sight in report.sights] == [(112, 112), (56, 56), (28, 28), (14, 14), (7, 7)]
    last = report.sights[-1]
    assert last.cells_per_defect == 7 / 32
    assert last.seen == 0.0  # a third of a cell is 10.7 px
    assert report.sights[-2].seen == pytest.approx(2 / 3)
    assert report.to_dict()["sights"][0]["layer"] == "relu"


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (96, "a defect spans 3 cells"),
        (20, "about the same size"),
        (12, "one cell covers two defects"),
        (2, "covers 16 defects; use 1792 px or a stride-4 network"),
    ],
)
def test_other_sizes_of_defects(size: int, words: str) -> None:
    verdict = defect_report(table_of("resnet18", 224), [size]).verdict
    assert verdict.endswith(words)


def test_a_defect_larger_than_the_field_is_seen_in_part() -> None:
    table = describe(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, stride=2)), (3, 64, 64))
    sights = defect_report(table, [20.0]).sights
    assert [(sight.stride, sight.whole) for sight in sights] == [(1, False), (2, False)]


def test_defects_of_masks(tmp_path: Path) -> None:
    mask = np.zeros((100, 200), bool)
    mask[10:20, 10:30] = True  # 10 x 20
    mask[50, 50] = mask[51, 51] = True  # a diagonal pair is one defect
    Image.fromarray((mask * 255).astype(np.uint8)).save(tmp_path / "mask.png")
    sizes = defect_sizes([mask, None, tmp_path / "mask.png"], (50, 100))
    assert sizes == pytest.approx([np.sqrt(200) / 2, np.sqrt(2) / 2] * 2)
    assert len(defect_sizes([np.zeros((8, 8))], (8, 8))) == 0
    with pytest.raises(EyelineError, match="mask"):
        defect_sizes([np.zeros((8, 8, 3))], (8, 8))
    with pytest.raises(EyelineError) as missing:
        defect_sizes([tmp_path / "none.png"], (8, 8))
    assert "none.png" in str(missing.value)


def test_what_cannot_be_judged_is_refused() -> None:
    table = table_of("resnet18", 64)
    for sizes in ([], [0.0], [float("nan")], [-3]):
        with pytest.raises(EyelineError, match="positive"):
            defect_report(table, sizes)
    flat = describe(nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), (3, 8, 8))
    with pytest.raises(EyelineError, match="no layer"):
        defect_report(flat, [3])


def test_unused_parameters_and_the_last_map_are_mentioned() -> None:
    with torch.device("meta"):
        net = peers.create("torchvision", "googlenet", init_weights=False).eval()
    sentences = insights(describe(net, (3, 224, 224)))
    assert any("never used" in text and "aux1" in text for text in sentences)
    assert any("7x7 cells 32 pixels apart" in text for text in sentences)
    vit = table_of("vit_b_16", 224)
    assert any("the whole image" in text for text in insights(vit))
