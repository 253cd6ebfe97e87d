"""`napari-lumen predict`: run a model over a slide."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_lumen.cli.region import RegionOption

if TYPE_CHECKING:
    from napari_lumen.inference.run import Run
    from napari_lumen.slides import Slide


def predict(
    slide: Annotated[Path, typer.Argument(help="A slide file, or the folder of a DICOM slide.")],
    model: Annotated[
        str, typer.Option(help="Name of a model (see 'models list'), its folder, or hub:ORG/NAME.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the result; it must not exist, or be empty.")],
    region: RegionOption = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps ...")] = "auto",
    mpp: Annotated[
        float | None, typer.Option(help="µm per pixel of level 0, where the slide does not state it.")
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Load a foreign model, which can run any code on this computer.")
    ] = False,
) -> None:
    """Run a model over a slide and write an OME-Zarr folder with labels, probabilities and attention maps."""
    from napari_lumen.cli.console import results
    from napari_lumen.cli.progress import cancel_on_interrupt, progress_bar
    from napari_lumen.slides import open_slide

    with open_slide(slide, mpp=mpp) as opened:
        if mpp is not None:
            _keep_pixel_size(opened)
        from napari_lumen.inference import predict as run_model  # loads torch
        from napari_lumen.models import load_model

        with cancel_on_interrupt() as cancel, progress_bar(_unit) as show:
            run = run_model(
                opened,
                load_model(model, trust=trust),
                region=region,
                out=out,
                device=device,
                on_progress=show,
                cancel=cancel,
            )
    console = results()
    for line in _report(run, slide):
        console.print(line, soft_wrap=True)


def _keep_pixel_size(slide: Slide) -> None:
    """Keep what the user gave for the next time; it holds for this run in any case."""
    from napari_lumen.cli.console import notes
    from napari_lumen.errors import SlideError
    from napari_lumen.slides.pixel_size import remember_mpp

    try:
        remember_mpp(slide.fingerprint, slide.require_mpp())
    except SlideError as error:
        notes().print(str(error), markup=False)


def _unit(stage: str) -> str:
    return "tiles" if stage == "running the model" else "steps"


def _report(run: Run, slide: Path) -> Iterator[Any]:
    from rich.table import Table
    from rich.text import Text

    record = run.record
    table = Table("class", "objects", "area mm²", box=None, padding=(0, 2, 0, 0))
    for column in table.columns[1:]:
        column.justify = "right"
    for count in record.counts:
        table.add_row(Text(count.name), f"{count.objects:,}", f"{count.area_mm2:.4f}")
    yield table
    yield Text(f"{record.analysed_mm2:.4g} mm² analysed in {record.tiles:,} tiles on {record.device}.")
    if record.failed_tiles:
        yield Text(
            f"{len(record.failed_tiles):,} tiles could not be read; run.json lists them.", style="yellow"
        )
    yield Text(f"Result: {run.path}")
    yield Text(f"See it: napari --plugin napari-lumen {shlex.quote(str(slide))} {shlex.quote(str(run.path))}")
