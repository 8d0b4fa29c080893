"""The built site reads offline: no page loads anything from elsewhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src"}


class Loads(HTMLParser):
    """Collects what a browser would fetch with a page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if tag == "link" and given.get("rel") in ("stylesheet", "preconnect", "preload", "icon"):
            self.addresses.append(given.get("href") or "")
        elif tag in LOADED and given.get(LOADED[tag]):
            self.addresses.append(given[LOADED[tag]] or "")


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    built = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    pages = sorted(tmp_path.rglob("*.html"))
    assert len(pages) > 10
    measured = json.loads((ROOT / "benchmarks" / "results" / "claims.json").read_text("utf-8"))
    story = (tmp_path / "claims-measured.html").read_text("utf-8")
    assert all(claim["title"] in story for claim in measured["claims"])
    for page in pages:
        if page.name == "404.html":  # served from any depth, so its addresses are absolute paths
            continue
        reader = Loads()
        reader.feed(page.read_text("utf-8"))
        # The page of the measured claims is one file; all others have the site's style sheets.
        assert bool(reader.addresses) == (page.name != "claims-measured.html")
        for address in reader.addresses:
            assert not re.match(r"([a-z]+:)?//", address), (page.name, address)
            assert (page.parent / address.partition("?")[0]).exists(), (page.name, address)
    styles = "".join(path.read_text("utf-8") for path in tmp_path.rglob("*.css"))
    assert re.findall(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//", styles) == []
