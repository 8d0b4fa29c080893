"""What docs/anatomy.md shows is what the code does."""

from __future__ import annotations

import doctest
from pathlib import Path

import eyeline.anatomy
from eyeline.anatomy import batchnorm

PAGE = Path(__file__).parents[2] / "docs" / "anatomy.md"


def test_the_page() -> None:
    result = doctest.testfile(str(PAGE), module_relative=False)
    assert result.attempted > 20
    assert result.failed == 0


def test_docstrings() -> None:
    assert doctest.testmod(batchnorm).failed == 0


def test_every_public_name_is_there() -> None:
    assert sorted(eyeline.anatomy.__all__) == eyeline.anatomy.__all__
    for name in eyeline.anatomy.__all__:
        assert getattr(eyeline.anatomy, name).__module__.startswith("eyeline.anatomy.")
