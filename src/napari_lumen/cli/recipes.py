"""`napari-lumen recipes`: the recipes that `train` takes, and their numbers."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from napari_lumen.cli.tables import print_table

app = typer.Typer(name="recipes", help="Recipes of trainings and their numbers.", no_args_is_help=True)


@app.command("list")
def list_recipes() -> None:
    """List the recipes."""
    from napari_lumen.cli.console import results
    from napari_lumen.training.recipes import RECIPES

    rows = [(name, (recipe.__doc__ or "").partition("\n")[0]) for name, recipe in RECIPES.items()]
    print_table(results(), ("name", "what it trains"), rows)


@app.command("show")
def show_recipe(name: Annotated[str, typer.Argument(help="Name of a recipe.")]) -> None:
    """Show the numbers of a recipe with their defaults, which are the paper's."""
    from napari_lumen.cli.console import results
    from napari_lumen.training.recipes import recipe_named

    fields = recipe_named(name).model_fields.items()
    rows = [(field, _written(info), info.description or "") for field, info in fields]
    print_table(results(), ("field", "default", "what it is"), rows)


def _written(info: Any) -> str:
    if info.is_required():
        return ""
    value = info.get_default(call_default_factory=True)
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json")
    return json.dumps(value, default=str)
