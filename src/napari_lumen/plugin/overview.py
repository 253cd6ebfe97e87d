"""A slide at a glance: the picture behind the view box."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_lumen.geometry import Grid, Window
from napari_lumen.plugin.contrast import contrast_limits
from napari_lumen.slides.resample import resample

if TYPE_CHECKING:
    from napari_lumen.slides import Slide
    from napari_lumen.slides.color import Color

Picture = npt.NDArray[np.uint8]
Pixels = npt.NDArray[Any]

SIDE = 640  # px of the longer side: twice what the panel shows, for screens of double density


def overview(slide: Slide, small: Sequence[Pixels], color: Color | None = None) -> Picture:
    """Return a slide as a small picture. Call it off the GUI thread.

    Parameters
    ----------
    slide : Slide
    small : sequence of ndarray
        As of `read_small_levels`. Only where they are too small the slide itself is read, and then its
        pyramid makes that quick.
    color : callable, optional
        As of `Slide.dask_levels`.

    Returns
    -------
    ndarray
        uint8 (h, w, 3), the longer side at most 640.
    """
    height, width = slide.shape
    factor = max(1.0, max(slide.shape) / SIDE)
    shape = (max(1, round(height / factor)), max(1, round(width / factor)))
    finest = small[0]
    if max(finest.shape[:2]) >= max(shape):
        step = (finest.shape[0] / shape[0], finest.shape[1] / shape[1])
        pixels = resample(finest, shape, (0.0, 0.0), step)
    else:
        grid = Grid(shape, (height / shape[0], width / shape[1]))
        pixels = slide.read_grid(grid, Window(0, 0, *shape), marked=True)
    if not slide.is_rgb:
        return _composite(slide, pixels)
    return pixels if color is None else color(pixels)


def _composite(slide: Slide, pixels: Pixels) -> Picture:
    """Return channels (h, w, channels) added up in their colours, each over its own range."""
    total = np.zeros((*pixels.shape[:2], 3), np.float32)
    for index, channel in enumerate(slide.channels):
        low, high = contrast_limits(pixels[..., index])
        share = np.clip((pixels[..., index].astype(np.float32) - low) / (high - low), 0, 1)
        total += np.nan_to_num(share)[..., None] * np.asarray(channel.color, np.float32)
    return np.clip(total, 0, 255).astype(np.uint8)
