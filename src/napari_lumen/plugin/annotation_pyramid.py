"""Tens of thousands of outlines as a Labels pyramid: painted where one looks, coloured by class.

A pixel holds the slot of its annotation's class plus one. To rename, recolour, hide or merge a class changes
the colours of slots, never a pixel.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_lumen.annotations.classified import Classified
from napari_lumen.annotations.scanlines import Outlines
from napari_lumen.geometry import Grid, Window, spanned
from napari_lumen.plugin.annotation_frame import Frame
from napari_lumen.plugin.annotation_shapes import KIND, NO_CLASS
from napari_lumen.plugin.layers import KEY, LayerData

if TYPE_CHECKING:
    from napari.utils.colormaps import DirectLabelColormap

SET, OUTLINES = "set", "outlines"  # in the layer's facts
_CHUNK = 1024  # px
_KEPT = 24  # chunks of a level that stay in memory: two screens of pixels
_SMALLEST = 2048  # px a side of the last level
_OPACITY = 0.6


def pyramid_layer(found: Classified, frame: Frame, name: str) -> LayerData:
    """Return a Labels pyramid of annotations that enclose something; call it off the GUI thread.

    Parameters
    ----------
    found : Classified
    frame : Frame
        Of their slide. Without one the pyramid is as large as they need.
    name : str
    """
    outlines = Outlines([item.geometry for item in found.items], found.slots + np.uint8(1))
    levels = _levels(frame.shape or outlines.reach())
    data: list[Any] = [_dask(_Level(outlines, level)) for level in levels[:-1]]
    data.append(outlines.paint(levels[-1]))
    return (
        data if len(data) > 1 else data[0],
        {
            "name": name,
            "multiscale": len(data) > 1,
            "colormap": slot_colors(found),
            "opacity": _OPACITY,
            "features": slot_features(found),
            **frame.keywords(),
            "metadata": {
                KEY: {"kind": KIND, "fingerprint": frame.fingerprint, SET: found, OUTLINES: outlines}
            },
        },
        "labels",
    )


def slot_colors(found: Classified, hidden: frozenset[str] = frozenset()) -> DirectLabelColormap:
    """Return the colours of the pixels; hidden classes are clear."""
    from napari.utils.colormaps import DirectLabelColormap

    color = {item.name: item.color for item in found.table}
    colors: dict[int | None, npt.NDArray[np.float64]] = {None: np.zeros(4), 0: np.zeros(4)}
    for slot, name in enumerate(found.classes, 1):
        shown = NO_CLASS if name is None else color[name]
        rgba = np.array([*(channel / 255 for channel in shown), 1.0])
        colors[slot] = np.zeros(4) if (name or "") in hidden else rgba
    return DirectLabelColormap(color_dict=colors)


def slot_features(found: Classified) -> dict[str, list[Any]]:
    """Return what the status bar says under the mouse."""
    return {
        "index": list(range(len(found.classes) + 1)),
        "class": ["", *(name or "no class" for name in found.classes)],
    }


def _levels(shape: tuple[int, int]) -> list[Grid]:
    """Return grids, each half as fine; napari takes the ratio of their sides for the factor between them."""
    depth = 0
    while max(shape) / 2**depth > _SMALLEST:
        depth += 1
    height, width = (-(-side // 2**depth) * 2**depth for side in shape)
    return [Grid((height, width), (1.0, 1.0)).coarsened(2**level) for level in range(depth + 1)]


class _Level:
    """A level of the pyramid as an array whose parts are painted when they are asked for."""

    ndim = 2
    dtype = np.dtype(np.uint8)

    def __init__(self, outlines: Outlines, grid: Grid) -> None:
        self.shape = grid.shape
        # napari asks again for all that is in view whenever a colour changes
        self._paint = lru_cache(_KEPT)(partial(outlines.paint, grid))

    def __getitem__(self, parts: tuple[int | slice, int | slice]) -> npt.NDArray[np.uint8]:
        (y, height, rows), (x, width, columns) = (
            spanned(part, side) for part, side in zip(parts, self.shape, strict=True)
        )
        return self._paint(Window(y, x, height, width))[rows, columns]


def _dask(level: _Level) -> Any:
    import dask.array as da

    return da.from_array(
        level, chunks=(_CHUNK, _CHUNK), name=False, lock=False, asarray=False, fancy=False, inline_array=True
    )
