"""The plan of a run: the grid of its results, the tiles that cover what was asked, and their weights."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import compress

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from napari_lumen.errors import RunError
from napari_lumen.geometry import Grid, Region, Window
from napari_lumen.models import InputSpec
from napari_lumen.slides import Slide
from napari_lumen.tissue import Mask, Tissue, find_tissue

CELL = 256  # px of the run's grid a side: cells are finished and recorded one by one
BLOCK = 8  # cells a side: what is written to one file
_INKY_MM2 = 0.1  # less is no mark of a pen
_COARSEST = 1024  # longer side of the coarsest level of a result
Cell = tuple[int, int]


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    Attributes
    ----------
    grid : Grid
        Of the results, at the model's mpp, over the whole slide; its shape is a multiple of
        2 ** (levels - 1), so that each level is exactly twice as coarse as the one before.
    levels : int
        Levels of the results' pyramids; at least 2, since napari lets a single one be painted over.
    tile, overlap : int
        Side of a tile and what neighbours share, px of the grid.
    tiles : tuple of Window
        In pixels of the grid, row by row; those at the rim reach outside the slide.
    area : shapely geometry
        What the run answers for: (x, y) in level-0 px.
    warnings : tuple of str
        What the reader of the results should know of it.
    """

    grid: Grid
    levels: int
    tile: int
    overlap: int
    tiles: tuple[Window, ...]
    area: BaseGeometry
    warnings: tuple[str, ...] = ()

    @property
    def cell(self) -> int:
        """Side of a cell, px of the grid."""
        return CELL

    @cached_property
    def checksum(self) -> str:
        """SHA-256 of all that is done; equal for equal plans, in any session."""
        numbers = np.array([(tile.y, tile.x) for tile in self.tiles], np.int64)
        facts = (self.grid, self.levels, self.tile, self.overlap, self.cell)
        digest = hashlib.sha256(repr(facts).encode())
        digest.update(numbers.tobytes())
        digest.update(shapely.to_wkb(shapely.normalize(self.area)))
        return digest.hexdigest()

    def cells_of(self, tile: Window) -> Iterator[Cell]:
        """Yield the cells (row, column) that a tile has weight in."""
        columns = self._along(1, tile.x)
        for row in self._along(0, tile.y):
            for column in columns:
                yield row, column

    def tiles_per_cell(self) -> Counter[Cell]:
        """Count how many tiles each cell waits for."""
        return self._tiles_per_cell.copy()

    @cached_property
    def _tiles_per_cell(self) -> Counter[Cell]:
        return Counter(cell for tile in self.tiles for cell in self.cells_of(tile))

    def _along(self, axis: int, start: int) -> range:
        """Return the rows, or columns, of cells that tiles which start at a pixel have weight in."""
        known = self._known[axis]
        if start not in known:
            margin = max(0, (self.overlap - 2) // 2)  # where `blending_window` is 0
            first, last = max(0, start + margin), min(start + self.tile - margin, self.grid.shape[axis])
            known[start] = range(first // CELL, -(-last // CELL) if last > first else 0)
        return known[start]

    @cached_property
    def _known(self) -> tuple[dict[int, range], dict[int, range]]:
        return {}, {}

    def cell_window(self, cell: Cell) -> Window:
        """Return the pixels of a cell, clipped to the grid."""
        return Window(cell[0] * CELL, cell[1] * CELL, CELL, CELL).intersect(Window(0, 0, *self.grid.shape))


def make_plan(
    slide: Slide,
    spec: InputSpec,
    region: Region | BaseGeometry | None,
    check: Callable[[], None] = lambda: None,
) -> Plan:
    """Lay the result's grid over the slide and choose the tiles.

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

    Raises
    ------
    RunError
        When the region lies outside the slide or no tissue is found.
    """
    view = spec.views[0]
    grid, levels = result_grid(slide, view.mpp)
    tiles = _all_tiles(slide.shape, grid, view.size, spec.overlap)
    area = asked_area(slide, region)
    chosen, warnings = chosen_tiles(slide, grid, tiles, spec, area, check)
    asked = whole_slide(slide) if area is None else area
    return Plan(grid, levels, view.size, spec.overlap, chosen, asked, warnings)


def whole_slide(slide: Slide) -> BaseGeometry:
    """Return all of a slide, (x, y) in level-0 px."""
    return shapely.box(0, 0, slide.shape[1], slide.shape[0])


def asked_area(slide: Slide, region: Region | BaseGeometry | None) -> BaseGeometry | None:
    """Return the part of a region that lies on the slide; None for all tissue.

    Raises
    ------
    RunError
        When it is no region, or none of it lies on the slide.
    """
    if region is None:
        return None
    if not isinstance(region, Region | BaseGeometry):
        raise RunError(
            f"The region {region!r} is not one: give geometry.Region(y, x, height, width) or a shapely "
            "geometry in (x, y), in level-0 pixels."
        )
    wanted = _box(region) if isinstance(region, Region) else shapely.make_valid(region)
    area = wanted.intersection(whole_slide(slide))
    if area.area == 0:
        raise RunError(
            f"The region asked for lies outside {slide.path.name} "
            f"({slide.shape[1]} x {slide.shape[0]} px, width x height). Choose one on the slide."
        )
    return area


def chosen_tiles(
    slide: Slide,
    grid: Grid,
    tiles: Iterable[Window],
    spec: InputSpec,
    area: BaseGeometry | None,
    check: Callable[[], None],
) -> tuple[tuple[Window, ...], tuple[str, ...]]:
    """Return the tiles whose own part, without what they share, touches an area, or without one has tissue.

    Returns
    -------
    tiles : tuple of Window
    warnings : tuple of str
        What the reader of the results should know.

    Raises
    ------
    RunError
        When there is no tissue, or no tile has as much as the model asks for.
    """
    tiles = tuple(tiles)
    rows, of_row = np.unique([tile.y for tile in tiles], return_inverse=True)
    columns, of_column = np.unique([tile.x for tile in tiles], return_inverse=True)
    side, overlap = tiles[0].height, spec.overlap
    # those of a row have upper and lower edges in common, those of a column left and right ones
    in_rows = [_core(grid, Window(y, 0, side, side), overlap) for y in rows.tolist()]
    in_columns = [_core(grid, Window(0, x, side, side), overlap) for x in columns.tolist()]
    across = np.array([(core.y, core.bottom) for core in in_rows])
    down = np.array([(core.x, core.right) for core in in_columns])
    if area is not None:
        (top, bottom), (left, right) = across[of_row].T, down[of_column].T
        cores = shapely.box(left, top, right, bottom)
        shapely.prepare(area)
        return tuple(compress(tiles, shapely.intersects(area, cores) & ~shapely.touches(area, cores))), ()
    found = find_tissue(slide, check)
    if spec.tissue_share is None:
        wanted = _touched(found, in_rows, in_columns)
    else:
        wanted = found.shares(across, down) > spec.tissue_share
    chosen = tuple(compress(tiles, wanted[of_row, of_column]))
    if not chosen:
        why = f"No tissue was found on {slide.path.name}: nothing on it stands out from the glass."
        if found.mask.any():
            why = f"No tile of {slide.path.name} has as much tissue as the model asks for, "
            why += f"{spec.tissue_share:.0%}."
        raise RunError(f"{why} Run on the current view or on shapes instead.")
    if found.inky_mm2 < _INKY_MM2:
        return chosen, ()
    return chosen, (
        f"{found.inky_mm2:.2g} mm² of what counts as tissue on {slide.path.name} have the colour of ink: "
        "marks of a pen, or a blue or dense stain. Look at the slide; if it is ink, run within shapes around "
        "the tissue.",
    )


def _touched(found: Tissue, in_rows: Sequence[Region], in_columns: Sequence[Region]) -> Mask:
    """Return which rows and columns of tiles any tissue reaches into: bool (rows, columns)."""
    across = [found.grid.window_of(core).slices[0] for core in in_rows]
    down = [found.grid.window_of(core).slices[1] for core in in_columns]
    top, bottom = np.array([(part.start, part.stop) for part in across]).T[:, :, None]
    left, right = np.array([(part.start, part.stop) for part in down]).T[:, None, :]
    before = np.pad(found.mask, ((1, 0), (1, 0))).cumsum(axis=0, dtype=np.int64).cumsum(axis=1)
    tissue = before[bottom, right] - before[top, right] - before[bottom, left] + before[top, left]
    return np.asarray(tissue > 0)


def result_grid(slide: Slide, mpp: float) -> tuple[Grid, int]:
    """Return the grid at an mpp that covers the slide, and the number of levels of a pyramid on it."""
    own = slide.require_mpp()
    step = (mpp / own[0], mpp / own[1])
    height, width = (math.ceil(side / s - 1e-6) for side, s in zip(slide.shape, step, strict=True))
    return pyramid_grid(Grid((height, width), step))


def pyramid_grid(grid: Grid) -> tuple[Grid, int]:
    """Return a grid enlarged so that each level of its pyramid is exactly half of the one before.

    Returns
    -------
    grid : Grid
    levels : int
        At least 2, see `Plan`.
    """
    levels = 1 + max(1, math.ceil(math.log2(max(grid.shape) / _COARSEST)))
    multiple = 2 ** (levels - 1)
    height, width = (-(-side // multiple) * multiple for side in grid.shape)
    return Grid((height, width), grid.step, grid.origin), levels


def _all_tiles(shape: tuple[int, int], grid: Grid, size: int, overlap: int) -> Iterator[Window]:
    """Yield the tiles whose cores, `overlap / 2` px inside their edges, partition the slide."""
    stride, margin = size - overlap, overlap // 2
    rows, columns = (
        range(-margin, math.ceil(side / s) - margin, stride) for side, s in zip(shape, grid.step, strict=True)
    )
    return (Window(y, x, size, size) for y in rows for x in columns)


def _core(grid: Grid, tile: Window, overlap: int) -> Region:
    """Return the part of a tile that is its own, in level-0 px."""
    margin = overlap // 2
    return grid.region_of(
        Window(tile.y + margin, tile.x + margin, tile.height - overlap, tile.width - overlap)
    )


def _box(region: Region) -> BaseGeometry:
    return shapely.box(region.x, region.y, region.right, region.bottom)


def blending_window(size: int, overlap: int) -> npt.NDArray[np.float32]:
    """Return the weights of a tile's pixels, (size, size) float32 in [0, 1].

    Nothing within half the overlap of the edge, but for a pixel on which neighbours share the answer: so a
    network whose receptive field is smaller than the overlap answers as it would for the whole slide at
    once. Wider ramps bring others no nearer to that, by the shipped model. The weights of neighbouring tiles
    sum to 1.
    """
    if overlap == 0:
        return np.ones((size, size), np.float32)
    distance = np.arange(size) + 0.5
    distance = np.minimum(distance, size - distance)
    ramp = np.clip((distance - overlap / 2 + 1) / 2, 0, 1).astype(np.float32)
    return np.outer(ramp, ramp)
