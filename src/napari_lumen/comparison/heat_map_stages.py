"""pN stages from runs: a random forest learns the classes of slides from their heat maps (CAMELYON17)."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import zarr

from napari_lumen.errors import RunError
from napari_lumen.evaluation.staging import Metastasis, Stage, pn_stage
from napari_lumen.holding import write_text
from napari_lumen.inference.heat_map import EXACT
from napari_lumen.inference.run import Run
from napari_lumen.training.data.item_table import Columns, Row, read_table
from napari_lumen.training.slide_stage import (
    HeatMapFeatures,
    SlideCase,
    SlideStager,
    StagingResult,
    cross_validate,
    describe_heat_map,
)

_COLUMNS = Columns(name="run")


def learn_stages(
    table: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    class_name: str | None = None,
    folds: int = 5,
    seed: int = 42,
) -> StagingResult:
    """Learn the classes of slides from their heat maps; the same as ``napari-lumen stages learn``.

    Parameters
    ----------
    table : path
        CSV with the columns run (its folder, relative to the table), patient and stage (negative, itc, micro
        or macro).
    out : path
        Gets a `SlideStager`, as JSON.
    class_name : str, optional
        Class of the runs that is tumour, where they have several.
    folds, seed : int
        Of `cross_validate`.

    Returns
    -------
    StagingResult
        What forests said of patients that they had not seen.

    Raises
    ------
    RunError
        When the table or a run cannot be used, or there are too few patients.
    """
    cases = []
    for row, run in _runs(Path(table)):
        stage = next((name for name in get_args(Metastasis) if name == row.fields.get("stage")), None)
        if stage is None:
            raise RunError(
                f"{table} has the stage {row.fields.get('stage')!r} for {row.item.name}; there is "
                f"{', '.join(get_args(Metastasis))}."
            )
        features = _described(run, class_name)
        cases.append(
            SlideCase(slide=run.slide_name, patient=str(row.item.patient), truth=stage, features=features)
        )
    found = cross_validate(cases, folds=folds, seed=seed)
    SlideStager(cases=tuple(cases), seed=seed).write(Path(out))
    return found


def predict_stages(
    table: str | os.PathLike[str],
    stager: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    class_name: str | None = None,
) -> dict[str, Stage]:
    """Say the class of each slide and the stage of each patient; the same as ``napari-lumen stages predict``.

    Parameters
    ----------
    table : path
        CSV with the columns run and patient, as of `learn_stages`.
    stager : path
        What `learn_stages` wrote.
    out : path
        Gets a CSV of patient, slide and stage, which ``evaluate stages`` takes.
    class_name : str, optional
        As of `learn_stages`.

    Returns
    -------
    dict of str to str
        Stage of each patient.

    Raises
    ------
    RunError
        As of `learn_stages`.
    """
    forest, runs = SlideStager.read(Path(stager)), list(_runs(Path(table)))
    said = forest.classify([_described(run, class_name) for _, run in runs])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["patient", "slide", "stage"])
    nodes: dict[str, list[Metastasis]] = {}
    for (row, run), one in zip(runs, said, strict=True):
        writer.writerow([row.item.patient, run.slide_name, one])
        nodes.setdefault(str(row.item.patient), []).append(one)
    write_text(Path(out), text.getvalue())
    return {patient: pn_stage(of_patient) for patient, of_patient in nodes.items()}


def _runs(table: Path) -> Iterator[tuple[Row, Run]]:
    for row in read_table(table, _COLUMNS):
        if row.item.patient is None:
            raise RunError(
                f"{table} has nothing in the column 'patient' for {row.item.name}; say whose it is."
            )
        yield row, Run.open(table.parent / Path(row.item.name).expanduser())


def _described(run: Run, class_name: str | None) -> HeatMapFeatures:
    names = [known.name for known in run.record.classes]
    if class_name is None and len(names) == 1:
        class_name = names[0]
    if class_name not in names:
        raise RunError(f"Say which class of {run.path} is tumour: there is {', '.join(names)}.")
    if not (run.path / EXACT).is_dir():
        raise RunError(f"{run.path} holds no heat map of tiles; run a model that classifies slides or tiles.")
    probability = np.asarray(zarr.open_array(str(run.path / EXACT / "0"), mode="r")[names.index(class_name)])
    step, mpp = Run.grid(run.labels).step, run.record.mpp
    return describe_heat_map(probability, (step[0] * mpp[0], step[1] * mpp[1]))
