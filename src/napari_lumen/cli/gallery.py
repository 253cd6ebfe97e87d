"""`napari-lumen gallery`: the strongest and weakest places of a run, as pictures and a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_lumen.cli.run_slide import SlideOption


def gallery(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for gallery.png and gallery.csv.")],
    name: Annotated[
        str | None,
        typer.Option("--map", metavar="NAME", help="Tiles by a map: attention, a class, or entropy."),
    ] = None,
    instances: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Instances by their scores: objects, or attention with boxes."),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="How many, at most.")] = 100,
    lowest: Annotated[bool, typer.Option("--lowest", help="The lowest first.")] = False,
    class_name: Annotated[
        str | None, typer.Option("--class", metavar="NAME", help="Only what is of this class.")
    ] = None,
    slide: SlideOption = None,
    side: Annotated[int, typer.Option(min=16, help="Side of each picture, px.")] = 128,
) -> None:
    """Write the tiles where a map of a run is highest, or its instances by score, as PNG and CSV."""
    from napari_lumen.cli.console import results
    from napari_lumen.cli.run_slide import slide_of
    from napari_lumen.errors import RunError
    from napari_lumen.explain.gallery import AROUND_INSTANCE, sheet, thumbnails, write_sheet, write_table
    from napari_lumen.explain.ranking import ranked_instances, ranked_tiles
    from napari_lumen.explain.run_maps import RunMaps
    from napari_lumen.inference.run import Run

    if (name is None) == (instances is None):
        raise typer.BadParameter("give --map NAME to rank tiles, or --instances NAME.")
    maps = RunMaps(Run.open(run.expanduser()))
    if name is not None:
        item = maps.find(name)
        found = ranked_tiles(maps, name, count, lowest=lowest, class_name=class_name)
        title, around = f"Tiles by {item.title}", 1.0
    else:
        found = ranked_instances(maps.run, str(instances), count, lowest=lowest, class_name=class_name)
        title, around = f"{instances} by score", AROUND_INSTANCE
    if not found:
        raise RunError(f"{run} has nothing to show of that: choose another map or class.")
    folder = out.expanduser()
    with slide_of(maps, slide) as opened:
        title += ", lowest first" if lowest else ", highest first"
        picture = sheet(list(thumbnails(opened, found, side, around)), title=title)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder} cannot be made: {error.strerror or error}.") from error
    write_sheet(picture, folder / "gallery.png")
    write_table(found, maps.run.record.mpp, folder / "gallery.csv")
    results().print(f"{len(found)} in {folder}: gallery.png, gallery.csv", soft_wrap=True, markup=False)
