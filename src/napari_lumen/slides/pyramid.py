"""The pyramid that a viewer shows: stored levels, and virtual ones between and below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from napari_lumen.geometry import Grid

if TYPE_CHECKING:
    from napari_lumen.slides.level import Level

_LARGEST_COARSE_SIDE = 2048  # napari holds the coarsest level in memory for its thumbnail
_LARGEST_SHIFT = 0.5  # of a level-0 pixel, at the far edge of a level


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
