"""Recipes by name: TOML files beside this one, each with its command, time and expected score in its head."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from pathlib import Path

from eyeline.errors import EyelineError, nearest
from eyeline.training.recipe import Recipe

_SUFFIX = ".toml"


@cache
def recipe_names() -> tuple[str, ...]:
    """What `named_recipe` knows, sorted."""
    folder = resources.files("eyeline.training") / "recipes"
    return tuple(
        sorted(item.name.removesuffix(_SUFFIX) for item in folder.iterdir() if item.name.endswith(_SUFFIX))
    )


def recipe_text(name: str) -> str:
    """The TOML file of a named recipe, comments and all.

    Raises
    ------
    EyelineError : no such name (``code="unknown_recipe"``).
    """
    if name not in recipe_names():
        raise EyelineError(
            f"no recipe is named {name!r}", code="unknown_recipe", hint=nearest(name, recipe_names())
        )
    return (resources.files("eyeline.training") / "recipes" / f"{name}{_SUFFIX}").read_text("utf-8")


def named_recipe(name: str) -> Recipe:
    """The recipe of that name; what its file leaves out keeps its default."""
    return Recipe.from_dict(tomllib.loads(recipe_text(name)), path=name)


def find_recipe(name_or_path: str | Path) -> Recipe:
    """A recipe by its name, or by the path of a TOML file.

    A name of `recipe_names` is that recipe; write ``./name`` for a file that is called the same.

    Raises
    ------
    EyelineError : neither a name nor a file, or a file that is no recipe.
    """
    text = str(name_or_path)
    if text in recipe_names():
        return named_recipe(text)
    if not Path(text).exists():
        raise EyelineError(
            f"{text!r} is neither a recipe's name nor a file",
            code="unknown_recipe",
            hint=nearest(Path(text).stem, recipe_names()),
        )
    return Recipe.read(text)
