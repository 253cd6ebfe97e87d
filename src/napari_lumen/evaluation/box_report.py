"""What comes out of an evaluation of boxes, and its files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from napari_lumen.evaluation.boxes import is_covered
from napari_lumen.evaluation.defined import mean
from napari_lumen.evaluation.page import document, head, number, table
from napari_lumen.evaluation.report import PAGE, SCORES, cell, csv_text, write_files


@dataclass(frozen=True, slots=True)
class BoxRow:
    """One box.

    Attributes
    ----------
    image : str
    top, left, bottom, right : float
        Its edges, level-0 px.
    share : float
        Which share of it lies in the map, in [0, 1].
    """

    image: str
    top: float
    left: float
    bottom: float
    right: float
    share: float

    @property
    def covered(self) -> bool:
        """Whether that is at least half."""
        return bool(is_covered(np.array(self.share)))


def coverage_of(rows: Sequence[BoxRow]) -> float:
    """Return the share of boxes that are covered; NaN without boxes."""
    return float(mean(np.array([row.covered for row in rows], np.float64)))


@dataclass(frozen=True, slots=True)
class BoxEvaluation:
    """What came out.

    Attributes
    ----------
    boxes : tuple of BoxRow
    interval : (float, float)
        95 %, over images.
    threshold : float
        Above it a pixel is in the map.
    absolute : bool
        Whether it is a value of the map; else a share of its range.
    """

    boxes: tuple[BoxRow, ...]
    interval: tuple[float, float]
    threshold: float
    absolute: bool

    @property
    def coverage(self) -> float:
        """Share of the boxes of which at least half lies in the map."""
        return coverage_of(self.boxes)


def write_box_report(
    folder: Path, evaluation: BoxEvaluation, title: str, facts: Sequence[tuple[str, str]]
) -> Path:
    """Write `scores.csv`, `boxes.csv` and the page; see `write_report`."""
    of = "of the map's values" if evaluation.absolute else "of the range of each map"
    count = len(evaluation.boxes)
    numbers = map(cell, (evaluation.coverage, *evaluation.interval))
    head_row = ("image", "top", "left", "bottom", "right", "share", "covered")
    rows = [
        (*(f"{value:g}" for value in (row.top, row.left, row.bottom, row.right)), cell(row.share))
        for row in evaluation.boxes
    ]
    listed = [
        (row.image, *numbers_of, str(int(row.covered)))
        for row, numbers_of in zip(evaluation.boxes, rows, strict=True)
    ]
    body = [
        head(title, (*facts, ("threshold", f"{evaluation.threshold:g} {of}"), ("boxes", f"{count:,}"))),
        "<p class=note>A box is covered when at least half of it lies in the map. Interval: 95 %, from "
        "resampling images. Edges are in pixels of the slide or image.</p>",
        table(("score", "value"), [("covered boxes", number(evaluation.coverage, *evaluation.interval))]),
        "<h2>Boxes, the least covered first</h2><div class=wide>",
        table(head_row, [tuple(map(escape, row)) for row in sorted(listed, key=lambda row: float(row[5]))]),
        "</div>",
    ]
    scores = [("score", "value", "low_95", "high_95", "boxes"), ("box_coverage", *numbers, count)]
    return write_files(
        folder,
        {
            SCORES: csv_text(scores),
            "boxes.csv": csv_text([head_row, *listed]),
            PAGE: document(title, body),
        },
    )
