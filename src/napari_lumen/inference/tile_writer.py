"""From what a network says of whole tiles to rasters, each cell with its few pixels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lumen.geometry import Pair, Window, windows
from napari_lumen.inference.plan import Cell, pyramid_grid
from napari_lumen.inference.rasters import Halve, LiveRaster, Pixels
from napari_lumen.inference.store import RunStore, halve_mean
from napari_lumen.inference.tile_plan import TilePlan
from napari_lumen.inference.writer import RasterWriter, Recorder

_BLOCK_BYTES = 8 << 20
_MOST_CELLS = 512  # a side in a block


class TileWriter(RasterWriter):
    """Writes what was said of cells, and records them when it is on disk.

    Parameters
    ----------
    plan : TilePlan
    mpp : (float, float)
        µm per level-0 pixel of the slide.
    folder : Path
        What an earlier session wrote there stays.
    ledger : Recorder
    """

    def __init__(self, plan: TilePlan, mpp: Pair, folder: Path, ledger: Recorder) -> None:
        super().__init__(ledger)
        self._plan = plan
        self.store = RunStore(folder, mpp)
        self._rasters: dict[str, LiveRaster] = {}

    def rasters(self) -> Mapping[str, LiveRaster]:
        """Return all rasters by their paths in the folder."""
        return self._rasters

    def add(
        self,
        path: str,
        dtype: npt.DTypeLike,
        *,
        sides: tuple[int, int] = (1, 1),
        channels: int | None = None,
        fill: float = 0,
        pyramid: bool = False,
        halve: Halve = halve_mean,
        extra: dict[str, Any] | None = None,
    ) -> LiveRaster:
        """Create a raster, or open that of an earlier session.

        Parameters
        ----------
        path : str
            Group inside the folder.
        dtype : numpy dtype
        sides : (int, int)
            Rows and columns of pixels in a cell.
        channels : int, optional
            Size of a first axis.
        fill : float
            Value where nothing was said.
        pyramid : bool
            Whether it is shown, and so needs coarser levels.
        halve : callable
            As of `LiveRaster`.
        extra : dict, optional
            As of `RunStore.create`.
        """
        grid, levels = self._plan.raster_grid(sides), 1
        if pyramid:
            grid, levels = pyramid_grid(grid)
        block = _block(sides, (channels or 1) * np.dtype(dtype).itemsize)
        made = self.store.create(
            path,
            grid,
            levels,
            dtype,
            block=block,
            channels=channels,
            together=not pyramid,
            fill=fill,
            extra=extra,
        )
        self._rasters[path] = LiveRaster(made, halve)
        return self._rasters[path]

    def write(self, cell: Cell, values: Mapping[str, Pixels], covered: int) -> None:
        """Put what was said of a cell into the rasters; it is on disk, and in the ledger, at the next flush.

        Parameters
        ----------
        cell : (int, int)
        values : mapping of str to ndarray
            (..., h, w) by the path of the raster; none where the tile failed.
        covered : int
            Pixels of the plan's grid that were answered for.
        """
        for path, value in values.items():
            height, width = value.shape[-2:]
            place = Window(cell[0] * height, cell[1] * width, height, width)
            self._rasters[path].write(place, value)
        self._pending.append((cell, covered))

    def write_whole(self, path: str, values: Pixels) -> None:
        """Put one value a cell, (..., rows, columns), into a raster."""
        raster = self._rasters[path]
        rows, columns = values.shape[-2:]
        for place in windows((rows, columns), raster.pyramid.block):
            raster.write(place, values[(..., *place.slices)])

    def read(self, path: str) -> Pixels:
        """Return a raster of one value a cell, (..., rows, columns), as far as it is written."""
        return self._rasters[path].read(0, Window(0, 0, *self._plan.cells))


def _block(sides: tuple[int, int], pixel_bytes: int) -> int:
    """Return how many pixels a side a block has, even and of whole cells, so that a cell lies in one."""
    unit = math.lcm(*sides)
    cells = _MOST_CELLS
    while cells > 2 and (unit * cells) ** 2 * pixel_bytes > _BLOCK_BYTES:
        cells //= 2
    return unit * cells
