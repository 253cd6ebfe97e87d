"""`napari-lumen runs propose`: the fields that are most worth correcting next."""

from __future__ import annotations

from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from napari_lumen.geometry import Region


class Measure(StrEnum):
    """What makes a field worth correcting."""

    ENTROPY = "entropy"
    DISAGREEMENT = "disagreement"
    FLIPS = "flips"
    ATTENTION = "attention"
    DIVERSITY = "diversity"
    RANDOM = "random"


_SEES_SLIDE = (Measure.FLIPS, Measure.DIVERSITY)


def propose(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a finished run.")],
    by: Annotated[
        Measure,
        typer.Option(
            help="entropy: the model is unsure; disagreement: another run says otherwise; flips: so does the "
            "model of the field flipped and turned; attention: its attention varies; diversity: unlike the "
            "others; random."
        ),
    ] = Measure.ENTROPY,
    count: Annotated[int, typer.Option(min=1, help="How many fields.")] = 20,
    field: Annotated[float, typer.Option(min=1.0, help="Side of a field, µm.")] = 128.0,
    other: Annotated[
        Path | None, typer.Option("--with", metavar="DIR", help="For disagreement: another run of the slide.")
    ] = None,
    slide: Annotated[
        Path | None, typer.Option(help="Where the slide is, if not where the run was made.")
    ] = None,
    seed: Annotated[int, typer.Option(help="For random.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="File to write: .csv, or .geojson with boxes for QuPath.")
    ] = None,
) -> None:
    """List the fields of a run that are most worth correcting next, the best first."""
    from napari_lumen.cli.console import results
    from napari_lumen.cli.tables import print_table
    from napari_lumen.corrections.proposals import write_proposals
    from napari_lumen.inference import Run
    from napari_lumen.inference.proposals import propose as find
    from napari_lumen.slides import open_slide

    run = Run.open(folder.expanduser())
    second = None if other is None else Run.open(other.expanduser())
    with ExitStack() as stack:
        opened = None
        if slide is not None or by in _SEES_SLIDE:
            place = run.record.slide if slide is None else slide.expanduser()
            opened = stack.enter_context(open_slide(place, mpp=run.record.mpp))
        found = find(run, by.value, count, field_um=field, other=second, slide=opened, seed=seed)
    if out is not None:
        write_proposals(found, out.expanduser())
        results().print(f"{len(found)} fields written to {out}", soft_wrap=True, markup=False)
        return
    rows = [
        (
            str(rank),
            ", ".join(
                f"{edge:.0f}"
                for edge in (item.region.y, item.region.x, item.region.height, item.region.width)
            ),
            item.reason,
        )
        for rank, item in enumerate(found, start=1)
    ]
    if rows:
        print_table(results(), ("", "y, x, height, width", "why"), rows)
    else:
        results().print("All that was analysed is corrected.")


def _place(region: Region) -> str:
    return ", ".join(f"{edge:.0f}" for edge in (region.y, region.x, region.height, region.width))
