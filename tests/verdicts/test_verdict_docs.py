"""The page is what the code does: every example on it runs."""

from __future__ import annotations

import doctest
from pathlib import Path


def test_every_example_of_the_page_runs():
    page = Path(__file__).parents[2] / "docs" / "verdicts.md"
    results = doctest.testfile(str(page), module_relative=False)
    assert results.attempted > 20
    assert results.failed == 0
