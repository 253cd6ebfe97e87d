"""pN stages of CAMELYON17: what was said of the slides of each patient against the truth."""

from __future__ import annotations

import csv
import os
import re
import warnings
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import numpy as np

from napari_lumen.errors import AnnotationError, first_line, some_of
from napari_lumen.evaluation.bootstrap import bootstrap
from napari_lumen.evaluation.confusion import confusion_matrix
from napari_lumen.evaluation.stage_report import PatientRow, SlideStage, StageEvaluation, write_stage_report
from napari_lumen.evaluation.staging import STAGES, Metastasis, Stage, pn_stage, stage_kappa

_METASTASES: tuple[Metastasis, ...] = get_args(Metastasis)
_NODE = re.compile(r"(?P<patient>.+?)_node_\w+$", re.IGNORECASE)  # patient_000_node_2


def evaluate_stages(
    predicted: str | os.PathLike[str],
    truth: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> StageEvaluation:
    """Score stages as CAMELYON17 does; the same as ``napari-lumen evaluate stages``.

    Parameters
    ----------
    predicted, truth : path
        CSV of slides, in columns ``patient, slide, stage``: negative, itc, micro or macro, from which the
        patient's stage follows. Or as the challenge has it, in columns ``patient, stage``:
        ``patient_000_node_0.tif`` with the stage of a slide, and ``patient_000.zip`` with that of a patient,
        which counts where it is given.
    out : path, optional
        Folder for the tables (CSV) and one page.
    resamples, seed : int
        Of the bootstrapped 95 % intervals, over patients.

    Returns
    -------
    StageEvaluation

    Warns
    -----
    UserWarning
        When patients have no truth and are left out.

    Raises
    ------
    AnnotationError
        When a patient or a slide of the truth has no prediction, or a file cannot be used.
    """
    predicted, truth = Path(predicted), Path(truth)
    said, there = _read(predicted), _read(truth)
    for what, found, wanted in (
        ("patient", said.patients, there.patients),
        ("slide", said.slides, there.slides if said.slides else {}),
    ):
        missing = sorted(wanted.keys() - found.keys())
        if missing:
            raise AnnotationError(
                f"{predicted} says nothing of the {what} {missing[0]} of {truth}. One that is left out would "
                "flatter the score."
            )
    more = sorted(said.patients.keys() - there.patients.keys())
    if more:
        warnings.warn(
            f"Patients without a truth are left out, {len(more):,}: {some_of(more)}.",
            stacklevel=2,
        )
    names = sorted(there.patients)
    patients = tuple(PatientRow(name, said.patients[name], there.patients[name]) for name in names)
    slides = tuple(
        SlideStage(name, said.slides[name], there.slides[name])
        for name in sorted(there.slides)
        if name in said.slides
    )

    def kappa_of(weights: np.ndarray) -> float:
        drawn = [row for row, times in zip(patients, weights, strict=True) for _ in range(times)]
        return stage_kappa([row.predicted for row in drawn], [row.truth for row in drawn])

    evaluation = StageEvaluation(
        patients,
        slides,
        stage_kappa([row.predicted for row in patients], [row.truth for row in patients]),
        bootstrap(kappa_of, range(len(patients)), resamples=resamples, seed=seed),
        confusion_matrix(
            np.array([STAGES.index(row.predicted) for row in patients]),
            np.array([STAGES.index(row.truth) for row in patients]),
            range(len(STAGES)),
        ),
    )
    if out is not None:
        facts = [("predicted", str(predicted)), ("truth", str(truth))]
        write_stage_report(Path(out), evaluation, f"{predicted.name} against {truth.name}", facts)
    return evaluation


@dataclass
class _Stages:
    """What a file says: of slides by their names, of patients by theirs."""

    slides: dict[str, Metastasis] = field(default_factory=dict)
    patients: dict[str, Stage] = field(default_factory=dict)


def _read(path: Path) -> _Stages:
    found = _Stages()
    nodes: defaultdict[str, list[Metastasis]] = defaultdict(list)
    for line, patient, slide, stage in _rows(path):
        if slide is None:
            if stage not in STAGES:
                raise AnnotationError(
                    f"{path}, line {line}: {stage!r} is no stage of a patient ({', '.join(STAGES)})."
                )
            known: dict[str, Stage] = {name: name for name in STAGES}
            if patient in found.patients:
                raise AnnotationError(f"{path}, line {line}: the patient {patient} comes twice.")
            found.patients[patient] = known[stage]
            continue
        if stage not in _METASTASES:
            raise AnnotationError(
                f"{path}, line {line}: {stage!r} is no stage of a slide ({', '.join(_METASTASES)})."
            )
        if slide in found.slides:
            raise AnnotationError(f"{path}, line {line}: the slide {slide} comes twice.")
        metastasis = next(name for name in _METASTASES if name == stage)
        found.slides[slide] = metastasis
        nodes[patient].append(metastasis)
    for patient, of_patient in nodes.items():
        try:
            found.patients.setdefault(patient, pn_stage(of_patient))
        except ValueError as error:
            raise AnnotationError(f"{path}: the patient {patient} has no stage: {error}.") from error
    if not found.patients:
        raise AnnotationError(f"{path} names no patient.")
    return found


def _rows(path: Path) -> Iterator[tuple[int, str, str | None, str]]:
    """Yield line, patient, slide (None where a row is of the patient) and stage."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(enumerate(csv.reader(file), start=1))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise AnnotationError(f"Cannot read {path}: {first_line(error)}.") from error
    rows = [(line, [cell.strip() for cell in row]) for line, row in rows if any(map(str.strip, row))]
    columns = [name.lower() for name in rows[0][1]] if rows else []
    if not {"patient", "stage"} <= set(columns):
        raise AnnotationError(
            f"{path} has no columns patient and stage. Give patient, slide, stage, or the file of CAMELYON17."
        )
    for line, row in rows[1:]:
        if len(row) < len(columns):
            raise AnnotationError(f"{path}, line {line}: it has {len(row)} of {len(columns)} columns.")
        cells = dict(zip(columns, row, strict=False))
        if "slide" in cells:
            yield line, cells["patient"], cells["slide"] or None, cells["stage"]
            continue
        name = cells["patient"].removesuffix(".zip").removesuffix(".tif")
        node = _NODE.match(name)
        yield line, node["patient"] if node else name, name if node else None, cells["stage"]
