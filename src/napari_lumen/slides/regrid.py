"""Windows of any grid laid on a slide, resampled from its next finer level in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lumen.geometry import Grid, Pair, Region, Window
from napari_lumen.slides.level import Level
from napari_lumen.slides.resample import resample

Pixels = npt.NDArray[Any]

_MOST_PIXELS = 16 << 20  # of source read at once
_SAME_STEP = 1e-3  # of a pixel's step: below it a level is read as it is
_STEEPEST = 128  # pixels of source along one of a grid that is resampled from it at once
_PARTS = 64  # along a pixel that is larger, which is first reduced to so many


@dataclass(frozen=True, slots=True)
class _Source:
    """What a grid is resampled from.

    Attributes
    ----------
    grid : Grid
    inside : Window
        Its pixels that are of the slide.
    read : callable
        Returns a window of it, which may reach beyond the slide.
    """

    grid: Grid
    inside: Window
    read: Callable[[Window], Pixels]


class GridReader:
    """Reads windows of any grid laid on a slide.

    Each pixel is the anti-aliased (triangle-weighted) mean around its own exact footprint, so tiles read
    one by one join without seams and never drift.

    Parameters
    ----------
    levels : sequence of Level
    read : callable
        Returns a window of a level, which may reach beyond it: (h, w, samples).
    """

    def __init__(self, levels: Sequence[Level], read: Callable[[int, Window], Pixels]) -> None:
        self._levels = levels
        self._read = read
        self._slide = levels[0].grid.region

    def read(self, grid: Grid, window: Window) -> Pixels:
        """Return a window of a grid: (window.height, window.width, samples)."""
        level = self._source_level(grid.step)
        source = self._levels[level].grid
        region = grid.region_of(window)
        ratio = (grid.step[0] / source.step[0], grid.step[1] / source.step[1])
        top, left = region.y / source.step[0], region.x / source.step[1]
        near = (round(top), round(left))
        if (
            abs(ratio[0] - 1) * window.height < _SAME_STEP
            and abs(ratio[1] - 1) * window.width < _SAME_STEP
            and abs(top - near[0]) < _SAME_STEP
            and abs(left - near[1]) < _SAME_STEP
        ):
            return self._read(level, Window(*near, window.height, window.width))
        parts = [1 if own <= _STEEPEST else _PARTS for own in ratio]
        pixels = math.prod(
            (side + 2) * (own if part == 1 else part)  # the weights reach a pixel further on each side
            for side, own, part in zip((window.height, window.width), ratio, parts, strict=True)
        )
        if pixels > _MOST_PIXELS and window.height * window.width > 1:
            return self._read_halves(grid, window)
        if not (window.height and window.width) or self._is_far(region, grid.step):
            return self._read(0, Window(-window.height, 0, window.height, window.width))
        if max(parts) > 1:
            return self._resampled(grid, window, self._between(grid, (parts[0], parts[1])))
        whole = Window(0, 0, *self._levels[level].shape)
        return self._resampled(grid, window, _Source(source, whole, partial(self._read, level)))

    def _source_level(self, step: Pair) -> int:
        """Return the coarsest level that is still as fine as `step` on both axes."""
        fitting = [
            index
            for index, level in enumerate(self._levels)
            if all(
                own <= wanted * (1 + 1 / side)  # within the rounding of the level's side
                for own, wanted, side in zip(level.downsample, step, level.shape, strict=True)
            )
        ]
        return fitting[-1] if fitting else 0

    def _is_far(self, region: Region, step: Pair) -> bool:
        """Whether no pixel of the slide weighs in a region, a step around it included."""
        height, width = region.height + 2 * step[0], region.width + 2 * step[1]
        return self._slide.intersect(Region(region.y - step[0], region.x - step[1], height, width)).empty

    def _between(self, grid: Grid, parts: tuple[int, int]) -> _Source:
        """Return the grid of which so many pixels make one, to take steps too steep for the memory in two."""
        step = (grid.step[0] / parts[0], grid.step[1] / parts[1])
        finer = Grid((grid.shape[0] * parts[0], grid.shape[1] * parts[1]), step, grid.origin)
        return _Source(finer, finer.window_within(self._slide), partial(self.read, finer))

    def _resampled(self, grid: Grid, window: Window, source: _Source) -> Pixels:
        """Resample a window; only pixels that reach out of the slide have a share of what lies beyond."""
        inside = grid.window_within(self._slide).intersect(window)
        if inside == window:
            return _resample(grid, window, source, beyond=False)
        out = _resample(grid, window, source, beyond=True)
        if inside.height and inside.width:
            part = Window(inside.y - window.y, inside.x - window.x, inside.height, inside.width)
            out[part.slices] = _resample(grid, inside, source, beyond=False)
        return out

    def _read_halves(self, grid: Grid, window: Window) -> Pixels:
        """Halve a window whose source would not fit in memory."""
        y, x, height, width = window.y, window.x, window.height, window.width
        if height >= width:
            half = height // 2
            halves = (Window(y, x, half, width), Window(y + half, x, height - half, width))
        else:
            half = width // 2
            halves = (Window(y, x, height, half), Window(y, x + half, height, width - half))
        return np.concatenate([self.read(grid, part) for part in halves], axis=0 if height >= width else 1)


def _resample(grid: Grid, window: Window, source: _Source, beyond: bool) -> Pixels:
    """Resample a window of a grid, with or without what lies beyond the slide.

    Without it the weights are shared out among the pixels of the slide, so that no white seeps in.
    """
    region, own = grid.region_of(window), source.grid
    top, left = (region.y - own.origin[0]) / own.step[0], (region.x - own.origin[1]) / own.step[1]
    ratio = (grid.step[0] / own.step[0], grid.step[1] / own.step[1])
    bottom, right = top + window.height * ratio[0], left + window.width * ratio[1]
    # the weights of a pixel reach as far again as the pixel is wide
    margin = [math.ceil(max(1.0, wide)) + 1 for wide in ratio]
    y, x = math.floor(top) - margin[0], math.floor(left) - margin[1]
    height, width = math.ceil(bottom) + margin[0] - y, math.ceil(right) + margin[1] - x
    wanted = Window(y, x, height, width)
    if not beyond:
        wanted = wanted.intersect(source.inside)
    shape, corner = (window.height, window.width), (top - wanted.y, left - wanted.x)
    return resample(source.read(wanted), shape, corner, ratio)
