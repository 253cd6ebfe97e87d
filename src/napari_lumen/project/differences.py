"""Where two people have drawn something else on a slide: a map, and the places where most of it lies."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import numpy as np

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.annotations.formats import write_annotations
from napari_lumen.annotations.omezarr import write_labels_over
from napari_lumen.annotations.polygonise import polygonise
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.comparison.error_map import ErrorMap, WrongPlace
from napari_lumen.errors import Cancelled, ProjectError
from napari_lumen.evaluation import ImagePair
from napari_lumen.evaluation.errors import CONFUSED, FALSE, MISSED
from napari_lumen.geometry import Pair
from napari_lumen.project.agreement import Agreement, Sides

_COARSEST = 2048  # px a side, which napari reads whole
_FIRST, _SECOND, _OTHER = (0, 80, 255), (202, 0, 32), (230, 145, 0)  # as of the errors of a run


@dataclass(frozen=True, eq=False)
class Differences:
    """What two people have drawn differently on one slide.

    Attributes
    ----------
    agreement : Agreement
        How far they agree.
    kinds : ClassTable
        Values of the map: drawn by the first only, by the second only, or of different classes.
    map : ErrorMap
        On the pixels that were compared; 0 where they agree.
    places : tuple of WrongPlace
        The fields with most of it first; `truth` is the class of the first, `predicted` of the second.
    mpp : (float, float)
        µm per level-0 pixel.
    shape : (int, int)
        Of the slide, level-0 px.
    """

    agreement: Agreement
    kinds: ClassTable
    map: ErrorMap
    places: tuple[WrongPlace, ...]
    mpp: Pair
    shape: tuple[int, int]

    def outlines(self) -> list[Annotation]:
        """Return the areas where they differ along pixel edges, in level-0 pixels (x, y)."""
        grid = self.map.grid
        values = np.asarray(self.map.levels[0])
        names = {item.value: item for item in self.kinds}
        return [
            Annotation(outline, names[value].name, names[value].color)
            for value, outline in polygonise(values, origin=grid.origin, step=grid.step)
        ]

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the areas as annotations, or as OME-Zarr labels over the whole slide where the name says so.

        Raises
        ------
        ProjectError
            When they differ nowhere.
        AnnotationError
            When the file cannot be written.
        """
        place, found = Path(path).expanduser(), self.outlines()
        if not found:
            raise ProjectError(f"They differ nowhere, so {place} was not written.")
        if place.suffix.lower() != ".zarr":
            write_annotations(place, found)
            return
        write_labels_over(place, found, self.shape, self.mpp, self.kinds)


def differences(
    first: Sequence[Annotation],
    second: Sequence[Annotation],
    *,
    names: tuple[str, str],
    mpp: Pair,
    shape: tuple[int, int],
    classes: ClassTable | None = None,
    on_progress: Callable[[float], None] = lambda share: None,
    cancel: Event | None = None,
) -> Differences:
    """Compare what two people have drawn on one slide, and keep where it differs.

    Parameters
    ----------
    first, second, classes
        As of `agreement`.
    names : (str, str)
        Of the two people.
    mpp : (float, float)
        µm per level-0 pixel.
    shape : (int, int)
        Of the slide, level-0 px.
    on_progress : callable, optional
        Takes how much is done, 0 to 1.
    cancel : threading.Event, optional
        Looked at between two tiles.

    Raises
    ------
    ProjectError
        When neither has outlined an area, or there are too many classes.
    Cancelled
    """
    sides = Sides.of(first, second, classes)
    grid, levels = sides.grid, 1
    while max(grid.coarsened(2 ** (levels - 1)).shape) > _COARSEST:
        levels += 1
    found = ErrorMap(grid, levels, mpp)
    confusion, done = sides.empty(), 0
    for window, one, other in sides.tiles():
        if cancel is not None and cancel.is_set():
            raise Cancelled("The comparison was cancelled; nothing was kept.")
        found.add(ImagePair("", other, one, region=grid.region_of(window)), None)
        confusion += sides.count(one, other)
        done += window.height * window.width
        on_progress(done / (grid.shape[0] * grid.shape[1]))
    found.finish(cancel)
    kinds = ClassTable.of(
        [
            (MISSED, f"only {names[0]}", _FIRST),
            (FALSE, f"only {names[1]}", _SECOND),
            (CONFUSED, "different classes", _OTHER),
        ]
    )
    places = found.worst(sides.classes)
    return Differences(sides.agreement(confusion), kinds, found, places, mpp, shape)
