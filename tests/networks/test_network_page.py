"""The page on networks says what is true."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

from eyeline.networks import network_info, network_names

PAGE = Path(__file__).parents[2] / "docs" / "networks.md"


def test_every_block_of_the_page_runs():
    result = doctest.testfile(str(PAGE), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted > 8
    assert result.failed == 0


def number(text: str) -> float:
    value, unit = text.split()
    return float(value) * {"k": 1e3, "M": 1e6, "G": 1e9}[unit]


def test_the_tables_list_every_network_with_its_cost():
    rows = re.findall(
        r"^\| `(\w+)` \| (\d+) \| (.+?) \| (.+?) \| (\d+)x(\d+)x(\d+) \|$", PAGE.read_text("utf-8"), re.M
    )
    assert [row[0] for row in rows] == network_names()
    for name, year, parameters, macs, *size in rows:
        info = network_info(name)
        assert int(year) == info.year
        assert abs(number(parameters) / info.parameters - 1) < 0.006
        assert abs(number(macs) / info.macs - 1) < 0.006
        assert tuple(map(int, size)) == info.input_size
