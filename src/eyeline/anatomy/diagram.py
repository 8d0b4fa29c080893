"""Inline SVG of a layer table: the network as a row of blocks, and receptive fields over a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from eyeline.anatomy.table import Layer, LayerTable, positions, resolutions
from eyeline.anatomy.text import field_text, merged_rows, quantity

WIDTH = 1060
GROUPS = {  # colour class of a block: the first whose word is part of the kind
    "conv": ("conv",),
    "attention": ("attention", "matmul", "softmax"),
    "linear": ("linear",),
    "pool": ("pool", "mean", "upsample"),
    "norm": ("norm",),
    "join": ("add", "cat", "mul"),
}


def group_of(layer: Layer) -> str:
    """The colour class of a layer's kind."""
    kind = layer.kind.lower()
    return next((name for name, words in GROUPS.items() if any(word in kind for word in words)), "other")


def network_svg(table: LayerTable) -> str:
    """Three aligned strips over the layers: the maps, the multiply-accumulates, the receptive field.

    A block is as tall as its map (square root of its cells) and coloured by kind. The receptive field runs from
    the shortest to the longest path on a logarithmic axis, with the image's side as a line.
    """
    rows = merged_rows(table.layers)
    if not rows:
        return ""
    left, usable = 76, WIDTH - 76 - 8
    step = usable / len(rows)
    centers = [left + (i + 0.5) * step for i in range(len(rows))]
    bar = max(step * 0.78, 1.2)
    parts = [_strip_title(20, "maps"), _strip_title(196, "MACs"), _strip_title(312, "sees, pixels")]
    parts += _maps(rows, centers, bar)
    parts += _macs(rows, centers, bar)
    parts += _fields(table, rows, centers, bar)
    label = f"{table.network}: map sizes, multiply-accumulates and receptive fields of {len(rows)} layers"
    return (
        f'<svg class="diagram" viewBox="0 0 {WIDTH} 464" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )


def _strip_title(y: float, text: str) -> str:
    return f'<text class="title" x="0" y="{y}">{text}</text>'


def _tip(layer: Layer) -> str:
    text = (
        f"{layer.name} ({layer.kind})\noutput {'x'.join(map(str, layer.output))}, {layer.parameters:,} parameters, "
        f"{layer.macs:,} MACs\nsees {field_text(layer.receptive_field)} pixels"
    )
    return f"<title>{escape(text)}</title>"


def _maps(rows: Sequence[Layer], centers: Sequence[float], bar: float) -> list[str]:
    middle, tallest = 100.0, 130.0
    sides = [math.sqrt(math.prod(positions(row) or (1,))) for row in rows]
    parts, shown, free = [], "", 0.0
    for row, x, side in zip(rows, centers, sides, strict=True):
        height = max(tallest * side / max(sides), 3.0)
        parts.append(
            f'<rect class="{group_of(row)}" x="{x - bar / 2:.1f}" y="{middle - height / 2:.1f}" '
            f'width="{bar:.1f}" height="{height:.1f}" rx="1">{_tip(row)}</rect>'
        )
        cells = positions(row)
        text = "x".join(map(str, cells)) if cells else ""
        if text and text != shown:
            at = max(x - bar / 2, free)  # a label that would run into the one before moves to the right
            parts.append(f'<text class="small" x="{at:.1f}" y="{middle + tallest / 2 + 16}">{text}</text>')
            shown, free = text, at + 6.4 * len(text) + 8
    return parts


def _macs(rows: Sequence[Layer], centers: Sequence[float], bar: float) -> list[str]:
    base, tallest = 290.0, 84.0
    most = max(row.macs for row in rows) or 1
    parts = [
        f'<line class="axis" x1="76" y1="{base}" x2="{WIDTH}" y2="{base}"/>',
        f'<text class="small" x="70" y="{base - tallest + 8}" text-anchor="end">{quantity(most)}</text>',
    ]
    for row, x in zip(rows, centers, strict=True):
        height = tallest * row.macs / most
        if height:
            parts.append(
                f'<rect class="{group_of(row)}" x="{x - bar / 2:.1f}" y="{base - height:.1f}" '
                f'width="{bar:.1f}" height="{height:.1f}">{_tip(row)}</rect>'
            )
    return parts


def _fields(table: LayerTable, rows: Sequence[Layer], centers: Sequence[float], bar: float) -> list[str]:
    top, base = 330.0, 454.0
    known = [row.receptive_field for row in rows if row.receptive_field is not None]
    high = max([max(field.max) for field in known] + [max(table.input[1:])])

    def y(size: float) -> float:
        return base - (base - top) * math.log(max(size, 1)) / math.log(max(high, 2))

    side = max(table.input[1:])
    parts = [
        f'<line class="axis" x1="76" y1="{base}" x2="{WIDTH}" y2="{base}"/>',
        f'<text class="small" x="70" y="{base}" text-anchor="end">1</text>',
        f'<line class="image" x1="76" y1="{y(side):.1f}" x2="{WIDTH}" y2="{y(side):.1f}"/>',
        f'<text class="small" x="70" y="{y(side) + 4:.1f}" text-anchor="end">image {side}</text>',
    ]
    for row, x in zip(rows, centers, strict=True):
        field = row.receptive_field
        if field is None:
            continue
        upper, lower = y(max(field.max)), y(min(field.min))
        shade = "field global" if field.is_global else "field"
        parts.append(
            f'<rect class="{shade}" x="{x - bar / 2:.1f}" y="{upper - 1.5:.1f}" width="{bar:.1f}" '
            f'height="{lower - upper + 3:.1f}" rx="1">{_tip(row)}</rect>'
        )
    return parts


def fields_svg(table: LayerTable, picture: str | None) -> str:
    """The fields of the middle cell of each resolution, drawn over `picture` (a data URI).

    Solid: the longest path. Dashed: the shortest. Filled: the cell, one stride wide. What reaches beyond the
    picture is drawn up to 60 % of a side outside of it.
    """
    height, width = table.input[-2:]
    line = max(height, width) / 260
    squares: list[str] = []
    edges = [0.0]
    for i, layer in reversed(list(enumerate(resolutions(table)))):  # the finest on top
        field, cells = layer.receptive_field, positions(layer)
        if field is None or cells is None:
            continue
        (cy, sy, hy, ly), (cx, sx, hx, lx) = (
            (center + (side // 2) * stride + 0.5, stride, high, low)
            for center, side, stride, high, low in zip(
                field.center, cells, field.stride, field.max, field.min, strict=True
            )
        )
        tip = _tip(layer)
        shape = f'class="outline r{i % 6}" stroke-width="{line:.2f}"'
        if not field.is_global:
            squares.append(_square(cx, cy, hx, hy, shape, tip))
            edges += [hx / 2 - cx, hy / 2 - cy, cx + hx / 2 - width, cy + hy / 2 - height]
        squares.append(_square(cx, cy, lx, ly, f'{shape} stroke-dasharray="{3 * line:.1f}"', tip))
        squares.append(_square(cx, cy, sx, sy, f'class="cell r{i % 6}"', tip))
    margin = min(max(edges) + 2 * line, 0.6 * max(height, width))
    picture_svg = (
        f'<image href="{picture}" width="{width}" height="{height}" preserveAspectRatio="none"/>'
        if picture is not None
        else ""
    )
    box = f"{-margin:.1f} {-margin:.1f} {width + 2 * margin:.1f} {height + 2 * margin:.1f}"
    return (
        f'<svg class="fields" viewBox="{box}" role="img" aria-label="receptive fields over the picture">'
        f'<rect class="blank" width="{width}" height="{height}"/>{picture_svg}{"".join(squares)}</svg>'
    )


def _square(cx: float, cy: float, width: float, height: float, attributes: str, tip: str) -> str:
    return (
        f'<rect {attributes} x="{cx - width / 2:.1f}" y="{cy - height / 2:.1f}" '
        f'width="{width:.1f}" height="{height:.1f}">{tip}</rect>'
    )
