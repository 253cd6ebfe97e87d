"""How the commands speak: results on stdout, all else on stderr, one sentence for an error."""

from __future__ import annotations

import warnings
from typing import Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from napari_lumen.errors import Cancelled, LumenError

CANCELLED = 130  # what a shell expects of a program that Ctrl-C has ended


def results() -> Console:
    """Return the console for what a command was asked for."""
    return Console(highlight=False)


def notes() -> Console:
    """Return the console for progress, warnings and errors."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


class Commands(TyperGroup):
    """The group of all commands: shows errors and warnings of ours as a sentence, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was named; exit with 1 after an error and 130 after a cancel."""
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning  # type: ignore[assignment]  # it ignores the place
            try:
                return super().invoke(ctx)
            except Cancelled as error:
                notes().print(str(error), style="yellow", markup=False)
                raise typer.Exit(CANCELLED) from error
            except LumenError as error:
                notes().print(f"Error: {error}", style="red", markup=False)
                raise typer.Exit(1) from error


def _show_warning(message: Warning | str, category: type[Warning], *_: object) -> None:
    if category is UserWarning:  # the other categories speak to developers
        notes().print(f"Warning: {message}", style="yellow", markup=False)
