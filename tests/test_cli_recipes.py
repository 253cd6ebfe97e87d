"""`napari-lumen recipes`."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from napari_lumen.cli import app
from napari_lumen.training.recipes import RECIPES


def test_all_recipes_are_listed_with_what_they_train() -> None:
    shown = CliRunner().invoke(app, ["recipes", "list"])
    assert shown.exit_code == 0, shown.output
    lines = shown.output.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(RECIPES)
    assert all(len(line.split()) > 3 for line in lines)


@pytest.mark.parametrize("name", RECIPES)
def test_every_number_is_shown_with_its_default_and_a_meaning(name: str) -> None:
    shown = CliRunner().invoke(app, ["recipes", "show", name])
    assert shown.exit_code == 0, shown.output
    rows = {line.split()[0]: line.split()[1:] for line in shown.output.splitlines()[1:]}
    assert set(rows) == set(RECIPES[name].model_fields)
    assert rows["seed"][0] == "42"


def test_a_recipe_that_is_not_there_is_told_with_those_that_are() -> None:
    shown = CliRunner().invoke(app, ["recipes", "show", "focus"])
    assert shown.exit_code == 1
    assert "no recipe 'focus'; there is darefinenet" in shown.output
