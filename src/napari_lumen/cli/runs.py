"""`napari-lumen runs`: the runs there are, how one was made or how far it is, and deleting one."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_lumen.cli.proposals import propose
from napari_lumen.counting import counted

if TYPE_CHECKING:
    from napari_lumen.inference.folder import Identity
    from napari_lumen.inference.run import RunRecord, Session
    from napari_lumen.inference.state import RunState

_PLACES = 5  # of failed tiles that are shown; run.json has them all

app = typer.Typer(name="runs", help="The runs there are.", no_args_is_help=True)
app.command("propose")(propose)


@app.command("list")
def list_runs(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="[DIR]", help="Folder that holds runs, as of a cohort; yours without it."),
    ] = None,
) -> None:
    """List the runs in a folder: their slides and models, and how far they are."""
    from rich.table import Column, Table
    from rich.text import Text

    from napari_lumen.cli.console import notes, results
    from napari_lumen.errors import RunError
    from napari_lumen.inference.folder import user_runs
    from napari_lumen.inference.state import run_state, runs_in

    place = user_runs() if folder is None else folder.expanduser()
    table = Table(
        Column("run", no_wrap=True),
        "slide",
        "model",
        "status",
        "mm²",
        "begun",
        box=None,
        padding=(0, 2, 0, 0),
    )
    broken = []
    for path in runs_in(place):
        try:
            state = run_state(path)
        except RunError as error:
            broken.append(str(error))
            continue
        cells = (
            path.name,
            Path(state.identity.slide).name,
            state.identity.model,
            _status(state),
            "" if state.record is None else f"{state.record.analysed_mm2:.4g}",
            _begun(state.sessions),
        )
        table.add_row(*(Text(cell) for cell in cells))
    console = results()
    if table.row_count:
        console.print(table)
    else:
        console.print(f"There are no runs in {place}", soft_wrap=True, markup=False)
    for message in broken:
        notes().print(f"Warning: {message}", style="yellow", markup=False)


@app.command("show")
def show_run(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the run.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print all that is known as JSON instead.")] = False,
) -> None:
    """Show how a run was made and what it found; of one that is not finished, how far it is."""
    from rich.table import Table
    from rich.text import Text

    from napari_lumen.cli.console import results
    from napari_lumen.inference.state import run_state

    state = run_state(folder.expanduser())
    if as_json:
        typer.echo(state.model_dump_json(indent=2))
        return
    table = Table.grid(padding=(0, 2, 0, 0))
    for name, value in _rows(state):
        table.add_row(name, Text(value, overflow="fold"))
    console = results()
    console.print(table)
    if not state.finished and not state.held_by:
        console.print(_how_to_go_on(state), soft_wrap=True, markup=False)


@app.command("objects")
def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a finished run.")],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="File to write: .csv, .parquet, .geojson or .geojson.gz.")
    ],
    corrected: Annotated[
        bool, typer.Option("--corrected", help="With what people have corrected, found anew.")
    ] = False,
) -> None:
    """Write the objects that a run found as a table, or as GeoJSON for QuPath."""
    from napari_lumen.cli.console import results
    from napari_lumen.inference import Run, export_corrected_objects, export_objects

    write = export_corrected_objects if corrected else export_objects
    count = write(Run.open(folder.expanduser()), out.expanduser())
    results().print(f"{counted(count, 'object')} written to {out}", soft_wrap=True, markup=False)


@app.command("remove")
def remove(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the run.")],
    force: Annotated[
        bool, typer.Option("--force", help="Also where people have corrected it: that is lost.")
    ] = False,
) -> None:
    """Delete a run, finished or not; one that people have corrected only by --force."""
    from napari_lumen.cli.console import results
    from napari_lumen.inference.state import remove_run

    remove_run(folder.expanduser(), force=force)
    results().print(f"Removed {folder}", soft_wrap=True, markup=False)


def _status(state: RunState) -> str:
    if state.finished:
        return "finished"
    share = min(state.share, 0.99)  # all tiles may be answered, and objects still be missing
    return f"{share:.0%} finished" + (", running" if state.held_by else "")


def _begun(sessions: tuple[Session, ...]) -> str:
    return sessions[0].started if sessions else ""


def _rows(state: RunState) -> Iterator[tuple[str, str]]:
    identity, record = state.identity, state.record
    yield "run", str(state.path)
    yield "status", _status(state)
    if state.held_by:
        yield "in use", state.held_by
    yield "slide", f"{identity.slide} (fingerprint {identity.fingerprint[:12]})"
    y, x = identity.mpp
    source = (identity if record is None else record).mpp_source
    yield "pixel size", f"{y:.4g} x {x:.4g} µm, from the {source}"
    yield "model", f"{identity.model} (weights {identity.weights_sha256[:12]})"
    if record is not None:
        yield from _how(record)
    yield from _sessions(state.sessions)
    yield from _failed(state)
    if record is not None:
        yield from _found(record)


def _how_to_go_on(state: RunState) -> str:
    identity = state.identity
    model = _model_argument(identity)
    call = ("napari-lumen", "predict", identity.slide, "--model", model, "--out", str(state.path))
    return f"The same call goes on, with its other options: {shlex.join(call)}"


def _model_argument(identity: Identity) -> str:
    """Return the name of a model where that is known, else its folder."""
    from napari_lumen.models.library import available

    path = Path(identity.model_path)
    known = available(foreign=True).get(identity.model)
    by_path = identity.model_path and path.exists() and (known is None or known.resolve() != path)
    return identity.model_path if by_path else identity.model


def _how(record: RunRecord) -> Iterator[tuple[str, str]]:
    if record.region is None:
        yield "region", "all tissue"
    else:
        top, left, height, width = record.region
        yield "region", f"top {top:g}, left {left:g}, {height:g} x {width:g} px of level 0"
    size = f"{record.tile} px at {record.model_mpp:g} µm, {record.overlap} shared"
    yield "grid", f"{counted(record.tiles, 'tile')} of {size}"
    if record.stain is not None and record.card.input.stain is not None:
        yield "stain", f"brought to the model's by {record.card.input.stain.method.capitalize()}'s method"
    for warning in record.warnings:
        yield "warning", warning


def _sessions(sessions: tuple[Session, ...]) -> Iterator[tuple[str, str]]:
    for index, session in enumerate(sessions, 1):
        name = f"session {index}" if len(sessions) > 1 else "session"
        times = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in session.seconds.items())
        tiles = f"{counted(session.tiles, 'tile')}, {session.batch} at once"
        yield name, f"{session.started} on {session.device}: {tiles}"
        yield "", f"{times}; the network was busy {session.busy:.0%} of its stage"
        yield "", ", ".join(f"{software} {version}" for software, version in session.versions.items())


def _failed(state: RunState) -> Iterator[tuple[str, str]]:
    """Say how many tiles failed, why, and where the first of them lie."""
    record = state.record
    for why, count in state.failed.items():
        if record is None:
            yield "failed tiles", f"{count:,} so far: {why}"
            continue
        yield "failed tiles", f"{count:,} of {counted(record.tiles, 'tile')} failed: {why}"
        places = [f"{tile.y:.0f}, {tile.x:.0f}" for tile in record.failed_tiles if tile.why == why]
        more = f"; and {count - _PLACES:,} more" if count > _PLACES else ""
        yield "", f"at y, x (level-0 px): {'; '.join(places[:_PLACES])}{more}"


def _found(record: RunRecord) -> Iterator[tuple[str, str]]:
    yield "analysed", f"{record.analysed_mm2:.4g} mm²"
    for count in record.counts:
        objects = "" if count.objects is None else f"{counted(count.objects, 'object')}, "
        yield count.name, f"{objects}{count.area_mm2:.4g} mm²"
