"""Two maps cut at the edges of both: pieces in which each has one value, counted by their area."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lumen.geometry import Grid, Region

Values = npt.NDArray[np.floating[Any]]
Reals = npt.NDArray[np.float64]
_SLACK = 1e-3  # of a cell: edges that differ by less are the same


@dataclass(frozen=True, eq=False)
class Pieces:
    """All that two maps have in common.

    Attributes
    ----------
    first, second : ndarray (h, w)
        The value of each map in each piece; NaN where it has none.
    rows, columns : ndarray (h + 1,), (w + 1,)
        Edges of the pieces, level-0 px.
    """

    first: Values
    second: Values
    rows: Reals
    columns: Reals

    @property
    def areas(self) -> Reals:
        """Of the pieces (h, w), level-0 px²; nothing where one of the maps has no value."""
        known = np.isfinite(self.first) & np.isfinite(self.second)
        return np.outer(np.diff(self.rows), np.diff(self.columns)) * known

    def in_cells(self, values: Values, grid: Grid) -> Values:
        """Return the mean by area in each cell of a grid; NaN where less than half of it has a value.

        Parameters
        ----------
        values : ndarray (h, w)
            Of the pieces.
        grid : Grid
            Whose edges are among those of the pieces.
        """
        starts, ends, sides = [], [], []
        for axis, edges in enumerate((self.rows, self.columns)):
            count, step, origin = grid.shape[axis], grid.step[axis], grid.origin[axis]
            found = np.searchsorted(edges, origin + (np.arange(count + 1) - _SLACK) * step)
            starts.append(found[:-1])
            ends.append(min(int(found[-1]), len(edges) - 1))
            sides.append(np.diff(edges)[: ends[-1]])
        values = values[: ends[0], : ends[1]]
        if all(np.array_equal(start, np.arange(end)) for start, end in zip(starts, ends, strict=True)):
            return np.asarray(values, np.float32)  # each cell is one piece
        known, areas = np.isfinite(values), np.outer(*sides)

        def summed(parts: Reals) -> Reals:
            total: Reals = np.add.reduceat(np.add.reduceat(parts, starts[0], 0), starts[1], 1)
            return total

        share = summed(known * areas)
        with np.errstate(invalid="ignore"):
            mean = summed(np.where(known, values, 0) * areas) / share
        return np.where(share >= 0.5 * summed(areas), mean, np.nan).astype(np.float32)

    def sampled(self, most: int) -> tuple[Values, Values, Reals]:
        """Return both maps and the areas: of all pieces, or of more than `most` at evenly spread places."""
        if self.first.size <= most:
            return self.first, self.second, self.areas
        places = []
        for edges in (self.rows, self.columns):
            count = math.floor((len(edges) - 1) * math.sqrt(most / self.first.size))
            at = edges[0] + (np.arange(count) + 0.5) * (edges[-1] - edges[0]) / count
            places.append(np.searchsorted(edges, at) - 1)
        first, second = (values[np.ix_(*places)] for values in (self.first, self.second))
        return first, second, (np.isfinite(first) & np.isfinite(second)).astype(np.float64)


def pieces(first: tuple[Values, Grid], second: tuple[Values, Grid], common: Region) -> Pieces:
    """Cut two maps at the edges of both, in a region that both cover."""
    edges: list[Reals] = []
    cells: list[list[npt.NDArray[np.intp]]] = []
    for axis, (low, high) in enumerate(((common.y, common.bottom), (common.x, common.right))):
        grids = [(grid.origin[axis], grid.step[axis], grid.shape[axis]) for _, grid in (first, second)]
        all_of = [origin + np.arange(count + 1) * step for origin, step, count in grids]
        found = np.sort(np.concatenate([[low, high], *all_of]))
        found = found[(found >= low) & (found <= high)]
        apart = np.diff(found) > _SLACK * min(step for _, step, _ in grids)
        edges.append(found[np.concatenate([[True], apart])])
        middles = (edges[-1][:-1] + edges[-1][1:]) / 2
        cells.append(
            [
                np.clip((middles - origin) // step, 0, count - 1).astype(np.intp)
                for origin, step, count in grids
            ]
        )
    one, other = (
        item[0][np.ix_(*at)] for item, at in zip((first, second), zip(*cells, strict=True), strict=True)
    )
    return Pieces(one, other, edges[0], edges[1])


def common_cells(first: Grid, second: Grid, common: Region) -> Grid | None:
    """Return the cells of the finer grid, in each direction, wholly in a region; None without one."""
    axes = []
    for axis, (low, high) in enumerate(((common.y, common.bottom), (common.x, common.right))):
        finer = first if first.step[axis] <= second.step[axis] else second
        origin, step = finer.origin[axis], finer.step[axis]
        start = math.ceil((low - origin) / step - _SLACK)
        count = math.floor((high - origin) / step + _SLACK) - start
        if count < 1:
            return None
        axes.append((count, step, origin + start * step))
    (rows, down, top), (columns, across, left) = axes
    return Grid((rows, columns), (down, across), (top, left))
