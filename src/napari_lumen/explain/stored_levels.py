"""The levels of a raster of a run: where they lie, and their values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import zarr

from napari_lumen.errors import RunError
from napari_lumen.explain.stored_blocks import StoredBlocks
from napari_lumen.geometry import Grid, Window
from napari_lumen.inference.run import RasterRecord, Run


class StoredLevels:
    """The arrays of one group of a run, opened when first read.

    Parameters
    ----------
    folder : Path
        Of the group.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._levels: dict[int, StoredBlocks] = {}

    def read(
        self, name: str, level: int, window: Window, channel: int | None = None
    ) -> npt.NDArray[np.generic]:
        """Return a window as it is stored, (h, w).

        Raises
        ------
        RunError
            When it is damaged; the message tells the map by this name.
        """
        lead = () if channel is None else (channel,)
        try:
            if level not in self._levels:
                array = zarr.open_array(str(self._folder / str(level)), mode="r")
                self._levels[level] = StoredBlocks(array)
            return self._levels[level].read(lead, window)
        except (OSError, ValueError, RuntimeError) as error:
            raise RunError(
                f"The map {name!r} of {self._folder.parent} cannot be read: it is damaged or "
                "gone. Run the model again with that folder."
            ) from error


def grids_of(raster: RasterRecord) -> tuple[Grid, ...]:
    """Return where each level of a raster lies, the finest first."""
    finest = Run.grid(raster)
    grids = []
    for level, shape in enumerate(raster.shapes):
        step = (finest.step[0] * 2**level, finest.step[1] * 2**level)
        grids.append(Grid(shape, step, finest.origin))
    return tuple(grids)
