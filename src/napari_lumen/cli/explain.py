"""`napari-lumen explain`: where a model looks in one field of view."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_lumen.cli.pixel_size import keep_pixel_size
from napari_lumen.cli.region import RegionOption


def explain(
    slide: Annotated[str, typer.Argument(help="A slide: file, folder, or URL of OME-Zarr.")],
    model: Annotated[
        str, typer.Option(help="Name of a model (see 'models list'), its folder, or hub:ORG/NAME.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for pictures and numbers.")],
    at: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="Y X", help="Middle of a tile, in pixels of level 0."),
    ] = None,
    region: RegionOption = None,
    width: Annotated[int, typer.Option(help="Longer side of each picture, px.")] = 800,
    check: Annotated[
        str | None,
        typer.Option(
            "--faithfulness",
            metavar="MAP",
            help="Delete and insert what this map marks, by its name in field.json, beside random "
            "order; writes faithfulness.json, after some seventy forward passes.",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps ...")] = "auto",
    mpp: Annotated[
        float | None, typer.Option(help="µm per pixel of level 0, where the slide does not state it.")
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Load a foreign model, which can run any code on this computer.")
    ] = False,
) -> None:
    """Send one field of view through a model and write all that it recorded: maps, gates, boxes, classes."""
    from napari_lumen.cli.console import results
    from napari_lumen.slides import open_slide

    place = at if region is None else region
    if place is None or (at is not None and region is not None):
        raise typer.BadParameter("give --at Y X, the middle of one tile, or --region Y,X,H,W.")
    with open_slide(slide, mpp=mpp) as opened:  # an error in its path is told before torch is loaded
        if mpp is not None:
            keep_pixel_size(opened)
        from napari_lumen.explain.export import write_faithfulness, write_field
        from napari_lumen.explain.faithfulness import faithfulness
        from napari_lumen.explain.field import Explainer, stain_table
        from napari_lumen.explain.field_maps import FieldMaps
        from napari_lumen.explain.figure import Style
        from napari_lumen.models import load_model

        loaded = load_model(model, trust=trust)
        table = stain_table(opened, loaded.card)
        explainer, folder = Explainer(loaded, device), out.expanduser()
        field = explainer.explain(opened, place, stain=table)
        # a map that cannot be checked is told before anything is written
        item = None if check is None else field[FieldMaps(field).find(check).name]
        found = None if item is None else faithfulness(explainer, opened, place, item, stain=table)
        written = write_field(opened, field, folder, style=Style(width))
        if found is not None:
            written = (*written, write_faithfulness(found, folder / "faithfulness.json"))
    console = results()
    for name, value in field.probabilities.items():
        console.print(f"{name}: {value:.4f}", markup=False)
    if loaded.card.task == "slide":
        console.print("The model saw no tissue beyond this field; a run can say otherwise.", soft_wrap=True)
    if found is not None:
        console.print(found.summary(), soft_wrap=True, markup=False)
    console.print(f"{len(written)} files written to {out}", soft_wrap=True, markup=False)
