"""`napari-lumen convert`: write a slide, or a part of it, as a pyramidal OME-TIFF or OME-Zarr."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_lumen.cli.pixel_size import keep_pixel_size
from napari_lumen.cli.region import RegionOption


def convert(
    slide: Annotated[
        str, typer.Argument(help="A slide file, the folder of a DICOM or OME-Zarr slide, or the URL of one.")
    ],
    out: Annotated[
        Path, typer.Argument(help="What to write: OUT.ome.tif, or OUT.ome.zarr (a folder, without loss).")
    ],
    region: RegionOption = None,
    mpp: Annotated[
        float | None, typer.Option(help="µm per pixel of the result; the slide's own without it.")
    ] = None,
    quality: Annotated[
        int, typer.Option(min=1, max=100, help="Of JPEG; from 90 on, colour is kept at full resolution.")
    ] = 90,
    compression: Annotated[
        str | None,
        typer.Option(
            help="jpeg (colour in OME-TIFF), deflate (channels in OME-TIFF) or zstd (OME-Zarr); "
            "zstd and deflate lose nothing.",
            show_default="what fits",
        ),
    ] = None,
    slide_mpp: Annotated[
        float | None, typer.Option(help="µm per pixel of level 0, where the slide does not state it; kept.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what is there, once the new one is whole.")
    ] = False,
    mark_damage: Annotated[
        bool,
        typer.Option(
            "--mark-damage", help="Hatch tiles that cannot be decoded, instead of stopping at the first."
        ),
    ] = False,
) -> None:
    """Convert a slide to OME-TIFF or OME-Zarr. Stopped at any moment, the same command goes on."""
    from napari_lumen.cli.console import notes, results
    from napari_lumen.cli.progress import cancel_on_interrupt, progress_bar
    from napari_lumen.slides import open_slide
    from napari_lumen.slides.convert import convert as write
    from napari_lumen.slides.location import printable

    with (
        open_slide(slide, mpp=slide_mpp) as opened,
        cancel_on_interrupt() as cancel,
        progress_bar(lambda stage: "tiles") as show,
    ):
        if slide_mpp is not None:
            keep_pixel_size(opened)
        write(
            opened,
            out,
            region=region,
            mpp=mpp,
            on_progress=show,
            cancel=cancel,
            compression=compression,
            quality=quality,
            overwrite=overwrite,
            mark_damage=mark_damage,
        )
        hatched = len(opened.damage)
    if hatched:
        count = "1 tile" if hatched == 1 else f"{hatched} tiles"
        notes().print(f"{count} of {opened.path.name} could not be decoded: hatched.", markup=False)
    with open_slide(out) as written:
        height, width = written.shape
        levels = len(written.levels)
        count = "1 level" if levels == 1 else f"{levels} levels"
        size = _size(out) / 1e6
    results().print(
        f"{printable(out)}: {width:,} x {height:,} px, {count}, {size:,.1f} MB", soft_wrap=True, markup=False
    )


def _size(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
