"""What comes out of an evaluation of pN stages, and its files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from html import escape
from pathlib import Path

import numpy as np
import numpy.typing as npt

from napari_lumen.evaluation.page import document, head, number, table
from napari_lumen.evaluation.report import CONFUSION, PAGE, SCORES, cell, csv_text, write_files
from napari_lumen.evaluation.staging import STAGES, Metastasis, Stage


@dataclass(frozen=True, slots=True)
class PatientRow:
    """One patient."""

    patient: str
    predicted: Stage
    truth: Stage


@dataclass(frozen=True, slots=True)
class SlideStage:
    """One slide."""

    slide: str
    predicted: Metastasis
    truth: Metastasis


@dataclass(frozen=True, slots=True)
class StageEvaluation:
    """What came out.

    Attributes
    ----------
    patients : tuple of PatientRow
    slides : tuple of SlideStage
        Empty where a file speaks of patients alone.
    kappa : float
        Quadratic weighted, over patients; NaN where all have one stage on both sides.
    interval : (float, float)
        95 %, over patients.
    confusion : ndarray (5, 5)
        Patients; rows are the truth, columns the prediction, in the order of `STAGES`.
    """

    patients: tuple[PatientRow, ...]
    slides: tuple[SlideStage, ...]
    kappa: float
    interval: tuple[float, float]
    confusion: npt.NDArray[np.int64]

    @property
    def patient_accuracy(self) -> float:
        """Share of the patients whose stage is right."""
        return sum(row.predicted == row.truth for row in self.patients) / len(self.patients)

    @property
    def slide_accuracy(self) -> float:
        """Share of the slides whose stage is right; NaN without slides."""
        if not self.slides:
            return float("nan")
        return sum(row.predicted == row.truth for row in self.slides) / len(self.slides)

    @property
    def scores(self) -> list[tuple[str, float, float, float, int]]:
        """Name, value, 95 % interval (NaN where there is none) and how many they are of."""
        none = float("nan")
        return [
            ("quadratic_kappa", self.kappa, *self.interval, len(self.patients)),
            ("patient_accuracy", self.patient_accuracy, none, none, len(self.patients)),
            ("slide_accuracy", self.slide_accuracy, none, none, len(self.slides)),
        ]


def write_stage_report(
    folder: Path, evaluation: StageEvaluation, title: str, facts: Sequence[tuple[str, str]]
) -> Path:
    """Write `scores.csv`, `patients.csv`, `slides.csv`, `confusion.csv` and the page; see `write_report`."""
    patients, slides = (
        [(kind, "predicted", "truth"), *map(astuple, rows)]
        for kind, rows in (("patient", evaluation.patients), ("slide", evaluation.slides))
    )
    confusion = [
        ("truth \\ prediction", *STAGES),
        *((stage, *counts) for stage, counts in zip(STAGES, evaluation.confusion.tolist(), strict=True)),
    ]
    scores = [(name, *map(cell, numbers), count) for name, *numbers, count in evaluation.scores]
    shown = [
        (name.replace("_", " "), number(value, low, high), f"{count:,}")
        for name, value, low, high, count in evaluation.scores
    ]
    wrong = [row for row in evaluation.patients if row.predicted != row.truth]
    body = [
        head(title, (*facts, ("patients", f"{len(evaluation.patients):,}"))),
        "<p class=note>Intervals: 95 %, from resampling patients. A dash is a score that is not defined.</p>",
        table(("score", "value", "of"), shown),
        "<h2>Patients</h2><p class=note>Rows are the truth, columns the prediction.</p><div class=wide>",
        table(
            tuple(map(escape, map(str, confusion[0]))),
            [tuple(map(escape, map(str, row))) for row in confusion[1:]],
        ),
        "</div><h2>Patients of a wrong stage</h2>",
        table(patients[0], [tuple(map(escape, astuple(row))) for row in wrong]) if wrong else "<p>None.</p>",
    ]
    return write_files(
        folder,
        {
            SCORES: csv_text([("score", "value", "low_95", "high_95", "of"), *scores]),
            "patients.csv": csv_text(patients),
            "slides.csv": csv_text(slides),
            CONFUSION: csv_text(confusion),
            PAGE: document(title, body),
        },
    )
