"""The recipes, one file a paper; all numbers are fields with the paper's values as defaults."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from napari_lumen.errors import RunError
from napari_lumen.training.recipe import Recipe
from napari_lumen.training.recipes.darefinenet import DARefineNetRecipe
from napari_lumen.training.recipes.focusnetpp import FocusNetPPRecipe
from napari_lumen.training.recipes.gated_attention import GatedAttentionRecipe
from napari_lumen.training.recipes.multistage import MultiStageRecipe
from napari_lumen.training.recipes.nas_scam import NASSCAMRecipe
from napari_lumen.training.recipes.nas_scam_search import NASSCAMSearchRecipe
from napari_lumen.validation import first_problem

_ALL: tuple[type[Recipe], ...] = (
    DARefineNetRecipe,
    MultiStageRecipe,
    GatedAttentionRecipe,
    FocusNetPPRecipe,
    NASSCAMSearchRecipe,
    NASSCAMRecipe,
)
RECIPES = {recipe.kind: recipe for recipe in _ALL}


def recipe_named(name: str) -> type[Recipe]:
    """Return a recipe by name.

    Raises
    ------
    RunError
        When there is none of that name.
    """
    if name not in RECIPES:
        raise RunError(f"There is no recipe {name!r}; there is {', '.join(RECIPES)}.")
    return RECIPES[name]


def make_recipe(name: str, **numbers: Any) -> Recipe:
    """Return a recipe with some of its numbers changed.

    Raises
    ------
    RunError
        When there is no such recipe or number, naming it.
    """
    recipe = recipe_named(name)
    try:
        return recipe(**numbers)
    except ValidationError as error:
        raise RunError(f"Recipe {name}: {first_problem(error, recipe)}.") from error
