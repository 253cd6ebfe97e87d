"""The area of a map above any value, and its share of the tissue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lumen.explain.run_map import shares_within
from napari_lumen.geometry import Grid, Pair, Region, windows

Values = npt.NDArray[np.floating[Any]]
_AT_ONCE = 1024  # rows and columns whose share of tissue is looked at together


@dataclass(frozen=True, eq=False)
class AreaAbove:
    """The area of a map above any value, ready to be asked for while a slider moves.

    Attributes
    ----------
    ordered : ndarray
        The map's finite values, ascending.
    cell_mm2 : float
        Area of a cell.
    tissue_share : ndarray or None
        Share of tissue of all cells from each place of `ordered` to the end, summed; None where the tissue
        is not known.
    tissue_mm2 : float
        Of all tissue that the map covers.
    counted : ndarray or None
        Share of each cell that counts from each place of `ordered` to the end, summed; None where all of
        every cell does.
    """

    ordered: Values
    cell_mm2: float
    tissue_share: Values | None
    tissue_mm2: float
    counted: Values | None = None

    @classmethod
    def of(
        cls,
        values: Values,
        grid: Grid,
        mpp: Pair,
        tissue: tuple[npt.NDArray[np.bool_], Grid] | None = None,
        within: Region | None = None,
    ) -> AreaAbove:
        """Prepare a map.

        Parameters
        ----------
        values : ndarray (h, w)
        grid : Grid
        mpp : (float, float)
            µm per level-0 px.
        tissue : (ndarray of bool, Grid), optional
            As `napari_lumen.tissue.tissue_mask` gives it.
        within : Region, optional
            What counts of the cells, level-0 px; see `RunMap.within`.
        """
        scale = grid.scale(mpp)
        known = np.isfinite(values)
        flat = np.asarray(values, np.float64)[known]
        order = np.argsort(flat, kind="stable")
        cell = scale[0] * scale[1] / 1e6
        counted = None
        if within is not None:
            counted = _behind(np.outer(*shares_within(grid, within))[known][order])
        if tissue is None:
            return cls(flat[order], cell, None, float("nan"), counted)
        behind = _behind(_tissue_share(grid, *tissue, within)[known][order])
        return cls(flat[order], cell, behind, float(behind[0]) * cell, counted)

    def mm2(self, threshold: float) -> float:
        """Return the area of the cells whose value is at least a threshold."""
        first = int(np.searchsorted(self.ordered, threshold, "left"))
        cells = len(self.ordered) - first if self.counted is None else self.counted[first]
        return float(cells) * self.cell_mm2

    def share_of_tissue(self, threshold: float) -> float:
        """Return which share of the tissue under the map lies above a threshold, 0 to 1; NaN without any."""
        if self.tissue_share is None or not self.tissue_mm2 > 0:
            return float("nan")
        first = int(np.searchsorted(self.ordered, threshold, "left"))
        return float(self.tissue_share[first] / self.tissue_share[0])


def _behind(shares: Values) -> Values:
    """Return the sum from each place to the end."""
    return np.append(shares[::-1].cumsum()[::-1], 0.0)


def _tissue_share(grid: Grid, mask: npt.NDArray[np.bool_], mask_grid: Grid, within: Region | None) -> Values:
    """Return which share of each cell of a grid is tissue within a region, exactly, by all their edges."""
    integral = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1))
    integral[1:, 1:] = mask.cumsum(axis=0, dtype=np.float64).cumsum(axis=1)
    found = np.empty(grid.shape)
    cell = grid.step[0] * grid.step[1] / (mask_grid.step[0] * mask_grid.step[1])
    for window in windows(grid.shape, _AT_ONCE):
        rows, columns = (
            _cell_edges(grid, mask_grid, axis, start, length, within)
            for axis, start, length in ((0, window.y, window.height), (1, window.x, window.width))
        )
        at_edges = _between(_between(integral, rows, 0), columns, 1)
        sums = np.diff(np.diff(at_edges, axis=0), axis=1)
        found[window.slices] = sums / cell
    share: Values = found.clip(0, 1)
    return share


def _cell_edges(grid: Grid, mask: Grid, axis: int, start: int, length: int, within: Region | None) -> Values:
    """Return the edges of cells in pixels of the mask; those beyond a region are put at its edge."""
    edges = grid.origin[axis] + (start + np.arange(length + 1)) * grid.step[axis]
    if within is not None:
        low, size = ((within.y, within.height), (within.x, within.width))[axis]
        edges = np.clip(edges, low, low + size)
    clipped: Values = np.clip((edges - mask.origin[axis]) / mask.step[axis], 0, mask.shape[axis])
    return clipped


def _between(values: Values, places: Values, axis: int) -> Values:
    """Interpolate an integral at fractional places along an axis, where it is exactly linear."""
    low = np.minimum(places.astype(np.intp), values.shape[axis] - 2)
    part = places - low
    shape = (-1, 1) if axis == 0 else (1, -1)
    one, other = np.take(values, low, axis), np.take(values, low + 1, axis)
    return np.asarray(one + (other - one) * part.reshape(shape))
