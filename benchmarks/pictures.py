"""The look of the pictures that benchmarks draw for docs/: a whole SVG file around a plot."""

from __future__ import annotations

from eyeline.reports.svg import Plot

STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#444}.end{text-anchor:end}.middle{text-anchor:middle}"
    ".grid{stroke:#ddd}.axis{stroke:#888}path{fill:none;stroke-width:1.5}"
    ".eyeline{stroke:#0f766e}.eyeline_dot{fill:#0f766e}.fastai{stroke:#b45309}.fastai_dot{fill:#b45309}"
    ".halo{paint-order:stroke;stroke:#fff;stroke-width:4px}"
    ".probe{stroke:#4f46e5}.probe_dot{fill:#4f46e5}"
)


def whole_file(plot: Plot, label: str) -> str:
    """The plot on white, with its style and a name for screen readers."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {plot.width} {plot.height}" role="img" '
        f'aria-label="{label}"><style>{STYLE}</style>'
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(plot.parts)}</svg>\n'
    )
