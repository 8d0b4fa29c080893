"""Named recipes: shipped, valid, honest about what they cost."""

from __future__ import annotations

import re

import pytest

from eyeline.errors import EyelineError
from eyeline.training import Recipe, find_recipe, named_recipe, recipe_names, recipe_text


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_states_command_time_and_score(name):
    text = recipe_text(name)
    for word in ("command", "time", "expected"):
        assert re.search(rf"^# {word}: +\S", text, re.MULTILINE), word
    assert f"--recipe {name}" in text
    assert isinstance(named_recipe(name), Recipe)
    assert find_recipe(name) == named_recipe(name)


def test_the_default_is_the_default_and_the_others_are_not():
    assert named_recipe("default") == Recipe()
    others = [named_recipe(name) for name in recipe_names() if name != "default"]
    assert len({str(recipe) for recipe in others} - {str(Recipe())}) == len(others) >= 3


def test_a_file_is_found_by_its_path(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("epochs = 3\n")
    assert find_recipe(path) == Recipe(epochs=3)


@pytest.mark.parametrize(("asked", "meant"), [("gentel", "gentle"), ("scrach.toml", "scratch")])
def test_neither_a_name_nor_a_file(asked, meant):
    with pytest.raises(EyelineError, match=f"{asked}.*did you mean.*{meant}"):
        find_recipe(asked)
    with pytest.raises(EyelineError, match="no recipe is named"):
        named_recipe(asked)
