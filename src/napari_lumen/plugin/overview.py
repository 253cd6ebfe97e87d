"""A slide at a glance: the picture behind the view box."""

from __future__ import annotations

from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_lumen.errors import Cancelled
from napari_lumen.geometry import Grid, Window
from napari_lumen.plugin.slide_layers import contrast_limits

if TYPE_CHECKING:
    from napari_lumen.slides import Slide
    from napari_lumen.slides.color import Color

Picture = npt.NDArray[np.uint8]

SIDE = 640  # px of the longer side: twice what the panel shows, for screens of double density
_BAND = 64  # rows read between two looks at the token


def read_overview(slide: Slide, cancel: Event, color: Color | None = None) -> Picture:
    """Return a slide as a small picture; damaged parts are hatched. Call it off the GUI thread.

    Parameters
    ----------
    slide : Slide
    cancel : threading.Event
        Looked at every 64 rows.
    color : callable, optional
        As of `Slide.dask_levels`.

    Returns
    -------
    ndarray
        uint8 (h, w, 3), the longer side at most 640.

    Raises
    ------
    Cancelled
    """
    height, width = slide.shape
    factor = max(1.0, max(slide.shape) / SIDE)
    shape = (max(1, round(height / factor)), max(1, round(width / factor)))
    grid = Grid(shape, (height / shape[0], width / shape[1]))
    bands = []
    for top in range(0, shape[0], _BAND):
        if cancel.is_set():
            raise Cancelled("The slide was left.")
        band = Window(top, 0, min(_BAND, shape[0] - top), shape[1])
        bands.append(slide.read_grid(grid, band, marked=True))
    pixels = np.concatenate(bands)
    if not slide.is_rgb:
        return _composite(slide, pixels)
    return pixels if color is None else color(pixels)


def _composite(slide: Slide, pixels: npt.NDArray[Any]) -> Picture:
    """Return channels (h, w, channels) added up in their colours, each over its own range."""
    total = np.zeros((*pixels.shape[:2], 3), np.float32)
    for index, channel in enumerate(slide.channels):
        low, high = contrast_limits(pixels[..., index])
        share = np.clip((pixels[..., index].astype(np.float32) - low) / (high - low), 0, 1)
        total += np.nan_to_num(share)[..., None] * np.asarray(channel.color, np.float32)
    return np.clip(total, 0, 255).astype(np.uint8)
