"""Reading ahead: the tiles around the view are decoded into the cache while the user looks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from napari_lumen.errors import SlideError
from napari_lumen.geometry import Pair, Region, Window

if TYPE_CHECKING:
    from napari_lumen.slides import Level, Slide

REST = 0.15  # seconds that the camera must rest
_SHARE = 4  # a ring takes at most this part of the cache: what was seen before stays
_MOST_TILES = 4096  # of a view; beyond, the level is too fine for the view and a ring would never be done


@dataclass(frozen=True, slots=True)
class View:
    """What the user looks at.

    Attributes
    ----------
    slide : Slide
    seen : Region
        Of the slide, in level-0 pixels.
    step : (float, float)
        Level-0 pixels per pixel of the screen, (y, x).
    cache : int
        Bytes of the cache that the tiles go into.
    """

    slide: Slide
    seen: Region
    step: Pair
    cache: int


def read_ring(view: View, stale: Callable[[], bool]) -> None:
    """Read the tiles around a view, nearest first, until they are all in the cache or `stale` says so."""
    level = level_in_view(view.slide, view.step)
    for tile in ring(view, level):
        if stale():
            return
        try:
            # a pixel brings its tile into the cache; one that is read whole may be a run's, and is not kept
            view.slide.read(tile.y, tile.x, 1, 1, level=level)
        except SlideError:  # told when the user comes to see it; a closed slide is no news at all
            continue


def level_in_view(slide: Slide, step: Pair) -> int:
    """Return the stored level that a view is drawn from: the coarsest with a pixel for each of the screen."""
    fitting = [
        index
        for index, level in enumerate(slide.levels)
        if all(own <= wanted * (1 + 1e-6) for own, wanted in zip(level.downsample, step, strict=True))
    ]
    return fitting[-1] if fitting else 0


def ring(view: View, level: int) -> list[Window]:
    """Return the tiles of a level within one view's width around the view, nearest first.

    Left out are the tiles that the view itself shows, and the farthest where all would fill more than a
    quarter of the cache.
    """
    stored = view.slide.levels[level]
    seen = view.seen
    wide = Region(seen.y - seen.height, seen.x - seen.width, 3 * seen.height, 3 * seen.width)
    rows, columns = _tiles(stored, wide)
    shown_rows, shown_columns = _tiles(stored, seen)
    if len(shown_rows) * len(shown_columns) > _MOST_TILES:
        return []
    height, width = stored.tile
    centre = (
        (seen.y + seen.height / 2) / stored.downsample[0] / height - 0.5,
        (seen.x + seen.width / 2) / stored.downsample[1] / width - 0.5,
    )
    around = [
        (row, column)
        for row, column in product(rows, columns)
        if row not in shown_rows or column not in shown_columns
    ]
    around.sort(key=lambda cell: max(abs(cell[0] - centre[0]), abs(cell[1] - centre[1])))
    size = height * width * view.slide.samples * np.dtype(view.slide.dtype).itemsize
    whole = Window(0, 0, *stored.shape)
    return [
        Window(row * height, column * width, height, width).intersect(whole)
        for row, column in around[: view.cache // _SHARE // size]
    ]


def _tiles(level: Level, region: Region) -> tuple[range, range]:
    """Return the rows and columns of the tiles that a region touches."""
    window = level.grid.window_of(region)
    height, width = level.tile
    return (
        range(window.y // height, -(-(window.y + window.height) // height)),
        range(window.x // width, -(-(window.x + window.width) // width)),
    )
