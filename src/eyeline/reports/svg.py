"""A small plot as SVG text: crisp at any size, coloured by the page's style sheet, read aloud by its title."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import ArrayLike, NDArray

from eyeline.reports.text import shown


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers from low to high: at most about `most` steps of 1, 2, 2.5 or 5 times a power of ten."""
    span = high - low
    if not span > 0:
        return [low]
    raw = span / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


@dataclass
class Plot:
    """A plot area with two linear axes. Coordinates given to its methods are those of the data."""

    x: tuple[float, float]
    y: tuple[float, float]
    width: int = 400
    height: int = 300
    left: int = 46
    right: int = 14
    top: int = 14
    bottom: int = 44
    parts: list[str] = field(default_factory=list)

    def px(self, x: float) -> float:
        share = (x - self.x[0]) / (self.x[1] - self.x[0])
        return self.left + share * (self.width - self.left - self.right)

    def py(self, y: float) -> float:
        share = (y - self.y[0]) / (self.y[1] - self.y[0])
        return self.height - self.bottom - share * (self.height - self.top - self.bottom)

    def axes(
        self,
        x_label: str,
        y_label: str,
        *,
        x_ticks: Sequence[float],
        y_ticks: Sequence[float],
        x_text: Callable[[float], str] = "{:g}".format,
        y_text: Callable[[float], str] = "{:g}".format,
    ) -> None:
        """Hairlines, tick labels, and what the axes mean."""
        right, floor = self.width - self.right, self.height - self.bottom
        for y in y_ticks:
            at = self.py(y)
            self.parts.append(
                f'<line class="grid" x1="{self.left}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}"/>'
            )
            self.text(self.left - 8, at + 4, y_text(y), "tick end")
        for x in x_ticks:
            at = self.px(x)
            self.parts.append(
                f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{self.top}" y2="{floor}"/>'
            )
            self.text(at, floor + 17, x_text(x), "tick middle")
        self.parts.append(f'<line class="axis" x1="{self.left}" x2="{right}" y1="{floor}" y2="{floor}"/>')
        self.text((self.left + right) / 2, self.height - 6, x_label, "label middle")
        if y_label:
            turned = f"translate(12 {(self.top + floor) / 2:.1f}) rotate(-90)"
            self.parts.append(
                f'<text class="label middle" transform="{turned}">{escape(shown(y_label))}</text>'
            )

    def line(self, xs: ArrayLike, ys: ArrayLike, css: str, *, steps: bool = False) -> None:
        """A polyline; with `steps` the value holds until the next x."""
        points = self._points(np.asarray(xs, dtype=float), np.asarray(ys, dtype=float))
        if steps and len(points):
            corners = np.empty((2 * len(points) - 1, 2))
            corners[::2] = points
            corners[1::2, 0], corners[1::2, 1] = points[1:, 0], points[:-1, 1]
            points = corners
        self.parts.append(f'<path class="{css}" d="{_path(points)}"/>')

    def band(self, xs: ArrayLike, low: ArrayLike, high: ArrayLike, css: str) -> None:
        """The area between two lines."""
        x = np.asarray(xs, dtype=float)
        there, back = (
            self._points(x, np.asarray(low, dtype=float)),
            self._points(x, np.asarray(high, dtype=float)),
        )
        self.parts.append(f'<path class="{css}" d="{_path(np.concatenate([there, back[::-1]]))}Z"/>')

    def dot(self, x: float, y: float, css: str, *, radius: float = 4, title: str = "") -> None:
        """A point; its title shows when the pointer rests on it."""
        inner = f"<title>{escape(shown(title))}</title>" if title else ""
        self.parts.append(
            f'<circle class="{css}" cx="{self.px(x):.1f}" cy="{self.py(y):.1f}" r="{radius:g}">{inner}</circle>'
        )

    def segment(self, start: tuple[float, float], end: tuple[float, float], css: str) -> None:
        """A straight line between two points."""
        (x1, y1), (x2, y2) = ((self.px(x), self.py(y)) for x, y in (start, end))
        self.parts.append(f'<line class="{css}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>')

    def note(self, x: float, y: float, text: str, css: str, *, dx: float = 0, dy: float = 0) -> None:
        """Text beside a point of the data."""
        self.text(self.px(x) + dx, self.py(y) + dy, text, css)

    def text(self, px: float, py: float, text: str, css: str) -> None:
        """Text at a place of the picture."""
        self.parts.append(f'<text class="{css}" x="{px:.1f}" y="{py:.1f}">{escape(shown(text))}</text>')

    def render(self, title: str, description: str) -> Markup:
        """The picture; title and description are for those who cannot see it."""
        return picture(self.parts, f'viewBox="0 0 {self.width} {self.height}"', title, description, "plot")

    def _points(self, xs: NDArray[np.float64], ys: NDArray[np.float64]) -> NDArray[np.float64]:
        if len(xs) == 0:
            return np.empty((0, 2))
        px = self.left + (xs - self.x[0]) / (self.x[1] - self.x[0]) * (self.width - self.left - self.right)
        inner = self.height - self.top - self.bottom
        py = self.height - self.bottom - (ys - self.y[0]) / (self.y[1] - self.y[0]) * inner
        return np.stack([px, py], axis=1)


def picture(parts: Iterable[str], size: str, title: str, description: str, css: str) -> Markup:
    """An `<svg>` around its parts, with a name for screen readers."""
    name = escape(shown(f"{title}. {description}" if description else title))
    return Markup(f'<svg class="{css}" {size} role="img" aria-label="{name}">{"".join(parts)}</svg>')


def _path(points: NDArray[np.float64]) -> str:
    """Corners that round to the same tenth of a pixel are drawn once, so a long curve stays a short text."""
    rounded = np.round(points, 1)
    if len(rounded) > 1:
        moved = np.append(True, (np.diff(rounded, axis=0) != 0).any(axis=1))
        rounded = rounded[moved]
        if len(rounded) > 2:  # corners on one straight vertical or horizontal line
            before, after = np.diff(rounded[:-1], axis=0), np.diff(rounded[1:], axis=0)
            straight = ((before == 0) & (after == 0)).any(axis=1) & ((before * after).sum(axis=1) > 0)
            rounded = rounded[np.concatenate([[True], ~straight, [True]])]
    return "".join(f"{'L' if i else 'M'}{x:g} {y:g}" for i, (x, y) in enumerate(rounded))
