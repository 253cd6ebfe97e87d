"""What a conversion writes: the levels, their tiles, and the blocks that are done or not done."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lumen.errors import SlideError
from napari_lumen.geometry import Grid, Pair, Region, Window
from napari_lumen.slides.pixel_size import as_pair
from napari_lumen.slides.slide import Slide

TILE = 512
_SMALLEST = 1024  # px: the longest side of the coarsest level
_DEEPEST = 3  # levels that a block makes at once: 64 tiles of its finest
_BLOCK_BYTES = 64 << 20  # of the first level below the finest of a block, which is held whole
_FINEST = 0.5  # of the slide's pixel size: below it a conversion only makes the file larger

Pixels = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Block:
    """A square of tiles that is made, and recorded as done, at once.

    Attributes
    ----------
    level : int
        The level that it starts from: 0 is read from the slide, others were made before.
    depth : int
        How many coarser levels it makes, each half of the one before.
    row, column : int
        Of the tile that it becomes, `depth` levels below.
    """

    level: int
    depth: int
    row: int
    column: int

    @property
    def key(self) -> str:
        """Its name in the ledger."""
        return f"{self.level}/{self.row}/{self.column}"


@dataclass(frozen=True, slots=True)
class Plan:
    """The pyramid to be written.

    Attributes
    ----------
    grid : Grid
        Its finest level, laid on the slide.
    mpp : (float, float) or None
        µm per pixel of the finest level, (y, x).
    shapes : tuple of (int, int)
        Height and width of each level, each half of the one before, rounded up.
    samples : int
    dtype : dtype
    """

    grid: Grid
    mpp: Pair | None
    shapes: tuple[tuple[int, int], ...]
    samples: int
    dtype: np.dtype[Any]

    def tiles(self, level: int) -> tuple[int, int]:
        """Rows and columns of tiles of a level."""
        height, width = self.shapes[level]
        return -(-height // TILE), -(-width // TILE)

    @property
    def total(self) -> int:
        """Tiles of all levels."""
        return sum(math.prod(self.tiles(level)) for level in range(len(self.shapes)))

    def window(self, level: int, row: int, column: int) -> Window:
        """The pixels of a tile, clipped to its level."""
        return Window(row * TILE, column * TILE, TILE, TILE).intersect(Window(0, 0, *self.shapes[level]))

    def blocks(self) -> Iterator[Block]:
        """Yield the blocks in an order in which each finds what it starts from."""
        deepest = next(
            (
                depth
                for depth in range(_DEEPEST, 1, -1)
                if (TILE << depth >> 1) ** 2 * self.samples * self.dtype.itemsize <= _BLOCK_BYTES
            ),
            1,
        )
        level, last = 0, len(self.shapes) - 1
        while level < last or level == 0:
            depth = min(deepest, last - level)
            rows, columns = self.tiles(level + depth)
            for row in range(rows):
                for column in range(columns):
                    yield Block(level, depth, row, column)
            if depth == 0:
                return
            level += depth

    def tiles_of(self, block: Block, below: int) -> list[tuple[int, int]]:
        """Rows and columns of the tiles of a block, `below` levels under where it starts."""
        side = 1 << (block.depth - below)
        rows, columns = self.tiles(block.level + below)
        return [
            (row, column)
            for row in range(block.row * side, min(rows, (block.row + 1) * side))
            for column in range(block.column * side, min(columns, (block.column + 1) * side))
        ]


def plan_for(slide: Slide, region: Region | None, mpp: float | Pair | None) -> Plan:
    """Lay the result on the slide.

    Raises
    ------
    SlideError
        When the region lies outside, or the pixel size cannot be reached.
    """
    whole = slide.levels[0].grid
    part = Window(0, 0, *slide.shape) if region is None else whole.window_of(region)
    if not (part.height and part.width):
        raise SlideError(
            f"The region asked for lies outside {slide.path.name} "
            f"({slide.shape[1]:,} x {slide.shape[0]:,} px). Give y, x, height and width in pixels of level 0."
        )
    step: Pair = (1.0, 1.0)
    if mpp is not None:
        step = _step(slide, mpp)
    # a last pixel that reached out of the part would be mixed with what lies beyond
    side = [
        math.floor(length / own + 1e-6) for length, own in zip((part.height, part.width), step, strict=True)
    ]
    if min(side) < 1:
        raise SlideError(
            f"What is asked of {slide.path.name} would be less than a pixel wide or high. "
            "Give a finer pixel size or a larger region."
        )
    shapes = [(side[0], side[1])]
    while max(shapes[-1]) > _SMALLEST:
        shapes.append((-(-shapes[-1][0] // 2), -(-shapes[-1][1] // 2)))
    return Plan(
        grid=Grid(shapes[0], step, (float(part.y), float(part.x))),
        mpp=None if slide.mpp is None else (slide.mpp[0] * step[0], slide.mpp[1] * step[1]),
        shapes=tuple(shapes),
        samples=slide.samples,
        dtype=slide.dtype,
    )


def _step(slide: Slide, mpp: float | Pair) -> Pair:
    try:
        target = as_pair(mpp)
    except (TypeError, ValueError) as error:
        raise SlideError(f"A pixel size is a number or a pair (y, x) in µm, not {mpp!r}.") from error
    if not all(math.isfinite(value) and value > 0 for value in target):
        raise SlideError(
            f"A pixel size of {target[1]:g} x {target[0]:g} µm cannot be written; give it in µm above 0."
        )
    if slide.mpp is None:
        raise SlideError(
            f"{slide.path.name} does not state its pixel size, so it cannot be brought to another one; "
            "say what it is (open_slide(path, mpp=0.25), or --slide-mpp 0.25)."
        )
    step = (target[0] / slide.mpp[0], target[1] / slide.mpp[1])
    if min(step) < _FINEST:
        raise SlideError(
            f"{slide.path.name} has {slide.mpp[1]:.4g} µm per pixel; {target[1]:g} µm is more than twice as "
            "fine and would only make the file larger. Give a coarser size."
        )
    return step


def halved(pixels: Pixels) -> Pixels:
    """Average squares of 2 x 2 pixels (h, w, samples); at odd far edges what there is.

    Halves are rounded to the even value: rounded up, each level would be an eighth of a grey value lighter
    than the one before.
    """
    height, width = pixels.shape[:2]
    if height % 2 or width % 2:
        pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    quarters = [pixels[i::2, j::2] for i in (0, 1) for j in (0, 1)]
    if pixels.dtype.kind == "f":
        return np.asarray(np.mean(quarters, axis=0, dtype=np.float64), pixels.dtype)
    wide = np.dtype(f"{pixels.dtype.kind}{min(8, 2 * pixels.dtype.itemsize)}")
    total = quarters[0].astype(wide)
    for quarter in quarters[1:]:
        total += quarter
    odd = (total >> 2) & 1
    odd += 1
    odd += total
    odd >>= 2
    return odd.astype(pixels.dtype)
