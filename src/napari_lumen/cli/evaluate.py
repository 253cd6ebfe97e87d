"""`napari-lumen evaluate masks`, which `evaluate` alone means: a run or label images against their truth."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_lumen.cli.region import RegionOption
from napari_lumen.cli.renamed import RenamedOption, renamed_classes

if TYPE_CHECKING:
    from napari_lumen.evaluation import Evaluation, Score

_BY_CLASS = ("dice", "panoptic_quality", "average_precision")
_IN_FILES_ONLY = ("_smoothed", "_as_published")


class ObjectsOption(StrEnum):
    """What the objects of label images are."""

    areas = "areas"
    numbers = "numbers"


def evaluate(
    predicted: Annotated[
        Path,
        typer.Argument(
            help="A run, a label image (PNG, TIFF, NPY), annotations (GeoJSON, XML), or a folder of them."
        ),
    ],
    truth: Annotated[
        Path, typer.Argument(help="The same, but no run; in a folder, files of the same names.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the report; an earlier one there is replaced.")],
    names: Annotated[
        list[str] | None,
        typer.Option("--class", metavar="VALUE=NAME", help="A class, e.g. 1=nucleus; once for each."),
    ] = None,
    ignore: Annotated[
        int | None, typer.Option(help="Label value in the truth of pixels that do not count, e.g. 255.")
    ] = None,
    ignore_class: Annotated[
        list[str] | None, typer.Option(help="Class of outlines that do not count, e.g. Ambiguous.")
    ] = None,
    objects: Annotated[
        ObjectsOption | None,
        typer.Option(
            help="Score objects too: connected areas of a class, or label images hold object numbers."
        ),
    ] = None,
    bach: Annotated[
        bool, typer.Option("--bach", help="Give BACH's score: 1 benign, 2 in situ, 3 invasive.")
    ] = False,
    probability: Annotated[
        Path | None,
        typer.Option(
            help="Folder of maps (NPY, TIFF; 0 to 1) named as the truth, for the curves; runs have them."
        ),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder of the images, named as the truth, to show the worst.")
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX",
            help="Part of the name that images of one patient share: the intervals resample patients then.",
        ),
    ] = None,
    region: RegionOption = None,
    corrected: Annotated[
        bool, typer.Option("--corrected", help="Score a run with what people have corrected in it.")
    ] = False,
    renamed: RenamedOption = None,
    tile: Annotated[
        int, typer.Option(min=64, help="Side of the tiles that a single large image is cut into, px.")
    ] = 2048,
    resamples: Annotated[int, typer.Option(min=1, help="Of the bootstrapped 95 % intervals.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of the resampling.")] = 0,
) -> None:
    """Score predictions against their truth; write tables (CSV) and one page (report.html)."""
    from napari_lumen.cli.console import results
    from napari_lumen.comparison import evaluate as compare
    from napari_lumen.evaluation.report import PAGE

    evaluation = compare(
        predicted,
        truth,
        out,
        classes=_classes(names or ()),
        ignore=ignore,
        ignored_classes=ignore_class or (),
        objects=None if objects is None else objects.value,
        bach=bach,
        probability=probability,
        images=images,
        group=None if group is None else _pattern(group),
        region=region,
        corrected=corrected,
        renamed=renamed_classes(renamed or ()),
        tile=tile,
        resamples=resamples,
        seed=seed,
    )
    console = results()
    console.print(_table(evaluation))
    console.print(f"Report: {out / PAGE}", soft_wrap=True, markup=False)


def _classes(texts: Sequence[str]) -> dict[int, str]:
    named = dict(map(_class, texts))
    if len(named) < len(texts):
        raise typer.BadParameter("a label value is named twice")
    return named


def _class(text: str) -> tuple[int, str]:
    value, separator, name = text.partition("=")
    if not (separator and name and value.strip().isdigit()):
        raise typer.BadParameter(f"{text!r} is not of the form VALUE=NAME, e.g. 1=nucleus")
    return int(value), name


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise typer.BadParameter(f"{text!r} is no regular expression: {error}") from error
    return text


def _table(evaluation: Evaluation) -> Any:
    """Return the scores over all classes, and the chief ones of each class; the files have all."""
    from rich.table import Table
    from rich.text import Text

    several = len(evaluation.classes) > 2
    shown: dict[tuple[str, str], dict[str, str]] = {}
    for score in evaluation.scores:
        of_class = any(score.class_name == item.name for item in evaluation.classes)
        if score.name.endswith(_IN_FILES_ONLY) or (several and of_class and score.name not in _BY_CLASS):
            continue
        shown.setdefault((score.name, score.class_name), {})[score.over] = _number(score)
    table = Table("score", "class", "pooled", "mean of images", box=None, padding=(0, 2, 0, 0))
    for (name, class_name), values in shown.items():
        cells = (
            name.replace("_", " "),
            class_name,
            values.get("pooled", ""),
            values.get("mean of images", ""),
        )
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _number(score: Score) -> str:
    if isnan(score.value):
        return "-"
    return f"{score.value:.4f}" + ("" if isnan(score.low) else f"  {score.low:.2f}–{score.high:.2f}")
