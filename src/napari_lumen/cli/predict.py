"""`napari-lumen predict`: run a model over a slide, or over many."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_lumen.cli.pixel_size import keep_pixel_size
from napari_lumen.cli.region import RegionOption
from napari_lumen.counting import counted

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

    from napari_lumen.geometry import Region
    from napari_lumen.inference.cluster import Crew
    from napari_lumen.inference.cohort import Cohort, CohortProgress
    from napari_lumen.inference.run import Run
    from napari_lumen.models import Model
    from napari_lumen.slides import Slide


def predict(
    slides: Annotated[
        list[str],
        typer.Argument(
            help="Slides: files, the folder of a DICOM or OME-Zarr slide, URLs of OME-Zarr, folders of "
            "slides, patterns in quotes."
        ),
    ],
    model: Annotated[
        str, typer.Option(help="Name of a model (see 'models list'), its folder, or hub:ORG/NAME.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="One slide: the folder of its run, new, empty or of the same run. More than one, or a "
            "folder that holds such runs already: a folder in which each slide has one."
        ),
    ],
    region: RegionOption = None,
    within: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Only within shapes (QuPath GeoJSON) or a mask (a picture of the whole slide, 0 outside).",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps ...")] = "auto",
    mpp: Annotated[
        float | None, typer.Option(help="µm per pixel of level 0, where the slide does not state it.")
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Load a foreign model, which can run any code on this computer.")
    ] = False,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Run on a Dask cluster: tcp://HOST:PORT, or its scheduler file."
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, help="Run in so many processes on this computer, each with a GPU where there are."
        ),
    ] = None,
) -> None:
    """Run a model over slides: for each an OME-Zarr folder with labels, probabilities and attention maps.

    Stopped at any moment, the same command goes on; what is finished is not run again.
    """
    from napari_lumen.slides import open_slide
    from napari_lumen.slides.finding import names_one_slide

    if region is not None and within is not None:
        raise typer.BadParameter("give --region or --within, not both.")
    asked = _Asked(model, trust, out.expanduser(), region, device, cluster, workers)
    if len(slides) == 1 and names_one_slide(slides[0]):
        with open_slide(slides[0], mpp=mpp) as opened:  # an error in its path is told before torch is loaded
            if mpp is not None:
                keep_pixel_size(opened)
            from napari_lumen.inference.cohort_table import is_cohort

            if not is_cohort(asked.out):
                if within is not None:
                    from napari_lumen.inference.area import read_area

                    asked = replace(asked, region=read_area(within.expanduser(), opened))
                _one(asked, opened, slides[0])
                return
    if within is not None:
        raise typer.BadParameter("--within is of one slide; run the slides one by one.")
    _many(asked, slides, mpp)


@dataclass(frozen=True)
class _Asked:
    """What holds for one slide and for many."""

    model: str
    trust: bool
    out: Path
    region: Region | BaseGeometry | None
    device: str
    cluster: str | None
    workers: int | None

    def load(self) -> Model:
        from napari_lumen.models import load_model

        return load_model(self.model, trust=self.trust)

    def crew(self) -> AbstractContextManager[Crew | None]:
        if self.cluster is None and self.workers is None:
            return nullcontext()
        from napari_lumen.inference.cluster import connected

        return connected(self.cluster, self.workers)


def _one(asked: _Asked, slide: Slide, named: str) -> None:
    from napari_lumen.cli.console import results
    from napari_lumen.cli.progress import cancel_on_interrupt, progress_bar
    from napari_lumen.errors import Cancelled
    from napari_lumen.inference import predict as run_model

    out = asked.out
    with cancel_on_interrupt() as cancel, asked.crew() as crew, progress_bar(_unit) as show:
        try:
            run = run_model(slide, asked.load(), asked.region, out, asked.device, show, cancel, crew=crew)
        except Cancelled as error:
            if not out.exists():
                raise
            raise Cancelled(
                f"{error} What is finished stays in {out}: the same command goes on from there."
            ) from error
    console = results()
    for line in _report(run, named):
        console.print(line, soft_wrap=True)


def _many(asked: _Asked, slides: list[str], mpp: float | None) -> None:
    from napari_lumen.cli.console import results
    from napari_lumen.cli.progress import cancel_on_interrupt, progress_bar
    from napari_lumen.inference.cohort import predict_cohort

    with cancel_on_interrupt() as cancel, asked.crew() as crew, progress_bar(_unit) as show:

        def tell(progress: CohortProgress) -> None:
            show(_Slides(progress.done, progress.total))
            if progress.step is not None:
                show(progress.step)

        how = (asked.region, asked.device, tell, cancel)
        cohort = predict_cohort(slides, asked.load(), asked.out, *how, mpp=mpp, crew=crew)
    console = results()
    for line in _summary(cohort):
        console.print(line, soft_wrap=True)
    if cohort.failed:
        raise typer.Exit(1)


class _Slides:
    """The step of the bar that counts slides."""

    stage = "slides"
    seconds_left = None

    def __init__(self, done: int, total: int) -> None:
        self.done = done
        self.total = total


def _unit(stage: str) -> str:
    return {"running the model": "tiles", "slides": "slides"}.get(stage, "steps")


def _report(run: Run, slide: str) -> Iterator[Any]:
    from rich.table import Table
    from rich.text import Text

    record = run.record
    table = Table("class", "objects", "area mm²", box=None, padding=(0, 2, 0, 0))
    for column in table.columns[1:]:
        column.justify = "right"
    for count in record.counts:
        table.add_row(Text(count.name), _number(count.objects), f"{count.area_mm2:.4f}")
    yield table
    yield Text(
        f"{record.analysed_mm2:.4g} mm² analysed in {counted(record.tiles, 'tile')} on {record.device}."
    )
    if record.failed_tiles:
        yield Text(
            f"{counted(len(record.failed_tiles), 'tile')} could not be read; run.json lists them.",
            style="yellow",
        )
    for warning in record.warnings:
        yield Text(warning, style="yellow")
    yield Text(f"Result: {run.path}")
    yield Text(f"See it: napari --plugin napari-lumen {shlex.quote(slide)} {shlex.quote(str(run.path))}")


def _summary(cohort: Cohort) -> Iterator[Any]:
    from rich.table import Column, Table
    from rich.text import Text

    from napari_lumen.inference.cohort_table import CSV_FILE

    right = [Column(title, justify="right") for title in ("mm²", "tiles", "failed tiles", "seconds")]
    table = Table("slide", "status", *right, "found", box=None, padding=(0, 2, 0, 0))
    styles = {"failed": "red", "unfinished": "yellow"}
    for row in cohort.rows:
        areas = row.area_mm2.items()
        found = ", ".join(f"{name} {_number(row.objects.get(name))} ({area:.4g} mm²)" for name, area in areas)
        table.add_row(
            Text(Path(row.slide).name),
            Text(row.status, style=styles.get(row.status, "")),
            "" if row.analysed_mm2 is None else f"{row.analysed_mm2:.4g}",
            _number(row.tiles),
            _number(row.failed_tiles),
            "" if row.seconds is None else f"{row.seconds:.1f}",
            Text(row.error or found),
        )
    yield table
    for warning in dict.fromkeys(warning for row in cohort.rows for warning in row.warnings):
        yield Text(warning, style="yellow")
    total, failed = len(cohort.rows), len(cohort.failed)
    end = f", {failed:,} failed" if failed else ""
    yield Text(
        f"{total - failed:,} of {counted(total, 'slide')} finished{end}. Table: {cohort.path / CSV_FILE}"
    )


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"
