"""Where runs of earlier versions answered: they kept no marks of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_lumen.explain.stored_levels import StoredLevels, grids_of
from napari_lumen.geometry import Grid, Pair, Region, Window
from napari_lumen.inference.ledger import Ledger
from napari_lumen.inference.plan import CELL
from napari_lumen.inference.run import Run

Places = npt.NDArray[np.floating]
Indices = npt.NDArray[np.intp]
Seen = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _Known:
    """What says where a run answered: the grid of each of its levels, and what reads a window of one."""

    grids: tuple[Grid, ...]
    reader: Callable[[int, Window], Seen]

    def at(self, y: Places, x: Places, step: Pair) -> Seen:
        """Return what it says at rows and columns of places, a step apart, level-0 px."""
        # no finer than needed: a whole slide at its finest level would not fit into memory
        as_fine = [index for index, grid in enumerate(self.grids) if grid.step[0] <= step[0] * 1.001]
        level = as_fine[-1] if as_fine else 0
        rows, columns = (_indices(places, self.grids[level], axis) for axis, places in enumerate((y, x)))
        top, left = int(rows[0]), int(columns[0])
        part = Window(top, left, int(rows[-1]) + 1 - top, int(columns[-1]) + 1 - left)
        return self.reader(level, part)[np.ix_(rows - top, columns - left)]


@dataclass(frozen=True, eq=False)
class AnalysedBefore:
    """Where a run answered, as far as its folder says it.

    The ledger has cells that were answered, in part maybe. In those the finest attention map tells, which is
    NaN where the run did not answer; without one, they count as a whole.

    Attributes
    ----------
    shown : tuple of Grid
        Of each level of the class maps.
    known : tuple of _Known
        All of which must say that a place was answered.
    region : Region or None
        The rectangle around what was asked for; None for all tissue.
    """

    shown: tuple[Grid, ...]
    known: tuple[_Known, ...]
    region: Region | None

    @classmethod
    def of(cls, run: Run) -> AnalysedBefore:
        """Find it in the folder of a run."""
        shown = grids_of(run.labels)
        region = None if run.record.region is None else Region(*run.record.region)
        return cls(shown, (_by_ledger(run, shown[0]), *_by_attention(run)), region)

    @property
    def reach(self) -> Pair:
        """How far beyond what was answered attention may say so, level-0 px; whole cells tell of no tile."""
        return self.known[-1].grids[0].step if len(self.known) > 1 else (0.0, 0.0)

    def marks(self, level: int, window: Window) -> npt.NDArray[np.uint8]:
        """Return 255 where the middles of a window's pixels, of a level of the class maps, were answered."""
        grid = self.shown[level]
        place = grid.region_of(window)
        y = place.y + (np.arange(window.height) + 0.5) * grid.step[0]
        x = place.x + (np.arange(window.width) + 0.5) * grid.step[1]
        seen = np.logical_and.reduce([known.at(y, x, grid.step) for known in self.known])
        if self.region is not None:
            seen &= ((y >= self.region.y) & (y < self.region.bottom))[:, None]
            seen &= (x >= self.region.x) & (x < self.region.right)
        return np.asarray(seen * np.uint8(255), np.uint8)


def _by_ledger(run: Run, shown: Grid) -> _Known:
    grid = shown.coarsened(CELL)
    cells = np.zeros(grid.shape, bool)
    for (row, column), pixels in Ledger(run.path, held=False).covered.items():
        if pixels and row < grid.shape[0] and column < grid.shape[1]:
            cells[row, column] = True
    return _Known((grid,), lambda _, window: cells[window.slices])


def _by_attention(run: Run) -> tuple[_Known, ...]:
    kept = [raster for raster in run.record.rasters if raster.kind == "attention"]
    if not kept:
        return ()
    finest = min(kept, key=lambda raster: raster.step)
    levels = StoredLevels(run.path / finest.path)

    def read(level: int, window: Window) -> Seen:
        return np.isfinite(levels.read(finest.name, level, window).astype(np.float32))

    return (_Known(grids_of(finest), read),)


def _indices(places: Places, grid: Grid, axis: int) -> Indices:
    """Return in which row or column of a grid places lie, the nearest for those beyond it."""
    index = np.floor((places - grid.origin[axis]) / grid.step[axis]).astype(np.intp)
    return np.asarray(np.clip(index, 0, grid.shape[axis] - 1), np.intp)
