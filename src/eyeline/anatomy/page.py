"""The layer table as one self-contained HTML page: no script, no font, nothing to fetch."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from PIL import Image

from eyeline.anatomy.diagram import GROUPS, fields_svg, group_of, network_svg
from eyeline.anatomy.insight import DefectReport, insights
from eyeline.anatomy.page_style import STYLE
from eyeline.anatomy.table import CONVENTION, Layer, LayerTable, positions, resolutions
from eyeline.anatomy.text import field_text, gaps, merged_rows, quantity
from eyeline.images import DecodeOptions, prepare_image


def table_page(
    table: LayerTable,
    *,
    image: str | Path | bytes | NDArray[Any] | None = None,
    defects: DefectReport | None = None,
) -> str:
    """An HTML page with the network's diagram, receptive fields over `image`, findings and all layers.

    Parameters
    ----------
    image : any picture that `eyeline.images` reads; it is squashed to the input size of the table.
    defects : from `defect_report`, to show which layers see them.

    Raises
    ------
    ImageError : the picture cannot be read.
    """
    size = "x".join(map(str, table.input))
    title = f"{table.network} at {size}"
    body = [
        f"<h1>{escape(table.network)}</h1><p class=sub>input {size}"
        f"{f', batch {table.batch}' if table.batch > 1 else ''}; inference mode</p>",
        f"<div class=cards>{''.join(_cards(table))}</div>",
        _notes(table, defects),
        "<h2>The network</h2>",
        _legend(table),
        network_svg(table),
        _over_picture(table, image) if len(table.input) == 3 else "",
        _defects(defects) if defects is not None else "",
        "<h2>Every layer</h2>",
        _layers(table.layers),
        f"<p class=sub>{escape(CONVENTION[0].upper() + CONVENTION[1:])}. Bytes are those of the output; none when "
        "it is written in place. Sees: pixels along the shortest and the longest path; * the whole image, by pooling "
        "over all, a gate or attention, beside that path.</p>",
    ]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{STYLE}</style></head>'
        f"<body>{''.join(body)}</body></html>"
    )


def _cards(table: LayerTable) -> list[str]:
    figures = [
        (quantity(table.parameters), "parameters", f"{table.parameters:,}"),
        (quantity(table.macs), "multiply-accumulates", f"{table.macs:,}"),
        (f"{table.peak_activation_bytes / 1e6:.1f} MB", "activations at once", "in inference"),
    ]
    if table.training is not None:
        figures.append(
            (
                f"{table.training.total / 1e6:.0f} MB",
                "a training step",
                f"Adam, batch {table.training.batch}",
            )
        )
    return [
        f"<div class=card><b>{value}</b>{name}<br><span>{detail}</span></div>"
        for value, name, detail in figures
    ]


def _notes(table: LayerTable, defects: DefectReport | None) -> str:
    notes = [*insights(table), *([defects.verdict] if defects else []), *gaps(table)]
    return f"<ul class=notes>{''.join(f'<li>{escape(note)}</li>' for note in notes)}</ul>"


def _legend(table: LayerTable) -> str:
    used = {group_of(layer) for layer in merged_rows(table.layers)}
    names = [name for name in (*GROUPS, "other") if name in used]
    items = [f'<span><i style="background:var(--{name})"></i>{name}</span>' for name in names]
    items.append("<span><i class=dot></i>sees the whole image</span>")
    return f"<p class=legend>{''.join(items)}</p>"


def _over_picture(table: LayerTable, image: Any) -> str:
    items = []
    for i, layer in enumerate(resolutions(table)):
        assert layer.receptive_field is not None
        stride = "x".join(dict.fromkeys(f"{s:g}" for s in layer.receptive_field.stride))
        items.append(
            f'<span><i class="r{i % 6}"></i>stride {stride}: {escape(layer.name)} sees '
            f"{field_text(layer.receptive_field)} px</span>"
        )
    return (
        "<h2>What one cell sees</h2><div class=over>"
        f"{fields_svg(table, _data_uri(image, table.input))}<div><p>The middle cell of each resolution. Filled: "
        "the cell. Solid: everything that can reach it. Dashed: the shortest path.</p>"
        f'<p class="legend lines">{"".join(items)}</p></div></div>'
    )


def _data_uri(image: Any, shape: tuple[int, ...]) -> str | None:
    if image is None:
        return None
    options = DecodeOptions(image_size=(shape[1], shape[2]), channels=1 if shape[0] == 1 else 3)
    pixels = prepare_image(image, options)
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _defects(report: DefectReport) -> str:
    rows = [
        f"<tr><td>{escape(sight.layer)}</td><td>{sight.stride:g}</td><td>{'x'.join(map(str, sight.cells))}</td>"
        f"<td>{sight.cells_per_defect:.2f}</td><td>{sight.seen:.0%}</td><td>{'yes' if sight.whole else 'no'}</td></tr>"
        for sight in report.sights
    ]
    return (
        f"<h2>Which layers see the defects</h2><p>{report.defects:,} defects; sides {report.smallest:.0f} to "
        f"{report.largest:.0f} px (10th to 90th percentile), median {report.median:.1f} px.</p><table><tr>"
        "<th>last layer</th><th>stride</th><th>cells</th><th>cells per defect</th><th>defects at least a third of "
        f"a cell</th><th>fits into the field</th></tr>{''.join(rows)}</table>"
    )


def _layers(layers: Sequence[Layer]) -> str:
    head = (
        "layer",
        "kind",
        "output",
        "weight",
        "parameters",
        "MACs",
        "bytes",
        "sees",
        "stride",
        "first centre",
    )
    rows = []
    for layer in layers:
        field = layer.receptive_field
        cells = positions(layer) is not None and field is not None
        stride = "x".join(dict.fromkeys(f"{s:g}" for s in field.stride)) if cells and field else ""
        center = "x".join(dict.fromkeys(f"{c:g}" for c in field.center)) if cells and field else ""
        values = (
            "x".join(map(str, layer.output)),
            "x".join(map(str, layer.weight or ())),
            f"{layer.parameters:,}" if layer.parameters else "",
            f"{layer.macs:,}" if layer.macs else "",
            f"{layer.activation_bytes:,}" if layer.activation_bytes else "",
            field_text(field),
            stride,
            center,
        )
        rows.append(
            f'<tr><td><i style="background:var(--{group_of(layer)})"></i>{escape(layer.name)}</td>'
            f"<td>{escape(layer.kind)}</td>{''.join(f'<td>{value}</td>' for value in values)}</tr>"
        )
    heads = "".join(f"<th>{name}</th>" for name in head)
    return (
        f"<div class=wide><table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )
