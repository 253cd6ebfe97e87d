"""`napari-lumen annotations convert`: annotations from one file format to another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_lumen.counting import counted

if TYPE_CHECKING:
    from napari_lumen.annotations.shapes import Annotation

app = typer.Typer(name="annotations", help="Files of annotations.", no_args_is_help=True)

Origin = tuple[float, float]


@app.command()
def convert(
    source: Annotated[
        Path,
        typer.Argument(
            help="QuPath GeoJSON, ASAP, ImageScope, BACH or MoNuSAC XML, HoVer-Net or NCRF JSON, OME-Zarr."
        ),
    ],
    target: Annotated[Path, typer.Argument(help="The new file; an earlier one there is replaced.")],
    source_format: Annotated[
        str | None, typer.Option("--from", help="Format of SOURCE, where its content does not tell.")
    ] = None,
    target_format: Annotated[
        str | None,
        typer.Option("--to", help="Format of TARGET, where its name does not tell: asap, imagescope, ..."),
    ] = None,
    origin: Annotated[
        Origin,
        typer.Option(
            metavar="Y X", help="Where SOURCE has its origin, level-0 px: the bounds of a cropped slide."
        ),
    ] = (0, 0),
    target_origin: Annotated[
        Origin, typer.Option("--to-origin", metavar="Y X", help="Where TARGET is to have it.")
    ] = (0, 0),
    camelyon: Annotated[
        bool,
        typer.Option(
            "--camelyon", help="Take ASAP's groups as CAMELYON means them: tumour, and what is not."
        ),
    ] = False,
    slide: Annotated[
        str | None,
        typer.Option(help="Slide of the annotations, over which an OME-Zarr TARGET lies."),
    ] = None,
    mpp: Annotated[
        float | None, typer.Option(min=0.001, help="µm per level-0 pixel, where the slide does not state it.")
    ] = None,
) -> None:
    """Convert a file of annotations; outlines that cross themselves are repaired and named.

    A TARGET named .zarr becomes an OME-Zarr label image over the SLIDE.
    """
    from napari_lumen.annotations.camelyon import camelyon as by_group
    from napari_lumen.annotations.formats import read_annotations, write_annotations
    from napari_lumen.annotations.mending import Repair
    from napari_lumen.cli.console import notes, results

    repairs: list[Repair] = []
    found = read_annotations(source, source_format, origin=origin, on_repair=repairs.append)
    found = by_group(found) if camelyon else found
    if target_format == "omezarr" or (target_format is None and target.suffix.lower() == ".zarr"):
        _write_labels(target, found, slide, mpp)
    else:
        write_annotations(target, found, target_format, origin=target_origin)
    for repair in repairs:
        notes().print(repair.what, style="yellow", markup=False)
    results().print(f"{counted(len(found), 'annotation')}: {target}", soft_wrap=True, markup=False)


def _write_labels(target: Path, found: list[Annotation], slide: str | None, mpp: float | None) -> None:
    from napari_lumen.annotations.omezarr import write_labels_over
    from napari_lumen.slides import open_slide

    if slide is None:
        raise typer.BadParameter("OME-Zarr labels lie over a slide: say which", param_hint="--slide")
    with open_slide(slide, mpp=mpp) as opened:
        write_labels_over(target, found, opened.shape, opened.require_mpp())
