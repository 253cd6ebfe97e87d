"""Whatever the pyramid, what is read at any level lies where level 0 has it."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes import ArraySlide
from napari_lumen.geometry import Grid, Window
from napari_lumen.slides import Channel

_UNITS = 16  # grey values per pixel of level 0: positions are known to a sixteenth of a pixel
_ROUNDING = {"floor": math.floor, "ceil": math.ceil, "round": round}


def positions(height: int, width: int) -> npt.NDArray[np.uint16]:
    """Return an image whose two channels are each pixel's own centre, (y, x)."""
    y, x = np.mgrid[:height, :width] + 0.5
    return np.rint(np.dstack([y, x]) * _UNITS).astype(np.uint16)


def averaged(image: npt.NDArray[np.uint16], factor: int, shape: tuple[int, int]) -> npt.NDArray[np.uint16]:
    """Return block means, as a scanner makes a level; blocks past the far edge go on as the edge does."""
    missing = [max(0, side * factor - own) for side, own in zip(shape, image.shape, strict=False)]
    padded = np.pad(
        image.astype(float),
        ((0, missing[0]), (0, missing[1]), (0, 0)),
        mode="reflect",
        reflect_type="odd",  # a ramp stays a ramp
    )[: shape[0] * factor, : shape[1] * factor]
    return np.rint(padded.reshape(shape[0], factor, shape[1], factor, 2).mean(axis=(1, 3))).astype(np.uint16)


@st.composite
def pyramids(draw: st.DrawFn) -> tuple[ArraySlide, list[int]]:
    height, width = draw(st.integers(200, 1500)), draw(st.integers(200, 1500))
    factors = draw(st.sampled_from([[2], [4], [2, 4, 8], [4, 16], [3, 9], [4, 8, 16]]))
    rounded = _ROUNDING[draw(st.sampled_from(sorted(_ROUNDING)))]
    base = positions(height, width)
    reduced = [averaged(base, n, (rounded(height / n), rounded(width / n))) for n in factors]
    slide = ArraySlide(base, *reduced)
    slide.channels, slide.dtype = (Channel("y"), Channel("x")), np.dtype(np.uint16)
    return slide, [1, *factors]


def off(pixels: npt.NDArray[np.uint16], grid: Grid, window: Window) -> float:
    """Return how far, in level-0 pixels, the pixels lie from where the grid says, at the most."""
    rows, columns = np.mgrid[window.slices] + 0.5
    wanted = np.dstack([rows * grid.step[0] + grid.origin[0], columns * grid.step[1] + grid.origin[1]])
    return float(np.abs(pixels / _UNITS - wanted).max())


def allowed(slide: ArraySlide, grid: Grid) -> float:
    """Return half a level-0 pixel, or a tenth of one of the level that a grid is resampled from.

    The weights of a few coarse pixels are not quite even about the middle; that never adds up to a drift.
    """
    finer = (
        max(level.downsample) for level in slide.levels if max(level.downsample) <= 1.01 * max(grid.step)
    )
    return max(0.5, 0.1 * max(finer))


def inner(data: st.DataObject, grid: Grid, slide: ArraySlide) -> Window:
    """Draw a window of a grid that keeps clear of the slide's edges, where the weights of a pixel are cut."""
    far = [1 + math.ceil(2 * max(slide.levels[-1].downsample) / step) for step in grid.step]
    height, width = (max(1, side - 1 - cut) for side, cut in zip(grid.shape, far, strict=True))
    y, x = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    return Window(
        y,
        x,
        data.draw(st.integers(1, max(1, min(80, height - y)))),
        data.draw(st.integers(1, max(1, min(80, width - x)))),
    )


@settings(max_examples=60, deadline=None)
@given(pyramids(), st.data())
def test_stored_levels_lie_where_level_0_has_them(
    made: tuple[ArraySlide, list[int]], data: st.DataObject
) -> None:
    slide, factors = made
    level = data.draw(st.integers(0, len(factors) - 1))
    assert slide.levels[level].downsample == (factors[level], factors[level])
    window = inner(data, slide.levels[level].grid, slide)
    pixels = slide.read(window.y, window.x, window.height, window.width, level)
    assert off(pixels, slide.levels[level].grid, window) <= 0.5


@settings(max_examples=60, deadline=None)
@given(pyramids(), st.data())
def test_what_the_viewer_shows_lies_where_level_0_has_it(
    made: tuple[ArraySlide, list[int]], data: st.DataObject
) -> None:
    slide, _ = made
    grids = slide.pyramid()
    index = data.draw(st.integers(0, len(grids) - 1))
    window = inner(data, grids[index], slide)
    assert off(slide.read_grid(grids[index], window), grids[index], window) <= allowed(slide, grids[index])


@settings(max_examples=60, deadline=None)
@given(pyramids(), st.data(), st.floats(0.3, 12), st.floats(0, 50), st.floats(0, 50))
def test_any_pixel_size_lies_where_level_0_has_it(
    made: tuple[ArraySlide, list[int]], data: st.DataObject, step: float, top: float, left: float
) -> None:
    slide, _ = made
    height, width = (
        max(1, int((side - 2 * start) / step) - 3)
        for side, start in zip(slide.shape, (top, left), strict=True)
    )
    grid = Grid((height, width), (step, step), (top + step, left + step))
    y, x = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    window = Window(y, x, min(40, height - y), min(40, width - x))
    # the weights of few coarse pixels are not quite even about the middle: a tenth of one, never a drift
    coarsest = max(
        (max(level.downsample) for level in slide.levels if max(level.downsample) <= step), default=1
    )
    assert off(slide.read_grid(grid, window), grid, window) <= max(0.5, 0.1 * coarsest)
