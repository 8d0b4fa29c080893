"""The table as text: it fits, it adds up, and it says what it leaves out."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor, nn

from eyeline.anatomy import LayerTable, describe, table_text
from eyeline.anatomy.text import field_text, merged_rows, quantity
from eyeline.networks import create_network
from networks import peers


def table_of(name: str, library: str = "torchvision", size: int = 224) -> LayerTable:
    with torch.device("meta"):
        return describe(peers.create(library, name).eval(), (3, size, size))


@pytest.mark.parametrize("name", ["resnet50", "vit_b_16", "mobilenet_v3_small", "inception_v3"])
@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_it_fits_the_terminal(name: str, width: int) -> None:
    text = table_text(table_of(name), width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "\t" not in text


def test_what_it_says() -> None:
    text = table_text(table_of("resnet50"), width=110)
    lines = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert "64x3x7x7" in lines["conv1"]
    assert "118 M" in lines["conv1"]
    assert "11..427" in lines["layer4.2.add"]
    assert lines["avgpool"].split()[-2] == "203..619*"
    assert "4,089,184,256" in text
    assert "25,557,032" in text
    assert "11,038,720" in text
    assert "bn1" not in text
    assert "layer4.2.bn3" in table_text(table_of("resnet50"), width=110, every=True)
    assert "training step" not in text
    assert "training step" in table_text(describe(create_network("lenet5"), (1, 32, 32), training=True))


def test_merged_rows_lose_nothing() -> None:
    for name in ("resnet50", "efficientnet_b0", "swin_t"):
        table = table_of(name)
        rows = merged_rows(table.layers)
        assert len(rows) < len(table.layers)
        for key in ("parameters", "macs", "elementwise", "activation_bytes"):
            assert sum(getattr(r, key) for r in rows) == sum(getattr(r, key) for r in table.layers)
        assert rows[-1].cumulative_parameters == table.layers[-1].cumulative_parameters


def test_gaps_and_notes_are_shown() -> None:
    class Net(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.linalg.svdvals(x * (2 if float(x.sum()) == 0 else 1))

    text = table_text(describe(Net(), (3, 8, 8)))
    assert "not counted: cost of _linalg_svd" in text
    assert "one image of zeros" in text
    assert "?" in text  # a receptive field that is a guess


def test_rectangular_fields_and_vectors() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, (1, 5)), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    table = describe(net, (3, 9, 12))
    assert field_text(table["0"].receptive_field) == "1x5"
    assert field_text(table["3"].receptive_field) == "9x12*"
    assert field_text(None) == "-"
    line = next(text for text in table_text(table).splitlines() if text.startswith("0"))
    assert "1x5" in line


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.00 k"),
        (9_999, "10.0 k"),
        (25_557_032, "25.6 M"),
        (999_600, "1.00 M"),
    ],
)
def test_quantities_have_three_digits(value: int, text: str) -> None:
    assert quantity(value) == text


def test_json_has_the_keys_that_others_rely_on() -> None:
    table = describe(create_network("lenet5"), (1, 32, 32))
    value = json.loads(json.dumps(table.to_dict(), allow_nan=False))
    assert value["network"] == "lenet5"
    assert value["input"] == [1, 32, 32]
    assert {"parameters", "macs", "peak_activation_bytes", "layers"} <= value.keys()
    first = value["layers"][0]
    assert {
        "name",
        "kind",
        "output",
        "parameters",
        "macs",
        "activation_bytes",
        "receptive_field",
    } <= first.keys()
    assert first["output"] == [1, 6, 28, 28]
    assert first["weight"] == [6, 1, 5, 5]
    field = first["receptive_field"]
    assert {key: field[key] for key in ("min", "max", "stride", "center", "global")} == {
        "min": 5,
        "max": 5,
        "stride": 1,
        "center": 2,
        "global": False,
    }
    wide = describe(nn.Sequential(nn.Conv2d(1, 1, (2, 5), (1, 2))), (1, 9, 12)).to_dict()["layers"][0]
    assert wide["receptive_field"]["max"] == [2, 5]
    assert wide["receptive_field"]["center"] == [0.5, 2]
    with pytest.raises(KeyError):
        table["nope"]
