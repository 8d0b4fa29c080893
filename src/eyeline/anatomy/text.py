"""The layer table as plain text that fits a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace

from eyeline.anatomy.insight import insights
from eyeline.anatomy.table import Layer, LayerTable, ReceptiveField


def table_text(table: LayerTable, *, width: int = 100, every: bool = False) -> str:
    """`table` in lines of at most `width` characters (60 or more), with what stands out below.

    Norms, activations and other rows that neither multiply nor look around are added to the layer before them;
    `every` gives each its own line.
    """
    width = max(width, 60)
    rows = list(table.layers) if every else merged_rows(table.layers)
    columns = _columns(rows, width)
    size = "x".join(map(str, table.input))
    head = _aligned([column.head for column in columns], columns)
    lines = [
        f"{table.network}, input {size}" + (f", batch {table.batch}" if table.batch > 1 else ""),
        "",
        head,
    ]
    lines.append("-" * len(head))
    lines += [_aligned(cells, columns) for cells in zip(*(c.cells for c in columns), strict=True)]
    lines.append("-" * len(head))
    for note in (*_totals(table), *(f"- {text}" for text in (*insights(table), *gaps(table)))):
        lines += textwrap.wrap(note, width, subsequent_indent="  ")
    return "\n".join(lines)


def merged_rows(layers: Sequence[Layer]) -> list[Layer]:
    """Rows without MACs and kernel that keep the shape join the row before them, cost and all."""
    rows: list[Layer] = []
    for layer in layers:
        last = rows[-1] if rows else None
        joins = last is not None and not layer.macs and layer.window is None and layer.output == last.output
        if last is None or not joins or _field(layer) != _field(last):
            rows.append(layer)
            continue
        rows[-1] = replace(
            last,
            parameters=last.parameters + layer.parameters,
            elementwise=last.elementwise + layer.elementwise,
            activation_bytes=last.activation_bytes + layer.activation_bytes,
            cumulative_parameters=layer.cumulative_parameters,
        )
    return rows


def field_text(field: ReceptiveField | None) -> str:
    """``11..427``: along the shortest and the longest path; ``*`` when it sees the whole image, ``?`` a guess."""
    if field is None:
        return "-"
    sizes = []
    for low, high in zip(field.min, field.max, strict=True):
        text = str(low) if low == high else f"{low}..{high}"
        if text not in sizes:
            sizes.append(text)
    mark = "*" if field.is_global and field.known else "?" if not field.known else ""
    return "x".join(sizes) + mark


def quantity(value: float) -> str:
    """``25.6 M``: three digits and a power of a thousand."""
    for unit in ("", "k", "M", "G", "T"):
        if abs(value) < 999.5 or unit == "T":
            digits = 0 if unit == "" or abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2
            return f"{value:.{digits}f} {unit}".rstrip()
        value /= 1000
    raise AssertionError


@dataclass
class _Column:
    head: str
    cells: list[str]
    left: bool = False

    @property
    def width(self) -> int:
        return max(len(text) for text in (self.head, *self.cells))


def _columns(rows: Sequence[Layer], width: int) -> list[_Column]:
    """All columns that fit; the name is shortened, then the least needed ones are left out."""
    name = _Column("layer", [row.name for row in rows], left=True)
    kind = _Column("kind", [row.kind for row in rows], left=True)
    output = _Column("output", ["x".join(map(str, row.output[1:])) for row in rows], left=True)
    weight = _Column("weight", ["x".join(map(str, row.weight or ())) for row in rows], left=True)
    parameters = _Column("params", [quantity(row.parameters) if row.parameters else "" for row in rows])
    macs = _Column("MACs", [quantity(row.macs) if row.macs else "" for row in rows])
    memory = _Column(
        "bytes", [quantity(row.activation_bytes) if row.activation_bytes else "" for row in rows]
    )
    field = _Column("sees", [field_text(row.receptive_field) for row in rows])
    stride = _Column("stride", [_stride(row.receptive_field) for row in rows])
    columns = [name, kind, output, weight, parameters, macs, memory, field, stride]
    for dispensable in (None, weight, kind, memory, stride, output):
        if dispensable is not None:
            columns.remove(dispensable)
        room = width - sum(c.width + 2 for c in columns if c is not name)
        if room >= min(name.width, 24):
            break
    name.cells = [_shortened(cell, max(room, 12)) for cell in name.cells]
    return columns


def _aligned(cells: Sequence[str], columns: Sequence[_Column]) -> str:
    texts = [
        cell.ljust(column.width) if column.left else cell.rjust(column.width)
        for cell, column in zip(cells, columns, strict=True)
    ]
    return "  ".join(texts).rstrip()


def _shortened(name: str, room: int) -> str:
    return name if len(name) <= room else "…" + name[-(room - 1) :]


def _stride(field: ReceptiveField | None) -> str:
    if field is None or field.cells == (1,) * len(field.cells):
        return "-"
    return "x".join(dict.fromkeys(f"{stride:g}" for stride in field.stride))


def _field(layer: Layer) -> object:
    field = layer.receptive_field
    return None if field is None else (field.axes, field.known)


def _totals(table: LayerTable) -> list[str]:
    lines = [
        f"parameters         {table.parameters:>16,}",
        f"MACs               {table.macs:>16,}   multiply-accumulates: convolution, linear, matrix product",
        f"other arithmetic   {table.elementwise:>16,}",
        f"peak activations   {table.peak_activation_bytes:>16,}   bytes at once in inference",
    ]
    if table.training is not None:
        lines.append(
            f"training step      {table.training.total:>16,}   bytes with Adam, batch {table.training.batch}"
        )
    if any(layer.receptive_field and layer.receptive_field.is_global for layer in table.layers):
        lines.append(
            "* sees the whole image (pooling over all, gate, attention); the number is the path beside it"
        )
    return lines


def gaps(table: LayerTable) -> list[str]:
    """What could not be counted, and how the trace was made when not as usual; a sentence each."""
    places: dict[str, list[str]] = {}
    for item in table.uncounted:
        places.setdefault(f"not counted: {item.what} of {item.operator} in", []).append(item.layer)
    gaps = [f"{what} {layers[0]}{_more(layers)}" for what, layers in places.items()]
    return [*gaps, *table.notes]


def _more(layers: Sequence[str]) -> str:
    return f" and {len(layers) - 1} more" if len(layers) > 1 else ""
