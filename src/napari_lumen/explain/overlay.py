"""A map as colours over a picture of the slide, cell by cell in its exact place."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt, map_coordinates

from napari_lumen.explain.colours import Colormap
from napari_lumen.geometry import Grid, Region

Picture = npt.NDArray[np.uint8]
Values = npt.NDArray[np.floating[Any]]
Interpolation = Literal["nearest", "linear"]


def on_picture(
    values: Values,
    grid: Grid,
    region: Region,
    shape: tuple[int, int],
    interpolation: Interpolation = "nearest",
    within: Region | None = None,
) -> Values:
    """Return the value at the middle of each pixel of a picture; NaN outside the map.

    Parameters
    ----------
    values : ndarray (h, w)
    grid : Grid
        Where its cells lie, level-0 px.
    region : Region
        What the picture shows, level-0 px.
    shape : (int, int)
        Height and width of the picture, px.
    interpolation : {"nearest", "linear"}
        A cell has its value all over, or values change evenly between the middles of cells. Linear leaves
        cells without a value clear all the same.
    within : Region, optional
        Where the map ends, level-0 px; see `RunMap.within`.

    Returns
    -------
    ndarray
        float32 of `shape`.
    """
    if not values.size:
        return np.full(shape, np.nan, np.float32)
    at = [
        (start + (np.arange(count) + 0.5) * side / count - origin) / step
        for start, side, count, origin, step in zip(
            (region.y, region.x), (region.height, region.width), shape, grid.origin, grid.step, strict=True
        )
    ]
    cells = [np.floor(places).astype(np.intp) for places in at]
    edges = grid.region if within is None else grid.region.intersect(within)
    ends = (edges.bottom - grid.origin[0]) / grid.step[0], (edges.right - grid.origin[1]) / grid.step[1]
    inside = [
        (index >= 0) & (index < size) & (place < end)
        for index, size, place, end in zip(cells, values.shape, at, ends, strict=True)
    ]
    rows, columns = (np.clip(index, 0, size - 1) for index, size in zip(cells, values.shape, strict=True))
    shown = np.asarray(values[rows[:, None], columns], np.float32)
    if interpolation == "linear":
        known = np.isfinite(shown)
        places = np.meshgrid(at[0] - 0.5, at[1] - 0.5, indexing="ij")
        smooth = map_coordinates(_filled(values), places, order=1, mode="nearest", output=np.float32)
        shown = np.where(known, smooth, shown)
    shown[~(inside[0][:, None] & inside[1])] = np.nan
    return shown


def coloured(
    values: Values, limits: tuple[float, float], colormap: Colormap, opacity: float = 1.0
) -> Picture:
    """Return the colours of values, uint8 (h, w, 4); clear where there is no number.

    Parameters
    ----------
    values : ndarray (h, w)
    limits : (float, float)
        Values at the two ends of the colours.
    colormap : Colormap
    opacity : float
        In [0, 1]; multiplies that of the colours.
    """
    low, high = limits
    known = np.isfinite(values)
    share = np.where(known, (values - low) / (high - low), 0.0).clip(0, 1)
    rgba = colormap.at(share)
    rgba[..., 3] *= opacity * known
    return np.asarray(np.rint(rgba * 255), np.uint8)


def laid_over(tissue: Picture, overlay: Picture) -> Picture:
    """Return a picture (h, w, 3) with colours (h, w, 4) over it, uint8."""
    alpha = overlay[..., 3:].astype(np.float32) / 255
    mixed = tissue[..., :3] * (1 - alpha) + overlay[..., :3] * alpha
    return np.asarray(np.rint(mixed), np.uint8)


def _filled(values: Values) -> Values:
    """Return values with those of the nearest cell where there is no number."""
    missing = ~np.isfinite(values)
    if not missing.any() or missing.all():
        return np.nan_to_num(values)
    nearest = distance_transform_edt(missing, return_distances=False, return_indices=True)
    filled: Values = values[tuple(nearest)]
    return filled
