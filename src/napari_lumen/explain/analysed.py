"""Where on a slide the model of a run answered: maps show nothing elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from napari_lumen.geometry import Grid, Region, Window
from napari_lumen.inference.heat_map import EXACT
from napari_lumen.inference.ledger import Ledger
from napari_lumen.inference.plan import CELL
from napari_lumen.inference.run import Run

Places = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Analysed:
    """Which cells of a run were answered.

    Attributes
    ----------
    cells : ndarray
        bool (rows, columns).
    grid : Grid
        A pixel a cell.
    region : Region or None
        The rectangle around what was asked for; None for all tissue.
    """

    cells: npt.NDArray[np.bool_]
    grid: Grid
    region: Region | None

    @classmethod
    def of(cls, run: Run) -> Analysed:
        """Read it from the folder of a run."""
        region = None if run.record.region is None else Region(*run.record.region)
        labels = Run.grid(run.labels)
        if (run.path / EXACT).is_dir():  # a value a cell, NaN where there is none
            exact = np.asarray(zarr.open_array(str(run.path / EXACT / "0"), mode="r")[0])
            return cls(np.isfinite(exact), Grid(exact.shape, labels.step, labels.origin), None)
        grid = labels.coarsened(CELL)
        cells = np.zeros(grid.shape, bool)
        for (row, column), pixels in Ledger(run.path, held=False).covered.items():
            if pixels and row < grid.shape[0] and column < grid.shape[1]:
                cells[row, column] = True
        return cls(cells, grid, region)

    def at(self, y: float, x: float) -> bool:
        """Return whether a point, level-0 px, was answered for."""
        return bool(self._on(np.array([y]), np.array([x]))[0, 0])

    def on(self, grid: Grid, window: Window) -> npt.NDArray[np.bool_]:
        """Return where in a window of a grid, by the middles of its pixels."""
        place = grid.region_of(window)
        return self._on(
            place.y + (np.arange(window.height) + 0.5) * grid.step[0],
            place.x + (np.arange(window.width) + 0.5) * grid.step[1],
        )

    def _on(self, y: Places, x: Places) -> npt.NDArray[np.bool_]:
        rows = np.floor((y - self.grid.origin[0]) / self.grid.step[0]).astype(np.intp)
        columns = np.floor((x - self.grid.origin[1]) / self.grid.step[1]).astype(np.intp)
        inside = [
            (index >= 0) & (index < side)
            for index, side in zip((rows, columns), self.cells.shape, strict=True)
        ]
        if self.region is not None:
            inside[0] &= (y >= self.region.y) & (y < self.region.bottom)
            inside[1] &= (x >= self.region.x) & (x < self.region.right)
        picked = self.cells[
            np.clip(rows, 0, self.cells.shape[0] - 1)[:, None], np.clip(columns, 0, self.cells.shape[1] - 1)
        ]
        return np.asarray(picked & inside[0][:, None] & inside[1], bool)
