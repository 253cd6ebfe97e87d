"""`napari-lumen models`: the models there are, and what one of them says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_lumen.models import ModelCard

app = typer.Typer(name="models", help="The models there are.", no_args_is_help=True)


@app.command("list")
def list_models() -> None:
    """List the models of the package and those in your own folder."""
    from rich.table import Table
    from rich.text import Text

    from napari_lumen.cli.console import notes, results
    from napari_lumen.errors import ModelError
    from napari_lumen.models import available, read_card

    table = Table("name", "finds", "µm per pixel", "licence", box=None, padding=(0, 2, 0, 0))
    broken = []
    for name, folder in available().items():
        try:
            card = read_card(folder)
        except ModelError as error:
            broken.append(str(error))
            continue
        classes = ", ".join(item.name for item in card.classes)
        table.add_row(*(Text(cell) for cell in (name, classes, f"{card.mpp:g}", card.licence)))
    results().print(table if table.row_count else "There are no models.")
    for message in broken:
        notes().print(f"Warning: {message}", style="yellow", markup=False)


@app.command("show")
def show_model(
    name: Annotated[str, typer.Argument(help="Name of a model, or its folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the card as JSON instead.")] = False,
) -> None:
    """Show a model's card: what it finds, on what it was trained, its scores and its limits."""
    from rich.table import Table
    from rich.text import Text

    from napari_lumen.cli.console import results
    from napari_lumen.models import find_model, read_card

    folder = find_model(name)
    card = read_card(folder)
    if as_json:
        typer.echo(card.model_dump_json(indent=2))
        return
    table = Table.grid(padding=(0, 2))
    for label, value in _rows(card):
        table.add_row(Text(label, style="dim"), Text(value))
    table.add_row(Text("folder", style="dim"), Text(str(folder)))
    console = results()
    console.print(card.title, style="bold", markup=False)
    console.print(table)


def _rows(card: ModelCard) -> Iterator[tuple[str, str]]:
    yield "name", card.name
    yield "summary", card.summary
    yield "classes", ", ".join(item.name for item in card.classes)
    arguments = ", ".join(f"{key}={value!r}" for key, value in card.arguments.items())
    yield "network", f"{card.architecture}({arguments})"
    for view in card.input.views:
        yield "input", f"{view.size} x {view.size} px at {view.mpp:g} µm per pixel"
    if card.attention:
        yield "attention", ", ".join(card.attention)
    yield "trained on", card.training.data
    yield "split", card.training.split
    for score, value in card.scores.items():
        yield score, f"{value:.4g}"
    yield "limits", card.limits
    yield "licence", card.licence
