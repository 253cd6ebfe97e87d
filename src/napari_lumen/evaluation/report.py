"""The files of an evaluation: three tables as CSV and the page."""

from __future__ import annotations

import csv
import io
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_lumen.errors import LumenError
from napari_lumen.evaluation.evaluate import Evaluation
from napari_lumen.evaluation.page import page

PAGE, SCORES, IMAGES, CONFUSION = "report.html", "scores.csv", "images.csv", "confusion.csv"


def write_report(
    folder: str | os.PathLike[str],
    evaluation: Evaluation,
    title: str,
    facts: Sequence[tuple[str, str]] = (),
) -> Path:
    """Write an evaluation into a folder, in place of an earlier one there.

    `scores.csv` has a row a score with its interval, `images.csv` a row an image, `confusion.csv` the pixels
    of the matrix, `report.html` all of it to read. Scores that are not defined are empty cells. Every file
    appears when it is whole.

    Parameters
    ----------
    folder : path
        Made where it is not there.
    evaluation : Evaluation
    title : str
    facts : sequence of (str, str)
        For the head of the page.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    LumenError
        When a file cannot be written.
    """
    return write_files(
        Path(folder),
        {
            SCORES: csv_text(_score_rows(evaluation)),
            IMAGES: csv_text(_image_rows(evaluation)),
            CONFUSION: csv_text(_confusion_rows(evaluation)),
            PAGE: page(evaluation, title, facts),
        },
    )


def write_files(folder: Path, texts: Mapping[str, str]) -> Path:
    """Write the files of a report, each by its name, and return the page.

    Raises
    ------
    LumenError
        When a file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            _write(folder / name, text)
    except OSError as error:
        raise LumenError(f"Cannot write the report into {folder}: {error.strerror or error}.") from error
    return folder / PAGE


def _score_rows(evaluation: Evaluation) -> Iterable[Sequence[Any]]:
    yield "score", "class", "over", "value", "low_95", "high_95", "images"
    for score in evaluation.scores:
        numbers = map(cell, (score.value, score.low, score.high))
        yield score.name, score.class_name, score.over, *numbers, score.images


def _image_rows(evaluation: Evaluation) -> Iterable[Sequence[Any]]:
    yield "image", *(f"{name} ({of})" for name, of in evaluation.by_image)
    for index, name in enumerate(evaluation.names):
        yield name, *(cell(values[index]) for values in evaluation.by_image.values())


def _confusion_rows(evaluation: Evaluation) -> Iterable[Sequence[Any]]:
    names = [item.name for item in evaluation.classes]
    yield "truth \\ prediction", *names
    for name, counts in zip(names, evaluation.confusion, strict=True):
        yield name, *counts


def cell(value: float) -> str:
    """Return a score for a table; empty where it is not defined."""
    return "" if np.isnan(value) else f"{value:.6g}"


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """Return rows as CSV."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _write(path: Path, text: str) -> None:
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            file.write(text.encode())
        temporary.chmod(0o644)
        temporary.replace(path)
        temporary = None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
