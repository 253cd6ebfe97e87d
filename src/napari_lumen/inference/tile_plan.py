"""The plan of a run whose tiles are answered each as a whole: where they lie, and what comes of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from shapely.geometry.base import BaseGeometry

from napari_lumen.geometry import Grid, Pair, Region, Window
from napari_lumen.inference.plan import Cell, Plan, asked_area, chosen_tiles, whole_slide
from napari_lumen.models import InputSpec
from napari_lumen.slides import Slide


@dataclass(frozen=True)
class TilePlan(Plan):
    """Tiles that are answered each as a whole.

    A cell is what one tile alone answers for: the tile without half of what it shares on each side. The
    grid consists of whole cells, and may reach outside the slide on all sides. It has one level, since no
    result has its resolution: see `raster_grid`.
    """

    @property
    def cell(self) -> int:
        """Side of a cell, px of the grid."""
        return self.tile - self.overlap

    @property
    def cells(self) -> tuple[int, int]:
        """Rows and columns of cells in the grid."""
        return self.grid.shape[0] // self.cell, self.grid.shape[1] // self.cell

    def cell_of(self, tile: Window) -> Cell:
        """Return the cell (row, column) that a tile answers for."""
        margin = self.overlap // 2
        return (tile.y + margin) // self.cell, (tile.x + margin) // self.cell

    def cells_of(self, tile: Window) -> Iterator[Cell]:
        """Yield the one cell that a tile answers for."""
        yield self.cell_of(tile)

    def cell_window(self, cell: Cell) -> Window:
        """Return the pixels of a cell."""
        return Window(cell[0] * self.cell, cell[1] * self.cell, self.cell, self.cell)

    def raster_grid(self, sides: tuple[int, int]) -> Grid:
        """Return the grid of a raster that has so many rows and columns of pixels in each cell."""
        rows, columns = self.cells
        height, width = sides
        step = self.grid.step[0] * self.cell / height, self.grid.step[1] * self.cell / width
        return Grid((rows * height, columns * width), step, self.grid.origin)

    def pixels_on(self, slide: Slide, cell: Cell) -> int:
        """Return how many pixels of the grid a cell has on the slide."""
        region = self.grid.region_of(self.cell_window(cell)).intersect(Region(0, 0, *slide.shape))
        return round(region.height / self.grid.step[0] * (region.width / self.grid.step[1]))


def make_tile_plan(
    slide: Slide,
    spec: InputSpec,
    region: Region | BaseGeometry | None,
    check: Callable[[], None] = lambda: None,
    *,
    centred: bool,
) -> TilePlan:
    """Lay tiles over the slide and choose those that are asked for.

    Parameters
    ----------
    slide : Slide
        With a known pixel size.
    spec : InputSpec
        Of the model.
    region : Region, shapely geometry or None
        What to answer for; None is all tissue. Geometry is in (x, y) level-0 px.
    check : callable, optional
        Called often while tissue is looked for; what it raises ends that.
    centred : bool
        Centre the tiles on the region, so that one that is no larger than a tile gets one tile, around it;
        else they begin at the slide's corner, and are the same for all regions.

    Raises
    ------
    RunError
        When the region lies outside the slide or no tissue is found.
    """
    view, own = spec.views[0], slide.require_mpp()
    step = (view.mpp / own[0], view.mpp / own[1])
    side, margin = view.size - spec.overlap, spec.overlap // 2
    asked = asked_area(slide, region)
    area = whole_slide(slide) if asked is None else asked
    origin, extent = (0.0, 0.0), (float(slide.shape[0]), float(slide.shape[1]))
    if centred and asked is not None:
        left, top, right, bottom = asked.bounds
        origin, extent = (top, left), (bottom - top, right - left)
    rows, columns = (
        max(1, math.ceil(length / (side * s) - 1e-6)) for length, s in zip(extent, step, strict=True)
    )
    if centred and asked is not None:
        origin = _centred(origin, extent, (rows * side, columns * side), step)
    grid = Grid((rows * side, columns * side), step, origin)
    tiles = (
        Window(row * side - margin, column * side - margin, view.size, view.size)
        for row in range(rows)
        for column in range(columns)
    )
    chosen, warnings = chosen_tiles(slide, grid, tiles, spec, asked, check)
    return TilePlan(grid, 1, view.size, spec.overlap, chosen, area, warnings)


def _centred(origin: Pair, extent: Pair, shape: tuple[int, int], step: Pair) -> Pair:
    """Return where a grid begins that is centred on a rectangle, to a whole pixel of the slide's own grid.

    So that pixels of the model's size come from the slide as they are, where it has a level of that size.
    """
    y, x = (
        round((start + length / 2 - side * s / 2) / s) * s
        for start, length, side, s in zip(origin, extent, shape, step, strict=True)
    )
    return y, x
