"""The one coordinate model.

The frame of everything stored or exchanged is level-0 pixels, (y, x), pixel edges at integers: pixel
(i, j) covers [i, i + 1) x [j, j + 1). A `Grid` lays any raster (a pyramid level, a label image, a coarse
attention map) on that frame by its edges; napari's layers, which place pixel centres in µm, come out of
`Grid.scale` and `Grid.translate`. No other module multiplies by a downsample.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

Pair = tuple[float, float]


def snap_downsample(level0_side: int, side: int) -> float:
    """Downsample of a pyramid level along one axis, from the two side lengths.

    The true ratio, snapped to a power of two, or else to an integer, when the level's side is then within
    one pixel of ``level0_side / downsample`` (writers round sides up or down, so 33333 / 8333 = 4.00012
    is 4).

    Parameters
    ----------
    level0_side, side : int
        Pixels along the axis at level 0 and at the level; positive.

    Returns
    -------
    float
        Level-0 pixels per pixel of the level.
    """
    if level0_side <= 0 or side <= 0:
        raise ValueError(f"sides must be positive, not {level0_side} and {side}")
    ratio = level0_side / side
    power = 2 ** max(0, round(math.log2(ratio)))
    for candidate in (power, max(1, round(ratio))):
        if abs(level0_side / candidate - side) < 1:
            return float(candidate)
    return ratio


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle in level-0 pixels, by its edges; may be fractional.

    Attributes
    ----------
    y, x : float
        Upper and left edge.
    height, width : float
        Extent, at least 0.
    """

    y: float
    x: float
    height: float
    width: float

    def __post_init__(self) -> None:
        finite = all(math.isfinite(value) for value in (self.y, self.x, self.height, self.width))
        if not finite or self.height < 0 or self.width < 0:
            raise ValueError(f"a region needs finite edges and an extent of at least 0, not {self}")

    @property
    def bottom(self) -> float:
        """Lower edge."""
        return self.y + self.height

    @property
    def right(self) -> float:
        """Right edge."""
        return self.x + self.width

    @property
    def empty(self) -> bool:
        """Whether it covers nothing."""
        return self.height == 0 or self.width == 0

    def intersect(self, other: Region) -> Region:
        """Return the common rectangle; empty (zero extent) when there is none."""
        y, x = max(self.y, other.y), max(self.x, other.x)
        return Region(
            y, x, max(0.0, min(self.bottom, other.bottom) - y), max(0.0, min(self.right, other.right) - x)
        )


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of whole pixels of some grid: rows y to y + height, columns x to x + width."""

    y: int
    x: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Slices (rows, columns) into an array of the grid's shape."""
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)

    def intersect(self, other: Window) -> Window:
        """Return the common rectangle; empty (zero extent) when there is none."""
        y, x = max(self.y, other.y), max(self.x, other.x)
        return Window(
            y,
            x,
            max(0, min(self.y + self.height, other.y + other.height) - y),
            max(0, min(self.x + self.width, other.x + other.width) - x),
        )


@dataclass(frozen=True, slots=True)
class Grid:
    """A raster laid on the level-0 frame.

    Attributes
    ----------
    shape : (int, int)
        Rows and columns.
    step : (float, float)
        Level-0 pixels per pixel of the grid, (y, x).
    origin : (float, float)
        Level-0 coordinates of the upper left *edge* of pixel (0, 0).
    """

    shape: tuple[int, int]
    step: Pair
    origin: Pair = (0.0, 0.0)

    def __post_init__(self) -> None:
        if min(self.shape) < 0 or not min(self.step) > 0:
            raise ValueError(f"a grid needs a shape of at least 0 and a positive step, not {self}")

    @property
    def region(self) -> Region:
        """The level-0 rectangle that the grid covers."""
        return self.region_of(Window(0, 0, *self.shape))

    def region_of(self, window: Window) -> Region:
        """Return the level-0 rectangle that a window of the grid covers."""
        return Region(
            self.origin[0] + window.y * self.step[0],
            self.origin[1] + window.x * self.step[1],
            window.height * self.step[0],
            window.width * self.step[1],
        )

    def window_of(self, region: Region) -> Window:
        """Return the smallest window of whole pixels, clipped to the grid, that covers a rectangle."""
        rows, columns = (
            (
                _floor((low - origin) / step),
                _ceil((high - origin) / step),
            )
            for low, high, origin, step in (
                (region.y, region.bottom, self.origin[0], self.step[0]),
                (region.x, region.right, self.origin[1], self.step[1]),
            )
        )
        covering = Window(rows[0], columns[0], rows[1] - rows[0], columns[1] - columns[0])
        return covering.intersect(Window(0, 0, *self.shape))

    def window_within(self, region: Region) -> Window:
        """Return the largest window of whole pixels, not clipped to the grid, inside a level-0 rectangle."""
        y, bottom, x, right = (
            rounded((edge - origin) / step)
            for edge, origin, step, rounded in (
                (region.y, self.origin[0], self.step[0], _ceil),
                (region.bottom, self.origin[0], self.step[0], _floor),
                (region.x, self.origin[1], self.step[1], _ceil),
                (region.right, self.origin[1], self.step[1], _floor),
            )
        )
        return Window(y, x, max(0, bottom - y), max(0, right - x))

    def coarsened(self, factor: int) -> Grid:
        """Return the grid of pixels `factor` times as large, from the same origin, covering this one."""
        return Grid(
            (-(-self.shape[0] // factor), -(-self.shape[1] // factor)),
            (self.step[0] * factor, self.step[1] * factor),
            self.origin,
        )

    def scale(self, mpp: Pair) -> Pair:
        """Return napari's ``scale``: µm per pixel of the grid, (y, x)."""
        return self.step[0] * mpp[0], self.step[1] * mpp[1]

    def translate(self, mpp: Pair) -> Pair:
        """Return napari's ``translate``: where the centre of pixel (0, 0) lies in µm.

        napari places pixel centres, and the centre of level-0 pixel (0, 0) is its origin, so a pixel of
        `step` level-0 pixels lies (step - 1) / 2 of them further.
        """
        return (
            (self.origin[0] + (self.step[0] - 1) / 2) * mpp[0],
            (self.origin[1] + (self.step[1] - 1) / 2) * mpp[1],
        )


def world_to_level0(point: Pair, mpp: Pair) -> Pair:
    """Convert a napari world position in µm (pixel centres) to level-0 pixel edges coordinates."""
    return point[0] / mpp[0] + 0.5, point[1] / mpp[1] + 0.5


def level0_to_world(point: Pair, mpp: Pair) -> Pair:
    """Convert level-0 pixel edge coordinates to a napari world position in µm (pixel centres)."""
    return (point[0] - 0.5) * mpp[0], (point[1] - 0.5) * mpp[1]


def tile_starts(length: int, tile: int, stride: int) -> list[int]:
    """Return the starts of tiles of a given size that cover [0, length), the last may reach beyond it."""
    if not 0 < stride <= tile:
        raise ValueError(f"the stride must be above 0 and at most the tile size {tile}, not {stride}")
    count = 1 + max(0, -(-(length - tile) // stride))
    return [index * stride for index in range(count)]


def windows(shape: tuple[int, int], size: int) -> Iterator[Window]:
    """Yield square windows of `size` that partition a raster, row by row, clipped at the far edges."""
    for y in range(0, shape[0], size):
        for x in range(0, shape[1], size):
            yield Window(y, x, min(size, shape[0] - y), min(size, shape[1] - x))


_TOLERANCE = 1e-6  # of a grid pixel: rounding of mpp ratios must not add a row


def spanned(part: int | slice, side: int) -> tuple[int, int, int | slice]:
    """Return start and length of what an index of an axis spans, and the index within that.

    Parameters
    ----------
    part : int or slice
        As numpy takes it, negative numbers and steps included.
    side : int
        Length of the axis.
    """
    if isinstance(part, slice):
        chosen = range(side)[part]
        if not chosen:
            return 0, 0, slice(None)
        start, stop = min(chosen[0], chosen[-1]), max(chosen[0], chosen[-1]) + 1
        return start, stop - start, slice(None) if chosen.step == 1 else slice(None, None, chosen.step)
    return range(side)[part], 1, 0


def _floor(value: float) -> int:
    return math.floor(value + _TOLERANCE)


def _ceil(value: float) -> int:
    return math.ceil(value - _TOLERANCE)
