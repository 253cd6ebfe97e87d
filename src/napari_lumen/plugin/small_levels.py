"""The small levels of a slide, read once and kept: what napari, its thumbnail and the overview show."""

from __future__ import annotations

import math
from collections.abc import Callable
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_lumen.errors import Cancelled
from napari_lumen.geometry import Grid, Window
from napari_lumen.plugin.prefetch import level_in_view
from napari_lumen.slides.resample import resample

if TYPE_CHECKING:
    from napari_lumen.slides import Slide

Pixels = npt.NDArray[Any]
Step = tuple[int, int, str]  # how much is done, of how much (0: nobody knows), and what is being done

_STEEP = 16  # pixels of the file for one of a level: more cannot be read while the user pans
_MOST_BYTES = 64 << 20  # of the finest level that is kept because it is steep: 4,700 px a side in RGB
_BAND = 8 << 20  # pixels of the file between two looks at the token


def read_small_levels(
    slide: Slide,
    emit: Callable[[Step], None] = lambda progress: None,
    cancel: Event | None = None,
) -> list[Pixels]:
    """Read the levels of a slide that are shown from memory; damaged parts are hatched.

    The coarsest, which napari would hold for its thumbnail anyway. Of a slide without a pyramid also the
    finer ones that fit: each view of them would be read from so much of the file that the window stands
    still.

    Parameters
    ----------
    slide : Slide
    emit : callable, optional
        Takes a `Step` now and then.
    cancel : threading.Event, optional
        Looked at every tenth of a second or so.

    Returns
    -------
    list of ndarray
        The last of `Slide.pyramid`, finest first, each (h, w, samples).

    Raises
    ------
    Cancelled
    SlideError
        When a disk or a server does not deliver: what is read here is never read again.
    """
    slide.damage.forget_passing()
    grids = slide.pyramid()
    size = slide.samples * np.dtype(slide.dtype).itemsize
    kept = [
        index
        for index, grid in enumerate(grids)
        if _steepness(slide, grid) > _STEEP and math.prod(grid.shape) * size <= _MOST_BYTES
    ]
    levels: list[Pixels] = []
    for grid in grids[min(kept, default=len(grids) - 1) :]:
        if levels and _steepness(slide, grid) > _STEEP:
            levels.append(_reduced(levels[-1], grid.shape))
        else:
            levels.append(_read(slide, grid, emit, cancel or Event()))
    if slide.damage.passing is not None:
        raise slide.damage.passing
    return levels


def _steepness(slide: Slide, grid: Grid) -> float:
    """Return how many pixels of the file go into one of a grid."""
    source = slide.levels[level_in_view(slide, grid.step)]
    return math.prod(grid.step) / math.prod(source.downsample)


def _read(slide: Slide, grid: Grid, emit: Callable[[Step], None], cancel: Event) -> Pixels:
    height, width = grid.shape
    pyramid = "" if len(slide.levels) > 1 else ", which has no pyramid,"
    text = f"Reading an overview of {slide.path.name}{pyramid} …"
    rows = max(1, int(_BAND / width / _steepness(slide, grid)))
    # channels are shown one by one: each lies in one piece
    pixels = np.empty((slide.samples, height, width), slide.dtype).transpose(1, 2, 0)
    if slide.is_rgb:
        pixels = np.empty((height, width, slide.samples), slide.dtype)
    for top in range(0, height, rows):
        if cancel.is_set():
            raise Cancelled("The slide was not opened.")
        emit((top, height if rows < height else 0, text))
        band = Window(top, 0, min(rows, height - top), width)
        pixels[band.slices] = slide.read_grid(grid, band, marked=True)
    return pixels


def _reduced(pixels: Pixels, shape: tuple[int, int]) -> Pixels:
    """Return a level from the finer one that covers the same slide."""
    step = (pixels.shape[0] / shape[0], pixels.shape[1] / shape[1])
    reduced = resample(pixels, shape, (0.0, 0.0), step)
    if reduced.dtype == np.uint8 and reduced.shape[2] == 3:
        return reduced
    return np.ascontiguousarray(reduced.transpose(2, 0, 1)).transpose(1, 2, 0)
