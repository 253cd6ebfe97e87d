"""Where on a slide the model of a run answered: maps show nothing elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import zarr

from napari_lumen.errors import RunError
from napari_lumen.explain.analysed_before import AnalysedBefore
from napari_lumen.explain.run_map import cell_at
from napari_lumen.explain.stored_levels import StoredLevels, grids_of
from napari_lumen.geometry import Grid, Pair, Region, Window
from napari_lumen.inference.heat_map import EXACT
from napari_lumen.inference.run import Run
from napari_lumen.inference.store import halve_mean
from napari_lumen.inference.writer import ANALYSED

_ALL = np.uint8(255)
_ACROSS = 8  # pixels along a side of a tile that are looked at first


@dataclass(frozen=True, eq=False)
class Analysed:
    """Which pixels of the class maps of a run were answered for.

    Attributes
    ----------
    grids : tuple of Grid
        Of each level of the class maps, the finest first.
    reader : callable
        Reads a window of a level: how much of each pixel was answered for, uint8 steps of 1/255.
    reach : (float, float)
        How far beyond its own part a tile may answer, level-0 px.
    """

    grids: tuple[Grid, ...]
    reader: Callable[[int, Window], npt.NDArray[np.generic]]
    reach: Pair

    @classmethod
    def of(cls, run: Run) -> Analysed:
        """Find it in the folder of a run.

        Raises
        ------
        RunError
            When it is damaged.
        """
        grids = grids_of(run.labels)
        if (run.path / EXACT).is_dir():  # a value a tile, NaN where there is none
            levels = _of_tiles(run)
            return cls(grids, lambda level, window: levels[level][window.slices], (0, 0))
        if (run.path / ANALYSED).is_dir():
            marks = StoredLevels(run.path / ANALYSED)
            # on a pixel beyond, neighbours share the answer: see `blending_window`
            return cls(grids, lambda level, window: marks.read(ANALYSED, level, window), grids[0].step)
        before = AnalysedBefore.of(run)
        return cls(grids, before.marks, before.reach)

    def share(self, level: int, window: Window) -> npt.NDArray[np.float32]:
        """Return how much of each pixel in a window of a level was answered for, 0 to 1."""
        return self.reader(level, window).astype(np.float32) / np.float32(_ALL)

    def has_tile(self, own: Region) -> bool:
        """Return whether a tile was answered, by its own part, level-0 px, but for what neighbours share."""
        down, across = self.reach
        inner = Region(
            own.y + down, own.x + across, max(0.0, own.height - 2 * down), max(0.0, own.width - 2 * across)
        )
        coarse = sum(grid.step[0] * _ACROSS <= inner.height for grid in self.grids[1:])
        return self._any_inside(coarse, inner) or self._any(0, self.grids[0].window_of(inner))

    def at(self, y: float, x: float) -> bool:
        """Return whether a point, level-0 px, was answered for."""
        cell = cell_at(self.grids[0], y, x)
        return cell is not None and self._any(0, cell)

    def _any_inside(self, level: int, region: Region) -> bool:
        """Whether a pixel of a level that lies within a region was answered for, in part at least.

        So was one of the finest level then, of which more blocks must be read.
        """
        grid = self.grids[level]
        return self._any(level, grid.window_within(region).intersect(Window(0, 0, *grid.shape)))

    def _any(self, level: int, window: Window) -> bool:
        return window.height > 0 and window.width > 0 and bool(self.reader(level, window).any())


def _of_tiles(run: Run) -> list[npt.NDArray[np.uint8]]:
    """Return the marks of a run with an answer a tile, at every level of its class maps."""
    try:
        exact = np.asarray(zarr.open_array(str(run.path / EXACT / "0"), mode="r")[0])
    except (OSError, ValueError, RuntimeError) as error:
        raise RunError(
            f"The answers of {run.path} cannot be read: they are damaged or gone. Run the model again with "
            "that folder."
        ) from error
    shapes = run.labels.shapes
    finest = np.zeros(shapes[0], np.uint8)
    finest[: exact.shape[0], : exact.shape[1]] = np.isfinite(exact) * _ALL
    levels = [finest]
    for _ in shapes[1:]:
        levels.append(halve_mean(levels[-1]))
    return levels
