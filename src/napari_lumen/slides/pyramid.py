"""The pyramid that a viewer shows: stored levels, virtual ones between and below, as lazy arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lumen.geometry import Grid, Window

if TYPE_CHECKING:
    import dask.array as da

    from napari_lumen.slides.level import Level
    from napari_lumen.slides.slide import Pixels

_LARGEST_COARSE_SIDE = 2048  # napari holds the coarsest level in memory for its thumbnail
_LARGEST_SHIFT = 0.5  # of a level-0 pixel, at the far edge of a level
_CHUNK = 512  # measured best for a viewport through dask: several 256 px tiles decoded together


def viewer_grids(levels: Sequence[Level]) -> list[Grid]:
    """Return the grids of a pyramid in steps of about two down to 2,048 px, from the stored levels."""
    shape = levels[0].shape
    stored = [_shown(level, shape) for level in levels]
    grids: list[Grid] = []
    for index, grid in enumerate(stored):
        grids.append(grid)
        while (following := _halved(grids[-1], shape)) is not None:
            if index + 1 < len(stored):
                wanted = stored[index + 1].step[0] / following.step[0] > 1.4
            else:
                wanted = max(grids[-1].shape) > _LARGEST_COARSE_SIDE
            if not wanted:
                break
            grids.append(following)
    return grids


def _shown(level: Level, shape: tuple[int, int]) -> Grid:
    """Return the grid of a stored level as a viewer lays it: its own, unless that ends half a pixel off.

    napari derives a level's step from the shapes; where that is not its downsample it is resampled.
    """
    exact = (shape[0] / level.shape[0], shape[1] / level.shape[1])
    off = max(
        abs(true - own) * side for true, own, side in zip(exact, level.downsample, level.shape, strict=True)
    )
    return level.grid if off <= _LARGEST_SHIFT else Grid(level.shape, exact)


def _halved(grid: Grid, shape: tuple[int, int]) -> Grid | None:
    """Return the grid of about half the pixels that covers the slide exactly, or None at one pixel."""
    if max(grid.shape) < 2:
        return None
    half = (max(1, round(grid.shape[0] / 2)), max(1, round(grid.shape[1] / 2)))
    return Grid(half, (shape[0] / half[0], shape[1] / half[1]))


def dask_array(
    grid: Grid,
    read: Callable[[Grid, Window], Pixels],
    samples: int,
    dtype: np.dtype[Any],
    name: str,
) -> da.Array:
    """Return a grid as a lazy dask array (h, w, samples), each chunk read when it is asked for."""
    import dask.array as da

    array: da.Array = da.from_array(
        _GridArray(grid, read, samples, dtype),
        chunks=(_CHUNK, _CHUNK, samples),
        name=name,
        lock=False,
        asarray=False,
        fancy=False,
        inline_array=True,
    )
    return array


class _GridArray:
    """The array protocol that dask asks for, over a grid."""

    ndim = 3

    def __init__(
        self, grid: Grid, read: Callable[[Grid, Window], Pixels], samples: int, dtype: np.dtype[Any]
    ) -> None:
        self._grid = grid
        self._read = read
        self.dtype = dtype
        self.shape = (*grid.shape, samples)

    def __getitem__(self, key: Any) -> Pixels:
        parts = key if isinstance(key, tuple) else (key,)
        rows, columns, channels = (*parts, *(slice(None),) * 3)[:3]
        (y, height, within_rows), (x, width, within_columns) = (
            _spanned(part, side) for part, side in zip((rows, columns), self._grid.shape, strict=True)
        )
        return self._read(self._grid, Window(y, x, height, width))[within_rows, within_columns, channels]


def _spanned(part: int | slice, side: int) -> tuple[int, int, int | slice]:
    """Return start and length of what an index spans, and the index within that."""
    if isinstance(part, slice):
        chosen = range(side)[part]
        if not chosen:
            return 0, 0, slice(None)
        start, stop = min(chosen[0], chosen[-1]), max(chosen[0], chosen[-1]) + 1
        return start, stop - start, slice(None) if chosen.step == 1 else slice(None, None, chosen.step)
    return range(side)[part], 1, 0
