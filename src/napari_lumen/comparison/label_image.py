"""A label image as one side of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.ndimage import find_objects
from skimage.measure import label

from napari_lumen.comparison.source import Labels, Objects
from napari_lumen.comparison.whole_objects import Boxes
from napari_lumen.errors import AnnotationError
from napari_lumen.evaluation.matching import numbered
from napari_lumen.geometry import Grid, Window
from napari_lumen.inference.stored_picture import read_picture

IMAGE_SUFFIXES = (".png", ".tif", ".tiff", ".npy")


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
