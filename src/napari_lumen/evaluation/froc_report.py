"""What comes out of a FROC evaluation, and its files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from html import escape
from pathlib import Path
from typing import Any

from napari_lumen.evaluation.charts import froc_chart
from napari_lumen.evaluation.froc import FALSE_POSITIVES, LOOKUPS, Froc, LookUp
from napari_lumen.evaluation.page import document, head, number, table
from napari_lumen.evaluation.report import PAGE, SCORES, cell, csv_text, write_files

_SAYS: Mapping[LookUp, str] = {
    "bisect": "the first point with at least as many false positives (the organisers' present program)",
    "nearest": "the point whose false positives are closest",
    "interpolated": "along the line between neighbours (NCRF, MONAI; these lose the lowest "
    "probability where no lesion is missed)",
}


@dataclass(frozen=True, slots=True)
class SlideRow:
    """What came of one slide.

    Attributes
    ----------
    slide : str
    lesions : int
        That are to be found.
    isolated : int
        Lesions of isolated tumour cells, on which hits count neither way.
    detections, found, false : int
        Detections, lesions that one of them hit, and detections outside all lesions.
    """

    slide: str
    lesions: int
    isolated: int
    detections: int
    found: int
    false: int


@dataclass(frozen=True, slots=True)
class FrocEvaluation:
    """What came out.

    Attributes
    ----------
    slides : tuple of SlideRow
    curve : Froc
    intervals : mapping of str to (float, float)
        95 % interval of the score by look-up, over slides.
    """

    slides: tuple[SlideRow, ...]
    curve: Froc
    intervals: Mapping[LookUp, tuple[float, float]]


def write_froc_report(
    folder: Path, evaluation: FrocEvaluation, title: str, facts: Sequence[tuple[str, str]]
) -> Path:
    """Write `scores.csv` (a row a look-up), `curve.csv`, `slides.csv` and the page; see `write_report`."""
    curve = evaluation.curve
    return write_files(
        folder,
        {
            SCORES: csv_text(_score_rows(evaluation)),
            "curve.csv": csv_text(
                [
                    ("false_positives", "sensitivity"),
                    *zip(map(cell, curve.false_positives), map(cell, curve.sensitivity), strict=True),
                ]
            ),
            "slides.csv": csv_text(_slide_rows(evaluation)),
            PAGE: _page(evaluation, title, facts),
        },
    )


def _score_rows(evaluation: FrocEvaluation) -> Iterable[Sequence[Any]]:
    yield "look_up", "score", "low_95", "high_95", *(f"at_{value:g}" for value in FALSE_POSITIVES)
    for lookup in LOOKUPS:
        numbers = evaluation.curve.score(lookup), *evaluation.intervals[lookup], *evaluation.curve.at(lookup)
        yield lookup, *map(cell, numbers)


def _slide_rows(evaluation: FrocEvaluation) -> Iterable[Sequence[Any]]:
    yield "slide", "lesions", "isolated", "detections", "found", "false"
    yield from map(astuple, evaluation.slides)


def _page(evaluation: FrocEvaluation, title: str, facts: Sequence[tuple[str, str]]) -> str:
    curve = evaluation.curve
    scores = [
        (
            f"{lookup}: {_SAYS[lookup]}",
            number(curve.score(lookup), *evaluation.intervals[lookup]),
            *map(number, curve.at(lookup)),
        )
        for lookup in LOOKUPS
    ]
    columns, *rows = _slide_rows(evaluation)
    slides = [(escape(str(row[0])), *(f"{value:,}" for value in row[1:])) for row in rows]
    note = (
        "The score is the mean sensitivity at 0.25, 0.5, 1, 2, 4 and 8 false positives a slide. Published "
        "programs read the curve in several ways. Intervals: 95 %, from resampling slides. Isolated tumour "
        "cells count neither way. A dash is a score that is not defined."
    )
    return document(
        title,
        [
            head(title, (*facts, ("slides", f"{len(evaluation.slides):,}"))),
            f"<p class=note>{note}</p><div class=wide>",
            table(("look-up", "score", *(f"at {value:g}" for value in FALSE_POSITIVES)), scores),
            "</div><h2>Curve</h2>",
            froc_chart(curve.false_positives, curve.sensitivity, FALSE_POSITIVES[-1]),
            "<h2>Slides</h2><div class=wide>",
            table(columns, slides),
            "</div>",
        ],
    )
