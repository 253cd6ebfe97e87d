"""Two maps on one grid: their difference, how far they agree, and where both are high."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_lumen.errors import RunError
from napari_lumen.explain.pieces import Pieces, Values, common_cells, pieces
from napari_lumen.explain.run_map import RunMap
from napari_lumen.geometry import Grid, Region

Reals = npt.NDArray[np.float64]
_MOST = 4_000_000  # values of each map that are compared
_RANKED = 1_000_000  # places whose ranks are compared: those of 16 million take half a minute


@dataclass(frozen=True)
class Overlap:
    """How far the parts above a threshold are the same.

    Attributes
    ----------
    dice, iou : float
        In [0, 1]; NaN where neither map has such a part.
    first, second, both : float
        Areas, level-0 px².
    """

    dice: float
    iou: float
    first: float
    second: float
    both: float


@dataclass(frozen=True, eq=False)
class Agreement:
    """Two maps laid on one grid.

    Attributes
    ----------
    grid : Grid
        The cells of the finer map, in each direction, that lie wholly in what both cover.
    first, second : ndarray
        Values (h, w); NaN where a map has none.
    pearson, spearman : float
        Correlation over all places where both have a value, by area; NaN where a map is flat there. Of more
        than a million pieces Spearman's is that of a million places, evenly spread.
    comparable : bool
        Whether both maps have values that can be compared between tiles; correlations of others speak of
        places within tiles only.
    pieces : Pieces
        All that the two have in common, cut at the edges of both.
    """

    grid: Grid
    first: Values
    second: Values
    pearson: float
    spearman: float
    comparable: bool
    pieces: Pieces

    @property
    def difference(self) -> Values:
        """First less second, NaN where either has no value."""
        return self.first - self.second

    def overlap(self, first: float, second: float | None = None) -> Overlap:
        """Compare the parts of at least a threshold, where both maps have values.

        Parameters
        ----------
        first : float
        second : float, optional
            Of the second map; that of the first without it.
        """
        areas = self.pieces.areas
        one = self.pieces.first >= first
        other = self.pieces.second >= (first if second is None else second)
        a, b, both = (float(areas[part].sum()) for part in (one, other, one & other))
        dice = 2 * both / (a + b) if a + b else float("nan")
        iou = both / (a + b - both) if a + b else float("nan")
        return Overlap(dice, iou, a, b, both)


def compare_values(
    first: tuple[Values, Grid],
    second: tuple[Values, Grid],
    *,
    comparable: bool = True,
    within: Region | None = None,
) -> Agreement:
    """Lay two maps on one grid and say how far they agree.

    Both are cut at the edges of both, and each piece counts by its area. In `first`, `second` and
    `difference` the cells of the finer map stay where they are: where an edge of the other one runs through
    a cell, that has the mean of both sides by area, and no value where less than half of it has one.

    Parameters
    ----------
    first, second : (ndarray (h, w), Grid)
        Values, and where they lie, level-0 px of the same slide.
    comparable : bool
        See `Agreement`.
    within : Region, optional
        What counts of both, level-0 px; see `RunMap.region`.

    Raises
    ------
    RunError
        When the two cover nothing in common, or less than a cell.
    """
    common = first[1].region.intersect(second[1].region)
    if within is not None:
        common = common.intersect(within)
    if common.empty:
        raise RunError("The two maps cover no place in common: choose maps of the same part of a slide.")
    grid = common_cells(first[1], second[1], common)
    if grid is None:
        raise RunError("The two maps have less than a cell in common: choose maps of the same part.")
    cut = pieces(first, second, common)
    one, other = (cut.in_cells(values, grid) for values in (cut.first, cut.second))
    pearson = _pearson(*_known(cut.first, cut.second, cut.areas))
    a, b, areas = _known(*cut.sampled(_RANKED))
    spearman = _pearson(_ranks(a, areas), _ranks(b, areas), areas)
    return Agreement(grid, one, other, pearson, spearman, comparable, cut)


def _known(one: Values, other: Values, areas: Reals) -> tuple[Reals, Reals, Reals]:
    """Return the values and areas of the pieces of which both have a value."""
    known = areas > 0
    return one[known].astype(np.float64), other[known].astype(np.float64), areas[known]


def compare_maps(first: RunMap, second: RunMap, region: Region | None = None) -> Agreement:
    """Compare two maps of one run, or of two runs of the same slide.

    Parameters
    ----------
    first, second : RunMap
    region : Region, optional
        Level-0 px; what both cover without it. Of more than 4 million values coarser levels are compared.

    Raises
    ------
    RunError
        When the two cover nothing in common.
    """
    common = first.region.intersect(second.region)
    region = common if region is None else common.intersect(region)
    read = [item.read(region, _MOST) for item in (first, second)]
    comparable = first.comparable and second.comparable
    return compare_values(read[0], read[1], comparable=comparable, within=common)


def _ranks(values: Reals, areas: Reals) -> Reals:
    """Return how much area lies below each value; equal ones share theirs, as in a mean rank."""
    _, place = np.unique(values, return_inverse=True)
    held = np.bincount(place, areas)
    middle: Reals = (np.cumsum(held) - held / 2)[place]
    return middle


def _pearson(a: Reals, b: Reals, areas: Reals) -> float:
    if len(a) < 2:
        return float("nan")
    a, b = a - np.average(a, weights=areas), b - np.average(b, weights=areas)
    spread = float(np.sqrt((areas * a * a).sum() * (areas * b * b).sum()))
    # rounding leaves a flat map a little relief
    return float((areas * a * b).sum() / spread) if np.ptp(a) > 1e-12 and np.ptp(b) > 1e-12 else float("nan")
