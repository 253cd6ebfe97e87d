"""A run over one slide against what people have drawn: the scores, and where it is wrong."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from napari_lumen.comparison.asked import Drawn, Wanted
from napari_lumen.comparison.error_map import ErrorMap, WrongPlace
from napari_lumen.comparison.evaluate import headed
from napari_lumen.comparison.pairs import Comparison, compare
from napari_lumen.comparison.source import Objects
from napari_lumen.errors import AnnotationError, Cancelled
from napari_lumen.evaluation import Evaluation, ImagePair, write_report
from napari_lumen.evaluation import evaluate as score
from napari_lumen.geometry import Region
from napari_lumen.inference import Run


@dataclass(frozen=True, eq=False)
class SlideEvaluation:
    """What came of a run against its truth.

    Attributes
    ----------
    run : Run
    evaluation : Evaluation
    errors : ErrorMap
    places : tuple of WrongPlace
        The worst first.
    title : str
    facts : list of (str, str)
        What the head of a report says.
    """

    run: Run
    evaluation: Evaluation
    errors: ErrorMap
    places: tuple[WrongPlace, ...]
    title: str
    facts: list[tuple[str, str]]

    def write(self, folder: str | os.PathLike[str]) -> Path:
        """Write the report, as `napari-lumen evaluate` does, and return its page.

        Raises
        ------
        LumenError
            When it cannot be written.
        """
        return write_report(Path(folder), self.evaluation, self.title, self.facts)


def evaluate_slide(
    run: str | os.PathLike[str],
    truth: str | os.PathLike[str] | Drawn,
    *,
    corrected: bool = False,
    ignored_classes: Sequence[str] = (),
    objects: Objects | None = None,
    region: Region | None = None,
    renamed: Mapping[str, str] | None = None,
    tile: int = 2048,
    resamples: int = 1000,
    seed: int = 0,
    on_progress: Callable[[float], None] = lambda share: None,
    cancel: Event | None = None,
) -> SlideEvaluation:
    """Score a run and find out where on its slide it is wrong.

    The scores are those of `napari_lumen.evaluate`, which explains the parameters that are not named here.

    Parameters
    ----------
    run : path
        Folder of a finished run that holds labels.
    truth : path or Drawn
        Of the same slide.
    on_progress : callable, optional
        Takes how much is done, 0 to 1.
    cancel : threading.Event, optional
        Looked at between two tiles.

    Raises
    ------
    Cancelled
    AnnotationError
        When the truth cannot be read, or its classes do not fit.
    RunError
        When the run holds no labels, or no corrections where they are wanted.
    """
    predicted = Path(run)
    opened = Run.open(predicted)
    there = truth if isinstance(truth, Drawn) else Path(truth)
    wanted = Wanted(
        ignored_names=ignored_classes,
        objects=objects,
        tile=tile,
        region=region,
        corrected=corrected,
        renamed=renamed or {},
    )
    found = compare(predicted, there, wanted)
    raster = opened.labels
    errors = ErrorMap(Run.grid(raster), len(raster.shapes), opened.record.mpp)
    try:
        evaluation = score(
            _watched(found, errors, on_progress, cancel),
            found.classes,
            ignore=found.ignore,
            resamples=resamples,
            seed=seed,
        )
    except ValueError as error:
        raise AnnotationError(f"{predicted} cannot be scored against {there}: {error}.") from error
    errors.finish(cancel)
    title, facts = headed(predicted, there, wanted)
    return SlideEvaluation(opened, evaluation, errors, errors.worst(found.classes), title, facts)


def _watched(
    found: Comparison, errors: ErrorMap, on_progress: Callable[[float], None], cancel: Event | None
) -> Iterator[ImagePair]:
    """Yield the pairs, each noted in the map before it is counted."""
    for index, pair in enumerate(found.pairs):
        if cancel is not None and cancel.is_set():
            raise Cancelled("The evaluation was cancelled; nothing was kept.")
        errors.add(pair, found.ignore)
        yield pair
        on_progress((index + 1) / max(1, found.count))
