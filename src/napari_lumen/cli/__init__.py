"""The command line: `napari-lumen`, one file a command.

What a command needs beyond typer and rich it imports when it runs, so that `--help` is quick and `info`
does not load torch.
"""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from napari_lumen import __version__
from napari_lumen.cli import models, recipes, runs
from napari_lumen.cli.annotations import app as annotations_app
from napari_lumen.cli.console import Commands
from napari_lumen.cli.contour import contour
from napari_lumen.cli.convert import convert
from napari_lumen.cli.corrections import app as corrections_app
from napari_lumen.cli.demo import demo
from napari_lumen.cli.evaluations import app as evaluate_app
from napari_lumen.cli.explain import explain
from napari_lumen.cli.figure import figure
from napari_lumen.cli.gallery import gallery
from napari_lumen.cli.info import info
from napari_lumen.cli.predict import predict
from napari_lumen.cli.project import app as project_app
from napari_lumen.cli.stages import app as stages_app
from napari_lumen.cli.train import search, train

__all__ = ["app", "main"]

app = typer.Typer(
    cls=Commands,
    name="napari-lumen",
    help="Deep models on whole-slide images: look at a slide, run a model over it, see where it looked.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"napari-lumen {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


app.command()(info)
app.command()(predict)
app.command()(train)
app.command()(search)
app.add_typer(recipes.app)
app.add_typer(evaluate_app)
app.add_typer(stages_app)
app.command()(explain)
app.command()(figure)
app.command()(gallery)
app.command()(contour)
app.command()(convert)
app.add_typer(annotations_app)
app.add_typer(models.app)
app.add_typer(runs.app)
app.add_typer(corrections_app)
app.add_typer(project_app)
app.command()(demo)


def main() -> None:
    """Run the command line."""
    # its remarks on a damaged file would stand beside our sentence
    logging.getLogger("tifffile").addHandler(logging.NullHandler())
    app()
