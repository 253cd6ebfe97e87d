"""`napari-lumen project`: a folder that holds a study together, and how the work on it stands."""

from __future__ import annotations

import subprocess
import sys
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_lumen.cli.renamed import RenamedOption, renamed_classes
from napari_lumen.counting import counted

if TYPE_CHECKING:
    from napari_lumen.annotations.classes import ClassTable
    from napari_lumen.project import SlideStanding

app = typer.Typer(
    name="project",
    help="A folder that holds slides, annotations, corrections, runs, models and classes of a study.",
    no_args_is_help=True,
)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the project.")]
SlideName = Annotated[str, typer.Argument(metavar="SLIDE", help="Name of the slide, as in the list.")]


@app.command("create")
def create(
    folder: Folder,
    name: Annotated[str | None, typer.Option(help="Of the project; that of the folder without it.")] = None,
    classes: Annotated[
        Path | None,
        typer.Option(help="Table of classes: a model, a run, annotations, QuPath's classes.json or CSV."),
    ] = None,
) -> None:
    """Make a project of a folder."""
    from napari_lumen.project import Project

    project = Project.create(folder, name, None if classes is None else _table(classes))
    _say(f"Project {project.name}: {project.folder}")


def _table(given: Path) -> ClassTable:
    """Return the classes of a file, of a folder, or of a model by its name."""
    from napari_lumen.annotations.class_files import read_classes
    from napari_lumen.models import available

    path = given.expanduser()
    return read_classes(path if path.exists() else available(foreign=True).get(str(given), path))


@app.command("add")
def add(
    folder: Folder,
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...", help="Slides, files of annotations, folders of runs, corrections and models."
        ),
    ],
    slide: Annotated[
        str | None, typer.Option(help="Of annotations; else their file's name begins with the slide's.")
    ] = None,
    author: Annotated[str | None, typer.Option(help="Who has drawn annotations; you without it.")] = None,
    patient: Annotated[str | None, typer.Option(help="Whose the slides are.")] = None,
    instead: Annotated[
        bool, typer.Option("--instead", help="Put annotations in the place of others of the same author.")
    ] = False,
) -> None:
    """Add slides and what belongs to them; the files stay where they are."""
    from napari_lumen.project import Project

    project = Project(folder)
    for path in paths:
        _say(f"Added {project.add(path, slide=slide, author=author, patient=patient, instead=instead)}")


@app.command("classes")
def classes(
    folder: Folder,
    table: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="New table: a model, a run, annotations, QuPath's classes.json, CSV, or JSON of ours.",
        ),
    ] = None,
) -> None:
    """Show the classes of a project, or give it others."""
    from napari_lumen.cli.console import results
    from napari_lumen.cli.tables import print_table
    from napari_lumen.project import Project

    project = Project(folder)
    if table is not None:
        project.set_classes(_table(table))
    rows = [
        (f"{item.value}", item.name, "#{:02x}{:02x}{:02x}".format(*item.color)) for item in project.classes
    ]
    if rows:
        print_table(results(), ("value", "class", "colour"), rows)
    else:
        _say(
            f"{project.folder} has no classes yet: napari-lumen project classes {project.folder} --from FILE"
        )


@app.command("list")
def list_slides(
    folder: Folder,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole record as JSON instead.")] = False,
) -> None:
    """List the slides: who has annotated them, runs, corrections and scores."""
    from napari_lumen.cli.console import results
    from napari_lumen.cli.tables import print_table
    from napari_lumen.project import Project

    project = Project(folder)
    if as_json:
        typer.echo(project.record.model_dump_json(indent=2))
        return
    rows = [_row(standing) for standing in project.standings()]
    if rows:
        print_table(
            results(), ("slide", "patient", "annotated by", "runs", "corrected", "Dice", "status"), rows
        )
    else:
        _say(f"There are no slides in {project.folder} yet: napari-lumen project add {project.folder} SLIDE")


@app.command("check")
def check(
    folder: Folder,
    search: Annotated[
        list[Path] | None,
        typer.Option(help="Look there, too, for slides that were moved; once for each folder."),
    ] = None,
) -> None:
    """Look whether all is there and the same, and find slides again that were moved."""
    from napari_lumen.project import Project

    project = Project(folder)
    for name, place in project.find_moved(search or ()).items():
        _say(f"{name} was moved; it is at {place}")
    problems = project.problems()
    for problem in problems:
        _say(problem)
    if any(standing.state == "missing" for standing in project.standings(verify=False)):
        _say("Slides that were moved are found again, whatever their names, by --search FOLDER.")
    if problems:
        raise typer.Exit(1)
    _say(f"All is there: {counted(len(project.slides), 'slide')}")


@app.command("score")
def score(
    folder: Folder,
    author: Annotated[str, typer.Option(help="Whose annotations are the truth.")],
    slide: Annotated[str | None, typer.Option(help="Only this one; else all that have a run.")] = None,
    corrected: Annotated[
        bool, typer.Option("--corrected", help="Score runs with their corrections.")
    ] = False,
    renamed: RenamedOption = None,
) -> None:
    """Score the newest run of each slide against what a person has drawn, and keep the scores."""
    from napari_lumen.cli.console import results
    from napari_lumen.cli.tables import print_table
    from napari_lumen.errors import ProjectError
    from napari_lumen.project import Project

    project = Project(folder)
    chosen = [project.slide(slide)] if slide else list(project.slides)
    chosen = chosen if slide else [item for item in chosen if item.runs and item.by(author) is not None]
    if not chosen:
        raise ProjectError(f"No slide of {project.folder} has both a run and annotations of {author}.")
    rows = []
    for item in chosen:
        project.score(item.name, author, corrected=corrected, renamed=renamed_classes(renamed or ()))
        rows += [
            (item.name, name, "-" if value is None else f"{value:.4f}")
            for name, value in project.slide(item.name).scores[-1].dice.items()
        ]
    print_table(results(), ("slide", "class", "Dice"), rows)


@app.command("compare")
def compare(
    folder: Folder,
    slide: SlideName,
    first: Annotated[str, typer.Argument(metavar="AUTHOR", help="Who has drawn.")],
    second: Annotated[str, typer.Argument(metavar="AUTHOR", help="With whom they are compared.")],
    out: Annotated[
        Path | None,
        typer.Option(help="File for the areas where they differ: GeoJSON, ASAP or ImageScope XML, .zarr."),
    ] = None,
) -> None:
    """Compare what two people have drawn on a slide: Dice, Cohen's kappa, and where they differ."""
    from napari_lumen.cli.console import results
    from napari_lumen.cli.tables import print_table
    from napari_lumen.project import Project

    project = Project(folder)
    differ = None if out is None else project.differences(slide, first, second)
    found = project.compare(slide, first, second) if differ is None else differ.agreement
    rows = [(name, _number(found.dice[name]), _number(found.kappa[name])) for name in found.dice]
    rows.append(("all classes", "", _number(found.overall)))
    print_table(results(), ("class", "Dice", "kappa"), rows)
    area = found.region
    _say(
        f"Within top {area.y:g}, left {area.x:g}, {area.height:g} x {area.width:g} px of level 0, which "
        "holds all that either has outlined"
    )
    if differ is not None and out is not None:
        differ.write(out)
        areas = ", ".join(f"{item.name} {differ.map.area_um2(item.value):,.0f} µm²" for item in differ.kinds)
        _say(f"{areas}: {out}")


@app.command("open")
def open_project(folder: Folder) -> None:
    """Open a project in napari."""
    from napari_lumen.errors import ProjectError
    from napari_lumen.project import Project

    project = Project(folder)  # what is wrong with it is said here
    command = [sys.executable, "-m", "napari_lumen.plugin.project_window", str(project.folder)]
    status = subprocess.run(command, check=False).returncode
    if status:
        raise ProjectError(f"The window ended with status {status}; what went wrong stands above.")


def _row(standing: SlideStanding) -> tuple[str, ...]:
    entry, found = standing.entry, standing.score
    dice = ""
    if found is not None:
        dice = ", ".join(f"{name} {_number(value)}" for name, value in found.dice.items())
    count = len(standing.problems)
    status = f"{count} {'problem' if count == 1 else 'problems'}, see 'check'" if count else "in order"
    return (
        entry.name,
        entry.patient or "",
        ", ".join(standing.authors),
        f"{standing.runs}",
        f"{standing.corrected} windows" if standing.corrected else "",
        dice,
        status,
    )


def _number(value: float | None) -> str:
    return "-" if value is None or isnan(value) else f"{value:.3f}"


def _say(text: str) -> None:
    from napari_lumen.cli.console import results

    results().print(text, soft_wrap=True, markup=False)
