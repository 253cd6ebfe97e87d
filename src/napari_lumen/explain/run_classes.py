"""Of which class places of a run are, by its labels."""

from __future__ import annotations

import numpy as np

from napari_lumen.annotations.classes import Color
from napari_lumen.explain.stored_levels import StoredLevels, grids_of
from napari_lumen.geometry import Region
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
        self._grids = grids_of(labels)
        self._levels = StoredLevels(run.path / labels.path)

    def color(self, name: str | None) -> Color | None:
        """Return the colour of a class; None of no class, or one that the run does not know."""
        return None if name is None else self._colors.get(name)

    def most(self, region: Region) -> str | None:
        """Return the class of most labels in a region; None of background alone.

        Raises
        ------
        RunError
            When the labels are damaged.
        """
        level = 0
        while level + 1 < len(self._grids) and region.height / self._grids[level].step[0] > _LOOKED_AT:
            level += 1
        values = self._levels.read("classes", level, self._grids[level].window_of(region))
        counts = np.bincount(values.ravel(), minlength=1)
        counts[0] = 0
        found = self._classes.get(int(counts.argmax())) if counts.any() else None
        return None if found is None else found.name
