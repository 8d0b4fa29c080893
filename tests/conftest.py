"""Tests whose module trains a network once for all of them stay in one process, so that it is trained once."""

from __future__ import annotations

import pytest


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks at the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent.name in ("jobs", "cli"):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
