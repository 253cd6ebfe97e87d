"""Outlines that cross themselves, repaired as they are read, and reported."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import shapely
from shapely import Polygon
from shapely.geometry.base import BaseGeometry

from napari_lumen.annotations.shapes import Annotation
from napari_lumen.errors import AnnotationError

_FARTHEST = 2.0**31  # px; far beyond, numbers are too coarse to tell what crosses what
_KINDS = ("points", "lines", "areas")  # by their dimensions
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Repair:
    """One thing in a file that could not be taken as it stood.

    Attributes
    ----------
    path : Path
        The file.
    index : int or None
        Which of the annotations that were read; None when it is among none of them.
    what : str
        One sentence for the user.
    """

    path: Path
    index: int | None
    what: str


OnRepair = Callable[[Repair], None]


def ring(points: Sequence[Sequence[float]] | npt.NDArray[np.float64]) -> Polygon:
    """Outline points, closing them; fewer than three give a polygon that `mended` makes a line or a point."""
    corners = np.asarray(points, np.float64)
    return Polygon(np.concatenate([corners, corners[[0]].repeat(max(0, 4 - len(corners)), axis=0)]))


def valid(geometry: BaseGeometry) -> BaseGeometry:
    """Return a geometry that neither crosses nor overlaps itself; valid ones as they are.

    What the pen went around stays inside, once or twice around alike, and holes stay holes: so no area is
    lost where an outline crosses itself. An outline that encloses nothing becomes the line or point it is.
    """
    if geometry.is_valid and geometry.geom_type != "GeometryCollection":
        return geometry
    if shapely.get_dimensions(geometry) == 2:
        outline = shapely.make_valid(geometry, method="structure", keep_collapsed=False)
        if not outline.is_empty:
            return _highest(outline)
    return _highest(shapely.make_valid(geometry))


def mended(annotations: Sequence[Annotation], path: Path, on_repair: OnRepair | None) -> list[Annotation]:
    """Return annotations whose geometries are flat, finite and valid.

    Parameters
    ----------
    annotations : sequence of Annotation
        As read.
    path : Path
        The file they were read from, for messages.
    on_repair : callable or None
        Told of every repair; without one their number goes to the log.

    Raises
    ------
    AnnotationError
        When a coordinate is no number, or too large for any slide.
    """
    found = list(annotations)
    repairs: list[Repair] = []
    for part in ("geometry", "nucleus"):
        numbers = [number for number, item in enumerate(found) if getattr(item, part) is not None]
        shapes = np.array([getattr(found[number], part) for number in numbers], object)
        coordinates, owner = shapely.get_coordinates(shapes, return_index=True)
        bad = ~(np.abs(coordinates) <= _FARTHEST).all(axis=1)
        if bad.any():
            said = " ".join(f"{value:g}" for value in coordinates[bad][0])
            raise AnnotationError(f"{path}: object {numbers[owner[bad][0]]} is on no slide, but at {said}.")
        deep = shapely.has_z(shapes)
        doubtful = ~shapely.is_valid(shapes) | (shapely.get_type_id(shapes) == 7)  # 7: a collection
        for place in np.flatnonzero(deep | doubtful):
            number = numbers[place]
            flat = shapely.force_2d(shapes[place])
            shape = valid(flat)
            found[number] = replace(found[number], **{part: shape})
            if doubtful[place]:
                repairs.append(Repair(path, number, _told(flat, shape, number)))
    report(repairs, path, on_repair)
    return found


def report(repairs: Sequence[Repair], path: Path, on_repair: OnRepair | None) -> None:
    """Tell of repairs: the one who asked, or else the log."""
    if on_repair is not None:
        for repair in repairs:
            on_repair(repair)
    elif repairs:
        _logger.warning("%s: %d repaired; the first: %s", path, len(repairs), repairs[0].what)


def _told(read: BaseGeometry, shape: BaseGeometry, number: int) -> str:
    if len({int(shapely.get_dimensions(part)) for part in shapely.get_parts(read)}) > 1:
        kept = _KINDS[shapely.get_dimensions(shape)]
        return f"Object {number} is a mixture: its {kept} were read, the rest was not."
    if shapely.get_dimensions(shape) < 2:
        return f"Object {number} encloses nothing: it was read as a {shape.geom_type}."
    if read.is_valid:
        return f"Object {number} is a collection of areas: they were read as one."
    return (
        f"The outline of object {number} crosses itself: it was repaired, with an area of {shape.area:.1f}."
    )


def _highest(geometry: BaseGeometry) -> BaseGeometry:
    """Keep of a mixture what has the most dimensions: beside areas, lines and points enclose nothing."""
    if geometry.geom_type != "GeometryCollection":
        return geometry
    parts = shapely.get_parts(geometry)
    highest = parts[shapely.get_dimensions(parts) == shapely.get_dimensions(geometry)]
    return shapely.union_all([valid(part) for part in highest]) if len(highest) else geometry
