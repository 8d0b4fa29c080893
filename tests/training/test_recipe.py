"""The recipe: what is allowed, and TOML there and back."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyeline.errors import EyelineError
from eyeline.training import Recipe


def test_toml_round_trip_names_every_setting(tmp_path):
    recipe = Recipe(epochs=7, learning_rate=3e-4, flips=False, balance="none")
    path = tmp_path / "recipe.toml"
    path.write_text(recipe.to_toml())
    assert Recipe.read(path) == recipe
    assert all(f"\n{item.name} = " in "\n" + recipe.to_toml() for item in dataclasses.fields(Recipe))


@given(st.floats(0, 1), st.integers(0, 10_000), st.booleans())
def test_any_allowed_values_survive_toml(tmp_path_factory, rate, epochs, turns):
    recipe = Recipe(learning_rate=rate, epochs=epochs, turns=turns)
    path = tmp_path_factory.mktemp("toml") / "r.toml"
    path.write_text(recipe.to_toml())
    assert Recipe.read(path) == recipe


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("learning_rat = 0.1", ["unknown setting", "learning_rate"]),
        ("learning_rate = 2", ["learning_rate is 2", "0 to 1"]),
        ("learning_rate = 'fast'", ["learning_rate", "float"]),
        ("flips = 1", ["flips", "bool"]),
        ("epochs = 1.5", ["epochs", "int"]),
        ("balance = 'samplin'", ["balance", "weights or sampling or none"]),
        ("batch_size = 0", ["batch_size is 0", "1 to 4096"]),
        ("not toml at all", ["not valid TOML"]),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, words):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(EyelineError) as caught:
        Recipe.read(path)
    assert caught.value.path == str(path)
    assert all(word in str(caught.value) for word in words)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(EyelineError, match=r"nothing\.toml"):
        Recipe.read(tmp_path / "nothing.toml")


def test_a_file_of_other_bytes_is_refused(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(EyelineError, match="UTF-8"):
        Recipe.read(path)
