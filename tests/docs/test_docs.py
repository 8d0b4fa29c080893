"""What the pages say can be typed, found and followed, and the tables they hold are those of the code."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from markdown.extensions.toc import slugify

from eyeline import __all__ as public_names
from eyeline.cli import app
from eyeline.errors import EyelineError

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.glob("*.md"))]
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in PAGES}

USER_PAGES = {name for name in TEXTS if name.startswith("docs/") or name == "README.md"}

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)[^)]*\)")
HEADING = re.compile(r"^#{1,6} +(.+?)\s*$", re.MULTILINE)
SEPARATORS = ("|", "||", "&&", ";", ">", ">>", "2>", "&")


def prose(text: str) -> str:
    """A page without its fenced blocks."""
    return FENCE.sub("", text)


# --- commands -------------------------------------------------------------------------------------


def shell_lines(text: str) -> Iterator[str]:
    """The lines of every ``sh`` block; a backslash at the end joins two."""
    for language, block in FENCE.findall(text):
        if language == "sh":
            yield from block.replace("\\\n", " ").splitlines()


def commands(text: str) -> Iterator[list[str]]:
    """The words behind each ``eyeline`` that a line of a page starts, in pipelines too."""
    for line in shell_lines(text):
        words: list[str] = []
        for word in [*shlex.split(line, comments=True), ";"]:
            if word not in SEPARATORS:
                words.append(word)
                continue
            if words[:1] == ["eyeline"]:
                yield words[1:]
            words = []


def parse(words: list[str]) -> None:
    """Read a command line as `eyeline` would, up to the point where the verb would run.

    Raises
    ------
    TyperException : an unknown option, a missing argument, a value of the wrong kind.
    EyelineError : an unknown verb.
    """
    app._arguments[:] = [word for word in words if word != "--debug"]
    group: Any = typer.main.get_command(app.application)
    with group.make_context("eyeline", list(app._arguments)) as context:
        name, verb, rest = group.resolve_command(context, [*context._protected_args, *context.args])
        verb.make_context(name, rest, parent=context)


COMMANDS = [
    pytest.param(words, id=f"{name}: {shlex.join(words)}")
    for name, text in TEXTS.items()
    for words in commands(text)
]


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_line_parses(words: list[str]) -> None:
    with contextlib.suppress(typer.Exit):  # --help and --version end here
        parse(words)


@pytest.mark.parametrize(
    "line",
    [
        "trian photos/",
        "train photos/ --budgt 5m",
        "train photos/ --seed one",
        "train photos/ more/",
        "explain model.onnx new/",
        "verify",
    ],
)
def test_a_wrong_command_line_does_not_parse(line: str) -> None:
    with pytest.raises((typer.TyperException, EyelineError)):
        parse(shlex.split(line))


@pytest.mark.parametrize("verb", app.VERBS)
def test_every_verb_is_shown_at_work(verb: str) -> None:
    assert any(words[:1] == [verb] for text in TEXTS.values() for words in commands(text))


@pytest.mark.parametrize("verb", app.VERBS)
def test_the_example_of_every_verb_parses(verb: str) -> None:
    examples = re.findall(r"Example: eyeline (.+)", options_of(verb).help)
    assert examples
    for example in examples:
        parse(shlex.split(example))


def options_of(verb: str) -> Any:
    app._arguments[:] = [verb]
    group: Any = typer.main.get_command(app.application)
    return group.get_command(group.make_context("eyeline", [verb]), verb)


def test_every_option_in_the_prose_exists() -> None:
    known = {"--help", "--version", "--debug"}
    for verb in app.VERBS:
        known |= {name for option in options_of(verb).params for name in option.opts}
    for name, text in TEXTS.items():
        spans = re.findall(r"`(-[^`\n]*)`", prose(text)) if name in USER_PAGES else []
        assert [span for span in spans if span.split()[0] not in known] == [], name


# --- links ----------------------------------------------------------------------------------------


def headings(page: Path) -> set[str]:
    plain = (re.sub(r"[`*_]", "", title) for title in HEADING.findall(prose(page.read_text("utf-8"))))
    return {slugify(title, "-") for title in plain}


@pytest.mark.parametrize("name", TEXTS)
def test_every_relative_link_leads_somewhere(name: str) -> None:
    page = ROOT / name
    for target in LINK.findall(prose(TEXTS[name])):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = page if not path else page.parent / path
        if found.suffix == ".html":  # drawn when the site is built, which checks such links itself
            continue
        assert found.exists(), target
        if anchor:
            assert anchor in headings(found), target


@pytest.mark.parametrize("name", TEXTS)
def test_no_page_names_a_place_on_one_machine(name: str) -> None:
    words = ["home", "root", "Users", "tmp", "mnt", "opt", "private", ROOT.parts[1]]
    pattern = rf"(?<![\w.~])/(?:{'|'.join(map(re.escape, words))})/|\b[A-Z]:\\|file:///"
    assert re.findall(pattern, TEXTS[name]) == []


# --- tables and lists that repeat the code --------------------------------------------------------


def between(name: str, mark: str) -> str:
    """The text between ``<!-- mark ... -->`` and ``<!-- /mark -->``."""
    found = re.search(rf"<!-- {mark}\b.*?-->\n(.*?)<!-- /{mark} -->", TEXTS[name], re.DOTALL)
    assert found is not None, f"{name} has no {mark}"
    return found[1].strip()


def recipe_table() -> str:
    from eyeline.training import Recipe

    rows = ["| setting | default | allowed | what it does |", "|---|---|---|---|"]
    for item in dataclasses.fields(Recipe):
        rule, default = item.metadata, item.default
        if isinstance(default, bool):
            allowed = "`true`, `false`"
        elif isinstance(default, str):
            allowed = ", ".join(f"`{word}`" for word in rule["of"])
        elif rule["high"] == float("inf"):
            allowed = f"at least {rule['low']:g}"
        else:
            allowed = f"{rule['low']:g} to {rule['high']:,.5g}"
        value = json.dumps(default) if isinstance(default, str | bool) else f"{default:g}"
        rows.append(f"| `{item.name}` | `{value}` | {allowed} | {rule['help']} |")
    return "\n".join(rows)


def test_the_table_of_the_recipe_is_the_recipe() -> None:
    table = recipe_table()
    assert between("docs/training.md", "recipe") == table, f"put this into docs/training.md:\n\n{table}\n"


def test_recipes_shown_are_valid(tmp_path: Path) -> None:
    from eyeline.training import Recipe

    shown = [block for language, block in FENCE.findall(TEXTS["docs/training.md"]) if language == "toml"]
    assert shown
    for block in shown:
        (tmp_path / "recipe.toml").write_text(block)
        assert Recipe.read(tmp_path / "recipe.toml") != Recipe()


def test_the_import_law_is_the_one_that_is_checked() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    (layers,) = [c["layers"] for c in contracts["contracts"] if c["type"] == "layers"]
    text = TEXTS["docs/design.md"]
    assert "\n".join(layers) + "\n" in [block for _, block in FENCE.findall(text)]
    for contract in contracts["contracts"]:
        assert contract["type"] == "layers" or contract["name"].lower() in text.lower(), contract["name"]


def test_every_room_is_in_the_design() -> None:
    rooms = {path.parent.name for path in (ROOT / "src" / "eyeline").glob("*/__init__.py")}
    assert set(re.findall(r"^\| `(\w+)` \|", TEXTS["docs/design.md"], re.MULTILINE)) == rooms


def test_the_reference_holds_every_public_name() -> None:
    listed = re.findall(r"^::: eyeline\.(\w+)$", TEXTS["docs/reference.md"], re.MULTILINE)
    assert sorted(listed) == sorted(public_names)


def test_every_section_of_the_report_is_explained() -> None:
    template = ROOT / "src" / "eyeline" / "reports" / "templates" / "report.html"
    sections = re.findall(r"<h2>(.+?)</h2>", template.read_text("utf-8"))
    assert len(sections) > 5
    explained = HEADING.findall(TEXTS["docs/report.md"])
    assert [title for title in sections if title not in explained] == []
    assert [title for title in explained if title in sections] == sections  # in the page's order


def test_keys_of_json_are_those_of_the_code() -> None:
    from torch import nn

    from eyeline.anatomy import describe
    from eyeline.jobs import Explained, Measured, Run
    from eyeline.networks import NetworkInfo
    from eyeline.runtime import Check, Verdict
    from eyeline.verdicts import Rate, evaluate

    probabilities = [[1 - p, p] for p in (0.1, 0.2, 0.8, 0.9, 0.3, 0.7)]
    evaluation = evaluate(
        probabilities, [0, 0, 1, 1, 1, 0], classes=["good", "bad"], good="good", threshold=0.5, resamples=100
    )
    run = Run(
        folder=Path(), model=Path(), report=Path(), evaluation=evaluation, protocols=(), seconds=1.0,
        network="lenet", notes=(),
    )  # fmt: skip
    measured = Measured(evaluation=evaluation, part="all", errors={}, note="")

    def fields(kind: Any) -> set[str]:
        return {item.name for item in dataclasses.fields(kind)}

    expected = {
        "`train`, `demo`": set(run.to_dict()),
        "`evaluate`": set(measured.to_dict()) - set(evaluation.to_dict()) | {"test"},
        "`predict`": {"model", "sha256", "engine", "verdicts", *Verdict(model_sha256="").to_dict()},
        "`explain`": {"page", "images", *fields(Explained)},
        "`verify`": {"ok", "checks", *fields(Check)},
        "`networks`": {"networks", *fields(NetworkInfo)},
    }
    text = TEXTS["docs/quickstart.md"]
    table = describe(nn.Conv2d(1, 1, 3), (1, 8, 8)).to_dict()
    (row,) = re.findall(r"^\| `describe` \| (.+) and others; .+\|$", text, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", row)) < set(table)
    for verb, keys in expected.items():
        (row,) = re.findall(rf"^\| {verb} \| (.+) \|$", text, re.MULTILINE)
        assert set(re.findall(r"`(\w+)`", row)) == keys, verb
    (paragraph,) = re.findall(r"^`test` holds .+?\n\n", text, re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"`(\w+)`", paragraph)) == {"test", *evaluation.to_dict(), *Rate.model_fields}


def test_the_csv_of_the_quickstart_is_what_predict_writes(tmp_path: Path) -> None:
    from eyeline.runtime import Verdict, write_verdicts

    def verdict(path: str, label: str, decision: Any, **p: float) -> Verdict:
        return Verdict(
            path=path, label=label, decision=decision, probabilities=p, score=round(1 - p["good"], 2)
        )

    verdicts = [
        verdict("new/0001.jpg", "good", "pass", good=0.98, scratch=0.01, void=0.01),
        verdict("new/0002.jpg", "scratch", "fail", good=0.09, scratch=0.88, void=0.03),
        Verdict(path="new/0003.jpg", error="truncated: the JPEG file is cut short"),
    ]
    write_verdicts(verdicts, tmp_path / "verdicts.csv", classes=["good", "scratch", "void"])
    written = (tmp_path / "verdicts.csv").read_text("utf-8")
    assert written in [block for _, block in FENCE.findall(TEXTS["docs/quickstart.md"])]
