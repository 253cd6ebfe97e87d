"""`napari-lumen figure`: a picture for a publication, of a map of a run over its tissue."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_lumen.cli.region import RegionOption
from napari_lumen.cli.run_slide import SlideOption


def figure(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    name: Annotated[
        str,
        typer.Option(
            "--map",
            metavar="NAME",
            help="A map of the run: attention, a class, or entropy; tumour_prob:states for tumour, normal "
            "and no label.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="What to write: .png or .svg.")],
    region: RegionOption = None,
    slide: SlideOption = None,
    width: Annotated[int, typer.Option(help="Longer side of the picture, px.")] = 1200,
    colormap: Annotated[
        str, typer.Option(help="attention, viridis, magma, inferno, turbo, grey or difference.")
    ] = "attention",
    opacity: Annotated[float, typer.Option(min=0, max=1, help="Of the map, 0 to 1.")] = 0.6,
    scaling: Annotated[
        str,
        typer.Option(
            help="Between what the colours run: percentile (1 to 99), min-max, range (the network's)."
        ),
    ] = "percentile",
    over: Annotated[
        str, typer.Option(help="Whose values count for that: slide, or selection (the region).")
    ] = "slide",
    linear: Annotated[bool, typer.Option("--linear", help="Let values change evenly between cells.")] = False,
) -> None:
    """Draw a map of a run over its tissue, with colour bar, scale bar and legend, as PNG or SVG."""
    from napari_lumen.cli.console import results
    from napari_lumen.cli.run_slide import slide_of
    from napari_lumen.errors import RunError
    from napari_lumen.explain.colours import colormap as colours_of
    from napari_lumen.explain.figure import SUFFIXES, Style, write_figure
    from napari_lumen.explain.run_figure import figure_map_of, run_figure
    from napari_lumen.explain.run_maps import RunMaps
    from napari_lumen.explain.scaling import Scaling
    from napari_lumen.geometry import Region
    from napari_lumen.inference.run import Run

    if out.suffix.lower() not in SUFFIXES:
        raise RunError(f"{out} is neither PNG nor SVG: let its name end in {' or '.join(SUFFIXES)}.")
    if scaling not in ("percentile", "min-max", "range") or over not in ("slide", "selection"):
        raise typer.BadParameter("--scaling is percentile, min-max or range; --over is slide or selection.")
    maps = RunMaps(Run.open(run.expanduser()))
    figure_map_of(maps, name)  # a wrong name is told before the slide is looked for
    record = maps.run.record
    with slide_of(maps, slide) as opened:
        asked = region
        if asked is None:
            asked = Region(0, 0, *opened.shape) if record.region is None else Region(*record.region)
        style = Style(
            width,
            colours_of(colormap),
            Scaling(scaling, over),  # type: ignore[arg-type]  # they were looked at
            opacity,
            "linear" if linear else "nearest",
        )
        write_figure(run_figure(opened, maps, name, asked, style=style), out.expanduser())
    results().print(f"Figure: {out}", soft_wrap=True, markup=False)
