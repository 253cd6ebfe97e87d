"""`napari-lumen corrections`: what was corrected by hand, taking a window back, and exporting."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_lumen.counting import counted

if TYPE_CHECKING:
    from napari_lumen.annotations.classes import ClassTable
    from napari_lumen.corrections import CorrectedWindow

app = typer.Typer(
    name="corrections", help="What was corrected by hand, of a run or of a slide.", no_args_is_help=True
)

FolderArgument = Annotated[
    Path,
    typer.Argument(metavar="DIR", help="Folder of a finished run, or of the corrections of a slide."),
]


@app.command("list")
def list_windows(
    folder: FolderArgument,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole index as JSON instead.")] = False,
) -> None:
    """List the corrected windows: who, when, where on the slide, and what was changed."""
    from napari_lumen.cli.console import results
    from napari_lumen.cli.tables import print_table
    from napari_lumen.corrections import CorrectionStore

    store = CorrectionStore(folder.expanduser())
    index = store.index
    if as_json:
        typer.echo(index.model_dump_json(indent=2))
        return
    rows = [_row(window, store.classes, "") for window in index.windows]
    rows += [_row(item.window, store.classes, f"reverted by {item.author}") for item in index.reverted]
    if rows:
        print_table(results(), ("window", "author", "time", "y, x, height, width", "changed", ""), rows)
    else:
        results().print(f"Nothing was corrected in {folder}", soft_wrap=True, markup=False)


@app.command("revert")
def revert(
    folder: FolderArgument,
    name: Annotated[str, typer.Argument(metavar="WINDOW", help="Name of the window, as in the list.")],
    author: Annotated[str | None, typer.Option(help="Who takes it back; you without it.")] = None,
) -> None:
    """Take a corrected window back: it no longer counts, and its files stay."""
    from napari_lumen.cli.console import results
    from napari_lumen.corrections import CorrectionStore

    CorrectionStore(folder.expanduser()).revert(name, author)
    results().print(f"Window {name} no longer counts", soft_wrap=True, markup=False)


@app.command("export")
def export(
    folder: FolderArgument,
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            help="NAME.zarr for the run's labels with all corrections, as OME-Zarr; else a file of "
            "annotations (.geojson, .xml) for the outlines in the corrected windows.",
        ),
    ],
) -> None:
    """Write the corrected labels of a run, or the outlines in the corrected windows."""
    from napari_lumen.cli.console import results
    from napari_lumen.corrections import CorrectionStore
    from napari_lumen.corrections.export import export_windows

    place, target = folder.expanduser(), out.expanduser()
    if target.suffix.lower() == ".zarr":
        from napari_lumen.inference import Run
        from napari_lumen.inference.corrected_export import export_corrected

        export_corrected(Run.open(place), target)
        said = "Corrected labels"
    else:
        said = f"{counted(export_windows(CorrectionStore(place), target), 'outline')}"
    results().print(f"{said}: {out}", soft_wrap=True, markup=False)


def _row(window: CorrectedWindow, classes: ClassTable, note: str) -> tuple[str, ...]:
    place = ", ".join(f"{edge:.0f}" for edge in (window.y, window.x, window.height, window.width))
    return window.name, window.author or "", window.time or "", place, _changed(window, classes), note


def _changed(window: CorrectedWindow, classes: ClassTable) -> str:
    if window.changed is None:
        return "nothing: all was right"
    names = {0: "background", **{item.value: item.name for item in classes}}
    pixel = window.mpp[0] * window.mpp[1]
    return ", ".join(
        f"{kind.pixels * pixel:,.0f} µm² {names.get(kind.before, kind.before)} to "
        f"{names.get(kind.after, kind.after)}"
        for kind in window.changed.kinds
    )
