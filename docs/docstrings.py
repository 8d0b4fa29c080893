"""Docstrings for the reference: an item ``name : what it is`` becomes a name and its description.

NumPy's convention puts a type after the colon. Eyeline has types in its signatures and puts the description
there, so it has to be moved to where the NumPy parser looks for one. A paragraph that follows the items is moved
up to the text: the parser would take it for another item.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

# Sections whose lines without indentation are items.
SECTIONS = ("Attributes", "Parameters", "Raises", "Returns")
ITEM = re.compile(r"^(\*{0,2}\w[\w, *]*) : (.+)$")
RULE = re.compile(r"^-{3,}$")


class DescriptionAfterColon(griffe.Extension):
    """Named in mkdocs.yml; mkdocstrings hands it everything that is collected."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrite the docstring of one object."""
        if obj.docstring is not None:
            obj.docstring.value = spread(obj.docstring.value)


def spread(text: str) -> str:
    """The docstring with the items of its sections on two lines each."""
    prose: list[str] = []
    sections: list[str] = []
    into, section = prose, ""
    lines = text.splitlines()
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        starts = RULE.match(below) is not None
        if starts:
            into, section = sections, line
        flush = line[:1].strip() and not starts and not RULE.match(line) and section in SECTIONS
        if flush and (item := ITEM.match(line)):
            into = sections
            into += [item[1], f"    {item[2]}"]
            continue
        if flush and into is sections:
            into = prose
            into.append("")
            line = f"Returns {line}" if section == "Returns" else line
        into.append(line)
    return "\n".join([*prose, "", *sections])
