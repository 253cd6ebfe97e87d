"""A run as one side of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import shapely

from napari_lumen.annotations.classes import ClassTable
from napari_lumen.annotations.shapes import Annotation
from napari_lumen.comparison.label_image import connected_areas
from napari_lumen.comparison.outlines import Outlines
from napari_lumen.comparison.source import Labels
from napari_lumen.comparison.whole_objects import Boxes
from napari_lumen.geometry import Grid, Window
from napari_lumen.inference import Run
from napari_lumen.inference.corrected import corrected_labels


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
