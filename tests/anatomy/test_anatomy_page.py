"""The page: one well-formed file that needs nothing from outside."""

from __future__ import annotations

import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from shutil import which

import numpy as np
import pytest
import torch
from torch import nn

from eyeline.anatomy import LayerTable, defect_report, describe, table_page
from eyeline.errors import EyelineError
from eyeline.networks import create_network
from networks import peers

VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """Checks that tags nest, and collects what they refer to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.references: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [v or "" for k, v in attributes if k in ("href", "src")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [v or "" for k, v in attributes if k in ("href", "src")]

    def handle_endtag(self, tag: str) -> None:
        if tag == "p":
            while self.open and self.open[-1] != "p":
                self.open.pop()
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def table() -> LayerTable:
    with torch.device("meta"):
        return describe(peers.create("torchvision", "resnet18").eval(), (3, 96, 96), training=True)


def test_it_is_whole_and_refers_to_nothing_outside(table: LayerTable) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (50, 70, 3), dtype=np.uint8)
    text = table_page(table, image=picture, defects=defect_report(table, [5, 7, 9]))
    page = Page(text)
    assert page.open == []
    assert [reference[:22] for reference in page.references] == ["data:image/png;base64,"]
    assert "http" not in text
    assert "<script" not in text
    assert page.tags.count("svg") == 2
    words = " ".join(page.text)
    for expected in (
        "ResNet",
        "11,689,512",
        "layer4.1.conv2",
        "one cell covers four defects",
        "Adam, batch 1",
    ):
        assert expected in words
    assert page.tags.count("tr") == len(table.layers) + 1 + 6
    assert not re.search(r"\bnan\b|\binf\b", text)


def test_every_drawn_number_is_finite_and_in_the_picture(table: LayerTable) -> None:
    text = table_page(table)
    strip = text[text.index('<svg class="diagram"') : text.index('<svg class="fields"')]
    for x, y, width, height in re.findall(
        r'<rect class="[^"]*" x="([-\d.]+)" y="([-\d.]+)" width="([-\d.]+)" height="([-\d.]+)"', strip
    ):
        assert 0 <= float(x) <= float(x) + float(width) <= 1060
        assert 0 <= float(y) <= float(y) + float(height) <= 464


def test_names_are_escaped() -> None:
    class Odd(nn.Conv2d):
        pass

    Odd.__name__ = "<b>Odd & Co</b>"
    text = table_page(describe(nn.Sequential(Odd(3, 4, 3)), (3, 8, 8)))
    assert "<b>Odd" not in text
    assert "&lt;b&gt;Odd &amp; Co" in text


def test_grey_pictures_signals_and_networks_without_layers(tmp_path: Path) -> None:
    grey = describe(create_network("lenet5"), (1, 32, 32))
    assert "data:image/png" in table_page(grey, image=np.zeros((20, 20), np.uint8))
    signal = describe(nn.Sequential(nn.Conv1d(2, 4, 5)), (2, 64))
    assert Page(table_page(signal)).tags.count("svg") == 1
    assert Page(table_page(describe(nn.Identity(), (3, 8, 8)))).open == []
    with pytest.raises(EyelineError, match=r"none\.png"):
        table_page(grey, image=tmp_path / "none.png")


@pytest.mark.slow
@pytest.mark.skipif(which("chromium") is None, reason="needs a browser")
def test_a_browser_shows_it(table: LayerTable, tmp_path: Path) -> None:
    """Something is drawn: the picture has many colours, and the fields' outlines are among them."""
    from PIL import Image

    (tmp_path / "page.html").write_text(table_page(table), "utf-8")
    subprocess.run(
        [
            *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1180,1400"),
            *(f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={tmp_path / 'page.png'}"),
            (tmp_path / "page.html").as_uri(),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    pixels = np.asarray(Image.open(tmp_path / "page.png").convert("RGB")).reshape(-1, 3)
    assert len(np.unique(pixels, axis=0)) > 50
    assert np.any(
        np.all(np.abs(pixels.astype(int) - (0x2F, 0x6D, 0xB5)) < 3, axis=1)
    )  # blocks of convolutions
