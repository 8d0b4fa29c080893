"""The page for learners: its blocks run as shown, and its prose quotes no figure that no block produced."""

from __future__ import annotations

import doctest
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from eyeline.convolution import geometry, reference

PAGE = Path(__file__).parents[2] / "docs" / "convolution.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")


def test_the_blocks_give_what_the_page_shows() -> None:
    source = "\n".join(BLOCK.findall(PAGE.read_text(encoding="utf-8")))
    page = doctest.DocTestParser().get_doctest(source, {}, PAGE.name, str(PAGE), 0)
    assert len(page.examples) > 30
    said: list[str] = []
    results = doctest.DocTestRunner().run(page, out=said.append)
    assert results.failed == 0, "".join(said)


def test_every_figure_of_the_prose_stands_in_a_block() -> None:
    text = PAGE.read_text(encoding="utf-8").split("## Sources")[0]
    produced = set(NUMBER.findall(" ".join(BLOCK.findall(text))))
    quoted = set(NUMBER.findall(BLOCK.sub("", text)))
    assert quoted <= produced, quoted - produced


@pytest.mark.parametrize("module", [geometry, reference])
def test_docstring_examples(module: ModuleType) -> None:
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0


def test_the_room_needs_numpy_alone() -> None:
    """It is part of the base install, where torch and scipy are missing."""
    check = "import sys, eyeline.convolution; print({'torch', 'scipy', 'pandas'} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "set()"
