"""What can stand on either side of an evaluation: a label image, outlines, or a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import rasterio.features
import shapely
from scipy.ndimage import find_objects
from skimage.measure import label

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.comparison.whole_objects import Boxes
from napari_lumen.errors import AnnotationError
from napari_lumen.evaluation.matching import numbered
from napari_lumen.geometry import Grid, Window
from napari_lumen.inference import Run
from napari_lumen.inference.corrected import corrected_labels
from napari_lumen.inference.stored_picture import read_picture

Labels = npt.NDArray[Any]
Objects = Literal["areas", "numbers"]
IMAGE_SUFFIXES = (".png", ".tif", ".tiff", ".npy")
_PACKED = ("", ".gz", ".zip")
OUTLINE_SUFFIXES = tuple(suffix + packed for suffix in (".geojson", ".json", ".xml") for packed in _PACKED)


class Source(Protocol):
    """One side of an evaluation."""

    @property
    def grid(self) -> Grid | None:
        """Its own pixels, or None where it has none and takes those of the other side."""

    def labels(self, grid: Grid, window: Window) -> Labels:
        """Return the label values (h, w) in a window of a grid."""

    def objects(self, grid: Grid, window: Window) -> Labels:
        """Return the numbers of the objects (h, w) in a window of a grid, 0 outside."""

    def boxes(self, grid: Grid) -> Boxes | None:
        """Return what says where objects lie; None where their numbers mean something in one window only."""


@dataclass(frozen=True)
class LabelImage:
    """An image of label values or of object numbers.

    Attributes
    ----------
    path : Path
        PNG, TIFF or NPY.
    holds : {"areas", "numbers"}
        ``areas``: label values, whose connected areas are the objects; ``numbers``: object numbers, all of
        the class 1.
    ignore : int or None
        Label value of what does not count, in an image of object numbers too.
    renumbered : mapping of int to int
        Label values that stand for others.
    """

    path: Path
    holds: Objects = "areas"
    ignore: int | None = None
    renumbered: Mapping[int, int] = field(default_factory=dict)

    @cached_property
    def array(self) -> Labels:
        """Its pixels, (h, w) of integers."""
        return read_label_image(self.path)

    @property
    def grid(self) -> Grid:
        """A pixel a level-0 pixel."""
        return Grid((self.array.shape[0], self.array.shape[1]), (1.0, 1.0))

    def labels(self, grid: Grid, window: Window) -> Labels:
        """Return the label values in a window; object numbers are of class 1."""
        values = self._cut(grid, window)
        if self.holds == "areas":
            return self._renumbered(values)
        labels = (values > 0).astype(np.int64)
        if self.ignore is not None:
            labels[values == self.ignore] = self.ignore
        return labels

    def objects(self, grid: Grid, window: Window) -> Labels:
        """Return the numbers of the objects in a window."""
        values = self._cut(grid, window)
        return values if self.holds == "numbers" else connected_areas(self._renumbered(values))

    def boxes(self, grid: Grid) -> Boxes | None:
        """Return what says where numbered objects lie."""
        if self.holds == "areas":
            return None
        numbers, flat = numbered(self.array)
        found = find_objects(flat.reshape(self.array.shape))
        edges = np.array([[*(part.start for part in box), *(part.stop for part in box)] for box in found])
        return lambda asked: edges.reshape(-1, 4)[np.searchsorted(numbers, asked)]

    def _renumbered(self, values: Labels) -> Labels:
        if not self.renumbered:
            return values
        changed = values.astype(np.int64)
        for before, after in self.renumbered.items():
            changed[values == before] = after
        return changed

    def _cut(self, grid: Grid, window: Window) -> Labels:
        if self.array.shape != grid.shape:
            raise AnnotationError(
                f"{self.path} is of {self.array.shape[1]} x {self.array.shape[0]} px, what it is compared "
                f"with of {grid.shape[1]} x {grid.shape[0]} px: they must be of the same pixels."
            )
        return self.array[window.slices]


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


@dataclass(frozen=True)
class RunLabels:
    """What a run found.

    Attributes
    ----------
    run : Run
    classes : ClassTable
        Its classes, under the names that they have in the truth.
    corrected : bool
        Whether what people have corrected lies over it.
    """

    run: Run
    classes: ClassTable
    corrected: bool = False

    @property
    def grid(self) -> Grid:
        """The pixels of its labels on the slide."""
        return self.run.grid(self.run.labels)

    def labels(self, grid: Grid, window: Window) -> Labels:
        """Return the label values in a window."""
        return np.asarray(self._finest[window.slices])

    def objects(self, grid: Grid, window: Window) -> Labels:
        """Return the objects of the run's own table where it has one, else, or corrected, connected areas."""
        if self.corrected or self._outlines is None:
            return connected_areas(self.labels(grid, window))
        return self._outlines.objects(grid, window)

    def boxes(self, grid: Grid) -> Boxes | None:
        """Return what says where the objects of the table lie."""
        return None if self.corrected or self._outlines is None else self._outlines.boxes(grid)

    def probability(self, window: Window) -> dict[str, Labels]:
        """Return the probabilities (h, w), in [0, 1], of the classes that have one at the labels' pixels."""
        own = self.run.record.classes
        return {
            self.classes[own[raster.name].value].name: np.asarray(self.run.levels(raster)[0][window.slices])
            for raster in self.run.record.rasters
            if raster.kind == "probability" and self.run.grid(raster) == self.grid
        }

    @cached_property
    def _finest(self) -> Any:
        if self.corrected:
            return corrected_labels(self.run).levels[0]
        return self.run.levels(self.run.labels)[0]

    @cached_property
    def _outlines(self) -> Outlines | None:
        if not any(file.kind == "objects" for file in self.run.record.files):
            return None
        table = self.run.objects(["class", "outline"])
        geometries = shapely.from_wkb(table["outline"].to_numpy())
        found = [Annotation(outline, of) for outline, of in zip(geometries, table["class"], strict=True)]
        return Outlines(self.run.path.name, found, self.run.record.classes)


def connected_areas(labels: Labels) -> Labels:
    """Number the connected areas (8 neighbours) of equal value, 0 staying background."""
    return np.asarray(label(labels, background=0, connectivity=2))


def read_label_image(path: Path) -> Labels:
    """Read an image (h, w) of integers.

    Raises
    ------
    AnnotationError
        When it cannot be read, or is not of one channel of whole numbers.
    """
    array = read_array(path)
    array = array.astype(np.uint8) if array.dtype == np.bool_ else array
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.integer):
        raise AnnotationError(
            f"{path} holds {array.dtype} of the shape {array.shape}; a label image has one channel of whole "
            "numbers."
        )
    return array


def read_array(path: Path) -> Labels:
    """Read a PNG (of a palette: its indices), TIFF or NPY as it is."""
    try:
        if path.suffix.lower() == ".npy":
            return np.asarray(np.load(path, allow_pickle=False))
        return read_picture(path).values
    except (OSError, ValueError, EOFError) as error:
        raise AnnotationError(f"Cannot read {path}: {error}.") from error
