"""Two maps on one grid: their difference, how far they agree, and where both are high."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from napari_lumen.errors import RunError
from napari_lumen.explain.overlay import on_picture
from napari_lumen.explain.run_map import RunMap
from napari_lumen.geometry import Grid, Region

Values = npt.NDArray[np.floating[Any]]
_MOST = 16_000_000  # values that are compared


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
        The finer of the two in each direction, over what both cover.
    first, second : ndarray
        Values (h, w); NaN where a map has none.
    pearson, spearman : float
        Correlation over the cells of which both have a value; NaN where a map is flat there. Cells of the
        coarser map count as often as they are repeated.
    comparable : bool
        Whether both maps have values that can be compared between tiles; correlations of others speak of
        places within tiles only.
    """

    grid: Grid
    first: Values
    second: Values
    pearson: float
    spearman: float
    comparable: bool

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
        known = np.isfinite(self.first) & np.isfinite(self.second)
        one = known & (self.first >= first)
        other = known & (self.second >= (first if second is None else second))
        cell = self.grid.step[0] * self.grid.step[1]
        a, b, both = (float(np.count_nonzero(part)) for part in (one, other, one & other))
        dice = 2 * both / (a + b) if a + b else float("nan")
        iou = both / (a + b - both) if a + b else float("nan")
        return Overlap(dice, iou, a * cell, b * cell, both * cell)


def compare_values(
    first: tuple[Values, Grid],
    second: tuple[Values, Grid],
    *,
    comparable: bool = True,
) -> Agreement:
    """Lay two maps on one grid and say how far they agree.

    Every cell of the common grid has the value of the cell of each map in which its middle lies.

    Parameters
    ----------
    first, second : (ndarray (h, w), Grid)
        Values, and where they lie, level-0 px of the same slide.
    comparable : bool
        See `Agreement`.

    Raises
    ------
    RunError
        When the two cover nothing in common.
    """
    common = first[1].region.intersect(second[1].region)
    if common.empty:
        raise RunError("The two maps cover no place in common: choose maps of the same part of a slide.")
    step = [min(one, other) for one, other in zip(first[1].step, second[1].step, strict=True)]
    shape = (max(1, round(common.height / step[0])), max(1, round(common.width / step[1])))
    grid = Grid(shape, (common.height / shape[0], common.width / shape[1]), (common.y, common.x))
    one, other = (on_picture(values, own, common, shape) for values, own in (first, second))
    known = np.isfinite(one) & np.isfinite(other)
    a, b = one[known].astype(np.float64), other[known].astype(np.float64)
    return Agreement(grid, one, other, _pearson(a, b), _pearson(_ranks(a), _ranks(b)), comparable)


def compare_maps(first: RunMap, second: RunMap, region: Region | None = None) -> Agreement:
    """Compare two maps of one run, or of two runs of the same slide.

    Parameters
    ----------
    first, second : RunMap
    region : Region, optional
        Level-0 px; what both cover without it. Of more than 16 million values coarser levels are compared.

    Raises
    ------
    RunError
        When the two cover nothing in common.
    """
    common = first.grid.region.intersect(second.grid.region)
    region = common if region is None else common.intersect(region)
    read = [item.read(region, _MOST) for item in (first, second)]
    return compare_values(read[0], read[1], comparable=first.comparable and second.comparable)


def _ranks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(rankdata(values), np.float64)


def _pearson(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    if len(a) < 2:
        return float("nan")
    a, b = a - a.mean(), b - b.mean()
    spread = float(np.sqrt((a * a).sum() * (b * b).sum()))
    # rounding leaves a flat map a little relief
    return float((a * b).sum() / spread) if np.ptp(a) > 1e-12 and np.ptp(b) > 1e-12 else float("nan")
