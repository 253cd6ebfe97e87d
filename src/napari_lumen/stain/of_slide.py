"""The stain of a whole slide, from a sample of its tissue."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from napari_lumen.errors import LumenError, RunError
from napari_lumen.geometry import Grid, Window
from napari_lumen.slides import Slide
from napari_lumen.stain.normalisation import RGB, Method, Source
from napari_lumen.tissue import tissue_mask

FIELDS = 64  # that are looked at, of as many as there are
_SIDE = 256  # px of a field
_EVERY = 4  # neighbours say the same: of each field every fourth pixel of every fourth row
_LEAST_TISSUE = 0.5  # of a field, where there are enough such
# the fields of a grid whose row and column, times these, leave least behind the point are spread evenly over
# it (the R2 sequence of M. Roberts)
_SPREAD = (0.7548776662466927, 0.5698402909980532)


def stain_of_slide(
    slide: Slide, method: Method, mpp: float, check: Callable[[], None] = lambda: None
) -> Source | None:
    """Find the stain of a slide, once for all its tiles: tiles that each found their own would show seams.

    At most 64 fields of 256 px are read, spread evenly over the tissue of the whole slide whatever part of
    it is wanted, and of each one pixel in sixteen is taken: the same numbers every time.

    Parameters
    ----------
    slide : Slide
        RGB, with a known pixel size.
    method : Macenko or Reinhard
    mpp : float
        µm per pixel at which a model reads the slide: coarser pixels mix the dyes.
    check : callable, optional
        Called often; what it raises ends the search.

    Returns
    -------
    Dyes, ColourStatistics or None
        What `method.fit` says of the sample. None where the slide is blank, or does not show two dyes.

    Raises
    ------
    SlideError
        When not one of the fields can be read.
    """
    sample = _sample(slide, mpp, check)
    if sample is None:
        return None
    try:
        return method.fit(sample)
    except RunError:
        return None


def _sample(slide: Slide, mpp: float, check: Callable[[], None]) -> RGB | None:
    """Return pixels (n, w, 3) from all over the tissue; None without tissue."""
    own = slide.require_mpp()
    step = (mpp / own[0], mpp / own[1])
    rows, columns = (max(1, -(-round(side / s) // _SIDE)) for side, s in zip(slide.shape, step, strict=True))
    grid = Grid((rows * _SIDE, columns * _SIDE), step)
    taken: list[RGB] = []
    problem: LumenError | None = None
    for window in _fields(slide, grid, check):
        check()
        try:
            taken.append(slide.read_grid(grid, window)[_EVERY // 2 :: _EVERY, _EVERY // 2 :: _EVERY])
        except LumenError as error:  # the run tells of bad tiles; a few say nothing of the stain
            problem = error
    if not taken and problem is not None:
        raise problem
    return np.concatenate(taken) if taken else None


def _fields(slide: Slide, grid: Grid, check: Callable[[], None]) -> list[Window]:
    """Return fields of a grid, spread evenly over those that are half tissue, or over the fullest."""
    mask, mask_grid = tissue_mask(slide, check)
    rows, columns = (np.arange(side // _SIDE) for side in grid.shape)
    down = [mask_grid.window_of(grid.region_of(_field(row, 0))).slices[0] for row in rows.tolist()]
    across = [mask_grid.window_of(grid.region_of(_field(0, column))).slices[1] for column in columns.tolist()]
    top, bottom = np.array([(part.start, part.stop) for part in down]).T
    left, right = np.array([(part.start, part.stop) for part in across]).T
    before = np.pad(mask, ((1, 0), (1, 0))).cumsum(axis=0, dtype=np.int64).cumsum(axis=1)
    above, through = before[top], before[bottom]
    tissue = through[:, right] - above[:, right] - through[:, left] + above[:, left]
    share = tissue / np.maximum(np.outer(bottom - top, right - left), 1)
    least = min(_LEAST_TISSUE, np.sort(share, axis=None)[-FIELDS:][0])  # of a biopsy few are half tissue
    row, column = np.nonzero((share >= least) & (share > 0))
    chosen = np.argsort((row * _SPREAD[0] + column * _SPREAD[1]) % 1, kind="stable")[:FIELDS]
    return [_field(row[index], column[index]) for index in chosen.tolist()]


def _field(row: int, column: int) -> Window:
    return Window(int(row) * _SIDE, int(column) * _SIDE, _SIDE, _SIDE)
