"""Score a run, label images or outlines against their truth."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from napari_lumen.annotations.shapes import Annotation
from napari_lumen.comparison.asked import Drawn, Wanted
from napari_lumen.comparison.pairs import compare
from napari_lumen.comparison.source import Objects
from napari_lumen.errors import AnnotationError, some_of
from napari_lumen.evaluation import Evaluation, write_report
from napari_lumen.evaluation import evaluate as score
from napari_lumen.geometry import Region

_DRAWN = "annotations"


def evaluate(
    predicted: str | os.PathLike[str],
    truth: str | os.PathLike[str] | Sequence[Annotation],
    out: str | os.PathLike[str] | None = None,
    *,
    classes: Mapping[int, str] | None = None,
    ignore: int | None = None,
    ignored_classes: Sequence[str] = (),
    objects: Objects | None = None,
    bach: bool = False,
    probability: str | os.PathLike[str] | None = None,
    images: str | os.PathLike[str] | None = None,
    group: str | None = None,
    region: Region | None = None,
    corrected: bool = False,
    renamed: Mapping[str, str] | None = None,
    tile: int = 2048,
    resamples: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Score predictions against their truth; the same as ``napari-lumen evaluate``.

    Parameters
    ----------
    predicted : path
        A run, a label image (PNG, TIFF, NPY), a file of annotations, or a folder of such files.
    truth : path or sequence of Annotation
        The same, but no run; in a folder, files of the same names. Outlines named `Region*` say where
        everything was annotated: nothing else counts then. `Ignore*` does not count, `Background` is none
        of the classes; as in training.
    out : path, optional
        Folder for tables (CSV) and one page, `report.html`; an earlier report there is replaced.
    classes : mapping of int to str, optional
        Names of the label values, where the files do not tell them.
    ignore : int, optional
        Label value in the truth of pixels that do not count.
    ignored_classes : sequence of str
        Classes of outlines that do not count.
    objects : {"areas", "numbers"}, optional
        Score objects too: connected areas of a class, or label images hold object numbers. They are whole and
        counted once, however a slide is cut into tiles.
    bach : bool
        Give BACH's score: the classes are 1 benign, 2 in situ and 3 invasive.
    probability : path, optional
        Folder of maps (NPY, TIFF; 0 to 1) named as the truth, for the curves; runs have them.
    images : path, optional
        Folder of the images, named as the truth, to show the worst.
    group : str, optional
        Regular expression for the part of a name that images of one patient share; the intervals resample
        patients then.
    region : Region, optional
        Part of the slide, level-0 px.
    corrected : bool
        Score a run with what people have corrected in it. Its objects are the connected areas then.
    renamed : mapping of str to str, optional
        Classes of the truth with the names that they have in the prediction, such as ``{"Tumor": "tumour"}``;
        several may have the same, ``Ignore*`` takes one out of the count, and ``""`` stands for outlines
        without a class. Values of a label image are named by their digits.
    tile : int
        Side of the tiles that a single large image is cut into, px.
    resamples, seed : int
        Of the bootstrapped 95 % intervals.

    Returns
    -------
    Evaluation

    Warns
    -----
    UserWarning
        When predictions have no truth and are left out.

    Raises
    ------
    AnnotationError
        When a truth has no prediction, a file cannot be read, sizes or classes do not fit, outlines lie
        beyond the other side, or a class that is renamed is not there.
    RunError
        When a run holds no labels, or no corrections where they are wanted.
    """
    predicted = Path(predicted)
    there = Path(truth) if isinstance(truth, str | os.PathLike) else Drawn(_DRAWN, truth)
    wanted = Wanted(
        names=classes or {},
        ignore=ignore,
        ignored_names=ignored_classes,
        objects=objects,
        images=None if images is None else Path(images),
        probability=None if probability is None else Path(probability),
        group=None if group is None else _pattern(group),
        tile=tile,
        region=region,
        corrected=corrected,
        renamed=renamed or {},
    )
    found = compare(predicted, there, wanted)
    try:
        evaluation = score(
            found.pairs, found.classes, ignore=found.ignore, bach=bach, resamples=resamples, seed=seed
        )
    except ValueError as error:
        raise AnnotationError(f"{predicted} cannot be scored against {there}: {error}.") from error
    if found.left_out:
        warnings.warn(
            f"{len(found.left_out):,} predictions have no truth and are left out: {some_of(found.left_out)}",
            stacklevel=2,
        )
    if out is not None:
        write_report(Path(out), evaluation, *headed(predicted, there, wanted))
    return evaluation


def headed(predicted: Path, truth: Path | Drawn, wanted: Wanted) -> tuple[str, list[tuple[str, str]]]:
    """Return the title of a report, and the facts at its head."""
    facts = [("prediction", str(predicted)), ("truth", str(truth)), *_asked(wanted)]
    return f"{predicted.name} against {truth.name}", facts


def _asked(wanted: Wanted) -> Iterator[tuple[str, str]]:
    """Yield what of the request changes the numbers."""
    if wanted.corrected:
        yield "corrections", "laid over the run"
    if wanted.ignore is not None:
        yield "label value that does not count", str(wanted.ignore)
    if wanted.ignored_names:
        yield "classes that do not count", ", ".join(wanted.ignored_names)
    if wanted.renamed:
        pairs = (f"{name or 'no class'} as {target}" for name, target in wanted.renamed.items())
        yield "classes of the truth that count as others", ", ".join(pairs)
    if wanted.objects:
        yield "objects", wanted.objects
    if wanted.group:
        yield "images belong together by", wanted.group.pattern
    if wanted.region:
        area = wanted.region
        yield "region (y, x, height, width)", f"{area.y:g}, {area.x:g}, {area.height:g}, {area.width:g}"


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise AnnotationError(f"{text!r} is no regular expression: {error}.") from error
