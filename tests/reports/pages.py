"""Reading a page back: tags that balance, what would be loaded, the words a reader sees."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
LOADING = {"src", "href", "srcset", "data", "action", "poster", "xlink:href", "formaction", "background"}


class Page(HTMLParser):
    """A parsed page; `problems` lists tags that do not balance and attributes that stand twice."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.source = path.read_text("utf-8")
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.problems: list[str] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self.feed(self.source)
        self.close()
        self.problems += [f"<{tag}> is never closed" for tag in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        self.problems += [f"<{tag}> has {n} twice" for n in set(names) if names.count(n) > 1]
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open[-1] != tag:
            self.problems.append(f"</{tag}> closes <{self.open[-1] if self.open else ''}>")
            if tag in self.open:
                while self.open.pop() != tag:
                    pass
        else:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif not self.open or self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        """What a reader sees, with single spaces."""
        return re.sub(r"\s+", " ", " ".join(self.words))

    def attributes(self, tag: str, name: str) -> list[str]:
        """The values of one attribute on all tags of a kind."""
        return [attrs[name] for kind, attrs in self.tags if kind == tag and name in attrs]

    def loads(self) -> list[str]:
        """Everything a browser would fetch from elsewhere; in-page anchors and data URIs are at home."""
        found = [
            value
            for tag, attrs in self.tags
            for name, value in attrs.items()
            if name in LOADING and not value.startswith(("#", "data:image/"))
        ]
        style = re.findall(r"url\(([^)]*)\)|@import\s+(\S+)", self.source)
        return found + [a or b for a, b in style if not (a or b).startswith("#")]
