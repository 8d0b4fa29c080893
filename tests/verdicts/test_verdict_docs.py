"""The pages are what the code does: every example on them runs."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest


@pytest.mark.parametrize(("page", "examples"), [("verdicts.md", 20), ("pod.md", 8)])
def test_every_example_of_the_page_runs(page, examples):
    results = doctest.testfile(str(Path(__file__).parents[2] / "docs" / page), module_relative=False)
    assert results.attempted > examples
    assert results.failed == 0
