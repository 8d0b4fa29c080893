"""SECURITY.md promises what the source does not contain; here the source is read."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
PROMISES = (ROOT / "SECURITY.md").read_text(encoding="utf-8")

CODE_IN_DATA = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml"}
NETWORK = {"socket", "ssl", "urllib", "http", "ftplib", "smtplib", "requests", "httpx", "aiohttp", "urllib3"}
# What a loader must be told, by the end of its name.
NEEDED = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False)}


def imported(tree: ast.AST) -> set[str]:
    """Top names of every import, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(str(node.module).split(".")[0])
    return names


def unsafe(tree: ast.AST) -> list[str]:
    """Calls that run text as code, or load without saying that no code may come along."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if name in ("eval", "exec", "compile", "__import__"):
            found.append(name)
        for loader, (argument, value) in NEEDED.items():
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            if name == loader and given.get(argument) != str(value):
                found.append(f"{name} without {argument}={value}")
    return found


def test_no_code_in_data_and_no_network() -> None:
    assert len(SOURCES) > 50
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert imported(tree) & (CODE_IN_DATA | NETWORK) == set(), path
        assert unsafe(tree) == [], path


@pytest.mark.parametrize(
    "source",
    [
        "eval('1')",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(p, allow_pickle=True)",
    ],
)
def test_the_reader_sees_what_is_unsafe(source: str) -> None:
    assert unsafe(ast.parse(source))
    assert imported(ast.parse("def f():\n    from urllib.request import urlopen")) == {"urllib"}


def test_the_table_of_limits_is_that_of_the_code() -> None:
    from eyeline.images import decode
    from eyeline.runtime import artifact, engine, graph, inspector, protobuf

    assert dict(re.findall(r"^\| (.+?) \| (\d[^|]*) \|$", PROMISES, re.MULTILINE)) == {
        "image file": f"{decode.MAX_BYTES / 2**20:g} MiB",
        "pixels of an image": f"{decode.MAX_PIXELS:,}",
        "scans of a progressive JPEG": f"{decode._MAX_SCANS:,}",
        "artifact": f"{artifact.MAX_BYTES / 2**30:g} GiB",
        "operators of a graph": f"{graph.MAX_NODES:,}",
        "fields of an artifact, all together": f"{protobuf.MAX_FIELDS:,}",
        "images in one run of the network": f"{inspector.MAX_BATCH:,}",
        "threads": f"{engine.MAX_THREADS:,}",
    }
