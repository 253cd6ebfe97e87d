"""One map of a run: what it shows, where it lies, and its values."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from napari_lumen.explain.distribution import Distribution
from napari_lumen.geometry import Grid, Region, Window
from napari_lumen.models.attention import Display

Values = npt.NDArray[np.float32]
Source = Literal["attention", "probability", "entropy"]
_ROUNDING = 1e-6  # of a cell
_SAMPLED = 4_000_000  # values of which percentiles are told: all of a map, or of a coarser level


@dataclass(frozen=True, eq=False)
class RunMap:
    """A map that a run keeps, or that follows from what it keeps.

    Attributes
    ----------
    name : str
        The recorded name of attention; ``probability.<class>``; ``entropy``.
    title, description : str
    kind : {"attention", "probability", "entropy"}
    grids : tuple of Grid
        Of each level, the finest first, level-0 px of the slide.
    value_range : (float, float) or None
        That the network guarantees, infinite where it guarantees none; None where the network is not known
        here.
    display : {"fixed", "min-max", "strip", "boxes", "table"}
        See `AttentionInfo`.
    comparable : bool
        Whether values of two tiles can be compared.
    raw : str or None
        Name of the unnormalised map that can be, where the run keeps it.
    reader : callable
        Reads a window of a level, float32 (h, w); NaN where nothing was computed.
    within : Region or None
        Of a field into which the network's last cells do not fit: the field, level-0 px. What of them lies
        beyond it is of the network's padding, and neither shown nor counted.
    """

    name: str
    title: str
    description: str
    kind: Source
    grids: tuple[Grid, ...]
    value_range: tuple[float, float] | None
    display: Display
    comparable: bool
    raw: str | None
    reader: Callable[[int, Window], Values]
    within: Region | None = None

    @property
    def grid(self) -> Grid:
        """Of the finest level."""
        return self.grids[0]

    @property
    def region(self) -> Region:
        """What the map shows, level-0 px: its cells, up to the edges of a field."""
        region = self.grid.region
        return region if self.within is None else region.intersect(self.within)

    def read(self, region: Region | None = None, most: int | None = None) -> tuple[Values, Grid]:
        """Read a part of the map.

        Parameters
        ----------
        region : Region, optional
            Level-0 px; the whole map without it. All cells that it touches are read.
        most : int, optional
            Read the finest level that has no more values there; the coarsest where each has more.

        Returns
        -------
        values : ndarray
            float32 (h, w), NaN where nothing was computed; empty where the region lies beside the map.
        grid : Grid
            Where they lie, by their cells' edges.
        """
        level = self.level_for(region, most)
        grid = self.grids[level]
        window = Window(0, 0, *grid.shape) if region is None else grid.window_of(region)
        place = grid.region_of(window)
        shape = (window.height, window.width)
        values = self.reader(level, window) if min(shape) else np.empty(shape, np.float32)
        return values, Grid(shape, grid.step, (place.y, place.x))

    def level_for(self, region: Region | None, most: int | None) -> int:
        """Return the finest level of which a region has no more than `most` values."""
        for level, grid in enumerate(self.grids):
            window = Window(0, 0, *grid.shape) if region is None else grid.window_of(region)
            if most is None or window.height * window.width <= most:
                return level
        return len(self.grids) - 1

    def value_at(self, y: float, x: float) -> float:
        """Return the value at a point, level-0 px; NaN where nothing was computed."""
        within = self.within
        if within is not None and not (within.y <= y < within.bottom and within.x <= x < within.right):
            return float("nan")
        cell = cell_at(self.grid, y, x)
        return float("nan") if cell is None else float(self.reader(0, cell)[0, 0])

    def distribution(self, region: Region | None = None) -> Distribution:
        """Return how the values are spread over a region, or over all that the run saw.

        Of more than four million values those of a coarser level stand for them. Reads the map: not for a
        GUI thread; keep it to ask for several percentiles.
        """
        return Distribution.of(self.read(region, _SAMPLED)[0])


def reaches_beyond(grid: Grid, region: Region) -> bool:
    """Whether cells reach beyond the lower or right edge of a field, by more than rounding."""
    ends = grid.region
    over = (ends.bottom - region.bottom) / grid.step[0], (ends.right - region.right) / grid.step[1]
    return max(over) > _ROUNDING


def shares_within(grid: Grid, within: Region) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return which share of each row, and of each column, of a grid lies in a region."""
    rows, columns = (
        np.diff(np.clip(origin + np.arange(count + 1) * step, low, high)) / step
        for origin, count, step, low, high in zip(
            grid.origin,
            grid.shape,
            grid.step,
            (within.y, within.x),
            (within.bottom, within.right),
            strict=True,
        )
    )
    return rows, columns


def cell_at(grid: Grid, y: float, x: float) -> Window | None:
    """Return the one pixel of a grid in which a point lies, level-0 px; None beyond it."""
    row, column = (
        math.floor((at - origin) / step)
        for at, origin, step in zip((y, x), grid.origin, grid.step, strict=True)
    )
    inside = 0 <= row < grid.shape[0] and 0 <= column < grid.shape[1]
    return Window(row, column, 1, 1) if inside else None
