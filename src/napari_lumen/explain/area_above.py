"""The area of a map above any value, and its share of the tissue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lumen.geometry import Grid, Pair, windows

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
    """

    ordered: Values
    cell_mm2: float
    tissue_share: Values | None
    tissue_mm2: float

    @classmethod
    def of(
        cls,
        values: Values,
        grid: Grid,
        mpp: Pair,
        tissue: tuple[npt.NDArray[np.bool_], Grid] | None = None,
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
        """
        scale = grid.scale(mpp)
        known = np.isfinite(values)
        flat = np.asarray(values, np.float64)[known]
        order = np.argsort(flat, kind="stable")
        cell = scale[0] * scale[1] / 1e6
        if tissue is None:
            return cls(flat[order], cell, None, float("nan"))
        share = _tissue_share(grid, *tissue)[known][order]
        behind = np.append(share[::-1].cumsum()[::-1], 0.0)
        return cls(flat[order], cell, behind, float(behind[0]) * cell)

    def mm2(self, threshold: float) -> float:
        """Return the area of the cells whose value is at least a threshold."""
        return float(len(self.ordered) - np.searchsorted(self.ordered, threshold, "left")) * self.cell_mm2

    def share_of_tissue(self, threshold: float) -> float:
        """Return which share of the tissue under the map lies above a threshold, 0 to 1; NaN without any."""
        if self.tissue_share is None or not self.tissue_mm2 > 0:
            return float("nan")
        first = int(np.searchsorted(self.ordered, threshold, "left"))
        return float(self.tissue_share[first] / self.tissue_share[0])


def _tissue_share(grid: Grid, mask: npt.NDArray[np.bool_], mask_grid: Grid) -> Values:
    """Return which share of each cell of a grid is tissue, exactly, by the edges of both."""
    integral = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1))
    integral[1:, 1:] = mask.cumsum(axis=0, dtype=np.float64).cumsum(axis=1)
    found = np.empty(grid.shape)
    cell = grid.step[0] * grid.step[1] / (mask_grid.step[0] * mask_grid.step[1])
    for window in windows(grid.shape, _AT_ONCE):
        rows, columns = (
            _cell_edges(grid, mask_grid, axis, start, length)
            for axis, start, length in ((0, window.y, window.height), (1, window.x, window.width))
        )
        at_edges = _between(_between(integral, rows, 0), columns, 1)
        sums = np.diff(np.diff(at_edges, axis=0), axis=1)
        found[window.slices] = sums / cell
    share: Values = found.clip(0, 1)
    return share


def _cell_edges(grid: Grid, mask: Grid, axis: int, start: int, length: int) -> Values:
    """Return the edges of cells in pixels of the mask."""
    edges = grid.origin[axis] + (start + np.arange(length + 1)) * grid.step[axis]
    clipped: Values = np.clip((edges - mask.origin[axis]) / mask.step[axis], 0, mask.shape[axis])
    return clipped


def _between(values: Values, places: Values, axis: int) -> Values:
    """Interpolate an integral at fractional places along an axis, where it is exactly linear."""
    low = np.minimum(places.astype(np.intp), values.shape[axis] - 2)
    part = places - low
    shape = (-1, 1) if axis == 0 else (1, -1)
    one, other = np.take(values, low, axis), np.take(values, low + 1, axis)
    return np.asarray(one + (other - one) * part.reshape(shape))
