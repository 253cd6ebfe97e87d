"""Outlines as one side of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio.features
import shapely

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.comparison.label_image import LabelImage
from napari_lumen.comparison.source import Labels, Source
from napari_lumen.comparison.whole_objects import Boxes
from napari_lumen.errors import AnnotationError
from napari_lumen.geometry import Grid, Window

_PACKED = ("", ".gz", ".zip")
OUTLINE_SUFFIXES = tuple(suffix + packed for suffix in (".geojson", ".json", ".xml") for packed in _PACKED)


@dataclass(frozen=True)
class Outlines:
    """Outlined objects, e.g. of a QuPath GeoJSON; where two overlap, the later one lies on top.

    Attributes
    ----------
    name : str
        Of the file, for messages.
    annotations : sequence of Annotation
    classes : ClassTable
    skipped : mapping of str to int
        Label values of classes that are not in the table: that of what does not count, or 0.
    """

    name: str
    annotations: Sequence[Annotation]
    classes: ClassTable
    skipped: Mapping[str, int] = field(default_factory=dict)

    @property
    def grid(self) -> None:
        """None: outlines have no pixels."""

    @property
    def bounds(self) -> tuple[float, float]:
        """Lower and right edge of all outlines, level-0 px."""
        _, _, right, bottom = self.box
        return (bottom, right)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, upper, right and lower edge of all outlines, level-0 px; zeros without any."""
        if not self._geometries:
            return (0.0, 0.0, 0.0, 0.0)
        left, top, right, bottom = map(float, shapely.total_bounds(self._geometries))
        return (left, top, right, bottom)

    def require_within(self, other: Source) -> None:
        """Make sure that no outline that counts lies outside of the pixels of the other side.

        Raises
        ------
        AnnotationError
            When one does: it would not count, or pixels are not those of level 0.
        """
        if other.grid is None:
            return
        region = other.grid.region
        counted = [item.geometry for item in self._areas if (item.class_name or "") not in self.skipped]
        outside = np.zeros(0, bool)
        if counted:
            shown = shapely.box(region.x, region.y, region.right, region.bottom)
            outside = ~shapely.intersects(counted, shown)
        if outside.any():
            left, top, *_ = map(round, shapely.bounds(counted)[outside][0])
            advice = "take them out"
            if isinstance(other, LabelImage):
                advice = "a label image must be of the slide's level-0 pixels; else take them out"
            count = int(np.count_nonzero(outside))
            raise AnnotationError(
                f"{self.name} has {count:,} outline{'s' if count > 1 else ''} beyond what they are compared "
                f"with, {region.width:g} x {region.height:g} px of level 0, one at x {left:,}, y {top:,}: "
                f"{advice}."
            )

    def labels(self, grid: Grid, window: Window) -> Labels:
        """Return the label values of the outlines in a window of a grid."""
        return self._painted(grid, window, self._values)

    def objects(self, grid: Grid, window: Window) -> Labels:
        """Return the numbers of the outlines in a window of a grid."""
        return self._painted(grid, window, np.arange(1, len(self._values) + 1))

    def boxes(self, grid: Grid) -> Boxes:
        """Return what says where outlines lie."""
        edges = np.array([shape.bounds for shape in self._geometries]).reshape(-1, 4)
        (y, x), (height, width) = grid.origin, grid.step
        left, top, right, bottom = ((edges - (x, y, x, y)) / (width, height, width, height)).T
        found = np.stack([np.floor(top), np.floor(left), np.ceil(bottom), np.ceil(right)], axis=1)
        return lambda asked: found.astype(np.int64)[np.asarray(asked, np.int64) - 1]

    def _painted(self, grid: Grid, window: Window, values: npt.NDArray[np.int64]) -> Labels:
        place = grid.region_of(window)
        shape = (window.height, window.width)
        near = np.sort(self._tree.query(shapely.box(place.x, place.y, place.right, place.bottom)))
        if not len(near):
            return np.zeros(shape, np.int32)
        transform = rasterio.Affine(grid.step[1], 0.0, place.x, 0.0, grid.step[0], place.y)
        shapes = [(self._geometries[index], int(values[index])) for index in near]
        return np.asarray(
            rasterio.features.rasterize(shapes, shape, fill=0, transform=transform, dtype=np.int32)
        )

    @cached_property
    def _areas(self) -> list[Annotation]:
        """What encloses anything; points and lines have no pixels."""
        return [item for item in self.annotations if item.geometry.geom_type in ("Polygon", "MultiPolygon")]

    @cached_property
    def _geometries(self) -> list[Any]:
        return [item.geometry for item in self._areas]

    @cached_property
    def _tree(self) -> shapely.STRtree:
        return shapely.STRtree(self._geometries)

    @cached_property
    def _values(self) -> npt.NDArray[np.int64]:
        return np.array([self._value(item) for item in self._areas], np.int64)

    def _value(self, item: Annotation) -> int:
        if item.class_name is None and len(self.classes) == 1:
            return next(iter(self.classes)).value
        name = item.class_name or ""
        if name in self.skipped:
            return self.skipped[name]
        try:
            return self.classes[name].value
        except KeyError:
            known = ", ".join(known.name for known in self.classes)
            raise AnnotationError(
                f"{self.name} has an outline of {f'the class {name!r}' if name else 'no class'}; there is "
                f"{known}. Say by --map which of these it counts as, or leave it out by --ignore-class."
            ) from None
