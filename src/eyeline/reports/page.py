"""From a template and its context to one self-contained HTML file."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eyeline.errors import EyelineError
from eyeline.files import write_atomically
from eyeline.reports.text import last_part, sentence, shown, tight

if TYPE_CHECKING:
    from jinja2 import Environment


def write_page(
    path: str | Path,
    template: str,
    context: Mapping[str, Any],
    *,
    script: str | None = None,
    sheet: str | None = None,
) -> Path:
    """Render `template` and write it whole or not at all; `script` and `sheet` name its own script and style files.

    Style and script are part of the page, pictures are data URIs, and a content security policy forbids
    everything else: the page loads nothing, and no text in it can become a script.

    Raises
    ------
    EyelineError : Jinja2 is not installed (``code="missing_package"``), or the file cannot be written.
    """
    code = _asset("page.js") + (_asset(script) if script else "")
    style = _asset("page.css") + (_asset(sheet) if sheet else "")
    digest = base64.b64encode(hashlib.sha256(code.encode("utf-8")).digest()).decode("ascii")
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    html = environment().get_template(template).render(context, style=style, script=code, policy=policy)
    write_atomically(path, html)
    return Path(path)


@cache
def environment() -> Environment:
    """Templates with autoescape; every plain string also passes `shown`."""
    try:
        import jinja2
    except ImportError as error:
        raise EyelineError(
            "pages need the package jinja2", code="missing_package", hint="pip install 'eyeline[train]'"
        ) from error
    from markupsafe import Markup

    def readable(value: Any) -> Any:
        return shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    env = jinja2.Environment(
        loader=jinja2.PackageLoader("eyeline.reports", "templates"),
        autoescape=True,
        finalize=readable,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters.update(last_part=last_part, sentence=sentence, tight=tight)
    return env


def _asset(name: str) -> Any:
    from markupsafe import Markup

    return Markup(resources.files("eyeline.reports").joinpath("templates", name).read_text("utf-8"))
