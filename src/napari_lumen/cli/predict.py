"""`napari-lumen predict`: run a model over a slide."""

from __future__ import annotations

import math
import shlex
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from napari_lumen.geometry import Region
    from napari_lumen.inference.progress import Progress
    from napari_lumen.inference.run import Run


def parse_region(text: str) -> Region:
    """Return the region written as ``y,x,height,width`` in level-0 pixels.

    Raises
    ------
    typer.BadParameter
        When it is not four numbers, or is empty.
    """
    from napari_lumen.geometry import Region

    try:
        y, x, height, width = (float(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is not y,x,height,width in pixels of level 0, as in 1000,2000,512,512."
        ) from None
    if not (all(map(math.isfinite, (y, x, height, width))) and height > 0 and width > 0):
        raise typer.BadParameter(f"{text!r} covers nothing: the height and the width must be above 0.")
    return Region(y, x, height, width)


def predict(
    slide: Annotated[Path, typer.Argument(help="A slide file, or the folder of a DICOM slide.")],
    model: Annotated[str, typer.Option(help="Name of a model (see 'models list'), or its folder.")],
    out: Annotated[Path, typer.Option(help="Folder for the result; it must not exist, or be empty.")],
    region: Annotated[
        Any,
        typer.Option(
            parser=parse_region,
            metavar="Y,X,H,W",
            help="Only this rectangle: top, left, height and width in pixels of level 0.",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps ...")] = "auto",
    mpp: Annotated[
        float | None, typer.Option(help="µm per pixel of level 0, where the slide does not state it.")
    ] = None,
) -> None:
    """Run a model over a slide and write an OME-Zarr folder with labels, probabilities and attention maps."""
    from napari_lumen.cli.console import results
    from napari_lumen.slides import open_slide

    with open_slide(slide, mpp=mpp) as opened:
        from napari_lumen.inference import predict as run_model  # loads torch

        with _cancel_on_interrupt() as cancel, _progress_bar() as show:
            run = run_model(
                opened, model, region=region, out=out, device=device, on_progress=show, cancel=cancel
            )
    console = results()
    for line in _report(run, slide):
        console.print(line, soft_wrap=True)


@contextmanager
def _cancel_on_interrupt() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into a request to stop; the second one ends the program as usual."""
    cancel = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield cancel  # only the main thread hears signals
        return

    def stop(*_: object) -> None:
        cancel.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield cancel
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _progress_bar() -> Iterator[Callable[[Progress], None]]:
    """Show the stage, the tiles done and the time left."""
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    from napari_lumen.cli.console import notes

    bar = Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f} {task.fields[unit]}"),
        TextColumn("{task.fields[left]}", style="cyan"),
        console=notes(),
    )
    tasks: dict[str, Any] = {}

    def show(progress: Progress) -> None:
        stage = progress.stage
        if stage not in tasks:
            unit = "tiles" if stage == "running the model" else "steps"
            tasks[stage] = bar.add_task(stage, total=progress.total, unit=unit, left="")
        bar.start()  # not before there is something to show: an error comes first
        bar.update(
            tasks[stage],
            total=progress.total,
            completed=progress.done,
            left="" if progress.seconds_left is None else f"{_duration(progress.seconds_left)} left",
        )

    try:
        yield show
    finally:
        if tasks:
            bar.stop()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


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
