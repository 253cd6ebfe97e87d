"""`napari-lumen models`: the models there are, what one says of itself, fetching, describing, exporting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from napari_lumen.cli.tables import print_rows, print_table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_lumen.models import ModelCard

app = typer.Typer(name="models", help="The models there are.", no_args_is_help=True)


@app.command("list")
def list_models() -> None:
    """List the models of the package and those in your own folder, foreign ones too."""
    from napari_lumen.cli.console import notes, results
    from napari_lumen.errors import ModelError
    from napari_lumen.models import available, read_card
    from napari_lumen.models.library import kind_of, user_models

    rows, broken = [], []
    for name, path in available(foreign=True).items():
        try:
            card = read_card(path)
        except ModelError as error:
            broken.append(str(error))
            continue
        classes = ", ".join(item.name for item in card.classes)
        rows.append((name, kind_of(path), card.task, classes, f"{card.mpp:g}", card.licence))
    console = results()
    if rows:
        print_table(console, ("name", "kind", "task", "finds", "µm/px", "licence"), rows)
    else:
        console.print("There are no models.")
    console.print(f"Your own models lie in {user_models()}", soft_wrap=True, markup=False)
    for message in broken:
        notes().print(f"Warning: {message}", style="yellow", markup=False)


@app.command("show")
def show_model(
    name: Annotated[str, typer.Argument(help="Name of a model, its folder, or hub:ORG/NAME.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the card as JSON instead.")] = False,
) -> None:
    """Show a model's card: what it finds, on what it was trained, its scores and its limits.

    Of a foreign model only the config is read, and nothing is run.
    """
    from napari_lumen.cli.console import results
    from napari_lumen.models import find_model, read_card

    path = find_model(name)
    card = read_card(path)
    if as_json:
        typer.echo(card.model_dump_json(indent=2))
        return
    console = results()
    console.print(card.title, style="bold", markup=False, soft_wrap=True)
    print_rows(console, _rows(card, path))


@app.command("describe")
def describe_network(
    name: Annotated[str, typer.Argument(help="Name of a network or of a model.")],
    arguments: Annotated[
        list[str] | None, typer.Argument(help="Arguments of the network, e.g. depth=50 fusion=add.")
    ] = None,
    size: Annotated[int, typer.Option(help="Side of the input for which work is counted, px.")] = 256,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Describe a network in numbers: weights, work, receptive field, and the maps that it can show."""
    import orjson

    from napari_lumen.cli.console import results
    from napari_lumen.errors import ModelError
    from napari_lumen.models import describe, find_model, names, read_card
    from napari_lumen.models.arguments import brief

    given = dict(_argument(text) for text in arguments or ())
    if "size" in given:
        raise typer.BadParameter("size is an option and no argument of a network: give --size 64")
    if name not in names():
        try:
            path = find_model(name)
        except ModelError as error:
            raise ModelError(f"{error} Networks are {', '.join(names())}.") from error
        card = read_card(path)
        if card.architecture not in names():
            raise ModelError(
                f"{name} is a foreign model ({card.architecture}): its network cannot be described without "
                f"running it. Its card says what is known: napari-lumen models show {name}."
            )
        name, given = card.architecture, {**card.network_arguments, **given}
    found = describe(name, size=size, **given)
    if as_json:
        typer.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
        return
    rows = [
        ("task", found.task),
        ("views", str(found.views)),
        ("weights", f"{found.parameters:,}, and {found.statistics:,} running statistics"),
        ("work", f"{found.macs / 1e9:,.2f} GMAC for an input of {size} x {size} px"),
        (
            "receptive field",
            f"{found.receptive_field:,} px" + (", and the whole input by gates" if found.whole_image else ""),
        ),
        (
            "stands for",
            f"{found.variant.paper}: {found.variant.row}" if found.variant else "no row of a paper",
        ),
    ]
    console = results()
    console.print(f"{name}({brief(given)})", markup=False, soft_wrap=True)
    print_rows(console, rows)
    if found.attention:
        maps = []
        for info in found.attention:
            low, high = info.value_range
            maps.append((info.name, info.kind, f"{low:g} to {high:g}", info.display, info.description))
        print_table(console, ("map", "kind", "range", "shown", "what it is"), maps)


@app.command("table")
def markdown_table() -> None:
    """Print the table of all networks beside the papers' figures, as Markdown (docs/models.md)."""
    from napari_lumen.models.table import markdown_tables

    typer.echo(markdown_tables(), nl=False)


@app.command("export")
def export(
    name: Annotated[str, typer.Argument(help="Name of a model, or its folder.")],
    out: Annotated[str, typer.Argument(help="File to write: OUT.pt2 (torch.export) or OUT.onnx.")],
    size: Annotated[int | None, typer.Option(help="Side of the tiles, px; the card's without it.")] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Load a foreign model although it can run any code here.")
    ] = False,
) -> None:
    """Write a model as a file that needs none of this program's code. It gives logits."""
    from napari_lumen.cli.console import results
    from napari_lumen.models import load_model
    from napari_lumen.models.export import export_model

    path = export_model(load_model(name, trust=trust), out, size)
    results().print(str(path), soft_wrap=True, markup=False)


@app.command("fetch")
def fetch_model(
    name: Annotated[str, typer.Argument(help="hub:ORG/NAME, hub:ORG/NAME@REVISION, or a model's folder.")],
    new_name: Annotated[
        str | None, typer.Option("--as", help="Its name in your folder; that of its card without it.")
    ] = None,
) -> None:
    """Put a model into your own folder, where all commands and the window find it. It is checked first."""
    from napari_lumen.cli.console import results
    from napari_lumen.models import install_model

    path = install_model(name, new_name)
    results().print(f"{path.name}: {path}", soft_wrap=True, markup=False)


@app.command("remove")
def remove_model(
    name: Annotated[str, typer.Argument(help="Name of a model in your own folder.")],
) -> None:
    """Delete a model from your own folder."""
    from napari_lumen.cli.console import results
    from napari_lumen.models import remove_model as remove

    results().print(f"Removed {remove(name)}", soft_wrap=True, markup=False)


def _argument(text: str) -> tuple[str, object]:
    """Return name and value of ``name=value``; numbers, true, false and null are what they are in JSON."""
    import orjson

    name, separator, value = text.partition("=")
    if not separator:
        raise typer.BadParameter(f"{text!r} is not of the form name=value, e.g. depth=50")
    try:
        return name, orjson.loads(value)
    except orjson.JSONDecodeError:
        return name, value


def _rows(card: ModelCard, path: Path) -> Iterator[tuple[str, str]]:
    from napari_lumen.models.arguments import brief
    from napari_lumen.models.library import kind_of

    yield "name", card.name
    yield "kind", kind_of(path)
    yield "summary", card.summary
    yield "task", card.task
    yield "classes", ", ".join(item.name for item in card.classes)
    arguments = brief(card.arguments)
    yield "network", f"{card.architecture}({arguments})" if arguments else card.architecture
    for view in card.input.views:
        yield "input", f"{view.size} x {view.size} px at {view.mpp:g} µm per pixel"
    if card.input.stain is not None:
        yield (
            "stain",
            f"of each slide, by {card.input.stain.method.capitalize()}'s method, to that of training",
        )
    if card.attention:
        yield "attention", ", ".join(card.attention)
    yield "trained on", card.training.data
    yield "split", card.training.split
    for score, value in card.scores.items():
        yield score, f"{value:.4g}"
    yield "limits", card.limits
    yield "licence", card.licence
    yield "folder" if path.is_dir() else "file", str(path)
