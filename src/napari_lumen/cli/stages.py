"""`napari-lumen stages`: classes of slides and pN stages of patients, from the heat maps of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_lumen.counting import counted

app = typer.Typer(
    name="stages", help="Stages of lymph nodes (pN), from the heat maps of runs.", no_args_is_help=True
)

ClassOption = Annotated[
    str | None, typer.Option("--class", help="Class of the runs that is tumour, where they have several.")
]


@app.command("learn")
def learn(
    table: Annotated[
        Path,
        typer.Argument(
            help="CSV with the columns run (folder, relative to the file), patient and stage (negative, itc, "
            "micro, macro)."
        ),
    ],
    out: Annotated[Path, typer.Option(help="JSON file for what is learned.")],
    class_name: ClassOption = None,
    folds: Annotated[int, typer.Option(min=2, help="Groups of patients that are left out in turn.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Of the forest and the groups.")] = 42,
) -> None:
    """Learn the classes of slides by a random forest, scored on patients that it has not seen."""
    from napari_lumen.cli.console import results
    from napari_lumen.comparison.heat_map_stages import learn_stages

    found = learn_stages(table.expanduser(), out.expanduser(), class_name=class_name, folds=folds, seed=seed)
    kappa = "" if found.kappa is None else f", kappa of the stages {found.kappa:.3f}"
    of = f"{counted(len(found.slides), 'slide')} of {counted(len(found.stages), 'patient')}"
    results().print(
        f"{of}: accuracy {found.accuracy:.3f}{kappa}",
        soft_wrap=True,
        markup=False,
    )


@app.command("predict")
def predict(
    table: Annotated[Path, typer.Argument(help="CSV with the columns run and patient.")],
    stager: Annotated[Path, typer.Option(help="JSON file that 'stages learn' wrote.")],
    out: Annotated[Path, typer.Option(help="CSV of patient, slide and stage, for 'evaluate stages'.")],
    class_name: ClassOption = None,
) -> None:
    """Say the class of each slide, and the stage of each patient."""
    from napari_lumen.cli.console import results
    from napari_lumen.cli.tables import print_table
    from napari_lumen.comparison.heat_map_stages import predict_stages

    found = predict_stages(table.expanduser(), stager.expanduser(), out.expanduser(), class_name=class_name)
    print_table(results(), ("patient", "stage"), list(found.items()))
