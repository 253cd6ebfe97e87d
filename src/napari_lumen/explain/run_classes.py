"""Of which class places of a run are, by its labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import zarr

from napari_lumen.annotations.classes import Color
from napari_lumen.geometry import Grid, Region
from napari_lumen.inference.run import Run

_LOOKED_AT = 64  # labels along a side of a place, to tell its class


class RunClasses:
    """Of which class places of a run are.

    Parameters
    ----------
    run : Run
    """

    def __init__(self, run: Run) -> None:
        self._classes = {item.value: item for item in run.record.classes}
        self._colors = {item.name: item.color for item in run.record.classes}
        labels = run.labels
        finest = Run.grid(labels)
        self._grids = [
            Grid(shape, (finest.step[0] * 2**level, finest.step[1] * 2**level), finest.origin)
            for level, shape in enumerate(labels.shapes)
        ]
        self._folder = run.path / labels.path
        self._arrays: dict[int, Any] = {}

    def color(self, name: str | None) -> Color | None:
        """Return the colour of a class; None of no class, or one that the run does not know."""
        return None if name is None else self._colors.get(name)

    def most(self, region: Region) -> str | None:
        """Return the class of most labels in a region; None of background alone."""
        level = 0
        while level + 1 < len(self._grids) and region.height / self._grids[level].step[0] > _LOOKED_AT:
            level += 1
        if level not in self._arrays:
            self._arrays[level] = zarr.open_array(str(self._folder / str(level)), mode="r")
        values = np.asarray(self._arrays[level][self._grids[level].window_of(region).slices])
        counts = np.bincount(values.ravel(), minlength=1)
        counts[0] = 0
        found = self._classes.get(int(counts.argmax())) if counts.any() else None
        return None if found is None else found.name
