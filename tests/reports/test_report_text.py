"""Numbers and names as a reader sees them, and the drawing of lines."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyeline.reports import text
from eyeline.reports.svg import Plot, ticks
from eyeline.verdicts import Rate


@given(st.text())
def test_shown_names_are_one_printable_line(name: str) -> None:
    shown = text.shown(name)
    shown.encode("utf-8")
    assert len(shown.splitlines()) <= 1
    assert all(c.isprintable() or c.isspace() for c in shown)
    assert text.shown(shown) == shown


def test_shown_keeps_what_can_be_read() -> None:
    for name in ("Größe 12 µm", "部品/001.png", "قطعة", "9.8\N{NARROW NO-BREAK SPACE}%"):
        assert text.shown(name) == name
    assert text.shown("a\udcffb\nc\u202e") == "a\\udcffb\\nc\\u202e"


def test_numbers() -> None:
    gap = text.NARROW
    assert text.percent(0.0983) == f"9.8{gap}%"
    assert text.percent(None) == text.decimal(None) == text.decimal(float("nan")) == "–"
    assert text.decimal(-0.5) == "−0.500"
    assert text.signed(-0.314) == "−0.31"
    assert text.power_of_ten(3.14e-7) == f"3.1{gap}×{gap}10⁻⁷"
    assert text.power_of_ten(0.0) == "0"
    assert text.duration(4.2) == "4.2 s"
    assert text.duration(59.4) == "59 s"
    assert text.duration(252) == "4 min 12 s"
    assert text.duration(7500) == "2 h 05 min"
    assert text.file_size(13_400_000) == "13.4 MB"
    assert text.file_size(950) == "0.9 kB"
    assert text.counted(1, "class") == "1 class"
    assert text.counted(2624, "class") == "2,624 classes"
    assert text.last_part("C:\\photos\\a b.png") == "a b.png"
    assert text.last_part("/") == "/"
    assert text.sentence("calibrated") == "Calibrated."
    assert text.tight("95 % of 3 %") == f"95{gap}% of 3{gap}%"
    empty = Rate.empty()
    assert text.percent_interval(empty) == text.decimal_interval(empty) == "no interval"


def test_settings_are_flattened() -> None:
    nested = {"a": {"b": 1e-4, "c": [1, 2.5]}, "d": True, "e": None, "f": ()}
    assert dict(text.flattened(nested)) == {"a.b": "0.0001", "a.c": "1, 2.5", "d": "yes", "e": "–", "f": "–"}


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
def test_ticks_are_round_and_inside(low: float, span: float) -> None:
    marks = ticks(low, low + span)
    assert all(low - 1e-6 * span <= mark <= low + span * (1 + 1e-6) for mark in marks)
    assert 1 <= len(marks) <= 7
    steps = np.diff(marks)
    assert np.allclose(steps, steps[:1])


def test_ticks_of_a_point() -> None:
    assert ticks(0.5, 0.5) == [0.5]


def corners(plot: Plot) -> list[tuple[float, float]]:
    path = re.search(r' d="([^"]*)"', plot.parts[-1])
    assert path is not None
    return [(float(x), float(y)) for x, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", path.group(1))]


def unit(**size: int) -> Plot:
    return Plot(x=(0, 1), y=(0, 1), width=100, height=100, left=0, right=0, top=0, bottom=0)


def test_steps_hold_their_value_until_the_next_x() -> None:
    plot = unit()
    plot.line([0, 0.5, 1], [0, 0.2, 1], "c", steps=True)
    assert corners(plot) == [(0, 100), (50, 100), (50, 80), (100, 80), (100, 0)]


def test_long_curves_stay_short_texts() -> None:
    plot = unit()
    x = np.linspace(0, 1, 100_001)
    plot.line(x, x**2, "c")
    assert len(corners(plot)) < 3000
    plot.line(x, np.full_like(x, 0.25), "c")
    assert corners(plot) == [(0, 75), (100, 75)]


@pytest.mark.parametrize(("x", "y", "expected"), [(0, 0, (46, 256)), (1, 1, (386, 14))])
def test_corners_of_the_plot(x: float, y: float, expected: tuple[float, float]) -> None:
    plot = Plot(x=(0, 1), y=(0, 1))
    assert (plot.px(x), plot.py(y)) == pytest.approx(expected)
